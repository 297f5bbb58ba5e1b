//! Bytes of an archive in order: as they lie in the file, or decompressed on the way.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use graven_image::tree::Content;
use graven_verity::io::ReadAt;
use liblzma::bufread::XzDecoder;
use liblzma::stream::MtStreamBuilder;
use sha2::Digest as _;

use crate::{Limits, Problem, Sha256, Spool};

/// An archive's unpacked bytes, front to back.
pub(crate) struct Stream<'a> {
    input: Input<'a>,
    /// Unpacked bytes taken so far.
    position: u64,
    limits: &'a Limits,
}

enum Input<'a> {
    /// Uncompressed: contents are referred to in place.
    Plain { source: Arc<dyn ReadAt>, len: u64, buffer: Vec<u8>, buffer_at: u64 },
    /// Compressed: contents go to the spool.
    Packed {
        reader: Box<dyn Read + 'a>,
        format: &'static str,
        taken: Arc<AtomicU64>,
        spool: &'a Spool,
        /// What was unpacked, where its digest is wanted.
        hasher: Option<sha2::Sha256>,
    },
}

/// Unpacked in steps of this many bytes.
const STEP: usize = 1 << 17;
/// Read at once where headers are looked for.
const HEADERS: usize = 1 << 14;

impl<'a> Stream<'a> {
    /// Tells the compression from the first bytes. `source` is the whole file, or a window of it.
    pub(crate) fn open(
        source: Arc<dyn ReadAt>,
        spool: &'a Spool,
        limits: &'a Limits,
    ) -> Result<Self, Problem> {
        let len = source.size().map_err(reading)?;
        let mut magic = [0; 6];
        let known = usize::try_from(len).unwrap_or(usize::MAX).min(magic.len());
        source.read_exact_at(magic.get_mut(..known).unwrap_or_default(), 0).map_err(reading)?;
        let taken = Arc::new(AtomicU64::new(0));
        let packed = Sequential { source: Arc::clone(&source), position: 0, len, taken: Arc::clone(&taken) };
        let packed = BufReader::with_capacity(STEP, packed);
        let (reader, format): (Box<dyn Read + 'a>, _) = match magic {
            [0x1f, 0x8b, ..] => (Box::new(flate2::bufread::MultiGzDecoder::new(packed)), "gzip"),
            [0xfd, b'7', b'z', b'X', b'Z', 0] => (Box::new(Xz::new(packed, limits.decoder_memory)?), "xz"),
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => {
                let failed = |error| Problem::Compression { format: "zstd", error };
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(failed)?;
                let window = limits.decoder_memory.checked_ilog2().unwrap_or(0).clamp(10, 31);
                decoder.window_log_max(window).map_err(failed)?;
                (Box::new(decoder), "zstd")
            }
            [b'B', b'Z', b'h', ..] => return Err(other_compression("bzip2")),
            [0x04, 0x22, 0x4d, 0x18, ..] => return Err(other_compression("lz4")),
            [0x5d, 0, 0, ..] => return Err(other_compression("lzma")),
            [b'L', b'Z', b'I', b'P', ..] => return Err(other_compression("lzip")),
            [b'P', b'K', 3, 4, ..] => return Err(other_compression("zip")),
            _ => {
                let input = Input::Plain { source, len, buffer: Vec::new(), buffer_at: 0 };
                return Ok(Self { input, position: 0, limits });
            }
        };
        Ok(Self { input: Input::Packed { reader, format, taken, spool, hasher: None }, position: 0, limits })
    }

    /// The same, so that [`digest`](Self::digest) knows what was unpacked.
    pub(crate) fn hashed(mut self) -> Self {
        if let Input::Packed { hasher, .. } = &mut self.input {
            *hasher = Some(sha2::Sha256::new());
        }
        self
    }

    /// How it is compressed; none where it is not.
    pub(crate) fn compression(&self) -> Option<&'static str> {
        match &self.input {
            Input::Plain { .. } => None,
            Input::Packed { format, .. } => Some(format),
        }
    }

    /// SHA-256 of what was unpacked of a [`hashed`](Self::hashed) stream; none where nothing needed to be unpacked.
    pub(crate) fn digest(&self) -> Option<Sha256> {
        let Input::Packed { hasher: Some(hasher), .. } = &self.input else { return None };
        Some(Sha256::from(<[u8; 32]>::from(hasher.clone().finalize())))
    }

    /// Unpacked bytes taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.position
    }

    /// Fills `buf` as far as there are bytes; returns how many.
    pub(crate) fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Problem> {
        let filled = match &mut self.input {
            Input::Plain { source, len, buffer, buffer_at } => {
                let left = usize::try_from(len.saturating_sub(self.position)).unwrap_or(usize::MAX);
                let wanted = buf.len().min(left);
                let mut done = 0;
                while done < wanted {
                    let at = self.position.saturating_add(done as u64);
                    let behind = usize::try_from(at.wrapping_sub(*buffer_at)).unwrap_or(usize::MAX);
                    let Some(have) = buffer.get(behind..).filter(|have| !have.is_empty()) else {
                        let step = usize::try_from(len.saturating_sub(at)).unwrap_or(HEADERS).min(HEADERS);
                        buffer.resize(step, 0);
                        source.read_exact_at(buffer, at).map_err(reading)?;
                        *buffer_at = at;
                        continue;
                    };
                    let step = have.len().min(wanted.saturating_sub(done));
                    let end = done.saturating_add(step);
                    if let (Some(to), Some(from)) = (buf.get_mut(done..end), have.get(..step)) {
                        to.copy_from_slice(from);
                    }
                    done = end;
                }
                done
            }
            Input::Packed { reader, format, hasher, .. } => {
                let mut done = 0usize;
                while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
                    match reader.read(rest) {
                        Ok(0) => break,
                        Ok(read) => done = done.saturating_add(read),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(Problem::Compression { format, error }),
                    }
                }
                if let Some(hasher) = hasher {
                    hasher.update(buf.get(..done).unwrap_or_default());
                }
                done
            }
        };
        self.position = self.position.saturating_add(filled as u64);
        self.watch_ratio()?;
        Ok(filled)
    }

    /// Fills `buf` or says what is missing.
    pub(crate) fn fill_all(&mut self, buf: &mut [u8], what: &'static str) -> Result<(), Problem> {
        let filled = self.fill(buf)?;
        if filled < buf.len() {
            return Err(Problem::Truncated { what, wanted: buf.len() as u64, left: filled as u64 });
        }
        Ok(())
    }

    /// Makes sure, before anything is unpacked, that `len` more bytes are within the limits, and where that can
    /// be known, that they are there.
    pub(crate) fn announce(&self, len: u64, what: &'static str) -> Result<(), Problem> {
        if self.position.saturating_add(len) > self.limits.unpacked_bytes {
            let limit = self.limits.unpacked_bytes;
            return Err(Problem::Limit { name: "unpacked_bytes", what: "unpacked bytes", limit });
        }
        if let Input::Plain { len: whole, .. } = &self.input {
            let left = whole.saturating_sub(self.position);
            if len > left {
                return Err(Problem::Truncated { what, wanted: len, left });
            }
        }
        Ok(())
    }

    /// The next `len` bytes as the contents of a file.
    pub(crate) fn contents(&mut self, len: u64) -> Result<Content, Problem> {
        const WHAT: &str = "the member's contents";
        self.announce(len, WHAT)?;
        if let Input::Plain { source, .. } = &self.input {
            let content = Content { source: Arc::clone(source), offset: self.position, len };
            self.position = self.position.saturating_add(len);
            return Ok(content);
        }
        let Input::Packed { spool, .. } = &self.input else { unreachable!("the other kind has returned") };
        let spool: &'a Spool = spool;
        let mut room = spool.reserve(len).map_err(spooling)?;
        let step = usize::try_from(len).unwrap_or(STEP).min(STEP);
        let mut buffer = vec![0; step];
        let mut left = len;
        while left > 0 {
            let now = usize::try_from(left).unwrap_or(STEP).min(STEP);
            let bytes = buffer.get_mut(..now).unwrap_or_default();
            let filled = self.fill(bytes)?;
            if filled < now {
                let there = len.saturating_sub(left).saturating_add(filled as u64);
                return Err(Problem::Truncated { what: WHAT, wanted: len, left: there });
            }
            room.write(bytes).map_err(spooling)?;
            left = left.saturating_sub(now as u64);
        }
        Ok(room.content())
    }

    fn watch_ratio(&self) -> Result<(), Problem> {
        let Input::Packed { taken, .. } = &self.input else { return Ok(()) };
        let allowed = taken.load(Ordering::Relaxed).saturating_mul(self.limits.ratio);
        if self.position > Limits::RATIO_FROM.max(allowed) {
            let limit = self.limits.ratio;
            return Err(Problem::Limit {
                name: "ratio",
                what: "unpacked bytes for each compressed one",
                limit,
            });
        }
        if self.position > self.limits.unpacked_bytes {
            let limit = self.limits.unpacked_bytes;
            return Err(Problem::Limit { name: "unpacked_bytes", what: "unpacked bytes", limit });
        }
        Ok(())
    }
}

fn reading(error: io::Error) -> Problem {
    Problem::Io { doing: "reading", error }
}

fn spooling(error: io::Error) -> Problem {
    Problem::Io { doing: "unpacking into the work folder", error }
}

fn other_compression(format: &str) -> Problem {
    Problem::Unsupported { what: format.to_owned(), instead: "repack as plain tar or with gzip, xz or zstd" }
}

/// The file from front to back, what was taken counted.
struct Sequential {
    source: Arc<dyn ReadAt>,
    position: u64,
    len: u64,
    taken: Arc<AtomicU64>,
}

impl Read for Sequential {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(self.position)).unwrap_or(usize::MAX);
        let step = buf.len().min(left);
        self.source.read_exact_at(buf.get_mut(..step).unwrap_or_default(), self.position)?;
        self.position = self.position.saturating_add(step as u64);
        self.taken.store(self.position, Ordering::Relaxed);
        Ok(step)
    }
}

/// xz streams one after the other, with padding between; the blocks of each are decompressed in parallel.
struct Xz<R: BufRead> {
    /// None only while a stream follows another.
    decoder: Option<XzDecoder<R>>,
    memory: u64,
}

impl<R: BufRead> Xz<R> {
    fn new(reader: R, memory: u64) -> Result<Self, Problem> {
        let decoder =
            decoder(reader, memory).map_err(|error| Problem::Compression { format: "xz", error })?;
        Ok(Self { decoder: Some(decoder), memory })
    }
}

fn decoder<R: BufRead>(reader: R, memory: u64) -> io::Result<XzDecoder<R>> {
    let threads = u32::try_from(rayon::current_num_threads()).unwrap_or(1).max(1);
    let stream = MtStreamBuilder::new()
        .threads(threads)
        .memlimit_threading(memory)
        .memlimit_stop(memory)
        .decoder()
        .map_err(io::Error::from)?;
    Ok(XzDecoder::new_stream(reader, stream))
}

impl<R: BufRead> Read for Xz<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some(decoder) = &mut self.decoder else { return Ok(0) };
            let read = decoder.read(buf)?;
            if read > 0 || buf.is_empty() {
                return Ok(read);
            }
            // The stream has ended. Stream padding is zeros, four by four (.xz file format 1.2.1, section 2.2).
            let Some(mut reader) = self.decoder.take().map(XzDecoder::into_inner) else { return Ok(0) };
            let mut padding = 0usize;
            let another = loop {
                match reader.fill_buf()?.first() {
                    None => break false,
                    Some(0) => reader.consume(1),
                    Some(_) => break true,
                }
                padding = padding.wrapping_add(1);
            };
            if !padding.is_multiple_of(4) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "bytes after the end of the xz stream",
                ));
            }
            if !another {
                return Ok(0);
            }
            self.decoder = Some(self::decoder(reader, self.memory)?);
        }
    }
}
