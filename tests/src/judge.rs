//! A machine in which the kernel judges policies: Debian's, with [`image::keys`]' db certificate in its platform keyring.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use graven_boot::compression::Compression;
use graven_boot::initramfs::Initramfs;
use graven_boot::x509::Certificate;

use crate::guest::{BOOT, Guest};
use crate::refusal::{PANIC, unlucky};
use crate::{bare, image, inputs};

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
    judge_trusting(policies, &[])
}

/// The same where db holds more certificates than that of [`image::keys`].
pub fn judge_trusting(policies: &[Vec<u8>], more: &[Certificate]) -> Vec<Judged> {
    let folder = image::folder();
    let disk = folder.path().join("disk.img");
    let initramfs = initramfs(policies, env!("GRAVEN_JUDGE"));
    bare::disk(&disk, &initramfs, "console=ttyS0 quiet audit_backlog_limit=8192");
    let mut log = boot(&disk, more);
    if unlucky(&log) {
        eprintln!("QEMU's emulation stumbled in the early boot; booting once more");
        log = boot(&disk, more);
    }
    judgements(policies, &log)
}

/// The same by the kernel of `tests/kernels/ml-dsa.config`, which is started without firmware and trusts one certificate.
pub fn judge_ml_dsa(policies: &[Vec<u8>]) -> Vec<Judged> {
    let folder = image::folder();
    let file = folder.path().join("initramfs");
    let initramfs = initramfs(policies, env!("GRAVEN_JUDGE_ARM64"));
    std::fs::write(&file, initramfs.write_compressed(Compression::Gzip).expect("it can be written"))
        .expect("the folder takes files");
    let output = Command::new("timeout")
        .args([
            "300",
            "qemu-system-aarch64",
            "-machine",
            "virt",
            "-cpu",
            "cortex-a72",
            "-m",
            "512",
            "-net",
            "none",
        ])
        .args(["-nographic", "-no-reboot", "-append", "console=ttyAMA0 quiet", "-kernel"])
        .arg(inputs::ml_dsa_kernel())
        .arg("-initrd")
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("QEMU can be started");
    judgements(policies, &String::from_utf8_lossy(&output.stdout).replace('\r', ""))
}

fn initramfs(policies: &[Vec<u8>], judge: &str) -> Initramfs {
    let mut initramfs = Initramfs::for_stage0();
    let judge = std::fs::read(judge).expect("the build script compiled it");
    initramfs.file("/init", 0o755, judge);
    initramfs.file("/policies", 0o444, bare::row(policies));
    initramfs
}

fn judgements(policies: &[Vec<u8>], log: &str) -> Vec<Judged> {
    assert!(log.contains(&format!("JUDGED ALL {}\n", policies.len())), "the judge came to no end:\n{log}");
    let judged: Vec<Judged> = log.lines().filter_map(|line| judged(line.trim())).collect();
    assert_eq!(judged.len(), policies.len(), "one line for each policy:\n{log}");
    judged
}

fn boot(disk: &Path, more: &[Certificate]) -> String {
    let mut guest = Guest::start(&image::machine_trusting_also(disk, more));
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
