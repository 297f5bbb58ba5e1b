//! The configuration a kernel carries inside (`CONFIG_IKCONFIG`): gzip between `IKCFG_ST` and `IKCFG_ED`.

use crate::compression::decompress;

/// A configuration of Debian's size has 300 kB.
const CONFIG_LIMIT: u64 = 16 << 20;

/// Finds the configuration text in a decompressed kernel.
pub(super) fn extract(kernel: &[u8]) -> Option<String> {
    const START: &[u8] = b"IKCFG_ST\x1f\x8b";
    let start = kernel.windows(START.len()).position(|window| window == START)?;
    let gzip = kernel.get(start.checked_add(8)?..)?;
    String::from_utf8(decompress(gzip, CONFIG_LIMIT).ok()?).ok()
}
