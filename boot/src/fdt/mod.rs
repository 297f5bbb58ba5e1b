//! Flattened device trees, version 17: read strictly, edited, and written back in exact order.
//!
//! Devicetree Specification 0.4, chapter 5. A FIT's signatures hash the bytes of its structure and strings blocks, so a
//! [`Tree`] keeps what other readers throw away: the order of nodes and properties, each property's place in the strings
//! block, the strings block itself, and the padding after values (libfdt leaves stale bytes there). Writing a tree that
//! was read gives its blocks byte for byte. Edits put things where libfdt puts them: a new property before the node's
//! others, a new node before its siblings, a new name at the end of the strings block.
//!
//! Overlays are trees like others; they are carried, not applied.

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod edit;
mod layout;
mod node;
mod read;
mod write;

/// The tokens of the structure block, for those who hash some of them.
pub(crate) mod tokens {
    pub(crate) use super::write::{begin_node, end, end_node, property};
}

pub use layout::{Header, MAGIC, PropertyHeader, Reservation};
pub use node::{Node, Property};

use thiserror::Error;

/// Deepest nesting that is taken; the kernel's bound (`drivers/of/fdt.c`, FDT_MAX_DEPTH).
pub const DEEPEST: usize = 64;
/// Most nodes and properties that are taken together: some ten times those of the largest boards.
pub const MOST_ENTRIES: usize = 1 << 18;

/// A device tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree<'a> {
    boot_cpu: u32,
    reservations: Vec<Reservation>,
    /// The strings block; every property's name lies in it.
    strings: Vec<u8>,
    root: Node<'a>,
    /// `totalsize` of the header that was read, bytes; 0 for a new tree.
    extent: usize,
    /// Whether the structure block that was read had FDT_NOP tokens, which are not kept.
    nops: bool,
}

impl<'a> Tree<'a> {
    /// The root node.
    pub fn root(&self) -> &Node<'a> {
        &self.root
    }

    /// The node at a path such as `/chosen`.
    pub fn node(&self, path: &str) -> Option<&Node<'a>> {
        components(path).try_fold(&self.root, |node, name| node.child(name))
    }

    /// The strings block.
    pub fn strings(&self) -> &[u8] {
        &self.strings
    }

    /// Bytes that the tree took where it was read, `totalsize` of its header; what follows is none of it.
    pub fn extent(&self) -> usize {
        self.extent
    }

    /// Whether FDT_NOP tokens stood between the others. They are dropped on writing.
    pub fn had_nops(&self) -> bool {
        self.nops
    }
}

/// The names of a path, from the root down.
fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

/// Why bytes are no device tree, or an edit cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FdtError {
    /// The blob or one of its blocks ends too early.
    #[error("device tree: {what} at byte {offset} lies outside the {length} bytes at hand")]
    Truncated {
        /// What was to be read.
        what: &'static str,
        /// Where, from the start of the blob.
        offset: usize,
        /// Bytes at hand.
        length: usize,
    },
    /// A header field holds what it must not.
    #[error("device tree: {field} is {found:#x}, expected {expected}")]
    Field {
        /// The field.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What it should.
        expected: &'static str,
    },
    /// A token of the structure block where none of its kind can be.
    #[error("device tree: token {found:#x} at byte {offset} of the structure block, expected {expected}")]
    Token {
        /// From the start of the structure block.
        offset: usize,
        /// The token.
        found: u32,
        /// What can stand there.
        expected: &'static str,
    },
    /// A name that nodes or properties cannot have.
    #[error(
        "device tree: a name in {path} (byte {offset} of the structure block) is «{found}», expected {expected}"
    )]
    Name {
        /// The node.
        path: String,
        /// From the start of the structure block; 0 for a new name.
        offset: usize,
        /// The name, or what can be shown of it.
        found: String,
        /// What names are made of.
        expected: &'static str,
    },
    /// Two of one name in one node: which one counts would depend on the reader.
    #[error("device tree: {path} has two {what} named «{name}»")]
    Twice {
        /// The node.
        path: String,
        /// `nodes` or `properties`.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// More than a device tree sensibly has.
    #[error("device tree: {what}: expected at most {most}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// The bound.
        most: usize,
    },
    /// A node to be edited is not there.
    #[error("device tree: there is no node {path}")]
    Missing {
        /// The node.
        path: String,
    },
    /// Text that would be cut where it is read.
    #[error("device tree: the text for {property} has a NUL at byte {offset}")]
    Nul {
        /// The property.
        property: String,
        /// In the text.
        offset: usize,
    },
}
