//! Lines for people: to the kernel's log, and failures to the console as well.

use std::fs::OpenOptions;
use std::io::Write;

const STEPS: u8 = 8;

/// Longest message that one record of the kernel's log takes, with room for its prefix (1,024 bytes together).
const RECORD: usize = 900;

/// `graven: stage0: step 4/8 verity …`
pub(crate) fn step(number: u8, what: &str) {
    record(5, &format!("graven: stage0: step {number}/{STEPS} {what}"));
}

/// What is worth knowing inside a step.
pub(crate) fn note(what: &str) {
    record(5, &format!("graven: stage0: {what}"));
}

/// What someone should look into.
pub(crate) fn warning(what: &str) {
    record(4, &format!("graven: stage0: warning: {what}"));
}

/// The line that says why the machine stops: at the level that no console hides and pstore keeps. `/dev/console` is one of
/// the consoles that the kernel logs to, so it gets the line only where the log does not take it.
pub(crate) fn emergency(line: &str) {
    if !record(0, line) {
        if let Ok(mut console) = OpenOptions::new().write(true).open("/dev/console") {
            let _ = write!(console, "\r\n{}\r\n", printable(line));
        }
    }
}

/// The log is opened anew for each record, because the kernel drops records from writers that come too fast and counts
/// per opened file. A record that cannot be written is not a reason to stop.
fn record(level: u8, line: &str) -> bool {
    let record = format!("<{level}>{}\n", printable(line));
    let log = OpenOptions::new().write(true).open("/dev/kmsg");
    log.is_ok_and(|mut log| log.write_all(record.as_bytes()).is_ok())
}

/// One line, no longer than a record, without control characters.
fn printable(line: &str) -> String {
    let mut text = String::new();
    for c in line.chars().map(|c| if c.is_control() { ' ' } else { c }) {
        if text.len() > RECORD {
            text.push('…');
            break;
        }
        text.push(c);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_short_line() {
        let text = printable(&"a\nä\x1b".repeat(1000));
        assert!(text.len() < 910 && !text.contains(['\n', '\x1b']));
    }
}
