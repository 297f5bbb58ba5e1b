//! libkmod's binary index: a trie with shared prefixes, big-endian (kmod's `libkmod/libkmod-index.h`).
//!
//! File: magic, version, offset of the root node. Node: its prefix ended by NUL, if it has one; first and last byte of its
//! children and an offset for each byte between, if it has any; the number of its values and each with its priority,
//! ended by NUL, if it has any. The upper bits of a node's offset say which of the three it has.

use std::collections::BTreeMap;

const MAGIC: u32 = 0xb007_f457;
/// Major 2, minor 1.
const VERSION: u32 = 0x0002_0001;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;

/// A key's values, each with its priority, the lowest first.
type Values = Vec<(u32, String)>;

/// What is to be indexed.
#[derive(Clone, Debug, Default)]
pub(super) struct Trie(BTreeMap<String, Values>);

impl Trie {
    /// Adds a value to a key, before those of the same priority. Keys that are not ASCII have no place in the format.
    pub(super) fn insert(&mut self, key: &str, value: &str, priority: u32) {
        if key.bytes().all(|b| b.is_ascii() && b != 0) {
            let values = self.0.entry(key.to_owned()).or_default();
            let place = values.partition_point(|(p, _)| *p < priority);
            values.insert(place, (priority, value.to_owned()));
        }
    }

    /// The file's bytes.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = [MAGIC.to_be_bytes(), VERSION.to_be_bytes(), [0; 4]].concat();
        let entries: Vec<(&[u8], &Values)> = self.0.iter().map(|(k, v)| (k.as_bytes(), v)).collect();
        // The root's prefix is always empty.
        let root = write_node(&entries, 0, 0, &mut out);
        if let Some(field) = out.get_mut(8..12) {
            field.copy_from_slice(&root.to_be_bytes());
        }
        out
    }
}

/// Writes the node of these entries (sorted, sharing their first `prefix_end` bytes, of which those from `depth` on are
/// its prefix), its children before it. Returns its offset with its flags.
fn write_node(entries: &[(&[u8], &Values)], depth: usize, prefix_end: usize, out: &mut Vec<u8>) -> u32 {
    let mut own: Option<&Values> = None;
    let mut children: BTreeMap<u8, Vec<(&[u8], &Values)>> = BTreeMap::new();
    for &(key, values) in entries {
        match key.get(prefix_end) {
            None => own = Some(values),
            Some(&byte) => children.entry(byte).or_default().push((key, values)),
        }
    }
    let mut offsets = Vec::new();
    if let (Some((&first, _)), Some((&last, _))) = (children.first_key_value(), children.last_key_value()) {
        for byte in first..=last {
            offsets.push(match children.get(&byte) {
                Some(entries) => {
                    let depth = prefix_end.saturating_add(1);
                    write_node(entries, depth, depth.saturating_add(shared(entries, depth)), out)
                }
                None => 0,
            });
        }
    }

    let mut offset = u32::try_from(out.len()).unwrap_or(u32::MAX);
    let prefix = entries.first().and_then(|(key, _)| key.get(depth..prefix_end)).unwrap_or_default();
    if !prefix.is_empty() {
        out.extend_from_slice(prefix);
        out.push(0);
        offset |= HAS_PREFIX;
    }
    if let (Some((&first, _)), Some((&last, _))) = (children.first_key_value(), children.last_key_value()) {
        out.extend_from_slice(&[first, last]);
        out.extend(offsets.into_iter().flat_map(u32::to_be_bytes));
        offset |= HAS_CHILDREN;
    }
    if let Some(values) = own {
        out.extend_from_slice(&u32::try_from(values.len()).unwrap_or(u32::MAX).to_be_bytes());
        for (priority, value) in values {
            out.extend_from_slice(&priority.to_be_bytes());
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        }
        offset |= HAS_VALUES;
    }
    offset
}

/// How many bytes from `depth` on all the keys have in common. They are sorted, so the first and the last decide.
fn shared(entries: &[(&[u8], &Values)], depth: usize) -> usize {
    let tail =
        |entry: Option<&(&'_ [u8], &Values)>| entry.and_then(|(key, _)| key.get(depth..).map(<[u8]>::to_vec));
    match (tail(entries.first()), tail(entries.last())) {
        (Some(first), Some(last)) => first.iter().zip(&last).take_while(|(a, b)| a == b).count(),
        _ => 0,
    }
}
