//! Places kept from an image to the next: what has the same path and needs no more room stays where it was.
//!
//! An inode's number and the address of its blocks stand in other inodes and directories. Where they stay, a release in which
//! little changed differs from the one before in the blocks of what changed, and in hardly any others.

use std::collections::{BTreeMap, HashMap};

use super::format::{BLOCK, SLOT};
use graven_verity::hash::Digest;

use super::plan::{Extent, Image, Node, Part, PlanError};
use super::share::Shared;
use super::slots::Slots;

/// Slots of a block.
const PER_BLOCK: u64 = BLOCK / SLOT;
/// The share of an image, one part in so many, that may be room which is left free; with more it is laid out anew.
const MOST_FREE: u64 = 8;

/// Where an image has something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Number of its inode.
    pub nid: u64,
    /// First block of its contents, of a list of chunks the first of its own; 0 where there is none.
    pub block: u32,
    /// Whether blocks are another's.
    pub shares: Option<Shares>,
    /// SHA-256 of a file's contents, where it is known.
    pub sha256: Option<Digest>,
}

/// Which blocks of a file are another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shares {
    /// Some may be, or nobody's since they are zeros: it is a list of chunks.
    Some,
    /// All of them are.
    All,
}

/// Where an earlier image had what, by path from the leading `/` on.
pub type Places = HashMap<Box<[u8]>, Place>;

impl Image<'_> {
    /// Where each path is; of several names of an inode, the first in the tree's walk.
    pub fn places(&self) -> impl Iterator<Item = (Box<[u8]>, Place)> {
        self.first_names().into_iter().map(|(path, number)| {
            let node = &self.nodes[number as usize];
            let shares = self.shared(number).map(|shared| match shared {
                Shared::Run(_) => Shares::All,
                Shared::Chunks { .. } => Shares::Some,
            });
            let sha256 = self.record(number).map(|record| record.sha256);
            (path, Place { nid: node.nid, block: self.first_block(number), shares, sha256 })
        })
    }

    /// Those of an earlier image, by node.
    pub(super) fn known(&self, old: &Places) -> BTreeMap<u32, Place> {
        if old.is_empty() {
            return BTreeMap::new();
        }
        let names = self.first_names().into_iter();
        names.filter_map(|(path, number)| Some((number, *old.get(&path)?))).collect()
    }

    /// Each inode's first name, in the order of the tree's walk.
    fn first_names(&self) -> Vec<(Box<[u8]>, u32)> {
        let mut named = vec![false; self.nodes.len()];
        let names = self.tree.walk().filter_map(|entry| {
            let number = self.number_of(entry.id);
            let first = !std::mem::replace(&mut named[number as usize], true);
            first.then(|| (entry.path.into(), number))
        });
        names.collect()
    }

    /// Gives everything its place, that of `known` where it can stay there. Whether that was worth it: else nothing is placed.
    pub(super) fn place_as(&mut self, known: &BTreeMap<u32, Place>) -> Result<bool, PlanError> {
        let mut room = Room::default();
        room.take(0, PER_BLOCK);
        let mut placed = HashMap::new();
        // Where two want the same blocks, the one whose contents they still are has them.
        let (same, others): (Vec<_>, Vec<_>) =
            known.iter().partition(|(number, place)| self.is_unchanged(**number, place));
        for places in [same, others] {
            let regions = places.into_iter();
            let regions = regions
                .flat_map(|(number, place)| Region::of(&self.nodes[*number as usize], *number, *place));
            let mut wanted: Vec<Region> = regions.collect();
            wanted.sort_unstable_by_key(|region| (region.start, region.node));
            for (at, region) in wanted.iter().enumerate() {
                // What has grown into its neighbour goes elsewhere; the neighbour stays.
                let next = wanted.get(at + 1).map_or(u64::MAX, |next| next.start);
                if region.start + region.len <= next
                    && region.is_possible()
                    && room.take(region.start, region.len)
                {
                    placed.insert((region.node, region.part), region.start);
                }
            }
        }
        let mut ends = Ends::default();
        for part in [Part::Head, Part::Blocks] {
            for number in 0..self.nodes.len() as u32 {
                let len = slots_of(&self.nodes[number as usize], part);
                if len > 0 && !placed.contains_key(&(number, part)) {
                    match room.find(part, len) {
                        Some(start) => _ = placed.insert((number, part), start),
                        None => ends.of(part).push((number, len)),
                    }
                }
            }
        }
        let mut end = room.end().next_multiple_of(PER_BLOCK);
        let mut slots = Slots::default();
        for (number, len) in ends.heads {
            placed.insert((number, Part::Head), end + slots.take(len * SLOT));
        }
        end += u64::from(slots.blocks()) * PER_BLOCK;
        for (number, len) in ends.blocks {
            placed.insert((number, Part::Blocks), end);
            end += len;
        }

        let used: u64 =
            placed.keys().map(|(number, part)| slots_of(&self.nodes[*number as usize], *part)).sum();
        let root = placed.get(&(0, Part::Head)).copied().unwrap_or(u64::MAX);
        if u16::try_from(root).is_err() || end > used + end / MOST_FREE + PER_BLOCK {
            return Ok(false);
        }
        self.blocks = u32::try_from(end / PER_BLOCK).map_err(|_| PlanError::ImageSize(self.path(0)))?;
        for ((number, part), start) in placed {
            let node = &mut self.nodes[number as usize];
            match part {
                Part::Head => node.nid = start,
                Part::Blocks => node.data_block = (start / PER_BLOCK) as u32,
            }
            self.extents.push(Extent { start: start * SLOT, node: number, part });
        }
        self.extents.sort_unstable_by_key(|extent| extent.start);
        Ok(true)
    }
}

/// Slots that a part of an inode takes; blocks are taken whole.
fn slots_of(node: &Node, part: Part) -> u64 {
    match part {
        Part::Head => (node.head_bytes() + node.tail_bytes()).div_ceil(SLOT),
        Part::Blocks => node.blocks * PER_BLOCK,
    }
}

/// Where something was, as long as it is now.
struct Region {
    start: u64,
    len: u64,
    node: u32,
    part: Part,
}

impl Region {
    fn of(node: &Node, number: u32, place: Place) -> impl Iterator<Item = Self> + use<> {
        let heads = (place.nid, Part::Head);
        let blocks = (u64::from(place.block) * PER_BLOCK, Part::Blocks);
        let lens = [slots_of(node, Part::Head), slots_of(node, Part::Blocks)];
        let regions = [heads, blocks].into_iter().zip(lens);
        let regions = regions.map(move |((start, part), len)| Self { start, len, node: number, part });
        regions.filter(|region| region.len > 0)
    }

    /// Numbers come from a file, and could be any.
    fn is_possible(&self) -> bool {
        let below =
            self.start < u64::from(u32::MAX) * PER_BLOCK && self.len < u64::from(u32::MAX) * PER_BLOCK;
        below && (self.part == Part::Blocks || fits_at(self.start, self.len) == self.start)
    }
}

/// The first place from `start` on where a head of so many slots may lie: within one block, or from a block's start on.
fn fits_at(start: u64, len: u64) -> u64 {
    if start % PER_BLOCK + len <= PER_BLOCK { start } else { start.next_multiple_of(PER_BLOCK) }
}

/// Slots that are taken: start and end of each run, which do not touch.
#[derive(Default)]
struct Room {
    taken: BTreeMap<u64, u64>,
}

impl Room {
    /// Takes a run, unless some of it is taken.
    fn take(&mut self, start: u64, len: u64) -> bool {
        let (mut start, mut end) = (start, start + len);
        if let Some((before, until)) = self.taken.range(..end).next_back().map(|(a, b)| (*a, *b)) {
            if until > start {
                return false;
            }
            if until == start {
                start = before;
            }
        }
        if let Some(until) = self.taken.remove(&end) {
            end = until;
        }
        self.taken.insert(start, end);
        true
    }

    /// Takes the first run between others that a part of an inode fits into.
    fn find(&mut self, part: Part, len: u64) -> Option<u64> {
        let starts = self.taken.values();
        let ends = self.taken.keys().skip(1);
        let found = starts.zip(ends).find_map(|(start, end)| {
            let start = match part {
                Part::Head => fits_at(*start, len),
                Part::Blocks => start.next_multiple_of(PER_BLOCK),
            };
            (start + len <= *end).then_some(start)
        });
        found.inspect(|start| _ = self.take(*start, len))
    }

    fn end(&self) -> u64 {
        self.taken.last_key_value().map_or(0, |(_, end)| *end)
    }
}

/// What goes behind all that stays.
#[derive(Default)]
struct Ends {
    heads: Vec<(u32, u64)>,
    blocks: Vec<(u32, u64)>,
}

impl Ends {
    fn of(&mut self, part: Part) -> &mut Vec<(u32, u64)> {
        match part {
            Part::Head => &mut self.heads,
            Part::Blocks => &mut self.blocks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_once_and_runs_that_touch_are_one() {
        let mut room = Room::default();
        assert!(room.take(0, 128) && room.take(256, 128) && room.take(128, 64));
        assert!(!room.take(100, 1) && !room.take(191, 2) && !room.take(250, 10) && !room.take(0, 1000));
        assert_eq!(room.taken, BTreeMap::from([(0, 192), (256, 384)]));
        assert_eq!(room.find(Part::Head, 65), None, "it would cross into the next block");
        assert_eq!(room.find(Part::Head, 64), Some(192));
        assert_eq!(room.taken, BTreeMap::from([(0, 384)]));
        assert!(room.take(640, 128));
        assert_eq!((room.find(Part::Blocks, 256), room.find(Part::Blocks, 128)), (Some(384), None));
        assert_eq!(room.end(), 768);
    }
}
