//! An image's own policy over an image's own files: what the kernel says to each, on its root and as a copy on the state.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use graven_boot::initramfs::Initramfs;
use graven_handoff::VerityDevices;
use graven_ipe::Policy;
use graven_verify::Contents;

use super::Decision;
use super::machine::{self, Disks};
use crate::bare;

/// How long all files may take.
const FILES: Duration = Duration::from_secs(600);

/// How the kernel is asked about a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// `AT_EXECVE_CHECK`, as an interpreter would; the file needs an exec bit.
    Check,
    /// An executable mapping, as the loader of a program's libraries would.
    Map,
}

/// What the kernel said to one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// `root` or `state`.
    pub place: String,
    /// The file's path on the root.
    pub path: String,
    /// `0`, or an errno's name.
    pub result: String,
    /// What the kernel recorded.
    pub decisions: Vec<Decision>,
}

/// Boots once with the image of this output folder as a disk, opens its root by its signed root hash, makes its policy the
/// active one and asks.
pub fn agree(out: &Path, folder: &Path, files: &[(Question, String)]) -> Vec<Answer> {
    let disk = out.join(graven::deliver::DISK);
    let boot = folder.join("boot");
    bare::disk(&boot, &initramfs(&disk, files), machine::COMMAND_LINE);
    let disks = Disks { boot, more: vec![disk, folder.join("state")], answer: folder.join("answer") };
    let text = machine::run(&disks, &format!("ASKED ALL {}", files.len()), FILES);
    let mut answers: Vec<Answer> = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("TRIED ").map(|rest| rest.splitn(2, ' ').collect::<Vec<_>>()).as_deref() {
            Some([place, rest]) => {
                let (path, result) = rest.rsplit_once(' ').expect("a result stands last");
                answers.push(Answer {
                    place: (*place).to_owned(),
                    path: path.to_owned(),
                    result: result.to_owned(),
                    decisions: Vec::new(),
                });
            }
            _ => {
                if let Some((true, decision)) = machine::decision(line) {
                    answers.last_mut().expect("nothing is asked before").decisions.push(decision);
                }
            }
        }
    }
    answers
}

fn initramfs(disk: &Path, files: &[(Question, String)]) -> Initramfs {
    let image = Arc::new(std::fs::File::open(disk).expect("the image is there"));
    let contents = Contents::open(image).expect("it is an image");
    let boot = contents.boot().expect("it has a boot artefact");
    let layout = contents.layout();
    let node = |partition: &graven_image::gpt::Partition| {
        let at = layout.table.partitions.iter().position(|one| one == partition);
        format!("/dev/vdb{}", at.expect("it is in the table") + 1)
    };
    let (data, hash) = (node(&layout.root), node(&layout.verity));
    let verity = &boot.plan.root.verity;
    let devices = VerityDevices { data: &data, hash: &hash, fec: &hash };
    let table = format!(
        "0 {} verity {}",
        verity.data_sectors().expect("it has blocks"),
        verity.table(&boot.binding.root_hash, devices, "root")
    );
    let policy = Policy::load(&boot.policy).expect("the kernel takes it");
    let lines: String = files
        .iter()
        .map(|(question, path)| match question {
            Question::Check => format!("check {path}\n"),
            Question::Map => format!("mmap {path}\n"),
        })
        .collect();

    let mut initramfs = Initramfs::for_stage0();
    let init = std::fs::read(env!("GRAVEN_AGREE")).expect("the build script compiled it");
    initramfs.file("/init", 0o755, init);
    machine::add_modules(&mut initramfs, &["virtio_blk", "dm_verity", "erofs", "ext4"]);
    initramfs.directory("/verity", 0o755);
    let signature = contents.root_signature().expect("the root hash is signed").message;
    initramfs.file("/verity/signature", 0o444, signature);
    initramfs.file("/verity/root", 0o444, table);
    initramfs.file("/policy", 0o444, boot.signed_policy.clone());
    initramfs.file("/policy-name", 0o444, policy.name().to_string());
    initramfs.file("/paths", 0o444, lines);
    initramfs
}
