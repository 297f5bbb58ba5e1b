//! Data to hash and a place in memory to write to.
#![allow(dead_code, reason = "not every test uses all of it")]

use std::io;
use std::sync::Mutex;

use graven_verity::io::WriteAt;

/// The first `len` bytes of the vectors' data.
pub(crate) fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (7 * i + 13 * (i >> 8) + 29 * (i >> 16)) as u8).collect()
}

/// Grows as it is written; refuses to be written twice at one place.
#[derive(Default)]
pub(crate) struct Memory(Mutex<(Vec<u8>, Vec<bool>)>);

impl Memory {
    /// What was written. Every byte must have been.
    pub(crate) fn into_bytes(self) -> Vec<u8> {
        let (bytes, written) = self.0.into_inner().expect("no writer panics");
        assert!(written.iter().all(|written| *written), "left a gap");
        bytes
    }
}

impl WriteAt for Memory {
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let (bytes, written) = &mut *self.0.lock().expect("no writer panics");
        let range = offset as usize..offset as usize + buf.len();
        if bytes.len() < range.end {
            bytes.resize(range.end, 0);
            written.resize(range.end, false);
        }
        assert!(!written[range.clone()].contains(&true), "wrote {range:?} twice");
        written[range.clone()].fill(true);
        bytes[range].copy_from_slice(buf);
        Ok(())
    }
}
