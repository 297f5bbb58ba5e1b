//! The build id that a linker gave to an ELF file: a note named `GNU` of type 3.

use std::io;

use graven_handoff::hex;
use graven_image::tree::Content;

use crate::survey::elf::{bytes, number};

/// Headers that a file may have.
const MOST_HEADERS: u64 = 4096;

/// The build id in hexadecimal; `None` where the file is no ELF file, or has none.
///
/// # Errors
/// What reading the file says.
pub(super) fn of(content: &Content) -> io::Result<Option<String>> {
    let Some(header) = bytes(content, 0, 64)? else { return Ok(None) };
    let wide = match header.get(..6) {
        Some([0x7f, b'E', b'L', b'F', 1, 1]) => false,
        Some([0x7f, b'E', b'L', b'F', 2, 1]) => true,
        _ => return Ok(None),
    };
    let width = if wide { 8 } else { 4 };
    let at = |narrow, wide_at| if wide { wide_at } else { narrow };
    // A kernel module has sections alone; what is loaded by itself has segments, and may have lost its sections.
    let headers = match number(&header, 16, 2) {
        1 => Headers {
            table: at(32, 40),
            size: at(46, 58),
            kind: 4,
            note: 7,
            offset: at(16, 24),
            length: at(20, 32),
            align: at(32, 48),
        },
        _ => Headers {
            table: at(28, 32),
            size: at(42, 54),
            kind: 0,
            note: 4,
            offset: at(4, 8),
            length: at(16, 32),
            align: at(28, 48),
        },
    };
    let size = number(&header, headers.size, 2);
    let count = number(&header, headers.size.saturating_add(2), 2).min(MOST_HEADERS);
    if size < if wide { 56 } else { 32 } {
        return Ok(None);
    }
    let start = number(&header, headers.table, width);
    let Some(table) = bytes(content, start, size.saturating_mul(count))? else { return Ok(None) };
    for entry in table.chunks_exact(size as usize) {
        if number(entry, headers.kind, 4) != headers.note {
            continue;
        }
        let (offset, length) = (number(entry, headers.offset, width), number(entry, headers.length, width));
        let align = if number(entry, headers.align, width) == 8 { 8 } else { 4 };
        let id = bytes(content, offset, length)?.and_then(|notes| in_notes(&notes, align));
        if id.is_some() {
            return Ok(id);
        }
    }
    Ok(None)
}

/// Where a header of sections, or one of segments, says what: offsets in the file's header, then in each of the table.
struct Headers {
    table: usize,
    size: usize,
    kind: usize,
    note: u64,
    offset: usize,
    length: usize,
    align: usize,
}

fn in_notes(notes: &[u8], align: usize) -> Option<String> {
    const BUILD_ID: u64 = 3;
    let mut rest = notes;
    while rest.len() >= 12 {
        let word = |at| number(rest, at, 4) as usize;
        let (name, description) = (word(0), word(4));
        let begin = 12usize.checked_add(name)?.checked_next_multiple_of(align)?;
        let end = begin.checked_add(description)?;
        if number(rest, 8, 4) == BUILD_ID && rest.get(12..16) == Some(b"GNU\0") {
            return rest.get(begin..end).filter(|id| !id.is_empty()).map(hex::encode);
        }
        rest = rest.get(end.checked_next_multiple_of(align)?..)?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_of_this_very_program_is_the_one_that_readelf_shows() {
        let program = std::env::current_exe().unwrap();
        let bytes = std::fs::read(&program).unwrap();
        let said = std::process::Command::new("readelf").arg("-n").arg(&program).output().unwrap();
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let id = said.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).map(str::to_owned);
        assert!(id.is_some(), "{said}");
        assert_eq!(of(&Content::from_bytes(bytes)).unwrap(), id);
    }

    #[test]
    fn a_note_that_ends_early_has_none() {
        let note = [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0, 1, 2];
        assert_eq!(in_notes(&note, 4), None);
        let whole = [4, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, b'G', b'N', b'U', 0, 0xab, 0xcd];
        assert_eq!(in_notes(&whole, 4).as_deref(), Some("abcd"));
        let mut second = vec![4, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, b'G', b'N', b'U', 0, 9, 0, 0, 0];
        second.extend(whole);
        assert_eq!(in_notes(&second, 4).as_deref(), Some("abcd"));
        assert_eq!(in_notes(&[0xff; 40], 8), None);
    }
}
