//! LZ4 blocks, from their description (`lz4_Block_format.md`): sequences of literals and matches. Ours, since no crate
//! stops where a wanted length is reached, as the kernel's `LZ4_decompress_safe_partial` does.

use std::io;

use super::damaged;

/// Shortest match.
const SHORTEST: usize = 4;

pub(super) fn unpack(mut input: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut out: Vec<u8> = Vec::with_capacity(most);
    while let Some((token, rest)) = input.split_first() {
        input = rest;
        let literals = length(token >> 4, &mut input)?;
        let (literals, rest) = input.split_at_checked(literals).ok_or_else(damaged)?;
        input = rest;
        let room = most.saturating_sub(out.len());
        out.extend_from_slice(literals.get(..room).unwrap_or(literals));
        // The last sequence has no match.
        if input.is_empty() || out.len() == most {
            break;
        }
        let (distance, rest) = input.split_first_chunk().ok_or_else(damaged)?;
        input = rest;
        let distance = usize::from(u16::from_le_bytes(*distance));
        let wanted = length(token & 15, &mut input)?.saturating_add(SHORTEST);
        let start = out.len().checked_sub(distance).filter(|_| distance > 0).ok_or_else(damaged)?;
        let end = out.len().saturating_add(wanted).min(most);
        // A match may reach into what it makes: every round doubles what there is.
        while out.len() < end {
            let step = end.saturating_sub(out.len()).min(out.len().saturating_sub(start));
            out.extend_from_within(start..start.saturating_add(step));
        }
    }
    Ok(out)
}

/// A length of which four bits are in the token, and the rest, where all four are set, in bytes behind it.
fn length(four: u8, input: &mut &[u8]) -> io::Result<usize> {
    let mut length = usize::from(four);
    if four == 15 {
        loop {
            let (byte, rest) = input.split_first().ok_or_else(damaged)?;
            *input = rest;
            length = length.saturating_add(usize::from(*byte));
            if *byte != 255 {
                break;
            }
        }
    }
    Ok(length)
}
