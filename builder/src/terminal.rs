//! Asks whoever sits at the terminal.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Asks for the PIN of the token of this label, without showing it.
///
/// # Errors
/// Where there is no terminal, or it is closed.
pub(crate) fn ask_pin(label: &str) -> io::Result<String> {
    let terminal = File::options().read(true).write(true).open("/dev/tty").map_err(|error| {
        let advice = "no terminal to ask at; say pin-source=file:PATH or pin-source=env:NAME";
        io::Error::new(error.kind(), format!("{advice}: {error}"))
    })?;
    write!(&terminal, "PIN of the token {label}: ")?;
    let quiet = Quiet::new(&terminal)?;
    let mut line = String::new();
    let read = BufReader::new(&terminal).read_line(&mut line);
    drop(quiet);
    writeln!(&terminal)?;
    match read? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end_matches(['\r', '\n']).to_owned()),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Quiet<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
