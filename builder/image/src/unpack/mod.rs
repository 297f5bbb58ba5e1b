//! What the kernel's read-only file systems are compressed with, taken apart without trust in a single byte.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod cache;
mod lz4;

pub(crate) use cache::Cache;

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress};
use liblzma::stream::{Action, Stream};

/// How a block is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    /// LZ4, one block without a frame.
    Lz4,
    /// DEFLATE without a header.
    Deflate,
    /// DEFLATE in a zlib stream.
    Zlib,
    /// A Zstandard frame.
    Zstd,
    /// A MicroLZMA stream: LZMA1 with its properties, inverted, in place of the first byte, which is always 0.
    MicroLzma,
    /// An xz stream.
    Xz,
}

/// Bytes that all files of an image may have together, unpacked and with their holes: 1 TiB, or 256 times the image's length
/// where that is more. A hole takes no room in an image, but its zeros are hashed and written all the same.
pub(crate) fn most_contents(image: u64) -> u64 {
    image.saturating_mul(256).max(1 << 40)
}

/// Memory that a decoder may take for its window.
const MOST_MEMORY: u64 = 64 << 20;

/// The first `most` bytes of what `input` holds, or all where it holds less.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] for what is no such stream.
pub(crate) fn unpack(algorithm: Algorithm, input: &[u8], most: usize) -> io::Result<Vec<u8>> {
    match algorithm {
        Algorithm::Lz4 => lz4::unpack(input, most),
        Algorithm::Deflate => inflate(Decompress::new(false), input, most),
        Algorithm::Zlib => inflate(Decompress::new(true), input, most),
        Algorithm::Zstd => {
            let mut out = Vec::new();
            let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
            decoder.window_log_max(MOST_MEMORY.ilog2())?;
            decoder.take(most as u64).read_to_end(&mut out).map_err(|_| damaged())?;
            Ok(out)
        }
        Algorithm::MicroLzma => {
            let (properties, rest) = input.split_first().ok_or_else(damaged)?;
            // As a .lzma file of unknown length: it ends where the wanted bytes do.
            let dictionary = u32::try_from(most).unwrap_or(u32::MAX).max(4096);
            let head = [&[!properties][..], &dictionary.to_le_bytes(), &u64::MAX.to_le_bytes(), &[0]];
            let whole = [&head.concat(), rest].concat();
            lzma(Stream::new_lzma_decoder(MOST_MEMORY)?, &whole, most)
        }
        Algorithm::Xz => lzma(Stream::new_stream_decoder(MOST_MEMORY, 0)?, input, most),
    }
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a compressed block is damaged")
}

fn inflate(mut decoder: Decompress, input: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(most);
    // The whole input and room for all of the output are there: one call does it.
    decoder.decompress_vec(input, &mut out, FlushDecompress::Finish).map_err(|_| damaged())?;
    out.truncate(most);
    Ok(out)
}

fn lzma(mut decoder: Stream, input: &[u8], most: usize) -> io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(most);
    decoder.process_vec(input, &mut out, Action::Run).map_err(|_| damaged())?;
    out.truncate(most);
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a panic is how a test fails")]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_or_changed_gives_an_error_or_less_and_never_more() {
        let plain: Vec<u8> = (0..20_000u32).flat_map(|n| (n / 7 % 251).to_le_bytes()).collect();
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
        io::Write::write_all(&mut zlib, &plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        io::Write::write_all(&mut xz, &plain).unwrap();
        let packed = [
            (Algorithm::Zlib, zlib.finish().unwrap()),
            (Algorithm::Xz, xz.finish().unwrap()),
            (Algorithm::Zstd, zstd::encode_all(plain.as_slice(), 19).unwrap()),
        ];
        for (algorithm, packed) in packed {
            assert_eq!(unpack(algorithm, &packed, plain.len()).unwrap(), plain, "{algorithm:?}");
            assert_eq!(unpack(algorithm, &packed, 1000).unwrap(), plain[..1000], "{algorithm:?}");
            for cut in [0, 1, 10, packed.len() / 2] {
                let less = unpack(algorithm, &packed[..cut], plain.len()).unwrap_or_default();
                assert!(less.len() < plain.len(), "{algorithm:?} of {cut} bytes");
            }
        }
        for algorithm in [Algorithm::Lz4, Algorithm::Deflate, Algorithm::MicroLzma] {
            for noise in 0..=255u8 {
                let input: Vec<u8> = (0..200u8).map(|n| n.wrapping_mul(noise).wrapping_add(noise)).collect();
                assert!(unpack(algorithm, &input, 5000).unwrap_or_default().len() <= 5000);
            }
        }
    }
}
