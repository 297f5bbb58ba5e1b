//! The machine itself: its disks, its boot, and the records that it answers with.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use graven_boot::compression;
use graven_boot::initramfs::Initramfs;
use graven_boot::kernel::Builtin;
use graven_boot::modules::{Folder, Wanted, closure};
use graven_boot::pkcs7;
use graven_boot::x509::Certificate;
use graven_ipe::{Hook, Op};
use graven_verity::hash;

use super::site::Site;
use super::{Decision, Tried};
use crate::guest::{BOOT, Guest};
use crate::refusal::{PANIC, unlucky};
use crate::{audit, bare, forge, image, inputs, oracle};

/// Everything is recorded, and nothing of it lost.
pub(super) const COMMAND_LINE: &str = "console=ttyS0 quiet audit_backlog_limit=8192 ipe.success_audit=1";
/// What the guest loads before the first policy.
const MODULES: [&str; 7] = ["virtio_blk", "dm_verity", "erofs", "ext4", "overlay", "loop", "test_firmware"];
/// Bytes that the state's disk has, and the one that the answer is written to.
const STATE_BYTES: u64 = 64 << 20;
const ANSWER_BYTES: u64 = 64 << 20;
/// How long one policy may take.
const POLICY: Duration = Duration::from_secs(60);

/// What is attached, in this order; the last one of `more` becomes the state.
pub(super) struct Disks {
    pub(super) boot: PathBuf,
    pub(super) more: Vec<PathBuf>,
    pub(super) answer: PathBuf,
}

/// Boots once and has the kernel decide by each of these policies, texts; the last once more, permissive.
pub fn decide(site: &Site, folder: &Path, policies: &[String]) -> Vec<Tried> {
    let more = ["signed", "unsigned", "state"].map(|name| folder.join(name));
    std::fs::write(&more[0], &site.signed.bytes).expect("the folder takes files");
    std::fs::write(&more[1], &site.unsigned.bytes).expect("the folder takes files");
    let boot = folder.join("boot");
    bare::disk(&boot, &initramfs(site, policies), COMMAND_LINE);
    let disks = Disks { boot, more: more.to_vec(), answer: folder.join("answer") };
    let within = POLICY * u32::try_from(policies.len()).expect("they are few");
    tried(&run(&disks, &format!("DECIDED ALL {}", policies.len()), within))
}

/// Boots until the console shows `end`, and answers what was written to the last disk.
pub(super) fn run(disks: &Disks, end: &str, within: Duration) -> String {
    let state = disks.more.last().expect("there is a state");
    let mut log = String::new();
    for _ in 0..2 {
        sparse(state, STATE_BYTES);
        let name = state.display().to_string();
        oracle::content("/usr/sbin/mke2fs", ["-q", "-F", "-t", "ext4", "-b", "4096", "-O", "verity", &name]);
        sparse(&disks.answer, ANSWER_BYTES);
        log = boot(disks, end, within);
        if !unlucky(&log) {
            break;
        }
        eprintln!("QEMU's emulation stumbled in the early boot; booting once more");
    }
    assert!(log.contains(&format!("{end}\n")), "the machine came to no end:\n{log}");
    let bytes = std::fs::read(&disks.answer).expect("it was written");
    let written = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let text = String::from_utf8_lossy(&bytes[..written]).into_owned();
    assert!(text.ends_with("LOST 0\n"), "records were lost: {:?}", text.lines().last());
    text
}

fn sparse(path: &Path, bytes: u64) {
    File::create(path).and_then(|file| file.set_len(bytes)).expect("the folder takes files");
}

fn boot(disks: &Disks, end: &str, within: Duration) -> String {
    let drive = format!("if=none,id=answer,format=raw,file={}", disks.answer.display());
    let machine = disks.more.iter().fold(image::machine(&disks.boot), |machine, disk| machine.disk(disk));
    let machine = machine.arguments(["-drive", &drive, "-device", "virtio-blk-pci,drive=answer"]);
    let mut guest = Guest::start(&machine);
    // Where nothing comes, what was said tells more than a word of ours.
    let _ = guest.console.wait_for_one_of(&[end, "DECIDE FAILED", PANIC], BOOT + within);
    let _ = guest.console.wait_for_end(Duration::from_secs(30));
    guest.stop()
}

fn initramfs(site: &Site, policies: &[String]) -> Initramfs {
    let signer = forge::signer(image::keys());
    let mut initramfs = Initramfs::for_stage0();
    let init = std::fs::read(env!("GRAVEN_DECIDE")).expect("the build script compiled it");
    initramfs.file("/init", 0o755, init);
    add_modules(&mut initramfs, &MODULES);
    for folder in ["/place", "/verity", "/signatures"] {
        initramfs.directory(folder, 0o755);
    }
    for (name, contents) in &site.files {
        initramfs.file(&format!("/place/{name}"), 0o755, contents.clone());
        let digest = site.fsverity(name, hash::Algorithm::Sha256);
        let signature = forge::signed(pkcs7::sign_fsverity(hash::Algorithm::Sha256, &digest, &signer));
        initramfs.file(&format!("/signatures/{name}"), 0o444, signature);
    }
    let pem = std::fs::read(image::keys().join("db.crt")).expect("the keys have a db certificate");
    let certificate = Certificate::read_all(&pem).expect("it is a certificate").remove(0);
    initramfs.file("/certificate.der", 0o444, certificate.der().to_vec());

    let (signed, unsigned) = (&site.signed, &site.unsigned);
    let root_hash = signed.root_hash.to_string();
    let signature = forge::signed(pkcs7::sign_root_hash(&root_hash, &signer));
    initramfs.file("/verity/signature", 0o444, signature);
    let table = signed.table("/dev/vdb", Some("signed")).to_string();
    initramfs.file("/verity/signed", 0o444, table);
    let table = unsigned.table("/dev/vdc", None).to_string();
    initramfs.file("/verity/unsigned", 0o444, table);
    let linear = format!("0 {} linear /dev/dm-2 0", signed.data_bytes / 512);
    initramfs.file("/verity/linear", 0o444, linear);
    initramfs.file("/image.erofs", 0o444, signed.bytes[..signed.data_bytes].to_vec());

    let sign = |text: &String| forge::signed(pkcs7::sign_policy(text.as_bytes(), &signer));
    let policies: Vec<Vec<u8>> = policies.iter().map(sign).collect();
    initramfs.file("/policies", 0o444, bare::row(&policies));
    initramfs
}

/// Puts these modules into `/modules`, each after those that it needs, as the kernel takes them.
pub(super) fn add_modules(initramfs: &mut Initramfs, names: &[&str]) {
    let folder = image::folder();
    let package = inputs::kernel("modules");
    oracle::content("dpkg-deb", ["-x".into(), package, folder.path().to_owned()]);
    let files = Folder::open(folder.path()).expect("it was unpacked");
    let wanted: Vec<Wanted> = names.iter().map(|name| Wanted::required(name, "a test")).collect();
    let modules = closure(&files, &Builtin::default(), &wanted).expect("Debian's modules go together");
    initramfs.directory("/modules", 0o755);
    for (number, module) in modules.iter().enumerate() {
        let plain = compression::decompress(&module.bytes, 64 << 20).expect("it is compressed");
        initramfs.file(&format!("/modules/{number}.ko"), 0o444, plain);
    }
}

/// What the guest wrote.
fn tried(text: &str) -> Vec<Tried> {
    let mut all: Vec<Tried> = Vec::new();
    let mut at = (0, true);
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["POLICY", number, enforcing] => {
                at = (number.parse().expect("it is a number"), enforcing == "1");
            }
            ["TRIED", place, way, result] => all.push(Tried {
                policy: at.0,
                enforcing: at.1,
                place: place.to_owned(),
                way: way.to_owned(),
                result: result.to_owned(),
                decisions: Vec::new(),
            }),
            _ => {
                if let Some((enforcing, decision)) = decision(line) {
                    let tried = all.last_mut().expect("nothing is asked before something is tried");
                    assert_eq!(enforcing, tried.enforcing, "{line}");
                    tried.decisions.push(decision);
                }
            }
        }
    }
    all
}

/// What a line records of the policy's, and whether it was enforced.
pub(super) fn decision(line: &str) -> Option<(bool, Decision)> {
    let record = audit::records(line).into_iter().find(|record| record.kind == audit::IPE_ACCESS)?;
    let decision = Decision {
        op: Op::from_name(record.get("ipe_op").as_bytes()).expect("the kernel's operations are ours"),
        hook: Hook::from_name(record.get("ipe_hook")).expect("the kernel's hooks are ours"),
        path: record.get("path").to_owned(),
        rule: record.get("rule").to_owned(),
    };
    Some((record.get("enforcing") == "1", decision))
}
