//! The bytes of the cache: glibc's `dl-cache.h`, version 2.41, little-endian.

use std::cmp::Ordering;

/// `CACHEMAGIC_VERSION_NEW`
const MAGIC: &[u8; 20] = b"glibc-ld.so.cache1.1";
/// Bytes of the header: magic, two counts, flags with padding, offset of extensions, three words unused.
const HEADER: usize = 48;
/// Bytes of an entry: flags, offsets of name and path, two words that are 0 without `glibc-hwcaps`.
const ENTRY: usize = 24;
/// `cache_file_new_flags_endian_little`
const LITTLE_ENDIAN: u8 = 2;

/// A library that the linker finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// What programs ask for.
    pub(crate) name: String,
    /// Where it lies; its last component is the name.
    pub(crate) path: String,
    /// Kind and processor.
    pub(crate) flags: u32,
}

/// The cache of these libraries; of equal names, the earlier folder's comes first.
pub(crate) fn render(mut entries: Vec<Entry>) -> Vec<u8> {
    // The linker searches by halves, and expects the last name first.
    entries.sort_by(|one, other| compare(&other.name, &one.name).then(other.flags.cmp(&one.flags)));
    let mut strings = Vec::new();
    let mut table = Vec::new();
    let first = HEADER + entries.len() * ENTRY;
    for entry in &entries {
        let path = first + strings.len();
        let name = path + entry.path.len() - entry.name.len();
        strings.extend_from_slice(entry.path.as_bytes());
        strings.push(0);
        table.extend(entry.flags.to_le_bytes());
        table.extend((name as u32).to_le_bytes());
        table.extend((path as u32).to_le_bytes());
        table.extend([0; 12]);
    }
    let mut cache = MAGIC.to_vec();
    cache.extend((entries.len() as u32).to_le_bytes());
    cache.extend((strings.len() as u32).to_le_bytes());
    cache.extend([LITTLE_ENDIAN, 0, 0, 0]);
    cache.extend([0; 16]);
    cache.extend(table);
    cache.extend(strings);
    cache
}

/// `_dl_cache_libcmp`: numbers in names by their value, and after whatever is no number.
pub(crate) fn compare(one: &str, other: &str) -> Ordering {
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    loop {
        match (one.split_first(), other.split_first()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((a, _)), Some((b, _))) if a.is_ascii_digit() && b.is_ascii_digit() => {
                let (number, rest) = number(one);
                let (other_number, other_rest) = self::number(other);
                match number.cmp(&other_number) {
                    Ordering::Equal => (one, other) = (rest, other_rest),
                    order => return order,
                }
            }
            (Some((a, _)), Some((b, _))) if a.is_ascii_digit() != b.is_ascii_digit() => {
                return if a.is_ascii_digit() { Ordering::Greater } else { Ordering::Less };
            }
            (Some((a, rest)), Some((b, other_rest))) => match a.cmp(b) {
                Ordering::Equal => (one, other) = (rest, other_rest),
                order => return order,
            },
        }
    }
}

fn number(text: &[u8]) -> (u128, &[u8]) {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = text.split_at(digits);
    let value = digits
        .iter()
        .fold(0u128, |value, digit| value.saturating_mul(10).saturating_add(u128::from(digit - b'0')));
    (value, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ordered_by_the_numbers_in_them() {
        let mut names = ["libc.so.6", "libc.so.10", "libc.so", "libcap.so.2", "ld.so.1"];
        names.sort_by(|one, other| compare(one, other));
        assert_eq!(names, ["ld.so.1", "libc.so", "libc.so.6", "libc.so.10", "libcap.so.2"]);
    }
}
