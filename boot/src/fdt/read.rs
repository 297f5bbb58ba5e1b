//! Reading a blob.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

use zerocopy::FromBytes;
use zerocopy::big_endian::U32;

use super::layout::{
    BEGIN_NODE, END, END_NODE, Header, MAGIC, NOP, PROP, PropertyHeader, Reservation, VERSION,
};
use super::{DEEPEST, FdtError, MOST_ENTRIES, Node, Property, Tree};

impl<'a> Tree<'a> {
    /// Reads the device tree at the start of `bytes`; more may follow it ([`Tree::extent`]).
    ///
    /// Taken is what dtc and libfdt write: version 17, the blocks in their order without overlap, one root without a
    /// name, no name twice in a node, nothing after FDT_END in the structure block.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, FdtError> {
        let header = read::<Header>(bytes, 0, "the header")?;
        let blocks = Blocks::of(&header, bytes.len())?;
        let reservations = reservations(bytes, blocks.reservations.clone())?;
        let strings = slice(bytes, blocks.strings, "the strings block")?;
        let structure = slice(bytes, blocks.structure, "the structure block")?;
        let mut reader = Reader { structure, strings, at: 0, entries: 0, nops: false };
        let root = reader.tree()?;
        Ok(Self {
            boot_cpu: header.boot_cpu.get(),
            reservations,
            strings: strings.to_vec(),
            root,
            extent: blocks.extent,
            nops: reader.nops,
        })
    }
}

/// Where the blocks lie, checked against each other and the bytes at hand.
struct Blocks {
    extent: usize,
    /// From the first entry to the structure block.
    reservations: Range<usize>,
    structure: Range<usize>,
    strings: Range<usize>,
}

impl Blocks {
    fn of(header: &Header, at_hand: usize) -> Result<Self, FdtError> {
        let field =
            |field, found: U32, expected| FdtError::Field { field, found: found.get().into(), expected };
        if header.magic != MAGIC {
            return Err(field("magic", header.magic, "0xd00dfeed"));
        }
        if header.version != VERSION {
            return Err(field("version", header.version, "17"));
        }
        if header.last_compatible_version > VERSION {
            return Err(field("last_comp_version", header.last_compatible_version, "16 or 17"));
        }
        let size = |value: U32| value.get() as usize;
        let extent = size(header.total_size);
        if extent > at_hand {
            return Err(FdtError::Truncated {
                what: "the blob's end (totalsize)",
                offset: extent,
                length: at_hand,
            });
        }
        let (reservations, structure, strings) =
            (size(header.reservations_offset), size(header.structure_offset), size(header.strings_offset));
        if reservations < size_of::<Header>() || reservations.checked_rem(8) != Some(0) {
            let expected = "a multiple of 8 after the header";
            return Err(field("off_mem_rsvmap", header.reservations_offset, expected));
        }
        if structure < reservations || structure.checked_rem(4) != Some(0) {
            let expected = "a multiple of 4 after the memory reservation block";
            return Err(field("off_dt_struct", header.structure_offset, expected));
        }
        let structure_end = structure.saturating_add(size(header.structure_size));
        if strings < structure_end {
            return Err(field("off_dt_strings", header.strings_offset, "the structure block's end or more"));
        }
        let strings_end = strings.saturating_add(size(header.strings_size));
        if strings_end > extent {
            return Err(field("size_dt_strings", header.strings_size, "a block inside totalsize"));
        }
        Ok(Self {
            extent,
            reservations: reservations..structure,
            structure: structure..structure_end,
            strings: strings..strings_end,
        })
    }
}

fn reservations(bytes: &[u8], block: Range<usize>) -> Result<Vec<Reservation>, FdtError> {
    let start = block.start;
    let block = slice(bytes, block, "the memory reservation block")?;
    let mut found = Vec::new();
    for entry in block.chunks_exact(size_of::<Reservation>()) {
        let Ok(entry) = Reservation::read_from_bytes(entry) else { break };
        if entry == Reservation::END {
            return Ok(found);
        }
        if found.len() == MOST_ENTRIES {
            return Err(FdtError::TooMuch { what: "memory reservations", most: MOST_ENTRIES });
        }
        found.push(entry);
    }
    let what = "the end of the memory reservation block";
    Err(FdtError::Truncated { what, offset: start, length: block.len() })
}

/// Goes through the structure block.
struct Reader<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
    /// Of the next token, in the structure block.
    at: usize,
    entries: usize,
    nops: bool,
}

impl<'a> Reader<'a> {
    fn tree(&mut self) -> Result<Node<'a>, FdtError> {
        let (offset, token) = self.token()?;
        if token != BEGIN_NODE {
            return Err(FdtError::Token { offset, found: token, expected: "FDT_BEGIN_NODE of the root" });
        }
        let root = self.name("/")?;
        if !root.is_empty() {
            let (path, found) = ("/".to_owned(), root.to_owned());
            return Err(FdtError::Name { path, offset, found, expected: "no name for the root" });
        }
        // From the root down to the node that is being read.
        let mut open = vec![Node::new(root)];
        loop {
            let (offset, token) = self.token()?;
            let depth = open.len();
            let Some(node) = open.last_mut() else {
                return Err(FdtError::Token { offset, found: token, expected: "an open node" });
            };
            match token {
                PROP if node.children.is_empty() => {
                    let property = self.property(&node.name)?;
                    node.properties.push(property);
                }
                BEGIN_NODE => {
                    if depth == DEEPEST {
                        return Err(FdtError::TooMuch { what: "nodes in each other", most: DEEPEST });
                    }
                    let name = self.name(&node.name)?;
                    if name.is_empty() {
                        let (path, found) = (node.name.clone().into_owned(), String::new());
                        return Err(FdtError::Name {
                            path,
                            offset,
                            found,
                            expected: "a name for every node",
                        });
                    }
                    open.push(Node::new(name));
                }
                END_NODE => {
                    refuse_twice(node)?;
                    let Some(whole) = open.pop() else { continue };
                    match open.last_mut() {
                        Some(parent) => parent.children.push(whole),
                        None => {
                            self.end()?;
                            return Ok(whole);
                        }
                    }
                }
                found => {
                    let expected = "FDT_PROP (before the first node), FDT_BEGIN_NODE or FDT_END_NODE";
                    return Err(FdtError::Token { offset, found, expected });
                }
            }
        }
    }

    /// FDT_END, and nothing after it.
    fn end(&mut self) -> Result<(), FdtError> {
        let (offset, token) = self.token()?;
        if token != END {
            return Err(FdtError::Token { offset, found: token, expected: "FDT_END after the root" });
        }
        if self.at != self.structure.len() {
            let found = self.structure.len() as u64;
            let expected = "a structure block that ends with FDT_END";
            return Err(FdtError::Field { field: "size_dt_struct", found, expected });
        }
        Ok(())
    }

    /// The next token that is no FDT_NOP, and where it stands.
    fn token(&mut self) -> Result<(usize, u32), FdtError> {
        loop {
            let offset = self.at;
            let token = read::<U32>(self.structure, offset, "a token of the structure block")?.get();
            self.at = offset.saturating_add(size_of::<U32>());
            match token {
                NOP => self.nops = true,
                _ => return Ok((offset, token)),
            }
        }
    }

    fn name(&mut self, parent: &str) -> Result<&'a str, FdtError> {
        self.count()?;
        let offset = self.at;
        let rest = self.structure.get(offset..).unwrap_or_default();
        let length = until_nul(rest, LONGEST_NAME);
        let what = "the end of a node's name";
        let length = length.ok_or(FdtError::Truncated { what, offset, length: self.structure.len() })?;
        let name = slice(rest, 0..length, what)?;
        let name = text(name).filter(|name| !name.contains('/')).ok_or_else(|| FdtError::Name {
            path: parent.to_owned(),
            offset,
            found: String::from_utf8_lossy(name).into_owned(),
            expected: "printable ASCII without «/»",
        })?;
        let end = length.saturating_add(1).next_multiple_of(4);
        let padding = slice(rest, length..end, "the padding of a node's name")?;
        if padding.iter().any(|byte| *byte != 0) {
            let expected = "zeros after a node's name";
            return Err(FdtError::Token { offset: offset.saturating_add(length), found: 0, expected });
        }
        self.at = offset.saturating_add(end);
        Ok(name)
    }

    fn property(&mut self, node: &str) -> Result<Property<'a>, FdtError> {
        self.count()?;
        let offset = self.at;
        let header = read::<PropertyHeader>(self.structure, offset, "a property's header")?;
        let start = offset.saturating_add(size_of::<PropertyHeader>());
        let end = start.saturating_add(header.length.get() as usize);
        let value = slice(self.structure, start..end, "a property's value")?;
        let mut padding = [0; 3];
        let after = end.checked_next_multiple_of(4).unwrap_or(end);
        let room = slice(self.structure, end..after, "the padding of a property's value")?;
        for (kept, byte) in padding.iter_mut().zip(room) {
            *kept = *byte;
        }
        self.at = after;
        let in_strings = header.name_offset.get() as usize;
        let rest = self.strings.get(in_strings..).unwrap_or_default();
        let length = until_nul(rest, LONGEST_NAME);
        let what = "a property's name in the strings block";
        let length =
            length.ok_or(FdtError::Truncated { what, offset: in_strings, length: self.strings.len() })?;
        let name = slice(rest, 0..length, what)?;
        let name = text(name).filter(|name| !name.is_empty()).ok_or_else(|| FdtError::Name {
            path: node.to_owned(),
            offset,
            found: String::from_utf8_lossy(name).into_owned(),
            expected: "printable ASCII",
        })?;
        let (name_offset, name) = (header.name_offset.get(), Cow::Borrowed(name));
        Ok(Property { name, name_offset, value: Cow::Borrowed(value), padding })
    }

    fn count(&mut self) -> Result<(), FdtError> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > MOST_ENTRIES {
            return Err(FdtError::TooMuch { what: "nodes and properties", most: MOST_ENTRIES });
        }
        Ok(())
    }
}

/// An error where two properties, or two nodes, of a node have one name.
pub(super) fn refuse_twice(node: &Node<'_>) -> Result<(), FdtError> {
    let properties = node.properties.iter().map(|property| property.name.as_ref());
    let children = node.children.iter().map(|child| child.name.as_ref());
    let twice = |what, name: &str| {
        let path = if node.name.is_empty() { "/" } else { node.name.as_ref() };
        FdtError::Twice { path: path.to_owned(), what, name: name.to_owned() }
    };
    first_repeated(properties).map_or(Ok(()), |name| Err(twice("properties", name)))?;
    first_repeated(children).map_or(Ok(()), |name| Err(twice("nodes", name)))
}

fn first_repeated<'n>(mut names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let mut seen = BTreeSet::new();
    names.find(|name| !seen.insert(*name))
}

/// Length of the text before the first NUL, if that is among the first `most` bytes.
fn until_nul(bytes: &[u8], most: usize) -> Option<usize> {
    bytes.iter().take(most).position(|byte| *byte == 0)
}

/// Printable ASCII.
fn text(bytes: &[u8]) -> Option<&str> {
    let printable = bytes.iter().all(u8::is_ascii_graphic);
    printable.then(|| std::str::from_utf8(bytes).ok()).flatten()
}

fn slice<'b>(bytes: &'b [u8], range: Range<usize>, what: &'static str) -> Result<&'b [u8], FdtError> {
    let (offset, length) = (range.start, bytes.len());
    bytes.get(range).ok_or(FdtError::Truncated { what, offset, length })
}

fn read<T: FromBytes>(bytes: &[u8], offset: usize, what: &'static str) -> Result<T, FdtError> {
    let rest = bytes.get(offset..).unwrap_or_default();
    let (value, _) =
        T::read_from_prefix(rest).map_err(|_| FdtError::Truncated { what, offset, length: bytes.len() })?;
    Ok(value)
}

/// Bytes of a name, NUL included; the specification allows 31 characters and trees exceed it.
pub(super) const LONGEST_NAME: usize = 256;
