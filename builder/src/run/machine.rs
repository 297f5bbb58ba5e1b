//! The machine: which firmware, which options, and QEMU's life.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use graven_boot::x509::Certificate;
use rustix::fs::{MemfdFlags, memfd_create};

use super::platform::VariableStore;
use super::u_boot;
use super::variables::{FLASH_BYTES, blank};
use super::{Enrolment, Platform, RunError, enrol};
use crate::output::folder_of;

/// How a machine's disks are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Bus {
    /// virtio, as on most virtual machines.
    #[default]
    Virtio,
    /// NVMe, as on servers.
    Nvme,
    /// SATA behind AHCI, as on older ones.
    Sata,
}

impl Bus {
    /// QEMU's device for disk number `number`, whose drive is `diskN`. Each NVMe disk is a controller of its own.
    fn device(self, number: usize) -> String {
        match self {
            Self::Virtio => format!("virtio-blk-pci,drive=disk{number}"),
            Self::Nvme => format!("nvme,drive=disk{number},serial=disk{number}"),
            Self::Sata => format!("ide-hd,bus=ide.{number},drive=disk{number}"),
        }
    }
}

/// What starts the image, and whom it trusts.
#[derive(Debug, Clone)]
enum Firmware {
    /// With these certificates enrolled; without, in setup mode.
    Uefi(Option<Enrolment>),
    /// With this key required; without, it takes any FIT.
    UBoot(Option<Box<Certificate>>),
    /// This file, which has its control device tree and its keys with it.
    OwnUBoot(PathBuf),
}

/// A machine that boots an image: UEFI Secure Boot capable firmware, disks on a bus of choice, serial console, no network.
#[derive(Debug, Clone)]
pub struct Machine {
    platform: Platform,
    image: PathBuf,
    writable: bool,
    more_disks: Vec<PathBuf>,
    bus: Bus,
    firmware: Firmware,
    variables: Option<PathBuf>,
    memory_mib: u32,
    cpus: u32,
    network: bool,
    arguments: Vec<OsString>,
}

impl Machine {
    /// For x86-64, with 1 GiB of memory, two processors, and nothing enrolled: the firmware is in setup mode and boots anything.
    #[must_use]
    pub fn new(image: impl Into<PathBuf>) -> Self {
        Self {
            platform: Platform::default(),
            image: image.into(),
            writable: false,
            more_disks: Vec::new(),
            bus: Bus::default(),
            firmware: Firmware::Uefi(None),
            variables: None,
            memory_mib: 1024,
            cpus: 2,
            network: false,
            arguments: Vec::new(),
        }
    }

    /// Another architecture's machine.
    #[must_use]
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = platform;
        self
    }

    /// Enrols certificates and turns Secure Boot on.
    #[must_use]
    pub fn enrol(mut self, enrolment: Enrolment) -> Self {
        self.firmware = Firmware::Uefi(Some(enrolment));
        self
    }

    /// Keeps UEFI's variables in this file from one run to the next. It is made, with what is enrolled, where it is not there yet.
    #[must_use]
    pub fn variables(mut self, file: impl Into<PathBuf>) -> Self {
        self.variables = Some(file.into());
        self
    }

    /// U-Boot instead of UEFI, on arm64: it starts a FIT, and where a key is given, none that it did not sign.
    #[must_use]
    pub fn u_boot(mut self, key: Option<Certificate>) -> Self {
        self.firmware = Firmware::UBoot(key.map(Box::new));
        self
    }

    /// A U-Boot of one's own instead, which has its control device tree behind it.
    #[must_use]
    pub fn own_u_boot(mut self, file: impl Into<PathBuf>) -> Self {
        self.firmware = Firmware::OwnUBoot(file.into());
        self
    }

    /// Lets the guest write to the image itself.
    #[must_use]
    pub fn writable(mut self) -> Self {
        self.writable = true;
        self
    }

    /// Attaches another disk, after those that are there; as a snapshot too.
    #[must_use]
    pub fn disk(mut self, image: impl Into<PathBuf>) -> Self {
        self.more_disks.push(image.into());
        self
    }

    /// Attaches all disks to this bus instead of virtio.
    #[must_use]
    pub fn bus(mut self, bus: Bus) -> Self {
        self.bus = bus;
        self
    }

    /// Memory in MiB.
    #[must_use]
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// Number of processors.
    #[must_use]
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// A network card behind QEMU's user-mode network.
    #[must_use]
    pub fn network(mut self) -> Self {
        self.network = true;
        self
    }

    /// More arguments for QEMU, after ours.
    #[must_use]
    pub fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Becomes it: this process goes on as QEMU, on its own terminal, until the machine powers off, resets or is ended
    /// (Ctrl-A X, or a signal). Comes back only where that fails.
    ///
    /// [`RunError::Missing`] where QEMU or the firmware is not installed; an image that cannot be read.
    #[must_use]
    pub fn exec(&self) -> RunError {
        match self.command() {
            Ok((mut command, _files)) => self.start_error(command.exec()),
            Err(error) => error,
        }
    }

    /// Starts it with its serial console on two pipes.
    ///
    /// # Errors
    /// As [`Machine::exec`] has them.
    pub fn spawn(&self) -> Result<Running, RunError> {
        let (mut command, _files) = self.command()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().map_err(|source| self.start_error(source))?;
        Ok(Running { child })
    }

    /// QEMU's command line, and the files that it names without their having a name elsewhere: they must outlive its start.
    fn command(&self) -> Result<(Command, Vec<File>), RunError> {
        let platform = self.platform;
        platform.starts_from(self.bus)?;
        let mut files = Vec::new();
        let mut command = Command::new(platform.qemu());
        let (accelerator, processor) = match kvm_is_usable(platform) {
            true => ("kvm", platform.processor().virtualised),
            false => ("tcg,thread=multi", platform.processor().emulated),
        };
        command.args(["-machine", platform.machine(), "-accel", accelerator, "-cpu", processor]);
        command.args(["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        command.args(platform.arguments());
        match &self.firmware {
            Firmware::Uefi(enrolment) => {
                let (code, store) = platform.firmware()?;
                let variables = match &self.variables {
                    Some(kept) => {
                        keep_variables(kept, enrolment.as_ref(), &store)?;
                        kept.clone()
                    }
                    None => {
                        let file = variables(enrolment.as_ref(), &store)?;
                        let path = inherited(&file);
                        files.push(file);
                        path
                    }
                };
                command.arg("-drive").arg(drive("if=pflash,unit=0,readonly=on", &code));
                command.arg("-drive").arg(drive("if=pflash,unit=1", &variables));
            }
            Firmware::UBoot(_) => {
                command.arg("-bios").arg(u_boot::program()?);
            }
            Firmware::OwnUBoot(file) => {
                command.arg("-bios").arg(file);
            }
        }
        for (number, disk) in std::iter::once(&self.image).chain(&self.more_disks).enumerate() {
            let change = number == 0 && self.writable;
            OpenOptions::new()
                .read(true)
                .write(change)
                .open(disk)
                .map_err(|source| RunError::Image { path: disk.clone(), source })?;
            let mode = if change { "" } else { ",snapshot=on" };
            command.arg("-drive").arg(drive(&format!("if=none,id=disk{number}{mode}"), disk));
            let boot = if number == 0 { ",bootindex=1" } else { "" };
            command.args(["-device", &format!("{}{boot}", self.bus.device(number))]);
        }
        command.args(["-nographic", "-no-reboot"]);
        if self.network {
            command.args(["-nic", "user,model=virtio-net-pci"]);
        } else {
            command.args(["-net", "none"]);
        }
        command.args(&self.arguments);
        if let Firmware::UBoot(key) = &self.firmware {
            let tree = self.control_tree(&command, key.as_deref())?;
            command.arg("-dtb").arg(inherited(&tree));
            files.push(tree);
        }
        Ok((command, files))
    }

    /// QEMU describes the very machine that the rest of its command line makes; U-Boot is told of it and of its key.
    fn control_tree(&self, machine: &Command, key: Option<&Certificate>) -> Result<File, RunError> {
        let failed = |doing| move |source| RunError::Io { doing, source };
        let folder = tempfile::Builder::new()
            .prefix("graven-run-")
            .tempdir()
            .map_err(failed("making a temporary folder"))?;
        let described = folder.path().join("machine.dtb");
        let mut dump = OsString::from("dumpdtb=");
        dump.push(&described);
        let mut describe = Command::new(machine.get_program());
        describe.args(machine.get_args()).arg("-machine").arg(dump);
        let answer = describe.output().map_err(|source| self.start_error(source))?;
        if !answer.status.success() {
            let said = String::from_utf8_lossy(&answer.stderr).into_owned();
            return Err(failed("having QEMU describe its machine")(io::Error::other(said)));
        }
        let described = fs::read(described).map_err(failed("reading QEMU's device tree"))?;
        let tree = u_boot::control_tree(&described, self.bus, key).map_err(RunError::ControlTree)?;
        in_memory("control.dtb", &tree).map_err(failed("writing U-Boot's device tree"))
    }

    fn start_error(&self, source: io::Error) -> RunError {
        match source.kind() {
            io::ErrorKind::NotFound => RunError::Missing {
                what: self.platform.qemu().into(),
                packages: self.platform.qemu_package(),
            },
            _ => RunError::Io { doing: "starting QEMU", source },
        }
    }
}

/// The variable store of one run.
fn variables(enrolment: Option<&Enrolment>, store: &VariableStore) -> Result<File, RunError> {
    let (path, template, bytes) = match store {
        VariableStore::Template(path) => {
            let template = fs::read(path)
                .map_err(|source| RunError::Io { doing: "reading the firmware's variable store", source })?;
            let bytes = template.len() as u64;
            (path.as_path(), template, bytes)
        }
        VariableStore::Blank => (Path::new("made for this run"), blank(), FLASH_BYTES),
    };
    let variables = match enrolment {
        None => template,
        Some(enrolment) => enrol(&template, enrolment)
            .map_err(|problem| RunError::Variables { path: path.to_owned(), problem })?,
    };
    in_memory("variables.fd", &variables)
        .and_then(|file| file.set_len(bytes).map(|()| file))
        .map_err(|source| RunError::Io { doing: "writing the machine's variable store", source })
}

/// The variable store of a machine's whole life, made where it is not there yet.
fn keep_variables(kept: &Path, enrolment: Option<&Enrolment>, store: &VariableStore) -> Result<(), RunError> {
    let failed = |source| RunError::Io { doing: "writing the machine's variable store", source };
    if kept.exists() {
        return Ok(());
    }
    let mut fresh = variables(enrolment, store)?;
    // Whole or not at all.
    let mut file = tempfile::NamedTempFile::new_in(folder_of(kept)).map_err(failed)?;
    fresh.rewind().and_then(|()| io::copy(&mut fresh, &mut file)).map_err(failed)?;
    file.persist_noclobber(kept).map_err(|error| failed(error.error))?;
    Ok(())
}

/// A file that needs no clearing away: it ends with the last process that holds it. QEMU inherits it.
fn in_memory(name: &str, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(name, MemfdFlags::empty())?);
    file.write_all(bytes)?;
    Ok(file)
}

/// The name that a process has for a file it inherits.
fn inherited(file: &File) -> PathBuf {
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}

/// A machine on two pipes. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
}

impl Running {
    /// The serial console's both directions; once.
    pub fn console(&mut self) -> Option<(ChildStdin, ChildStdout)> {
        Some((self.child.stdin.take()?, self.child.stdout.take()?))
    }

    /// Whether it has ended, and how.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Ends it now.
    ///
    /// # Errors
    /// Whatever the operating system says.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// Whether hardware virtualisation can carry this machine: `/dev/kvm` may be there and yet know no SMM, or not let
/// QEMU set a processor up. QEMU itself is asked, with a machine that stops before its first instruction.
fn kvm_is_usable(platform: Platform) -> bool {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let mut command = Command::new(platform.qemu());
    command.args(["-machine", platform.machine(), "-accel", "kvm", "-cpu", platform.processor().virtualised]);
    command.args(["-nodefaults", "-display", "none", "-m", "64", "-S", "-monitor", "stdio"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let Ok(mut child) = command.spawn() else { return false };
    if let Some(mut monitor) = child.stdin.take() {
        // Where it has died already, the status tells.
        let _ = monitor.write_all(b"quit\n");
    }
    child.wait().is_ok_and(|status| status.success())
}

/// A `-drive` value for a raw file; QEMU takes a comma in a name doubled.
fn drive(options: &str, file: &Path) -> OsString {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let mut value = format!("{options},format=raw,file=").into_bytes();
    for byte in OsStr::as_bytes(file.as_os_str()) {
        value.extend(std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 }));
    }
    OsString::from_vec(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_stays_in_the_path() {
        assert_eq!(drive("if=none", Path::new("/a,b/c")), "if=none,format=raw,file=/a,,b/c");
    }

    #[test]
    fn the_image_is_a_snapshot_unless_asked() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let words = |machine: Machine| {
            let (command, _files) = machine.command().unwrap();
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let machine = Machine::new(image.path());
        assert!(words(machine.clone()).contains("id=disk0,snapshot=on"));
        assert!(!words(machine.writable()).contains("snapshot"));
    }

    #[test]
    fn a_bus_that_the_firmware_does_not_know_is_refused() {
        let image = tempfile::NamedTempFile::new().unwrap();
        let machine = Machine::new(image.path()).platform(Platform::Virt).bus(Bus::Sata);
        assert!(matches!(machine.command(), Err(RunError::NoSata)));
    }

    #[test]
    fn a_missing_image_is_named() {
        let error = Machine::new("/nowhere/disk.img").exec();
        assert!(error.to_string().starts_with("/nowhere/disk.img: "), "{error}");
    }
}
