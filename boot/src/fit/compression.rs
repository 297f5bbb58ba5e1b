//! How the data of an image is compressed, by U-Boot's names.

use std::fmt;
use std::io::{self, Read as _, Write as _};

use crate::compression::{self, DecompressError};

/// A compression that U-Boot undoes before it starts a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip; every U-Boot has it.
    Gzip,
    /// LZ4 frames of independent blocks (CONFIG_LZ4).
    Lz4,
    /// Zstandard (CONFIG_ZSTD).
    Zstd,
}

impl Compression {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::None, Self::Gzip, Self::Lz4, Self::Zstd];

    /// The value of `compression`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|compression| compression.name() == name)
    }

    /// Compresses, always to the same bytes for the same input.
    pub fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes.to_vec()),
            Self::Gzip => compression::Compression::Gzip.compress(bytes),
            Self::Zstd => compression::Compression::Zstd.compress(bytes),
            Self::Lz4 => {
                let frame = lz4_flex::frame::FrameInfo::new()
                    .block_mode(lz4_flex::frame::BlockMode::Independent)
                    .block_size(lz4_flex::frame::BlockSize::Max4MB)
                    .content_checksum(true);
                let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(frame, Vec::new());
                encoder.write_all(bytes)?;
                encoder.finish().map_err(io::Error::other)
            }
        }
    }

    /// Undoes it, to at most `limit` bytes.
    pub fn decompress(self, bytes: &[u8], limit: u64) -> Result<Vec<u8>, DecompressError> {
        let known = match self {
            Self::None => compression::Compression::None,
            Self::Gzip => compression::Compression::Gzip,
            Self::Zstd => compression::Compression::Zstd,
            Self::Lz4 => return decompress_lz4(bytes, limit),
        };
        known.decompress_prefix(bytes, limit).map(|(out, _)| out)
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn decompress_lz4(bytes: &[u8], limit: u64) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    let decoder = lz4_flex::frame::FrameDecoder::new(bytes);
    decoder
        .take(limit.saturating_add(1))
        .read_to_end(&mut out)
        .map_err(|source| DecompressError::Damaged { compression: "lz4", source })?;
    match u64::try_from(out.len()).is_ok_and(|length| length <= limit) {
        true => Ok(out),
        false => Err(DecompressError::TooLarge { limit }),
    }
}
