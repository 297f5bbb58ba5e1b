//! The block map that bmaptool copies by (its format 2.0): which blocks must be written, each stretch with its SHA-256.
//!
//! A block of zeros is left out only where no proof covers it: what it is not told to write, bmaptool leaves on the target as
//! it was.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;

use sha2::{Digest as _, Sha256};

use super::{Disk, pieces};

const BLOCK: u64 = 4096;
/// A stretch that ends here at the latest: bmaptool checks a stretch before it goes on.
const LONGEST: u64 = (64 << 20) / BLOCK;

pub(super) fn write(disk: &Disk<'_>, out: &mut File) -> io::Result<()> {
    let map = render(disk)?;
    // The file's own digest is taken with zeros in its place.
    let none = "0".repeat(64);
    let digest = hex(&Sha256::digest(&map));
    out.write_all(map.replacen(&none, &digest, 1).as_bytes())
}

fn render(disk: &Disk<'_>) -> io::Result<String> {
    let blocks = disk.len.div_ceil(BLOCK);
    let ranges = mapped(disk)?;
    let mapped: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let mut text = format!(
        "<?xml version=\"1.0\" ?>\n<bmap version=\"2.0\">\n    <ImageSize> {} </ImageSize>\n    \
         <BlockSize> {BLOCK} </BlockSize>\n    <BlocksCount> {blocks} </BlocksCount>\n    \
         <MappedBlocksCount> {mapped} </MappedBlocksCount>\n    <ChecksumType> sha256 </ChecksumType>\n    \
         <BmapFileChecksum> {} </BmapFileChecksum>\n    <BlockMap>\n",
        disk.len,
        "0".repeat(64)
    );
    for range in &ranges {
        let digest = hex(&digest(disk, range)?);
        let _ = match range.end - range.start {
            1 => writeln!(text, "        <Range chksum=\"{digest}\"> {} </Range>", range.start),
            _ => writeln!(
                text,
                "        <Range chksum=\"{digest}\"> {}-{} </Range>",
                range.start,
                range.end - 1
            ),
        };
    }
    text.push_str("    </BlockMap>\n</bmap>\n");
    Ok(text)
}

/// The stretches that must be written, in blocks.
fn mapped(disk: &Disk<'_>) -> io::Result<Vec<Range<u64>>> {
    let mut all: Vec<Range<u64>> =
        disk.covered.iter().map(|range| range.start / BLOCK..range.end.div_ceil(BLOCK)).collect();
    pieces(disk, BLOCK as usize, &mut |block, _| {
        match all.last_mut() {
            Some(last) if last.end == block => last.end += 1,
            _ => all.push(block..block + 1),
        }
        Ok(())
    })?;
    all.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in all {
        match joined.last_mut() {
            Some(last) if last.end >= range.start => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    let cut = |range: Range<u64>| {
        let end = range.end;
        range.step_by(LONGEST as usize).map(move |start| start..(start + LONGEST).min(end))
    };
    Ok(joined.into_iter().flat_map(cut).collect())
}

fn digest(disk: &Disk<'_>, range: &Range<u64>) -> io::Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let mut buf = vec![0; 1 << 20];
    let end = (range.end * BLOCK).min(disk.len);
    let mut at = range.start * BLOCK;
    while at < end {
        let len = buf.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        disk.bytes.read_exact_at(&mut buf[..len], at)?;
        hash.update(&buf[..len]);
        at += len as u64;
    }
    Ok(hash.finalize().into())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
