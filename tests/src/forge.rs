//! What an attacker does to an image: takes a copy of a disk apart and puts it together again with changes, as it was
//! signed or signed again with a key that the machine trusts.

mod addon;
mod boot;
pub mod fit;
mod root;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use graven_boot::sign::{Answer, FileSigner};
use graven_image::fat;
use graven_image::gpt::{Partition, Table};
use graven_verity::io::Window;

pub use addon::addon;
pub use boot::BootParts;
pub use root::INIT;

/// Where the firmware looks for the boot artefact.
pub const BOOT_FILE: &str = "EFI/BOOT/BOOTX64.EFI";
/// Where U-Boot does.
pub const FIT_FILE: &str = "boot.itb";

/// The partitions of an image of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// EFI system partition.
    Esp,
    /// Root file system.
    Root,
    /// Superblock and hash tree.
    Verity,
    /// Root hash signature.
    Signature,
    /// The first volume's file system, in an image with one slot.
    Volume,
    /// Its superblock and hash tree.
    VolumeVerity,
    /// Its root hash signature.
    VolumeSignature,
    /// The second volume's file system.
    OtherVolume,
    /// Its superblock and hash tree.
    OtherVolumeVerity,
    /// Its root hash signature.
    OtherVolumeSignature,
}

/// A copy of an image's disk, to be changed. It is gone when this is dropped.
#[derive(Debug)]
pub struct Forgery {
    _folder: tempfile::TempDir,
    path: PathBuf,
    disk: Arc<File>,
    table: Table,
}

impl Forgery {
    /// A copy of the disk in this output folder.
    pub fn of(out: &Path) -> Self {
        let folder = crate::image::folder();
        let path = folder.path().join(graven::deliver::DISK);
        copy_sparse(&out.join(graven::deliver::DISK), &path);
        let disk = File::options().read(true).write(true).open(&path).expect("the copy can be opened");
        let disk = Arc::new(disk);
        let table = Table::read(&disk).expect("the image has a partition table");
        Self { _folder: folder, path, disk, table }
    }

    /// The changed disk.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A partition's place.
    pub fn place(&self, part: Part) -> &Partition {
        // The builder's order: ESP, each slot's three, each volume's three.
        &self.table.partitions[part as usize]
    }

    /// A partition's bytes.
    pub fn partition(&self, part: Part) -> Window<Arc<File>> {
        let place = self.place(part);
        Window::new(Arc::clone(&self.disk), place.start, place.len)
    }

    /// Reads from a partition.
    pub fn read(&self, part: Part, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.disk.read_exact_at(&mut bytes, self.place(part).start + offset).expect("the disk can be read");
        bytes
    }

    /// Writes into a partition.
    pub fn write(&self, part: Part, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= self.place(part).len, "{part:?} ends before that");
        self.disk.write_all_at(bytes, self.place(part).start + offset).expect("the disk can be written");
    }

    /// Changes one bit of a byte of a partition.
    pub fn flip(&self, part: Part, offset: u64) {
        let byte = self.read(part, offset, 1)[0];
        self.write(part, offset, &[byte ^ 1]);
    }

    /// The only place in a partition where these bytes stand.
    pub fn find(&self, part: Part, needle: &[u8]) -> u64 {
        let length = usize::try_from(self.place(part).len).expect("a partition fits into memory");
        let bytes = self.read(part, 0, length);
        let mut found = bytes.windows(needle.len()).enumerate().filter(|(_, window)| *window == needle);
        let (first, _) = found.next().unwrap_or_else(|| panic!("{part:?} does not hold {needle:?}"));
        assert!(found.next().is_none(), "{needle:?} is there twice");
        first as u64
    }

    /// Gives the partitions other GUIDs: each pair is a part and its new one.
    pub fn rename(&mut self, names: &[(Part, uuid::Uuid)]) {
        for (part, guid) in names {
            self.table.partitions[*part as usize].guid = *guid;
        }
        self.table.write(&*self.disk).expect("the table can be written");
    }

    /// A file of the EFI system partition.
    pub fn esp_file(&self, path: &str) -> Vec<u8> {
        let esp = fat::Reader::open(self.partition(Part::Esp)).expect("the ESP can be read");
        let entry = esp.find(path).unwrap_or_else(|| panic!("the ESP has no {path}"));
        esp.read(entry).expect("it can be read")
    }

    fn has_esp_file(&self, path: &str) -> bool {
        let esp = fat::Reader::open(self.partition(Part::Esp)).expect("the ESP can be read");
        esp.find(path).is_some()
    }

    /// Puts a file onto the EFI system partition, in place of one that is there.
    pub fn put_esp_file(&self, path: &str, contents: &[u8]) {
        let source = tempfile::NamedTempFile::new().expect("a temporary file can be made");
        std::fs::write(source.path(), contents).expect("it can be written");
        let esp = format!("{}@@{}", self.path.display(), self.place(Part::Esp).start);
        for (end, _) in path.match_indices('/') {
            // The folder may be there; `mcopy` says so if it is not.
            let _ = mtools("mmd", &["-D", "s", "-i", &esp, &format!("::/{}", &path[..end])]);
        }
        let source = source.path().display().to_string();
        let (good, said) = mtools("mcopy", &["-o", "-i", &esp, &source, &format!("::/{path}")]);
        assert!(good, "mcopy {path}: {said}");
    }
}

/// A signer with the `db` key of this folder.
pub fn signer(keys: &Path) -> FileSigner {
    signer_of(keys, "db")
}

/// A signer with another key of this folder, such as `policy`.
pub fn signer_of(keys: &Path, role: &str) -> FileSigner {
    let files = [keys.join(format!("{role}.key")), keys.join(format!("{role}.crt"))];
    FileSigner::load(&files[0], &files[1]).expect("the keys can be read")
}

/// A signature that a key at hand gives at once.
pub fn signed<E: std::fmt::Display>(answer: Result<Answer, E>) -> Vec<u8> {
    match answer {
        Ok(Answer::Signed(bytes)) => bytes,
        Ok(Answer::Pending(request)) => panic!("a file signer answers at once, not {request:?}"),
        Err(error) => panic!("{error}"),
    }
}

fn copy_sparse(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("--sparse=always").args([from, to]).status();
    assert!(status.expect("cp can be started").success(), "cp {} {}", from.display(), to.display());
}

fn mtools(program: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = Command::new(program);
    command.args(arguments).env("MTOOLS_SKIP_CHECK", "1").stdin(std::process::Stdio::null());
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}: run tests/setup.sh"));
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}
