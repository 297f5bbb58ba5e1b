//! The first line of a script, as `fs/binfmt_script.c` of Linux 7.3 reads it.

/// Bytes of a file that the kernel looks at to tell its format (`BINPRM_BUF_SIZE`).
pub(super) const HEAD: usize = 256;
/// Interpreters that may stand behind each other before the kernel says ELOOP (`exec_binprm`).
pub(super) const MOST_REWRITES: usize = 5;

/// `#! INTERPRETER [ARGUMENT]`: everything behind the interpreter is one argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shebang {
    /// The interpreter's path as written.
    pub interpreter: String,
    /// Its argument, if there is one.
    pub argument: Option<String>,
}

/// Why the kernel does not start a file that begins with `#!`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShebangProblem {
    /// Nothing stands behind `#!`.
    Empty,
    /// The interpreter's path does not end within the bytes that the kernel looks at.
    TooLong,
}

impl Shebang {
    /// Reads the first bytes of a file; `None` where it does not begin with `#!`.
    pub(super) fn parse(head: &[u8]) -> Option<Result<Self, ShebangProblem>> {
        let rest = head.get(..head.len().min(HEAD))?.strip_prefix(b"#!")?;
        let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
        // The kernel's buffer is filled up with NUL bytes, and ends in one at its last place.
        let full = head.len() >= HEAD;
        let line = match rest.iter().position(|byte| *byte == b'\n') {
            Some(end) => rest.get(..end)?,
            None => {
                let start = rest.iter().position(|byte| !blank(byte)).unwrap_or(rest.len());
                let name = rest.get(start..)?;
                if name.is_empty() {
                    return Some(Err(ShebangProblem::Empty));
                }
                if full && !name.iter().any(|byte| blank(byte) || *byte == 0) {
                    return Some(Err(ShebangProblem::TooLong));
                }
                if full { rest.get(..rest.len() - 1)? } else { rest }
            }
        };
        let line = line.split(|byte| *byte == 0).next().unwrap_or_default();
        let words = trim(line, blank);
        let end = words.iter().position(blank).unwrap_or(words.len());
        let (interpreter, argument) = words.split_at(end);
        if interpreter.is_empty() {
            return Some(Err(ShebangProblem::Empty));
        }
        let argument = trim(argument, blank);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Some(Ok(Self {
            interpreter: text(interpreter),
            argument: (!argument.is_empty()).then(|| text(argument)),
        }))
    }
}

fn trim(bytes: &[u8], blank: impl Fn(&u8) -> bool) -> &[u8] {
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(head: &[u8]) -> Result<(String, Option<String>), ShebangProblem> {
        Shebang::parse(head).expect("it begins with #!").map(|line| (line.interpreter, line.argument))
    }

    #[test]
    fn the_rest_of_the_line_is_one_argument() {
        assert_eq!(parsed(b"#! /bin/sh\t-e  -u \nrest"), Ok(("/bin/sh".into(), Some("-e  -u".into()))));
        assert_eq!(parsed(b"#!/bin/sh"), Ok(("/bin/sh".into(), None)));
        assert_eq!(parsed(b"#!/bin/sh\r\n"), Ok(("/bin/sh\r".into(), None)));
        assert_eq!(parsed(b"#! \nx"), Err(ShebangProblem::Empty));
        assert_eq!(Shebang::parse(b"# /bin/sh\n"), None);
    }

    #[test]
    fn a_name_that_does_not_end_in_the_kernels_buffer_is_not_run_cut_short() {
        let long = [b"#!/", "x".repeat(300).as_bytes()].concat();
        assert_eq!(parsed(&long), Err(ShebangProblem::TooLong));
        let cut = [b"#!/x ", "y".repeat(300).as_bytes()].concat();
        let (interpreter, argument) = parsed(&cut).expect("the interpreter is whole");
        assert_eq!((interpreter.as_str(), argument.map(|argument| argument.len())), ("/x", Some(HEAD - 6)));
    }
}
