//! Names: 8.3, the long ones beside them, and dates.

use std::collections::BTreeSet;

use super::Error;
use super::ondisk::{LAST_PIECE, LongNameEntry, PIECE_UNITS, attribute};

/// Longest name in UTF-16 units.
pub(super) const MAX_UNITS: usize = 255;

/// What two names have in common that FAT takes for the same.
pub(super) fn folded(name: &str) -> String {
    name.chars().flat_map(char::to_uppercase).collect()
}

/// Refuses a name that a long name entry cannot hold.
pub(super) fn check(path: &str, name: &str) -> Result<(), Error> {
    let problem = if name.is_empty() {
        "a part of it is empty"
    } else if matches!(name, "." | "..") {
        "`.` and `..` are no names"
    } else if name.encode_utf16().count() > MAX_UNITS {
        "a part of it has over 255 UTF-16 units"
    } else if name.chars().any(|c| c.is_control() || r#""*/:<>?\|"#.contains(c)) {
        "a part of it has a character that FAT does not allow"
    } else if name.ends_with(['.', ' ']) {
        "a part of it ends in a dot or blank, which firmware drops"
    } else {
        return Ok(());
    };
    Err(Error::Name { path: path.into(), problem })
}

/// A character that a short name may have.
fn is_short(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || "!#$%&'()-@^_`{}~".contains(c)
}

/// The label as the boot sector and the root folder have it.
pub(super) fn label(label: &str) -> Result<[u8; 11], Error> {
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || " -_".contains(c);
    match padded(label) {
        Some(padded) if !label.trim().is_empty() && !label.starts_with(' ') && label.chars().all(allowed) => {
            Ok(padded)
        }
        _ => Err(Error::Label(label.into())),
    }
}

/// `text` filled up with blanks; `None` where it is too long.
fn padded<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut field = [b' '; N];
    field.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
    Some(field)
}

/// The 11 bytes of a name that is 8.3 as it stands.
fn exact(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = match name.rsplit_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (name, ""),
    };
    if base.is_empty() || !base.chars().chain(extension.chars()).all(is_short) {
        return None;
    }
    joined(padded(base)?, padded(extension)?)
}

fn joined(base: [u8; 8], extension: [u8; 3]) -> Option<[u8; 11]> {
    [base.as_slice(), extension.as_slice()].concat().try_into().ok()
}

/// A short name for `name`, none of those `taken`, and whether it needs a long one beside it. Numbers are given out in
/// the order of asking (specification, section 7.4).
pub(super) fn short(name: &str, taken: &BTreeSet<[u8; 11]>) -> Option<([u8; 11], bool)> {
    if let Some(short) = exact(name) {
        return (!taken.contains(&short)).then_some((short, false));
    }
    let trimmed = name.trim_start_matches('.');
    let (base, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
    let legal = |part: &str| -> String {
        let part = part.chars().filter(|c| !matches!(c, ' ' | '.')).map(|c| c.to_ascii_uppercase());
        part.map(|c| if is_short(c) { c } else { '_' }).collect()
    };
    let extension: String = legal(extension).chars().take(3).collect();
    let base = legal(base);
    (1u32..=999_999).find_map(|number| {
        let tail = format!("~{number}");
        let kept: String = base.chars().take(8usize.checked_sub(tail.len())?).collect();
        let candidate = joined(padded(&(kept + &tail))?, padded(&extension)?)?;
        (!taken.contains(&candidate)).then_some((candidate, true))
    })
}

/// How many pieces a long name takes.
pub(super) fn pieces(name: &str) -> usize {
    name.encode_utf16().count().div_ceil(PIECE_UNITS)
}

/// The sum over a short name that each piece of its long name repeats (specification, section 7.2).
pub(super) fn checksum(short: &[u8; 11]) -> u8 {
    short.iter().fold(0u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// The entries that carry a long name, in the order they have on disk.
pub(super) fn long(name: &str, short: &[u8; 11]) -> Vec<LongNameEntry> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let pieces = pieces(name);
    if !units.len().is_multiple_of(PIECE_UNITS) {
        units.push(0);
    }
    units.resize(pieces.saturating_mul(PIECE_UNITS), 0xffff);
    let mut entries: Vec<LongNameEntry> = units
        .chunks_exact(PIECE_UNITS)
        .zip(1u8..)
        .map(|(piece, number)| {
            let mut units = piece.iter().map(|unit| (*unit).into());
            let mut next = || units.next().unwrap_or_default();
            let last = if usize::from(number) == pieces { LAST_PIECE } else { 0 };
            LongNameEntry {
                order: number | last,
                name_1: std::array::from_fn(|_| next()),
                attributes: attribute::LONG_NAME,
                kind: 0,
                checksum: checksum(short),
                name_2: std::array::from_fn(|_| next()),
                cluster: 0.into(),
                name_3: std::array::from_fn(|_| next()),
            }
        })
        .collect();
    entries.reverse();
    entries
}

/// Date and time as a directory entry has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Year since 1980 in bits 9–15, month from bit 5, day.
    pub date: u16,
    /// Hour from bit 11, minute from bit 5, half seconds.
    pub time: u16,
    /// Hundredths of a second that `time` cannot say: 0 or 100.
    pub fine: u8,
}

impl Stamp {
    /// From seconds since 1970 UTC, moved into 1980 to 2107.
    pub(super) fn from_unix(seconds: i64) -> Self {
        const FIRST: i64 = 315_532_800; // 1980-01-01T00:00:00Z
        const LAST: i64 = 4_354_819_199; // 2107-12-31T23:59:59Z
        let seconds = seconds.clamp(FIRST, LAST);
        let (year, month, day) = civil(seconds.div_euclid(86_400));
        let second = seconds.rem_euclid(86_400);
        let field = |value: i64, shift: u32| u16::try_from(value).unwrap_or_default() << shift;
        Self {
            date: field(year.saturating_sub(1980), 9) | field(month, 5) | field(day, 0),
            time: field(second / 3600, 11) | field(second / 60 % 60, 5) | field(second % 60 / 2, 0),
            fine: if second % 2 == 1 { 100 } else { 0 },
        }
    }
}

/// Year, month and day of a day counted from 1970-01-01 (Gregorian; Howard Hinnant's `civil_from_days`).
#[expect(
    clippy::arithmetic_side_effects,
    reason = "the caller's clamp keeps every term far from the ends of an i64"
)]
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
