//! A machine in which the kernel judges policies: Debian's, with [`image::keys`]' db certificate in its platform keyring.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use graven_boot::compression::Compression;
use graven_boot::initramfs::Initramfs;
use graven_boot::{authenticode, uki};

use crate::guest::{BOOT, Guest};
use crate::refusal::{PANIC, unlucky};
use crate::{forge, image, inputs};

/// What the kernel did with one signed policy written to `new_policy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Judged {
    /// It was taken: its name and its version, as the kernel tells them.
    Accepted {
        /// The name of its folder in securityfs, with what is no UTF-8 replaced.
        name: String,
        /// `MAJOR.MINOR.REVISION`.
        version: String,
    },
    /// It was refused with this errno.
    Refused(String),
}

/// Boots once, and has the kernel judge each of these signed policies.
pub fn judge(policies: &[Vec<u8>]) -> Vec<Judged> {
    let mut row = Vec::new();
    for policy in policies {
        row.extend_from_slice(&(policy.len() as u32).to_le_bytes());
        row.extend_from_slice(policy);
    }
    let folder = image::folder();
    let disk = folder.path().join("disk.img");
    make_disk(&disk, row);
    let mut log = boot(&disk);
    if unlucky(&log) {
        eprintln!("QEMU's emulation stumbled in the early boot; booting once more");
        log = boot(&disk);
    }
    assert!(log.contains(&format!("JUDGED ALL {}\n", policies.len())), "the judge came to no end:\n{log}");
    let judged: Vec<Judged> = log.lines().filter_map(|line| judged(line.trim())).collect();
    assert_eq!(judged.len(), policies.len(), "one line for each policy:\n{log}");
    judged
}

fn boot(disk: &Path) -> String {
    let mut guest = Guest::start(&image::machine(disk));
    // Where nothing comes, what was said tells more than a word of ours.
    let _ = guest.console.wait_for_one_of(&["JUDGED ALL", "JUDGE FAILED", PANIC], BOOT);
    let _ = guest.console.wait_for_end(Duration::from_secs(30));
    guest.stop()
}

/// `JUDGED NUMBER taken VERSION NAME`, the name's bytes in hex, or `JUDGED NUMBER ERRNO`.
fn judged(line: &str) -> Option<Judged> {
    let mut words = line.strip_prefix("JUDGED ")?.split(' ');
    words.next()?.parse::<u32>().ok()?;
    match words.next()? {
        "taken" => {
            let version = words.next()?.to_owned();
            let name = graven_handoff::hex::decode(words.next()?)?;
            Some(Judged::Accepted { name: String::from_utf8_lossy(&name).into_owned(), version })
        }
        errno => Some(Judged::Refused(errno.to_owned())),
    }
}

/// A disk that is one FAT file system with a signed UKI: Debian's kernel, and the judge as its `/init`.
fn make_disk(disk: &Path, policies: Vec<u8>) {
    let kernel = inputs::kernel("binary");
    let release = release(&kernel);
    let stub = inputs::member(&inputs::stub(), "./usr/lib/systemd/boot/efi/linuxx64.efi.stub");
    let linux = inputs::member(&kernel, &format!("./usr/lib/modules/{release}/vmlinuz"));
    let mut initramfs = Initramfs::for_stage0();
    let judge = std::fs::read(env!("GRAVEN_JUDGE")).expect("the build script compiled it");
    initramfs.file("/init", 0o755, judge);
    initramfs.file("/policies", 0o444, policies);
    let unsigned = uki::build(&uki::Parts {
        stub: &stub,
        os_release: "ID=graven\n",
        cmdline: "console=ttyS0 quiet audit_backlog_limit=8192",
        uname: &release,
        initrd: &initramfs.write_compressed(Compression::Zstd).expect("the archive can be written"),
        linux: &linux,
        device_trees: uki::DeviceTrees::None,
    });
    let signer = forge::signer(image::keys());
    let signed = forge::signed(authenticode::sign(&unsigned.expect("the parts make a UKI"), &signer));
    let boot_file = disk.with_file_name("BOOTX64.EFI");
    std::fs::write(&boot_file, signed).expect("it can be written");

    let name = disk.display().to_string();
    ask("mkfs.fat", &["-C", &name, "65536"]);
    for folder in ["::/EFI", "::/EFI/BOOT"] {
        ask("mmd", &["-i", &name, folder]);
    }
    ask("mcopy", &["-i", &name, &boot_file.display().to_string(), "::/EFI/BOOT/BOOTX64.EFI"]);
}

/// The release in a kernel package's name: `linux-binary-RELEASE_VERSION_amd64.deb`.
fn release(package: &Path) -> String {
    let name = package.file_name().expect("a package has a name").to_string_lossy();
    let release = name.strip_prefix("linux-binary-").and_then(|rest| rest.split_once('_'));
    release.expect("the name has a release").0.to_owned()
}

fn ask(program: &str, arguments: &[&str]) {
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(program)
        .args(arguments)
        .env("PATH", format!("{path}:/usr/sbin:/sbin"))
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}: run tests/setup.sh"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}
