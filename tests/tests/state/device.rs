//! A machine with an image of `tests/recipes/state` on a disk of its own.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use graven::run::Machine;
use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;
use graven_tests::{image, inputs, oracle};

pub(crate) const PROMPT: &str = "minimal# ";
const MIB: u64 = 1 << 20;

pub(crate) fn built(on: Emulated) -> &'static Path {
    static IMAGES: [OnceLock<PathBuf>; 2] = [const { OnceLock::new() }; 2];
    IMAGES[on as usize].get_or_init(|| {
        image::shared(&format!("state-{}", on.target()), |out| build(out, &["--target", on.target()]))
    })
}

/// Builds it in another way.
pub(crate) fn build(out: &Path, more: &[&str]) {
    image::build(&inputs::project().join("tests/recipes/state"), out, more);
}

/// A disk onto which the image was written, and its machine.
pub(crate) struct Device {
    folder: tempfile::TempDir,
    on: Emulated,
}

impl Device {
    /// On a disk that is larger by so many MiB.
    pub(crate) fn new(on: Emulated, larger: u64) -> Self {
        Self::of(built(on), on, larger)
    }

    /// With another image.
    pub(crate) fn of(out: &Path, on: Emulated, larger: u64) -> Self {
        let device = Self { folder: image::folder(), on };
        let copied = std::fs::copy(out.join(graven::deliver::DISK), device.disk()).unwrap();
        File::options().write(true).open(device.disk()).unwrap().set_len(copied + larger * MIB).unwrap();
        device
    }

    /// Another one with everything that this one's disk has on it.
    #[cfg(feature = "full")]
    pub(crate) fn twin(&self) -> Self {
        let twin = Self { folder: image::folder(), on: self.on };
        oracle::content("cp", ["--sparse=always".into(), self.disk(), twin.disk()]);
        twin
    }

    pub(crate) fn disk(&self) -> PathBuf {
        self.folder.path().join("disk.img")
    }

    pub(crate) fn machine(&self) -> Machine {
        image::machine(&self.disk()).platform(self.on.platform()).writable()
    }

    pub(crate) fn boot(&self) -> Guest {
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
    pub(crate) fn with_state(&self, change: impl FnOnce(&Path)) {
        let (offset, len) = self.state();
        let mut disk = File::options().read(true).write(true).open(self.disk()).unwrap();
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        disk.seek(SeekFrom::Start(offset)).unwrap();
        disk.read_exact(&mut bytes).unwrap();
        let copy = self.folder.path().join("state.ext4");
        std::fs::write(&copy, &bytes).unwrap();
        change(&copy);
        disk.seek(SeekFrom::Start(offset)).unwrap();
        disk.write_all(&std::fs::read(&copy).unwrap()).unwrap();
    }

    /// What `e2fsck` says of the state, which must be content.
    pub(crate) fn check(&self) {
        self.with_state(|state| {
            oracle::content("e2fsck", ["-f", "-n", &state.display().to_string()]);
        });
    }
}

/// Ends the machine in order, everything on the disk.
pub(crate) fn power_off(mut guest: Guest) -> String {
    guest.console.send_line("sync; poweroff -f");
    guest.expect_end(graven_tests::guest::COMMAND)
}
