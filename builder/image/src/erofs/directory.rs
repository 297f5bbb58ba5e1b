//! How the names of a directory are laid out in blocks.

use std::collections::BTreeMap;
use std::ops::Bound;

use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U64};

use super::format::{BLOCK_LEN, Dirent, FileType};
use crate::tree::{InodeId, Name};

/// What a directory entry points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// `.`
    Itself,
    /// `..`
    Parent,
    /// A name of the tree.
    Child(InodeId),
}

/// Where each block of a directory begins and how long the whole is.
#[derive(Debug)]
pub(crate) struct Directory<'t> {
    children: &'t BTreeMap<Name, InodeId>,
    /// First name of each block.
    first: Vec<&'t [u8]>,
    /// `i_size`: whole blocks, then the used bytes of the last.
    size: u64,
}

impl<'t> Directory<'t> {
    /// Fills blocks with the names in byte order, `.` and `..` among them, each block as full as it gets.
    pub(crate) fn plan(children: &'t BTreeMap<Name, InodeId>) -> Self {
        let mut first = Vec::new();
        let mut used = BLOCK_LEN;
        for (name, _) in entries(children, b"") {
            let needed = size_of::<Dirent>() + name.len();
            if used + needed > BLOCK_LEN {
                first.push(name);
                used = 0;
            }
            used += needed;
        }
        let whole = first.len() as u64 - 1;
        first.shrink_to_fit();
        Self { children, first, size: whole * BLOCK_LEN as u64 + used as u64 }
    }

    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Renders one block into `out`, which is as long as the block's used part or longer and filled with zeroes.
    pub(crate) fn render(&self, block: usize, out: &mut [u8], resolve: impl Fn(Target) -> (u64, FileType)) {
        let until = self.first.get(block + 1);
        let listed: Vec<(&[u8], Target)> = entries(self.children, self.first[block])
            .take_while(|(name, _)| until.is_none_or(|until| name < until))
            .collect();
        let mut name_at = listed.len() * size_of::<Dirent>();
        for (position, (name, target)) in listed.into_iter().enumerate() {
            let (nid, file_type) = resolve(target);
            let dirent = Dirent {
                nid: U64::new(nid),
                nameoff: U16::new(name_at as u16),
                file_type: file_type as u8,
                reserved: 0,
            };
            let at = position * size_of::<Dirent>();
            out[at..at + size_of::<Dirent>()].copy_from_slice(dirent.as_bytes());
            out[name_at..name_at + name.len()].copy_from_slice(name);
            name_at += name.len();
        }
    }
}

/// Names from `start` on in byte order, the two dots at their places.
fn entries<'t>(
    children: &'t BTreeMap<Name, InodeId>,
    start: &[u8],
) -> impl Iterator<Item = (&'t [u8], Target)> + use<'t> {
    let mut named = children
        .range::<[u8], _>((Bound::Included(start), Bound::Unbounded))
        .map(|(name, id)| (&**name, Target::Child(*id)))
        .peekable();
    let dots: [(&'static [u8], Target); 2] = [(b".", Target::Itself), (b"..", Target::Parent)];
    let mut dots = dots.into_iter().skip(dots.iter().filter(|(dot, _)| *dot < start).count()).peekable();
    std::iter::from_fn(move || match (dots.peek(), named.peek()) {
        (Some((dot, _)), Some((name, _))) if name < dot => named.next(),
        (Some(_), _) => dots.next(),
        (None, _) => named.next(),
    })
}
