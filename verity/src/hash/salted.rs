//! SHA-2 of many messages of one length that begin, or end, with one salt.

use super::steps::{MOST_LANES, Step};

/// A word of SHA-2's state.
pub(super) trait Word: Copy + Default {
    /// Writes it to `bytes`, which has its length.
    fn put(self, bytes: &mut [u8]);
}

impl Word for u32 {
    fn put(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.to_be_bytes());
    }
}

impl Word for u64 {
    fn put(self, bytes: &mut [u8]) {
        bytes.copy_from_slice(&self.to_be_bytes());
    }
}

/// The chunks that a message can end in: what is left of a block, a salt of 256 bytes, padding, the length.
const MOST_END: usize = 8;

/// One hash function, `W` its word and `CHUNK` the bytes that it takes at a time, with its salt already taken in.
pub(super) struct Salted<W: 'static, const CHUNK: usize> {
    steps: &'static [Step<W, CHUNK>],
    digest_size: usize,
    /// After the whole chunks of the salt before each block.
    state: [W; 8],
    /// Bytes of the salts before and after each block.
    salt_len: usize,
    /// What the whole chunks left of the salt before.
    tail: Vec<u8>,
    /// The salt after each block.
    suffix: Vec<u8>,
}

impl<W: Word, const CHUNK: usize> Salted<W, CHUNK> {
    pub(super) fn new(
        steps: &'static [Step<W, CHUNK>],
        initial: [W; 8],
        digest_size: usize,
        salting: super::Salting<'_>,
    ) -> Self {
        let (prefix, suffix) = match salting {
            super::Salting::Before(salt) => (salt, [].as_slice()),
            super::Salting::After(salt) => ([].as_slice(), salt),
        };
        let (chunks, tail) = prefix.as_chunks();
        let mut state = initial;
        if let Some(one) = steps.iter().find(|step| step.lanes == 1) {
            (one.compress)(std::slice::from_mut(&mut state), &[chunks]);
        }
        Self {
            steps,
            digest_size,
            state,
            salt_len: prefix.len() + suffix.len(),
            tail: tail.to_vec(),
            suffix: suffix.to_vec(),
        }
    }

    /// Hashes `blocks`, all of one length, and hands `put` the index and digest of each.
    pub(super) fn digest_many(&self, blocks: &[&[u8]], mut put: impl FnMut(usize, &[u8])) {
        let Some(first) = blocks.first() else { return };
        let end = self.end(first.len());
        let mut done = 0;
        for step in self.steps {
            while blocks.len() - done >= step.at_least {
                let taken = step.lanes.min(blocks.len() - done);
                let states = self.digest_lanes(step, &blocks[done..done + taken], &end);
                for (lane, state) in states[..taken].iter().enumerate() {
                    let mut digest = [0; 64];
                    let words = digest.chunks_exact_mut(size_of::<W>());
                    words.zip(state).for_each(|(bytes, word)| word.put(bytes));
                    put(done + lane, &digest[..self.digest_size]);
                }
                done += taken;
            }
        }
    }

    /// What a block of `len` bytes is cut into and ends in.
    fn end(&self, len: usize) -> End<CHUNK> {
        let fill = if self.tail.is_empty() { 0 } else { CHUNK - self.tail.len() };
        // A short block does not fill the chunk that the salt's end begins.
        let (start, tail) = if fill <= len { (fill, [].as_slice()) } else { (0, self.tail.as_slice()) };
        let rest = start + (len - start) / CHUNK * CHUNK;
        let hole = tail.len();
        let mut chunks = [[0; CHUNK]; MOST_END];
        let bytes = chunks.as_flattened_mut();
        bytes[..hole].copy_from_slice(tail);
        let suffix = hole + len - rest;
        let used = suffix + self.suffix.len();
        bytes[suffix..used].copy_from_slice(&self.suffix);
        bytes[used] = 0x80;
        let count = (used + 1 + CHUNK / 8).div_ceil(CHUNK);
        let bits = 8 * (self.salt_len + len) as u64;
        bytes[..count * CHUNK][count * CHUNK - size_of_val(&bits)..].copy_from_slice(&bits.to_be_bytes());
        End { start, rest, hole, chunks, count }
    }

    /// The final states of at most as many `blocks` as the step has lanes. A lane without a block repeats the last one.
    fn digest_lanes(
        &self,
        step: &Step<W, CHUNK>,
        blocks: &[&[u8]],
        end: &End<CHUNK>,
    ) -> [[W; 8]; MOST_LANES] {
        let lanes = step.lanes;
        let block = |lane: usize| blocks[lane.min(blocks.len() - 1)];
        let mut states = [self.state; MOST_LANES];
        let mut compress = |messages: &[&[[u8; CHUNK]]; MOST_LANES]| {
            (step.compress)(&mut states[..lanes], &messages[..lanes]);
        };
        let mut messages: [&[[u8; CHUNK]]; MOST_LANES] = [&[]; MOST_LANES];

        let mut heads = [[0; CHUNK]; MOST_LANES];
        if end.start > 0 {
            for (lane, head) in heads[..lanes].iter_mut().enumerate() {
                let (salt, bytes) = head.split_at_mut(self.tail.len());
                salt.copy_from_slice(&self.tail);
                bytes.copy_from_slice(&block(lane)[..end.start]);
            }
            for (message, head) in messages.iter_mut().zip(&heads) {
                *message = std::slice::from_ref(head);
            }
            compress(&messages);
        }

        for (lane, message) in messages[..lanes].iter_mut().enumerate() {
            *message = block(lane)[end.start..end.rest].as_chunks().0;
        }
        compress(&messages);

        let mut tails = [end.chunks[0]; MOST_LANES];
        for (lane, tail) in tails[..lanes].iter_mut().enumerate() {
            let rest = &block(lane)[end.rest..];
            tail[end.hole..][..rest.len()].copy_from_slice(rest);
        }
        for (message, tail) in messages.iter_mut().zip(&tails) {
            *message = std::slice::from_ref(tail);
        }
        compress(&messages);
        if end.count > 1 {
            compress(&[&end.chunks[1..end.count]; MOST_LANES]);
        }
        states
    }
}

/// How a block of some length is hashed: the salt's end and its first `start` bytes as a chunk, if any; whole chunks up to
/// `rest`; then `chunks`, in whose first its last bytes take the place from `hole` on.
struct End<const CHUNK: usize> {
    start: usize,
    rest: usize,
    hole: usize,
    /// The salt after the block, a one bit, zeros, the length in bits: the same for all blocks.
    chunks: [[u8; CHUNK]; MOST_END],
    /// Of which this many are used.
    count: usize,
}
