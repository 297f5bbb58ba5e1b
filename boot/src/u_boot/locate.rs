//! Finding U-Boots in firmware: as the whole file, behind its first loader, in a FIT, in a compressed part of a FIP.

use std::ops::Range;

use crate::compression::{Compression, DecompressError};
use crate::fdt::{MAGIC, Tree};
use crate::fit::Fit;
use crate::kernel::Config;

/// A U-Boot proper; SPL and TPL are none.
#[derive(Debug)]
pub(super) struct Program {
    /// The word after `U-Boot ` of its banner.
    pub(super) version: String,
    /// Its bytes, code and texts, as far as they can be told from what lies around them.
    pub(super) bytes: Vec<u8>,
    /// The device trees that it may be controlled by, each with a name for people.
    pub(super) trees: Vec<(String, Vec<u8>)>,
    /// Its configuration, where it carries one (`CONFIG_CMD_CONFIG`).
    pub(super) config: Option<Config>,
}

/// More than any firmware has: what lies beyond cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMuch;

/// The U-Boots in these bytes, in their order.
pub(super) fn programs(blob: &[u8]) -> Result<Vec<Program>, TooMuch> {
    let mut budget = Budget { bytes: MOST_UNPACKED, attempts: MOST_ATTEMPTS };
    let mut programs = Vec::new();
    look_into(blob, "", DEEPEST, &mut budget, &mut programs)?;
    Ok(programs)
}

/// What the unpacking of hostile bytes may cost.
struct Budget {
    /// Bytes that may still be unpacked.
    bytes: u64,
    /// Streams and device trees that may still be tried.
    attempts: usize,
}

impl Budget {
    fn attempt(&mut self) -> Result<(), TooMuch> {
        self.attempts = self.attempts.checked_sub(1).ok_or(TooMuch)?;
        Ok(())
    }
}

fn look_into(
    bytes: &[u8],
    place: &str,
    depth: usize,
    budget: &mut Budget,
    programs: &mut Vec<Program>,
) -> Result<(), TooMuch> {
    let marks = marks(bytes, budget)?;
    let mut packed = Vec::new();
    for (offset, unpacked) in streams(bytes, budget)? {
        match configuration(&unpacked) {
            Some(config) => packed.push((offset, config)),
            None => {
                let depth = depth.checked_sub(1).ok_or(TooMuch)?;
                let place = format!("{place}the part unpacked from byte {offset}, ");
                look_into(&unpacked, &place, depth, budget, programs)?;
            }
        }
    }
    let mut last = None;
    for (number, mark) in marks.iter().enumerate() {
        let MarkKind::Banner(Some(version)) = &mark.kind else { continue };
        let range = range_of(&marks, number, bytes.len());
        // One program says its version in more than one place.
        if last.replace(range.clone()) == Some(range.clone()) {
            continue;
        }
        let trees = trees_of(&marks, number).into_iter().filter_map(|tree| {
            let start = tree.at.start;
            Some((format!("{place}byte {start}"), bytes.get(tree.at.clone())?.to_vec()))
        });
        let mut configs = packed.iter().filter(|(offset, _)| range.contains(offset));
        let config = configs.next().map(|(_, config)| config.clone());
        programs.push(Program {
            version: version.clone(),
            trees: trees.collect(),
            // Two would be one too many to know which counts.
            config: config.filter(|_| configs.next().is_none()),
            bytes: bytes.get(range).unwrap_or_default().to_vec(),
        });
    }
    Ok(())
}

/// Something in firmware by which its parts can be told.
struct Mark {
    at: Range<usize>,
    kind: MarkKind,
}

enum MarkKind {
    /// The version of U-Boot proper; of SPL or TPL none.
    Banner(Option<String>),
    /// A device tree.
    Tree,
    /// A FIT, and where the data of its images lies.
    Fit(Vec<FitMember>),
}

struct FitMember {
    at: Range<usize>,
    is_tree: bool,
}

/// All of them, in their order.
fn marks(bytes: &[u8], budget: &mut Budget) -> Result<Vec<Mark>, TooMuch> {
    let mut marks: Vec<Mark> = banners(bytes).collect();
    let magic = MAGIC.to_be_bytes();
    for start in offsets(bytes, &magic) {
        budget.attempt()?;
        let Some(rest) = bytes.get(start..) else { continue };
        let Ok(tree) = Tree::parse(rest) else { continue };
        let at = start..start.saturating_add(tree.extent());
        let kind = match tree.node("/images") {
            None => MarkKind::Tree,
            Some(_) => MarkKind::Fit(Fit::parse(rest).map(|fit| members(&fit, bytes)).unwrap_or_default()),
        };
        marks.push(Mark { at, kind });
    }
    marks.sort_by_key(|mark| mark.at.start);
    Ok(marks)
}

fn members(fit: &Fit<'_>, bytes: &[u8]) -> Vec<FitMember> {
    let images = fit.images().iter().filter_map(|image| {
        // The data is borrowed from these very bytes.
        let start = (image.data.as_ptr() as usize).checked_sub(bytes.as_ptr() as usize)?;
        let at = start..start.checked_add(image.data.len())?;
        Some(FitMember { at, is_tree: image.kind.as_deref() == Some("flat_dt") })
    });
    images.collect()
}

/// `U-Boot 2025.01 (Jun 24 2026 - 09:07:15 +0000)`, `U-Boot SPL 2025.01 (…`: the version string of `version.h`.
fn banners(bytes: &[u8]) -> impl Iterator<Item = Mark> {
    const NAME: &[u8] = b"U-Boot ";
    offsets(bytes, NAME).into_iter().filter_map(|start| {
        let rest = bytes.get(start.checked_add(NAME.len())?..)?;
        let text = rest.split(|byte| !(b' '..=b'~').contains(byte)).next()?;
        let text = std::str::from_utf8(text.get(..text.len().min(LONGEST_BANNER))?).ok()?;
        let (phase, rest) = match text.split_once(' ')? {
            (phase @ ("SPL" | "TPL" | "VPL"), rest) => (Some(phase), rest),
            _ => (None, text),
        };
        let (version, build) = rest.split_once(' ')?;
        let year = version.get(..4)?.bytes().all(|byte| byte.is_ascii_digit());
        let is_banner = year && version.get(4..5) == Some(".") && build.starts_with('(');
        let kind = MarkKind::Banner(phase.is_none().then(|| version.to_owned()));
        is_banner.then_some(Mark { at: start..start.checked_add(NAME.len())?, kind })
    })
}

/// What belongs to the banner with this number: from what lies before it to the next loader, or to the next U-Boot behind
/// a device tree.
fn range_of(marks: &[Mark], number: usize, length: usize) -> Range<usize> {
    let Some(banner) = marks.get(number) else { return 0..0 };
    if let Some((_, member)) = member_of(marks, banner) {
        return member.at.clone();
    }
    let is_proper = |mark: &Mark| matches!(mark.kind, MarkKind::Banner(Some(_)));
    let before = marks.iter().take(number).filter(|mark| !is_proper(mark)).map(|mark| mark.at.end);
    let start = before.filter(|&end| end <= banner.at.start).max().unwrap_or_default();
    let mut behind_a_tree = false;
    let end = marks.iter().skip(number).find(|mark| match mark.kind {
        MarkKind::Banner(None) => true,
        MarkKind::Banner(Some(_)) => behind_a_tree,
        MarkKind::Tree | MarkKind::Fit(_) => {
            behind_a_tree = true;
            false
        }
    });
    start..end.map_or(length, |mark| mark.at.start)
}

/// The image of a FIT that a banner lies in, with all images of that FIT.
fn member_of<'m>(marks: &'m [Mark], banner: &Mark) -> Option<(&'m [FitMember], &'m FitMember)> {
    marks.iter().find_map(|mark| {
        let MarkKind::Fit(members) = &mark.kind else { return None };
        let inside = |member: &&FitMember| member.at.contains(&banner.at.start);
        Some((members.as_slice(), members.iter().find(inside)?))
    })
}

/// The trees that control the U-Boot of this banner: those of its own FIT; else those that follow it up to the next
/// program (`u-boot.bin` is the program with its tree behind it); else those before all programs (`CONFIG_OF_EMBED`).
fn trees_of(marks: &[Mark], number: usize) -> Vec<&Mark> {
    let is_tree = |mark: &&Mark| matches!(mark.kind, MarkKind::Tree);
    let Some(banner) = marks.get(number) else { return Vec::new() };
    if let Some((members, own)) = member_of(marks, banner) {
        let in_fit = |mark: &&Mark| {
            let inside = |member: &FitMember| member.at.contains(&mark.at.start);
            inside(own) || members.iter().any(|member| member.is_tree && inside(member))
        };
        let trees: Vec<&Mark> = marks.iter().filter(is_tree).filter(in_fit).collect();
        if !trees.is_empty() {
            return trees;
        }
    }
    let is_banner = |mark: &Mark| matches!(mark.kind, MarkKind::Banner(_));
    let repeated = |mark: &&Mark| matches!(mark.kind, MarkKind::Banner(Some(_)));
    let after = marks.iter().skip(number).skip_while(repeated).take_while(|mark| !is_banner(mark));
    let after: Vec<&Mark> = after.filter(is_tree).collect();
    if !after.is_empty() {
        return after;
    }
    let before = marks.iter().take(number);
    match before.clone().any(is_banner) {
        true => Vec::new(),
        false => before.filter(is_tree).collect(),
    }
}

/// What is compressed in these bytes, with the offsets; a stream that is damaged is none.
fn streams(bytes: &[u8], budget: &mut Budget) -> Result<Vec<(usize, Vec<u8>)>, TooMuch> {
    const MAGICS: [&[u8]; 3] =
        [&[0x1f, 0x8b, 8], &[0xfd, b'7', b'z', b'X', b'Z', 0], &[0x28, 0xb5, 0x2f, 0xfd]];
    let mut starts: Vec<usize> = MAGICS.iter().flat_map(|magic| offsets(bytes, magic)).collect();
    starts.sort_unstable();
    let mut found = Vec::new();
    let mut free = 0;
    for start in starts {
        if start < free {
            continue;
        }
        budget.attempt()?;
        let Some(rest) = bytes.get(start..) else { continue };
        let (unpacked, taken) = match Compression::of(rest).decompress_prefix(rest, budget.bytes) {
            Ok(unpacked) => unpacked,
            Err(DecompressError::Damaged { .. }) => continue,
            Err(DecompressError::TooLarge { .. }) => return Err(TooMuch),
        };
        budget.bytes = budget.bytes.checked_sub(unpacked.len() as u64).ok_or(TooMuch)?;
        free = start.saturating_add(taken);
        found.push((start, unpacked));
    }
    Ok(found)
}

/// A `.config` of U-Boot's build, as `CONFIG_CMD_CONFIG` compiles it in.
fn configuration(bytes: &[u8]) -> Option<Config> {
    let text = std::str::from_utf8(bytes).ok()?;
    let heading =
        text.lines().take(4).any(|line| line.starts_with("# U-Boot ") && line.ends_with(" Configuration"));
    heading.then(|| Config::parse(text).ok()).flatten()
}

fn offsets(bytes: &[u8], wanted: &[u8]) -> Vec<usize> {
    let Some(first) = wanted.first() else { return Vec::new() };
    let candidates = bytes.iter().enumerate().filter(|(_, byte)| *byte == first).map(|(offset, _)| offset);
    candidates.filter(|&offset| bytes.get(offset..).is_some_and(|rest| rest.starts_with(wanted))).collect()
}

/// Streams in streams that are looked into.
const DEEPEST: usize = 3;
/// Bytes that are unpacked in all: a U-Boot has 1 to 2 MiB.
const MOST_UNPACKED: u64 = 128 << 20;
/// Streams and device trees that are tried in all: some ten times those of the largest firmware.
const MOST_ATTEMPTS: usize = 4096;
/// Bytes of a banner after `U-Boot ` that are looked at.
const LONGEST_BANNER: usize = 128;
