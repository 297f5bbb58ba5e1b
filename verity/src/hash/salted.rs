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
const END: usize = 8;

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
        let mut done = 0;
        for step in self.steps {
            while blocks.len() - done >= step.at_least {
                let taken = step.lanes.min(blocks.len() - done);
                let states = self.digest_lanes(step, &blocks[done..done + taken]);
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

    /// The final states of at most as many `blocks` as the step has lanes. A lane without a block repeats the last one.
    fn digest_lanes(&self, step: &Step<W, CHUNK>, blocks: &[&[u8]]) -> [[W; 8]; MOST_LANES] {
        let block = |lane: usize| blocks[lane.min(blocks.len() - 1)];
        let lanes = step.lanes;
        let mut states = [self.state; MOST_LANES];
        let mut compress = |messages: &[&[[u8; CHUNK]]; MOST_LANES]| {
            (step.compress)(&mut states[..lanes], &messages[..lanes]);
        };

        // A chunk of the salt's end and the block's start; then as many whole chunks of the block as there are.
        let len = block(0).len();
        let fill = if self.tail.is_empty() { 0 } else { CHUNK - self.tail.len() };
        let (start, tail) = if fill <= len { (fill, [].as_slice()) } else { (0, self.tail.as_slice()) };
        let mut messages: [&[[u8; CHUNK]]; MOST_LANES] = [&[]; MOST_LANES];
        let mut heads = [[0; CHUNK]; MOST_LANES];
        if start > 0 {
            for (lane, head) in heads[..lanes].iter_mut().enumerate() {
                let (salt, bytes) = head.split_at_mut(self.tail.len());
                salt.copy_from_slice(&self.tail);
                bytes.copy_from_slice(&block(lane)[..start]);
            }
            for (message, head) in messages.iter_mut().zip(&heads) {
                *message = std::slice::from_ref(head);
            }
            compress(&messages);
        }
        for (lane, message) in messages[..lanes].iter_mut().enumerate() {
            *message = block(lane)[start..].as_chunks().0;
        }
        compress(&messages);

        // What is left of the block, the salt after it, a one bit, zeros, the length in bits.
        let rest = start + (len - start) / CHUNK * CHUNK;
        let used = tail.len() + len - rest + self.suffix.len();
        let chunks = (used + 1 + CHUNK / 8).div_ceil(CHUNK);
        let mut ends = [[[0; CHUNK]; END]; MOST_LANES];
        for (lane, end) in ends[..lanes].iter_mut().enumerate() {
            let end = end[..chunks].as_flattened_mut();
            let parts = [tail, &block(lane)[rest..], &self.suffix, &[0x80]];
            let mut at = 0;
            for part in parts {
                end[at..at + part.len()].copy_from_slice(part);
                at += part.len();
            }
            let bits = 8 * (self.salt_len + len) as u64;
            let length = end.len() - size_of_val(&bits);
            end[length..].copy_from_slice(&bits.to_be_bytes());
        }
        for (message, end) in messages.iter_mut().zip(&ends) {
            *message = &end[..chunks];
        }
        compress(&messages);
        states
    }
}
