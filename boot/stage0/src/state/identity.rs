//! What is made once for each machine, and is random.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};

use graven_handoff::hex;

use super::ext4::version_4;
use super::volume::random;

/// The path whose contents are made here, not copied from the root.
pub(super) const MACHINE_ID: &str = "/etc/machine-id";

/// A new `machine-id`: 32 hexadecimal digits, a random UUID, and a newline (machine-id(5)).
pub(super) fn machine_id() -> io::Result<String> {
    Ok(format!("{}\n", hex::encode(&version_4(random()?))))
}

/// Whether these are the contents of a `machine-id`.
pub(super) fn is_machine_id(contents: &[u8]) -> bool {
    let Some(digits) = contents.strip_suffix(b"\n") else { return false };
    let hexadecimal = digits.iter().all(|digit| digit.is_ascii_digit() || (b'a'..=b'f').contains(digit));
    digits.len() == 32 && hexadecimal && digits.iter().any(|digit| *digit != b'0')
}

/// Stirs the last boot's random bytes into the kernel's pool and leaves new ones. They are not credited: whoever copies
/// the disk has them too. A boot without them is as good as the kernel's own randomness.
pub(super) fn stir(state: &str) {
    let _ = stirred(&format!("{state}/random-seed"));
}

fn stirred(path: &str) -> io::Result<()> {
    const BYTES: usize = 32;
    let no_follow = i32::try_from(rustix::fs::OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    let seed = options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let mut seed = seed.custom_flags(no_follow).open(path)?;
    if !seed.metadata()?.is_file() || seed.metadata()?.nlink() != 1 {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut before = Vec::new();
    Read::by_ref(&mut seed).take(BYTES as u64).read_to_end(&mut before)?;
    File::options().write(true).open("/dev/urandom")?.write_all(&before)?;
    seed.write_all_at(&random::<BYTES>()?, 0)?;
    seed.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_id_is_what_systemd_takes() {
        assert!(is_machine_id(machine_id().unwrap().as_bytes()));
        assert_ne!(machine_id().unwrap(), machine_id().unwrap());
        for bad in ["", "\n", "uninitialized\n", &format!("{}\n", "0".repeat(32)), &"a".repeat(33)] {
            assert!(!is_machine_id(bad.as_bytes()), "{bad:?}");
        }
        assert!(!is_machine_id(format!("{}\n", "A".repeat(32)).as_bytes()));
    }
}
