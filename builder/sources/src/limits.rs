//! How much an input may ask for.

/// Limits on what one archive may unpack to, so that a hostile one ends in an error and not in a full disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all members together, headers and padding included. The layers of a container image may have no more as
    /// they are, either.
    pub unpacked_bytes: u64,
    /// Members.
    pub members: u64,
    /// Unpacked bytes for each compressed one, watched from [`Limits::RATIO_FROM`] on.
    pub ratio: u64,
    /// Memory in bytes that a decompressor may take for its window.
    pub decoder_memory: u64,
}

impl Limits {
    /// Unpacked bytes from which on the ratio is watched: small archives may compress as well as they like.
    pub const RATIO_FROM: u64 = 256 << 20;
}

impl Default for Limits {
    /// 64 GiB, two million members, 250 to 1, 128 MiB. (Debian's packages unpack to 3 to 20 times their size;
    /// `xz -9` and `zstd --ultra` need 64 and 128 MiB.)
    fn default() -> Self {
        Self { unpacked_bytes: 64 << 30, members: 2_000_000, ratio: 250, decoder_memory: 128 << 20 }
    }
}
