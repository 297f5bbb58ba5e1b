//! Writing without touching what is below.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::sync::{PoisonError, RwLock};

use super::{ReadAt, WriteAt};

/// Bytes that are kept together.
const PAGE: u64 = 4096;

/// A source that is only read, and what was written over it, which stays in memory: for trying out what a repair would do.
pub struct Overlay<T> {
    below: T,
    /// By number; the last one may reach past the end of what is below.
    pages: RwLock<BTreeMap<u64, Vec<u8>>>,
}

impl<T: ReadAt> Overlay<T> {
    /// Nothing is written yet.
    pub fn new(below: T) -> Self {
        Self { below, pages: RwLock::default() }
    }

    /// How many bytes differ from those below.
    ///
    /// # Errors
    /// Those of reading what is below.
    pub fn changed_bytes(&self) -> io::Result<u64> {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        let mut changed = 0;
        for (number, page) in &*pages {
            let before = self.page_below(*number)?;
            changed += page.iter().zip(&before).filter(|(now, before)| now != before).count() as u64;
        }
        Ok(changed)
    }

    /// A page as it is below, zeros past the end.
    fn page_below(&self, number: u64) -> io::Result<Vec<u8>> {
        let mut page = vec![0; PAGE as usize];
        let start = number * PAGE;
        let there = self.below.size()?.saturating_sub(start).min(PAGE) as usize;
        self.below.read_exact_at(&mut page[..there], start)?;
        Ok(page)
    }
}

impl<T: ReadAt> ReadAt for Overlay<T> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.below.read_exact_at(buf, offset)?;
        let Some(last) = (offset + buf.len() as u64).checked_sub(1) else { return Ok(()) };
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        for (number, page) in pages.range(offset / PAGE..=last / PAGE) {
            let start = number * PAGE;
            let (from, to) = (start.max(offset), (start + PAGE).min(last + 1));
            buf[(from - offset) as usize..(to - offset) as usize]
                .copy_from_slice(&page[(from - start) as usize..(to - start) as usize]);
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.below.size()
    }
}

impl<T: ReadAt> WriteAt for Overlay<T> {
    /// Fails past the end of what is below, as a device does.
    fn write_all_at(&self, mut buf: &[u8], mut offset: u64) -> io::Result<()> {
        let size = self.below.size()?;
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > size) {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        while !buf.is_empty() {
            let (number, place) = (offset / PAGE, (offset % PAGE) as usize);
            let (now, later) = buf.split_at(buf.len().min(PAGE as usize - place));
            let page = match pages.entry(number) {
                Entry::Occupied(page) => page.into_mut(),
                Entry::Vacant(new) => new.insert(self.page_below(number)?),
            };
            page[place..place + now.len()].copy_from_slice(now);
            (buf, offset) = (later, offset + now.len() as u64);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_nothing_below_changes() {
        let below: Vec<u8> = (0..10_000).map(|i| (i % 251) as u8).collect();
        let overlay = Overlay::new(&below);
        let mut expected = below.clone();
        for (offset, bytes) in [(0, vec![1; 3]), (4090, vec![2; 12]), (4095, vec![3; 4200]), (9_999, vec![4])]
        {
            overlay.write_all_at(&bytes, offset as u64).unwrap();
            expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        for (start, end) in [(0, 10_000), (1, 2), (4000, 4100), (8191, 8193), (9_999, 10_000), (7, 7)] {
            let mut read = vec![0; end - start];
            overlay.read_exact_at(&mut read, start as u64).unwrap();
            assert_eq!(read, expected[start..end]);
        }
        let changed = expected.iter().zip(&below).filter(|(now, before)| now != before).count();
        assert_eq!(overlay.changed_bytes().unwrap(), changed as u64);
        assert!(overlay.write_all_at(&[0; 2], 9_999).is_err());
        assert!(overlay.read_exact_at(&mut [0; 2], 9_999).is_err());
    }
}
