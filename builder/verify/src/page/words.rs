//! Numbers and names as people read them.

use crate::survey::Nature;

/// `12,345`
pub(super) fn number(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 file`, `12 files`
pub(super) fn count(count: usize, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// `512 B`, `4.0 KiB`, `1.5 GiB`
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut size = bytes as f64 / 1024.0;
    let mut unit = UNITS[0];
    for next in &UNITS[1..] {
        if size < 1024.0 {
            break;
        }
        size /= 1024.0;
        unit = next;
    }
    format!("{size:.1} {unit}")
}

/// So much of a text as fits, for a picture.
pub(super) fn cut(text: &str, most: usize) -> String {
    match text.chars().count() > most {
        true => text.chars().take(most.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

/// Several files of a kind.
pub(super) fn kinds(nature: &Nature) -> &'static str {
    match nature {
        Nature::Program(_) => "Programs",
        Nature::Library(_) => "Libraries",
        Nature::Script(_) => "Scripts",
        Nature::Module => "Kernel modules",
        Nature::Firmware => "Firmware",
        Nature::Kernel => "Kernels for kexec",
        Nature::Initramfs => "Initramfs for kexec",
        Nature::ImaPolicy => "IMA policies",
        Nature::Certificate => "Certificates of IMA and EVM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_numbers_are_rounded_where_people_stop_counting() {
        assert_eq!([0, 999, 1000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([1023, 1024, 1 << 20, 3 << 29].map(bytes), ["1023 B", "1.0 KiB", "1.0 MiB", "1.5 GiB"]);
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
        assert_eq!((cut("abc", 3), cut("abcd", 3)), ("abc".to_owned(), "ab…".to_owned()));
    }
}
