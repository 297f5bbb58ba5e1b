//! The block map that bmaptool copies by (its format 2.0): which blocks must be written, each stretch with its SHA-256.
//!
//! A block of zeros is left out only where no proof covers it: what it is not told to write, bmaptool leaves on the target as
//! it was.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Write as _};
use std::ops::Range;

use graven_verity::hash::Algorithm;

use super::{Disk, pieces};

const BLOCK: u64 = 4096;
/// A stretch that ends here at the latest: bmaptool checks a stretch before it goes on.
const LONGEST: u64 = (16 << 20) / BLOCK;

pub(super) fn write(disk: &Disk<'_>, out: &mut File) -> io::Result<()> {
    let map = render(disk)?;
    // The file's own digest is taken with zeros in its place.
    let none = "0".repeat(64);
    let digest = Algorithm::Sha256.digest(map.as_bytes()).to_string();
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
        let digest = digest(disk, range)?;
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

/// SHA-256 of a stretch, in hexadecimal.
fn digest(disk: &Disk<'_>, range: &Range<u64>) -> io::Result<String> {
    let start = range.start * BLOCK;
    let len = (range.end * BLOCK).min(disk.len) - start;
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    disk.bytes.read_exact_at(&mut bytes, start)?;
    Ok(Algorithm::Sha256.digest(&bytes).to_string())
}
