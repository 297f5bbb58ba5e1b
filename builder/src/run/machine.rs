//! The machine: which firmware, which options, and QEMU's life.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use super::{Enrolment, RunError, enrol};

const QEMU: &str = "qemu-system-x86_64";
const MACHINE: &str = "q35,smm=on";
const CPU: &str = "max";
const QEMU_PACKAGE: &str = "qemu-system-x86";
/// Where Debian and its derivatives keep OVMF with SMM and 4 MiB of flash: code, and the empty variable store.
const FIRMWARE: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
];
const FIRMWARE_PACKAGE: &str = "ovmf";

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

/// An x86-64 machine that boots an image: q35 with SMM, UEFI Secure Boot capable firmware, disks on a bus of choice, serial console,
/// no network.
#[derive(Debug, Clone)]
pub struct Machine {
    image: PathBuf,
    writable: bool,
    more_disks: Vec<PathBuf>,
    bus: Bus,
    enrolment: Option<Enrolment>,
    memory_mib: u32,
    cpus: u32,
    network: bool,
    arguments: Vec<OsString>,
}

impl Machine {
    /// With 1 GiB of memory, two processors, and nothing enrolled: the firmware is in setup mode and boots anything.
    #[must_use]
    pub fn new(image: impl Into<PathBuf>) -> Self {
        Self {
            image: image.into(),
            writable: false,
            more_disks: Vec::new(),
            bus: Bus::default(),
            enrolment: None,
            memory_mib: 1024,
            cpus: 2,
            network: false,
            arguments: Vec::new(),
        }
    }

    /// Enrols certificates and turns Secure Boot on.
    #[must_use]
    pub fn enrol(mut self, enrolment: Enrolment) -> Self {
        self.enrolment = Some(enrolment);
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

    /// Runs it on this process's own terminal until it powers off, resets or is ended (Ctrl-A X).
    ///
    /// # Errors
    /// [`RunError::Missing`] where QEMU or OVMF is not installed; an image that cannot be read.
    pub fn run(&self) -> Result<ExitStatus, RunError> {
        let (mut command, _folder) = self.command()?;
        command.status().map_err(start_error)
    }

    /// Starts it with its serial console on two pipes.
    ///
    /// # Errors
    /// As [`Machine::run`]'s.
    pub fn spawn(&self) -> Result<Running, RunError> {
        let (mut command, folder) = self.command()?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().map_err(start_error)?;
        Ok(Running { child, _folder: folder })
    }

    /// QEMU's command line, and the folder that its variable store lies in, which must outlive it.
    fn command(&self) -> Result<(Command, tempfile::TempDir), RunError> {
        let (code, template) = firmware()?;
        let folder = tempfile::Builder::new()
            .prefix("graven-run-")
            .tempdir()
            .map_err(|source| RunError::Io { doing: "making a temporary folder", source })?;
        let variables = folder.path().join("variables.fd");
        self.write_variables(&template, &variables)?;

        let mut command = Command::new(QEMU);
        let accelerator = if kvm_is_usable() { "kvm" } else { "tcg,thread=multi" };
        command.args(["-machine", MACHINE, "-accel", accelerator, "-cpu", CPU]);
        command.args(["-smp", &self.cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        command.args(["-global", "driver=cfi.pflash01,property=secure,value=on"]);
        command.arg("-drive").arg(drive("if=pflash,unit=0,readonly=on", &code));
        command.arg("-drive").arg(drive("if=pflash,unit=1", &variables));
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
        Ok((command, folder))
    }

    fn write_variables(&self, template: &Path, to: &Path) -> Result<(), RunError> {
        let read = fs::read(template)
            .map_err(|source| RunError::Io { doing: "reading OVMF's variable store", source });
        let variables = match &self.enrolment {
            None => read?,
            Some(enrolment) => enrol(&read?, enrolment)
                .map_err(|problem| RunError::Variables { path: template.to_owned(), problem })?,
        };
        fs::write(to, variables)
            .map_err(|source| RunError::Io { doing: "writing the machine's variable store", source })
    }
}

/// A machine on two pipes. It ends when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    _folder: tempfile::TempDir,
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

fn firmware() -> Result<(PathBuf, PathBuf), RunError> {
    let here =
        FIRMWARE.iter().find(|(code, variables)| Path::new(code).exists() && Path::new(variables).exists());
    match here {
        Some((code, variables)) => Ok((code.into(), variables.into())),
        None => Err(RunError::Missing {
            what: "UEFI firmware with Secure Boot (OVMF_CODE_4M.secboot.fd)".into(),
            packages: FIRMWARE_PACKAGE,
        }),
    }
}

fn start_error(source: io::Error) -> RunError {
    match source.kind() {
        io::ErrorKind::NotFound => RunError::Missing { what: QEMU.into(), packages: QEMU_PACKAGE },
        _ => RunError::Io { doing: "starting qemu-system-x86_64", source },
    }
}

/// Whether hardware virtualisation can carry this machine: `/dev/kvm` may be there and yet know no SMM, or not let
/// QEMU set a processor up. QEMU itself is asked, with a machine that stops before its first instruction.
fn kvm_is_usable() -> bool {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let mut command = Command::new(QEMU);
    command.args(["-machine", MACHINE, "-accel", "kvm", "-cpu", CPU]);
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
            let (command, _folder) = machine.command().unwrap();
            command.get_args().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        let machine = Machine::new(image.path());
        assert!(words(machine.clone()).contains("id=disk0,snapshot=on"));
        assert!(!words(machine.writable()).contains("snapshot"));
    }

    #[test]
    fn a_missing_image_is_named() {
        let error = Machine::new("/nowhere/disk.img").run().unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/disk.img: "), "{error}");
    }
}
