//! What outlives a boot: made on the first one, grown to the disk, bound closed; and what happens when it is damaged, full,
//! or cut off from its power.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use graven::run::Machine;
use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;
use graven_tests::{image, inputs, oracle};

const PROMPT: &str = "minimal# ";
const MIB: u64 = 1 << 20;

fn built(on: Emulated) -> &'static Path {
    static IMAGES: [OnceLock<PathBuf>; 2] = [OnceLock::new(), OnceLock::new()];
    IMAGES[on as usize].get_or_init(|| {
        let out = image::scratch().join(format!("state-{}", on.target()));
        image::build(&inputs::project().join("tests/recipes/state"), &out, &["--target", on.target()]);
        out
    })
}

/// A disk onto which the image was written, and its machine.
struct Device {
    folder: tempfile::TempDir,
    on: Emulated,
}

impl Device {
    /// On a disk that is larger by so many MiB.
    fn new(on: Emulated, larger: u64) -> Self {
        let device = Self { folder: image::folder(), on };
        let copied = std::fs::copy(built(on).join(graven::deliver::DISK), device.disk()).unwrap();
        File::options().write(true).open(device.disk()).unwrap().set_len(copied + larger * MIB).unwrap();
        device
    }

    fn disk(&self) -> PathBuf {
        self.folder.path().join("disk.img")
    }

    fn machine(&self) -> Machine {
        image::machine(&self.disk()).platform(self.on.platform()).writable()
    }

    fn boot(&self) -> Guest {
        Guest::boot(&self.machine(), PROMPT)
    }

    /// Offset and length of the state's partition, by `sgdisk`.
    fn state(&self) -> (u64, u64) {
        let disk = self.disk().display().to_string();
        let listed = oracle::ask("sgdisk", ["-p", &disk]);
        let line = listed.text.lines().find(|line| line.trim_end().ends_with(" state")).unwrap().to_owned();
        let mut numbers = line.split_whitespace().skip(1).map(|word| word.parse::<u64>().unwrap());
        let (first, last) = (numbers.next().unwrap(), numbers.next().unwrap());
        (first * 512, (last + 1 - first) * 512)
    }

    /// Copies the state out, lets a tool at it, and puts it back.
    fn with_state(&self, change: impl FnOnce(&str)) {
        let (offset, len) = self.state();
        let mut disk = File::options().read(true).write(true).open(self.disk()).unwrap();
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        disk.seek(SeekFrom::Start(offset)).unwrap();
        disk.read_exact(&mut bytes).unwrap();
        let copy = self.folder.path().join("state.ext4");
        std::fs::write(&copy, &bytes).unwrap();
        change(&copy.display().to_string());
        disk.seek(SeekFrom::Start(offset)).unwrap();
        disk.write_all(&std::fs::read(&copy).unwrap()).unwrap();
    }
}

/// Ends the machine in order, everything on the disk.
fn power_off(mut guest: Guest) -> String {
    guest.console.send_line("sync; poweroff -f");
    guest.expect_end(graven_tests::guest::COMMAND)
}

fn survives_and_grows(on: Emulated) {
    let device = Device::new(on, 200);
    let mut guest = device.boot();
    let log = guest.kernel_log();
    assert!(log.contains("graven: stage0: state: its partition takes the rest of the disk"), "{log}");
    assert!(log.contains("graven: stage0: state: not made yet"), "{log}");
    assert!(!log.contains("graven: stage0: warning"), "{log}");
    let id = guest.succeed("cat /etc/machine-id");
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");

    // Closed, and nothing else of it to be seen.
    let mounts = guest.succeed("cat /proc/mounts");
    let bound: Vec<&str> = mounts.lines().filter(|line| line.contains(" ext4 ")).collect();
    assert_eq!(bound.len(), 4, "{mounts}");
    assert!(bound.iter().all(|line| line.contains("nosuid,nodev,noexec")), "{mounts}");
    assert_ne!(guest.shell("echo x >/etc/machine-id").status, 0);
    assert_ne!(guest.shell("touch /etc/new").status, 0, "nothing else is writable");
    guest.succeed("cp /usr/bin/busybox /var/log/evil");
    assert_ne!(guest.shell("/var/log/evil true").status, 0);
    // As the image has it.
    assert_eq!(guest.succeed("stat -c '%a %u:%g' /etc/settings /var/lib/app"), "640 0:0\n750 33:33");
    assert_eq!(
        guest.succeed("cat /etc/settings /var/lib/app/shipped /var/cache/kept"),
        "as shipped\nshipped\nof the image"
    );
    // Grown: the image's 64 MiB and what the disk has more, less ext4's own.
    let kib: u64 =
        guest.succeed("df -k /var/log | tail -n 1").split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(kib > 230 * 1024, "{kib}");
    guest.succeed("echo mine >/etc/settings; echo kept >/var/log/kept; touch /var/cache/gone");
    power_off(guest);
    let disk = device.disk().display().to_string();
    let checked = oracle::ask("sgdisk", ["-v", &disk]);
    assert!(checked.text.contains("No problems found"), "{}", checked.text);
    device.with_state(|state| {
        let checked = oracle::ask("e2fsck", ["-f", "-n", state]);
        assert!(checked.good, "{}", checked.text);
    });

    let mut guest = device.boot();
    let log = guest.kernel_log();
    assert!(!log.contains("graven: stage0: state:") && !log.contains("graven: stage0: warning"), "{log}");
    assert_eq!(guest.succeed("cat /etc/machine-id"), id);
    assert_eq!(guest.succeed("cat /etc/settings /var/log/kept"), "mine\nkept");
    assert_ne!(guest.shell("stat /var/cache/gone").status, 0, "/var is of one boot");
    power_off(guest);
}

#[test]
fn state_survives_a_reboot_and_grows_to_the_disk() {
    survives_and_grows(Emulated::X86_64);
}

#[test]
#[cfg_attr(not(feature = "full"), ignore = "two boots more: feature `full`")]
fn state_survives_a_reboot_and_grows_to_the_disk_on_arm64() {
    survives_and_grows(Emulated::Arm64);
}
