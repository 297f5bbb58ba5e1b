//! Sizes as people write them.

/// Bytes of a size such as `512M`: a whole number, and one of `K`, `M`, `G`, `T` for powers of 1024 or nothing for
/// bytes. `KiB`, `MiB` and so on mean the same; `KB`, which might mean 1000, is refused.
///
/// ```
/// assert_eq!(graven_recipe::parse_size("512M"), Some(512 << 20));
/// assert_eq!(graven_recipe::parse_size("4096"), Some(4096));
/// assert_eq!(graven_recipe::parse_size("1.5G"), None);
/// ```
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let shift = match unit.trim_start() {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        "T" | "TiB" => 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(1 << shift)
}
