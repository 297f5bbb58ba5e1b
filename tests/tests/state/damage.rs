//! A state that is not as stage0 left it: none of it stops a boot that the recipe does not want stopped, and none of it
//! leads anywhere.
#![cfg(feature = "full")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use graven_handoff::Code;
use graven_tests::console::Silence;
use graven_tests::emulated::Emulated;
use graven_tests::guest::{BOOT, Guest};
use graven_tests::random::Random;
use graven_tests::refusal::{Stop, assert_stopped};
use graven_tests::{image, oracle};

use crate::device::{Device, build, power_off};

/// What is done to the file system.
enum Harm {
    /// From this byte on, so many others.
    Noise(u64, usize),
    /// A bit of this byte.
    Flip(u64),
    /// What `debugfs` does at these words.
    Edit(&'static [&'static str]),
}

/// Name, what is done to the state, and what stage0 says of it. An entry's name is its path with colons.
const DAMAGES: [(&str, Harm, &str); 11] = [
    ("its superblock is noise", Harm::Noise(0, 4096), "superblock"),
    ("a bit of its superblock is another", Harm::Flip(1024 + 0x70), "superblock"),
    ("its group descriptors are noise", Harm::Noise(4096, 4096), ""),
    ("all of it but the superblock is noise", Harm::Noise(4096, 60 << 20), ""),
    (
        "a file is a link to another",
        Harm::Edit(&["rm /persist/etc:settings", "symlink /persist/etc:settings /etc/passwd"]),
        "/etc/settings: expected a file, found a symbolic link",
    ),
    (
        "a folder is a link to programs",
        Harm::Edit(&["unlink /persist/var:log", "symlink /persist/var:log /usr/bin"]),
        "/var/log: expected a folder, found a symbolic link",
    ),
    (
        "the folder of all is a link",
        Harm::Edit(&["ln /persist /moved", "unlink /persist", "symlink /persist /moved"]),
        "its folder `persist` is missing",
    ),
    (
        "a file is a folder",
        Harm::Edit(&["rm /persist/etc:settings", "mkdir /persist/etc:settings"]),
        "/etc/settings: expected a file, found a folder",
    ),
    (
        "a file is a device",
        Harm::Edit(&["rm /persist/etc:settings", "cd /persist", "mknod etc:settings b 254 0"]),
        "/etc/settings: expected a file, found a special file",
    ),
    (
        "a file has two names",
        Harm::Edit(&[
            "ln /persist/etc:settings /persist/var:lib:app/second",
            "sif /persist/etc:settings links_count 2",
        ]),
        "/etc/settings: expected one name, found 2",
    ),
    (
        "the identity is none",
        Harm::Edit(&["sif /persist/etc:machine-id size 5"]),
        "/etc/machine-id: expected 32 hexadecimal digits",
    ),
];

impl Harm {
    fn is_done_to(&self, state: &Path) {
        match self {
            Self::Noise(offset, len) => noise(state, *offset, *len),
            Self::Flip(offset) => {
                let state = File::options().read(true).write(true).open(state).unwrap();
                let mut byte = [0];
                state.read_exact_at(&mut byte, *offset).unwrap();
                state.write_all_at(&[byte[0] ^ 1], *offset).unwrap();
            }
            Self::Edit(commands) => {
                // What the journal still holds would be written over the edits at the next mount.
                let journal = oracle::ask("e2fsck", ["-f", "-p", &state.display().to_string()]);
                assert!(!journal.text.contains("UNEXPECTED INCONSISTENCY"), "{}", journal.text);
                let list = state.with_extension("debugfs");
                std::fs::write(&list, commands.join("\n") + "\n").unwrap();
                let [list, state] = [list.as_path(), state].map(|path| path.display().to_string());
                let said = oracle::content("debugfs", ["-w", "-f", &list, &state]);
                let usual = ["debugfs", "Allocated inode: "];
                let complaint = said
                    .lines()
                    .find(|line| line.contains(": ") && !usual.iter().any(|word| line.starts_with(word)));
                assert_eq!(complaint, None, "{said}");
            }
        }
    }
}

fn noise(state: &Path, offset: u64, len: usize) {
    let state = File::options().write(true).open(state).unwrap();
    state.write_all_at(&Random::new(offset).bytes(len), offset).unwrap();
}

/// What every machine of this image can do that runs.
fn works(guest: &mut Guest) {
    let id = guest.succeed("cat /etc/machine-id");
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
    guest.succeed("echo works >/var/log/works && cat /var/log/works /etc/settings");
    assert_eq!(guest.succeed("head -n 1 /etc/passwd"), "root:x:0:0:root:/root:/bin/sh");
    assert_ne!(guest.shell("/var/log/busybox true").status, 0);
}

#[test]
fn a_damaged_state_is_made_anew() {
    let whole = Device::new(Emulated::X86_64, 0);
    let mut guest = whole.boot();
    let id = guest.succeed("cat /etc/machine-id");
    guest.succeed("echo mine >/etc/settings; cp /usr/bin/busybox /var/log");
    power_off(guest);
    let mut failed = Vec::new();
    for (name, harm, said) in &DAMAGES {
        println!("{name}");
        let tried = std::panic::catch_unwind(|| {
            let device = whole.twin();
            device.with_state(|state| harm.is_done_to(state));
            let mut guest = device.boot();
            let log = guest.kernel_log();
            let warning = log.lines().find(|line| line.contains("graven: stage0: warning: S0-64"));
            let warning = warning.unwrap_or_else(|| panic!("no warning: {log}"));
            assert!(warning.contains(said) && warning.contains("it is made anew"), "{warning}");
            assert_eq!(guest.succeed("cat /etc/settings"), "as shipped");
            assert_ne!(guest.succeed("cat /etc/machine-id"), id);
            works(&mut guest);
            power_off(guest);
            device.check();
        });
        failed.extend(tried.is_err().then_some(*name));
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn a_damaged_state_is_left_alone_or_stops_the_boot_where_the_recipe_says_so() {
    let folder = image::folder();
    for (word, stops) in [("volatile", false), ("fail", true)] {
        let out = folder.path().join(word);
        build(&out, &["--set", &format!("state.if-damaged=\"{word}\"")]);
        let device = Device::of(&out, Emulated::X86_64, 0);
        device.with_state(|state| noise(state, 0, 4096));
        if stops {
            assert_stopped(&device.machine(), Stop::Stage0(Code::StateDamaged));
        } else {
            let mut guest = device.boot();
            let log = guest.kernel_log();
            assert!(log.contains("warning: S0-64") && log.contains("a tmpfs takes its place"), "{log}");
            works(&mut guest);
            let mounts = guest.succeed("cat /proc/mounts");
            assert!(mounts.contains("tmpfs /var/log ") && !mounts.contains("ext4"), "{mounts}");
            power_off(guest);
        }
        let unchanged = |state: &Path| {
            let mut head = vec![0; 4096];
            File::open(state).unwrap().read_exact_at(&mut head, 0).unwrap();
            assert_eq!(head, Random::new(0).bytes(4096), "{word}: it was written to");
        };
        device.with_state(unchanged);
    }
}

#[test]
fn a_full_state_stops_nothing() {
    let device = Device::new(Emulated::X86_64, 0);
    let mut guest = device.boot();
    let id = guest.succeed("cat /etc/machine-id");
    let full = guest.shell("dd if=/dev/zero of=/var/log/all bs=1M; dd if=/dev/zero of=/var/log/rest bs=1k");
    assert!(full.text.contains("No space left"), "{}", full.text);
    guest.shell("n=0; while echo x >/var/log/name$n; do n=$((n + 1)); done");
    power_off(guest);
    let mut guest = device.boot();
    let log = guest.kernel_log();
    assert!(!log.contains("graven: stage0: warning"), "{log}");
    assert_eq!(guest.succeed("cat /etc/machine-id"), id);
    assert_ne!(guest.shell("dd if=/dev/zero of=/var/log/more bs=1k count=64").status, 0, "it is still full");
    power_off(guest);

    // The next version of the image persists one path more, for which there is no room.
    let folder = image::folder();
    let persist =
        "state.persist=['/etc/machine-id','/etc/settings','/var/lib/app','/var/log','/var/lib/more']";
    build(folder.path().join("out").as_path(), &["--set", persist]);
    let updated = Device::of(&folder.path().join("out"), Emulated::X86_64, 0);
    device.with_state(|state| {
        updated.with_state(|to| {
            std::fs::copy(state, to).unwrap();
        });
    });
    let mut guest = updated.boot();
    let log = guest.kernel_log();
    assert!(log.contains("it is full: a tmpfs takes this path's place"), "{log}");
    assert_eq!(guest.succeed("cat /etc/machine-id"), id);
    guest.succeed("echo here >/var/lib/more/file; rm /var/log/rest /var/log/all");
    power_off(guest);
    // Now there is.
    let mut guest = updated.boot();
    assert!(!guest.kernel_log().contains("graven: stage0: warning"));
    assert_ne!(guest.shell("cat /var/lib/more/file").status, 0, "what lay in the tmpfs is gone");
    assert!(guest.succeed("grep ' /var/lib/more ' /proc/mounts").contains("ext4"));
    power_off(guest);
}

/// Twenty times while it writes, and some more while the first boot makes the state and grows it.
#[test]
fn a_machine_whose_power_is_cut_boots() {
    let mut random = Random::new(20);
    let device = Device::new(Emulated::X86_64, 100);
    // The shorter times hit stage0, the longer ones what comes after it.
    for _ in 0..6 {
        let mut guest = Guest::start(&device.machine());
        guest.expect("graven: stage0: step 5/8", BOOT);
        let until = Duration::from_millis(random.below(4000));
        let _: Result<_, Silence> = guest.console.wait_for("never said", until);
        println!("cut {until:?} after step 5");
        guest.stop();
    }
    let mut id = None;
    for cut in 0..20 {
        let mut guest = device.boot();
        let log = guest.kernel_log();
        assert!(!log.contains("graven: stage0: warning"), "before cut {cut}: {log}");
        let now = guest.succeed("cat /etc/machine-id");
        assert_eq!(*id.get_or_insert(now.clone()), now, "before cut {cut}");
        works(&mut guest);
        guest.console.send_line("writer");
        guest.expect("writer: at work", BOOT);
        let until = Duration::from_millis(random.below(5000));
        std::thread::sleep(until);
        println!("cut {cut} {until:?} into writing");
        guest.stop();
    }
    let mut guest = device.boot();
    works(&mut guest);
    power_off(guest);
    device.check();
}
