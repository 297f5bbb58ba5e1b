//! A directory block: entries one after the other, deleted ones among them.

use super::Bytes;

/// A name and its inode.
pub(super) struct Entry<'b> {
    pub(super) number: u32,
    pub(super) name: &'b [u8],
}

/// The entries of a block that are in use. A checksum at its end, and an index of hashes, look like unused ones.
pub(super) fn entries(mut block: &[u8]) -> Result<Vec<Entry<'_>>, &'static str> {
    const HEAD: usize = 8;
    let mut entries = Vec::new();
    while !block.is_empty() {
        let bytes = Bytes(block);
        let (number, len, name) = (bytes.u32(0), usize::from(bytes.u16(4)), usize::from(bytes.u8(6)));
        let (whole, rest) = block.split_at_checked(len).ok_or("a directory entry goes beyond its block")?;
        if len < HEAD || !len.is_multiple_of(4) {
            return Err("a directory entry has no possible length");
        }
        if number != 0 {
            let name = whole.get(HEAD..HEAD.saturating_add(name)).ok_or("a name goes beyond its entry")?;
            entries.push(Entry { number, name });
        }
        block = rest;
    }
    Ok(entries)
}
