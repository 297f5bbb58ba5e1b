//! A machine's serial console: everything it says is kept, and can be waited for.

use std::io::{Read, Write};
use std::process::{ChildStdin, ChildStdout};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// What came so far.
#[derive(Default)]
struct Said {
    bytes: Vec<u8>,
    ended: bool,
}

/// Both directions of a serial console.
pub struct Console {
    said: Arc<(Mutex<Said>, Condvar)>,
    input: ChildStdin,
    /// Where looking for the next pattern begins.
    seen: usize,
}

/// Why a pattern did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// The deadline passed.
    Deadline,
    /// The machine ended.
    Ended,
}

impl Console {
    /// Takes over a machine's two pipes.
    pub fn new(input: ChildStdin, mut output: ChildStdout) -> Self {
        let said = Arc::new((Mutex::new(Said::default()), Condvar::new()));
        let shared = Arc::clone(&said);
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            loop {
                let count = output.read(&mut buf).unwrap_or(0);
                let mut said = lock(&shared.0);
                said.bytes.extend_from_slice(&buf[..count]);
                said.ended = count == 0;
                shared.1.notify_all();
                if count == 0 {
                    return;
                }
            }
        });
        Self { said, input, seen: 0 }
    }

    /// Everything said so far, terminal escapes taken out, lines ended by `\n` alone.
    pub fn text(&self) -> String {
        plain(&lock(&self.said.0).bytes)
    }

    /// Waits for `pattern` after what was waited for last; answers what came before it.
    pub fn wait_for(&mut self, pattern: &str, within: Duration) -> Result<String, Silence> {
        let deadline = Instant::now() + within;
        let (said, news) = &*self.said;
        let mut said = lock(said);
        loop {
            let fresh = &said.bytes[self.seen..];
            if let Some(at) = fresh.windows(pattern.len()).position(|window| window == pattern.as_bytes()) {
                let before = plain(&fresh[..at]);
                self.seen += at + pattern.len();
                return Ok(before);
            }
            if said.ended {
                return Err(Silence::Ended);
            }
            let left = deadline.checked_duration_since(Instant::now()).ok_or(Silence::Deadline)?;
            said = news.wait_timeout(said, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Waits for the first of several patterns after what was waited for last; answers which it was, `None` where the
    /// machine ended without any.
    pub fn wait_for_one_of(&mut self, patterns: &[&str], within: Duration) -> Result<Option<usize>, Silence> {
        let deadline = Instant::now() + within;
        let (said, news) = &*self.said;
        let mut said = lock(said);
        loop {
            let fresh = &said.bytes[self.seen..];
            let end = |pattern: &str| {
                let at = fresh.windows(pattern.len()).position(|window| window == pattern.as_bytes())?;
                Some(at + pattern.len())
            };
            let found =
                patterns.iter().enumerate().filter_map(|(which, pattern)| Some((end(pattern)?, which)));
            if let Some((end, which)) = found.min() {
                self.seen += end;
                return Ok(Some(which));
            }
            if said.ended {
                return Ok(None);
            }
            let left = deadline.checked_duration_since(Instant::now()).ok_or(Silence::Deadline)?;
            said = news.wait_timeout(said, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// Waits for the machine to end; answers everything it said.
    pub fn wait_for_end(&self, within: Duration) -> Result<String, Silence> {
        let deadline = Instant::now() + within;
        let (said, news) = &*self.said;
        let mut said = lock(said);
        while !said.ended {
            let left = deadline.checked_duration_since(Instant::now()).ok_or(Silence::Deadline)?;
            said = news.wait_timeout(said, left).unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        Ok(plain(&said.bytes))
    }

    /// Types a line. It goes out in small portions, since a serial port's buffer is 16 bytes.
    pub fn send_line(&mut self, line: &str) {
        for portion in format!("{line}\n").as_bytes().chunks(16) {
            // A machine that ended is found out by the next wait.
            let _ = self.input.write_all(portion).and_then(|()| self.input.flush());
        }
    }
}

fn lock(said: &Mutex<Said>) -> MutexGuard<'_, Said> {
    said.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Without terminal escapes and carriage returns.
fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            '\r' => {}
            '\x1b' => {
                // CSI … final byte, or one character.
                if characters.next_if_eq(&'[').is_some() {
                    while characters.next_if(|c| !('@'..='~').contains(c)).is_some() {}
                }
                characters.next();
            }
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_are_taken_out() {
        assert_eq!(super::plain(b"\x1b[2J\x1b[01;01Ha\x1b=b\r\n\x1b[0mc"), "ab\nc");
    }
}
