//! Base64 as in RFC 4648 §4: standard alphabet, padded, one spelling for each content.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` as padded base64 text.
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let byte = |i: usize| u32::from(chunk.get(i).copied().unwrap_or(0));
        let word = (byte(0) << 16) | (byte(1) << 8) | byte(2);
        for (i, shift) in [18u32, 12, 6, 0].into_iter().enumerate() {
            let symbol = ALPHABET.get(((word >> shift) & 63) as usize).copied().unwrap_or(b'A');
            text.push(if i <= chunk.len() { symbol as char } else { '=' });
        }
    }
    text
}

/// The bytes of padded base64 text; `None` for any other character, a wrong length, wrong padding, or unused bits that
/// are not zero (which would give one content a second spelling).
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.as_bytes();
    if text.len() % 4 != 0 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut quads = text.chunks_exact(4).peekable();
    while let Some(quad) = quads.next() {
        let padding = quad.iter().rev().take_while(|c| **c == b'=').count();
        if padding > 2 || (padding > 0 && quads.peek().is_some()) {
            return None;
        }
        let symbols = quad.get(..4usize.checked_sub(padding)?)?;
        let mut word = 0u32;
        for symbol in symbols {
            word = (word << 6) | value(*symbol)?;
        }
        word = word.checked_shl(6u32.checked_mul(u32::try_from(padding).ok()?)?)?;
        let [_, a, b, c] = word.to_be_bytes();
        let kept = 3usize.checked_sub(padding)?;
        if [a, b, c].get(kept..)?.iter().any(|unused| *unused != 0) {
            return None;
        }
        bytes.extend_from_slice([a, b, c].get(..kept)?);
    }
    Some(bytes)
}

fn value(symbol: u8) -> Option<u32> {
    let value = ALPHABET.iter().position(|c| *c == symbol)?;
    u32::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4648 §10.
    const VECTORS: [(&str, &str); 7] = [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="),
        ("foobar", "Zm9vYmFy"),
    ];

    #[test]
    fn the_rfcs_vectors_hold() {
        for (plain, text) in VECTORS {
            assert_eq!(encode(plain.as_bytes()), text);
            assert_eq!(decode(text).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn every_length_and_byte_survives() {
        let all: Vec<u8> = (0..=255).rev().collect();
        for length in 0..all.len() {
            assert_eq!(decode(&encode(&all[..length])).as_deref(), Some(&all[..length]));
        }
    }

    #[test]
    fn second_spellings_are_refused() {
        for text in ["Zg", "Zg=", "Zh==", "Zm9=", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm-_", "Zm9 "] {
            assert_eq!(decode(text), None, "{text}");
        }
    }
}
