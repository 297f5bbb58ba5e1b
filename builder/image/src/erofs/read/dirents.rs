//! One block of a directory.

use zerocopy::FromBytes;

use super::super::format::Dirent;

/// An entry as it stands there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry<'b> {
    pub(super) name: &'b [u8],
    pub(super) nid: u64,
    pub(super) file_type: u8,
}

/// The entries of a block, cut to its used part. What names they have is the caller's to judge.
pub(super) fn entries(block: &[u8]) -> Result<Vec<Entry<'_>>, &'static str> {
    const NONE: &str = "it is too short for an entry";
    let (first, _) = Dirent::ref_from_prefix(block).map_err(|_| NONE)?;
    let names_at = usize::from(first.nameoff.get());
    let count = names_at.checked_div(size_of::<Dirent>()).unwrap_or_default();
    if count == 0 || names_at.checked_rem(size_of::<Dirent>()) != Some(0) {
        return Err("the first name does not begin behind the entries");
    }
    let (dirents, _) =
        <[Dirent]>::ref_from_prefix_with_elems(block, count).map_err(|_| "its entries go beyond its end")?;
    let starts = dirents.iter().map(|dirent| usize::from(dirent.nameoff.get()));
    let ends = starts.clone().skip(1).map(Some).chain([None]);
    let mut entries = Vec::with_capacity(count);
    for ((dirent, start), end) in dirents.iter().zip(starts).zip(ends) {
        let name = match end {
            Some(end) => block.get(start..end),
            // The last one ends with the block or at a NUL.
            None => block.get(start..).and_then(|rest| rest.split(|byte| *byte == 0).next()),
        };
        let name = name.ok_or("a name lies before the one before it or beyond the block")?;
        entries.push(Entry { name, nid: dirent.nid.get(), file_type: dirent.file_type });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dirent(nameoff: u16) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[0] = 7;
        bytes[8..10].copy_from_slice(&nameoff.to_le_bytes());
        bytes[10] = 1;
        bytes
    }

    #[test]
    fn names_end_at_the_next_at_nul_or_with_the_block() {
        let two = [&dirent(24)[..], &dirent(26), b"abcd"].concat();
        let names = |block: &[u8]| -> Vec<Vec<u8>> {
            entries(block).unwrap().iter().map(|entry| entry.name.to_vec()).collect()
        };
        assert_eq!(names(&two), [b"ab".to_vec(), b"cd".to_vec()]);
        assert_eq!(names(&[&two[..], b"\0\0"].concat()), [b"ab".to_vec(), b"cd".to_vec()]);
    }

    #[test]
    fn hostile_blocks_are_refused() {
        for block in [
            b"".to_vec(),
            dirent(0).to_vec(),
            dirent(13).to_vec(),
            dirent(24).to_vec(),
            [&dirent(24)[..], &dirent(23), b"abcd"].concat(),
            [&dirent(24)[..], &dirent(99), b"abcd"].concat(),
        ] {
            assert!(entries(&block).is_err(), "{block:?}");
        }
    }
}
