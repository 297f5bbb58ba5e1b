//! The compressions kernels know, for modules, initramfs and kernel payloads: told by their magic, always bounded.

use std::io::{self, Read};

/// How a file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

/// Why a file could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// It grows beyond what it may.
    #[error("decompresses to more than {limit} bytes")]
    TooLarge {
        /// The bound in bytes.
        limit: u64,
    },
    /// The stream is damaged or ends early.
    #[error("damaged {compression} stream: {source}")]
    Damaged {
        /// Its name.
        compression: &'static str,
        /// What the decoder says.
        source: io::Error,
    },
}

impl Compression {
    /// Told by the first bytes.
    pub fn of(bytes: &[u8]) -> Self {
        match bytes {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    /// Its name as error messages have it.
    const fn name(self) -> &'static str {
        match self {
            Self::None => "uncompressed",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    /// The file name's ending with its dot; empty for none.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
        }
    }

    /// What [`decompress`] is to be told from this file name.
    pub fn of_name(name: &str) -> Self {
        let compressed = [Self::Gzip, Self::Xz, Self::Zstd];
        compressed.into_iter().find(|c| name.ends_with(c.suffix())).unwrap_or(Self::None)
    }

    /// Compresses, always to the same bytes for the same input: one thread, fixed settings, no name, no time.
    pub fn compress(self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::None => Ok(bytes.to_vec()),
            Self::Gzip => {
                let out = Vec::new();
                let mut encoder = flate2::GzBuilder::new().mtime(0).write(out, flate2::Compression::new(9));
                io::Write::write_all(&mut encoder, bytes)?;
                encoder.finish()
            }
            Self::Xz => {
                // The kernel's decoder (lib/xz) knows CRC32 and no CRC64.
                let stream = liblzma::stream::Stream::new_easy_encoder(6, liblzma::stream::Check::Crc32)
                    .map_err(io::Error::other)?;
                let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
                io::Write::write_all(&mut encoder, bytes)?;
                encoder.finish()
            }
            Self::Zstd => {
                // Level 19 has a window of at most 8 MiB, which every kernel's decoder takes.
                let mut encoder = zstd::Encoder::new(Vec::new(), 19)?;
                encoder.include_checksum(true)?;
                io::Write::write_all(&mut encoder, bytes)?;
                encoder.finish()
            }
        }
    }

    /// Decompresses the first stream in `bytes` to at most `limit` bytes. Returns it, and how many input bytes it took.
    pub fn decompress_prefix(self, bytes: &[u8], limit: u64) -> Result<(Vec<u8>, usize), DecompressError> {
        let mut input = bytes;
        let result = match self {
            Self::None => {
                input = &[];
                bounded(bytes, limit)
            }
            Self::Gzip => bounded(flate2::bufread::GzDecoder::new(&mut input), limit),
            Self::Xz => {
                // Memory of the decoder: the largest dictionary that a preset of xz makes is 64 MiB.
                let stream = liblzma::stream::Stream::new_stream_decoder(80 << 20, 0);
                let stream = stream.map_err(|e| self.damaged(io::Error::other(e)))?;
                bounded(liblzma::bufread::XzDecoder::new_stream(&mut input, stream), limit)
            }
            Self::Zstd => {
                let decoder = zstd::Decoder::with_buffer(&mut input).map_err(|e| self.damaged(e))?;
                bounded(decoder.single_frame(), limit)
            }
        };
        let out = result.map_err(|source| self.damaged(source))?;
        let out = out.ok_or(DecompressError::TooLarge { limit })?;
        Ok((out, bytes.len().saturating_sub(input.len())))
    }

    fn damaged(self, source: io::Error) -> DecompressError {
        DecompressError::Damaged { compression: self.name(), source }
    }
}

/// Decompresses a whole file, its compression told by its magic, to at most `limit` bytes.
pub fn decompress(bytes: &[u8], limit: u64) -> Result<Vec<u8>, DecompressError> {
    Compression::of(bytes).decompress_prefix(bytes, limit).map(|(out, _)| out)
}

/// Everything of `reader`, or `None` where that is more than `limit` bytes.
fn bounded(reader: impl Read, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let mut out = Vec::new();
    reader.take(limit.saturating_add(1)).read_to_end(&mut out)?;
    Ok(u64::try_from(out.len()).is_ok_and(|length| length <= limit).then_some(out))
}
