//! SHA-2's compression function on many messages side by side: lane `i` of every vector belongs to message `i`.
//!
//! What the rounds are made of differs from one instruction set to the next, the rounds do not. [`compress`](compress!)
//! writes them out, as a function, in a module that has
//!
//! - `V`, a vector of [`LANES`] words;
//! - `add`, `xor3`, `choose` and `majority` of vectors, `rotate::<R, L>` (right by R, which is left by L) and
//!   `shift::<R>` (right);
//! - `splat` of a word, `from_words` and `to_words` of an array of [`LANES`] words;
//! - `load`, the next chunk of every message as 16 vectors of words in the machine's byte order.

/// The rotations and shifts of FIPS 180-4, sections 4.1.2 and 4.1.3, and with them the whole function.
macro_rules! compress {
    (sha256 $(, #[$attribute:meta])?) => {
        $crate::hash::lanes::compress!(
            u32, 64, $crate::hash::constants::K256, $(#[$attribute])?
            (2, 30, 13, 19, 22, 10), (6, 26, 11, 21, 25, 7), (7, 25, 18, 14, 3), (17, 15, 19, 13, 10)
        );
    };
    (sha512 $(, #[$attribute:meta])?) => {
        $crate::hash::lanes::compress!(
            u64, 128, $crate::hash::constants::K512, $(#[$attribute])?
            (28, 36, 34, 30, 39, 25), (14, 50, 18, 46, 41, 23), (1, 63, 8, 56, 7), (19, 45, 61, 3, 6)
        );
    };
    (
        $word:ty, $chunk:literal, $k:path, $(#[$attribute:meta])?
        ($a0:literal, $a1:literal, $a2:literal, $a3:literal, $a4:literal, $a5:literal),
        ($e0:literal, $e1:literal, $e2:literal, $e3:literal, $e4:literal, $e5:literal),
        ($s0:literal, $s1:literal, $s2:literal, $s3:literal, $s4:literal),
        ($t0:literal, $t1:literal, $t2:literal, $t3:literal, $t4:literal)
    ) => {
        #[inline]
        $(#[$attribute])?
        fn round(state: &mut [V; 8], w: V, k: V) {
            let [a, b, c, d, e, f, g, h] = *state;
            let sum = xor3(rotate::<$e0, $e1>(e), rotate::<$e2, $e3>(e), rotate::<$e4, $e5>(e));
            let first = add(add(add(h, add(w, k)), choose(e, f, g)), sum);
            let sum = xor3(rotate::<$a0, $a1>(a), rotate::<$a2, $a3>(a), rotate::<$a4, $a5>(a));
            let second = add(sum, majority(a, b, c));
            *state = [add(first, second), a, b, c, add(d, first), e, f, g];
        }

        /// Takes the chunks of each message, as many in all of them, into its state.
        $(#[$attribute])?
        pub(in crate::hash) fn compress(states: &mut [[$word; 8]; LANES], messages: &[&[[u8; $chunk]]; LANES]) {
            let mut state = [splat(0); 8];
            for (i, vector) in state.iter_mut().enumerate() {
                let mut words = [0; LANES];
                words.iter_mut().zip(states.iter()).for_each(|(word, state)| *word = state[i]);
                *vector = from_words(words);
            }
            let chunks = messages.iter().map(|message| message.len()).min().unwrap_or(0);
            let messages = messages.map(|message| &message[..chunks]);
            for chunk in 0..chunks {
                let before = state;
                let mut w = load(&messages, chunk);
                // A round, and the word that takes its word's place sixteen rounds later: each fills the other's waits.
                // Written out, so that all indices are constants and the words stay in registers.
                let (last, others) = $k.as_chunks::<16>().0.split_last().expect("words of many rounds");
                for k in others {
                    macro_rules! round_and_next_word {
                        ($i:literal) => {
                            round(&mut state, w[$i], splat(k[$i]));
                            let (x, y) = (w[($i + 1) % 16], w[($i + 14) % 16]);
                            let s0 = xor3(rotate::<$s0, $s1>(x), rotate::<$s2, $s3>(x), shift::<$s4>(x));
                            let s1 = xor3(rotate::<$t0, $t1>(y), rotate::<$t2, $t3>(y), shift::<$t4>(y));
                            w[$i] = add(add(w[$i], s0), add(w[($i + 9) % 16], s1));
                        };
                    }
                    $crate::hash::lanes::sixteen!(round_and_next_word);
                }
                macro_rules! last_round {
                    ($i:literal) => {
                        round(&mut state, w[$i], splat(last[$i]));
                    };
                }
                $crate::hash::lanes::sixteen!(last_round);
                for (now, before) in state.iter_mut().zip(before) {
                    *now = add(*now, before);
                }
            }
            for (i, vector) in state.into_iter().enumerate() {
                states.iter_mut().zip(to_words(vector)).for_each(|(state, word)| state[i] = word);
            }
        }
    };
}

/// Sixteen times a macro, with 0 to 15.
macro_rules! sixteen {
    ($each:ident) => {
        $crate::hash::lanes::sixteen!($each, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    };
    ($each:ident, $($i:literal)*) => {
        $($each!($i);)*
    };
}

pub(super) use {compress, sixteen};

/// The rounds on arrays: what any instruction set has to compute.
#[cfg(test)]
pub(super) mod emulated {
    macro_rules! operations {
        ($word:ty, $chunk:literal, $lanes:literal, $function:ident) => {
            type V = [$word; LANES];
            pub(in crate::hash) const LANES: usize = $lanes;

            fn each(f: impl Fn(usize) -> $word) -> V {
                std::array::from_fn(f)
            }
            fn splat(word: $word) -> V {
                [word; LANES]
            }
            fn from_words(words: V) -> V {
                words
            }
            fn to_words(vector: V) -> V {
                vector
            }
            fn add(a: V, b: V) -> V {
                each(|i| a[i].wrapping_add(b[i]))
            }
            fn xor3(a: V, b: V, c: V) -> V {
                each(|i| a[i] ^ b[i] ^ c[i])
            }
            fn choose(e: V, f: V, g: V) -> V {
                each(|i| e[i] & f[i] | !e[i] & g[i])
            }
            fn majority(a: V, b: V, c: V) -> V {
                each(|i| a[i] & b[i] | a[i] & c[i] | b[i] & c[i])
            }
            fn rotate<const R: u32, const L: u32>(a: V) -> V {
                each(|i| a[i] >> R | a[i] << L)
            }
            fn shift<const R: u32>(a: V) -> V {
                each(|i| a[i] >> R)
            }
            fn load(messages: &[&[[u8; $chunk]]; LANES], chunk: usize) -> [V; 16] {
                let word = |lane: usize, i| messages[lane][chunk].as_chunks().0[i];
                std::array::from_fn(|i| each(|lane| <$word>::from_be_bytes(word(lane, i))))
            }
            crate::hash::lanes::compress!($function);
        };
    }

    pub(in crate::hash) mod sha256 {
        operations!(u32, 64, 16, sha256);
    }
    pub(in crate::hash) mod sha512 {
        operations!(u64, 128, 8, sha512);
    }
}
