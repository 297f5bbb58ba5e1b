//! An interpreter that asks the kernel before it runs a script, and obeys (`Documentation/userspace-api/check_exec.rst` of
//! Linux 7.3). It is the init of its test's image, too: its own language says what is tried there.
//!
//! `asking FILE`, `asking -c TEXT`, or a script on standard input. A line is a statement, `#` begins a comment:
//!
//! ```text
//! say TEXT                            prints it
//! include FILE                        goes on with another script, asked about like the first
//! copy FROM TO                        makes an executable copy
//! run NAME PROGRAM ARGUMENT…          starts a program and prints how it ended
//! from FILE NAME PROGRAM ARGUMENT…    the same with FILE as its standard input
//! pipe FILE NAME PROGRAM ARGUMENT…    the same with FILE's bytes through a pipe
//! stay                                does nothing more, for ever
//! ```

use std::ffi::{c_int, c_long, c_ulong};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, ExitCode, Stdio};

unsafe extern "C" {
    fn syscall(number: c_long, ...) -> c_long;
    fn prctl(operation: c_int, ...) -> c_int;
}

const EXECVEAT: c_long = if cfg!(target_arch = "x86_64") { 322 } else { 281 };
const AT_EMPTY_PATH: c_long = 0x1000;
const AT_EXECVE_CHECK: c_long = 0x1_0000;
const PR_GET_SECUREBITS: c_int = 27;
const EXEC_RESTRICT_FILE: c_int = 1 << 8;
const EXEC_DENY_INTERACTIVE: c_int = 1 << 10;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let ended = match arguments.get(1..).unwrap_or_default() {
        [option, text @ ..] if option == "-c" => argument(&text.join(" ")),
        [path, ..] => file(path),
        [] => standard_input(),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("asking: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A script in a file.
fn file(path: &str) -> io::Result<()> {
    let mut script = File::open(path)?;
    let allowed = ask(&script);
    if securebits() & EXEC_RESTRICT_FILE != 0 {
        allowed?;
    }
    let mut text = String::new();
    script.read_to_string(&mut text)?;
    interpret(&text)
}

/// A script in an argument: there is no file to ask about.
fn argument(text: &str) -> io::Result<()> {
    match securebits() & EXEC_DENY_INTERACTIVE {
        0 => interpret(text),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

fn standard_input() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let allowed = ask(&input);
    if securebits() & EXEC_DENY_INTERACTIVE != 0 {
        allowed?;
    }
    let mut text = String::new();
    input.read_to_string(&mut text)?;
    interpret(&text)
}

/// Whether the kernel would execute what this descriptor is of.
fn ask(script: &impl AsRawFd) -> io::Result<()> {
    let (fd, path) = (c_long::from(script.as_raw_fd()), c"");
    let arguments = [c"asking".as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<u8>()];
    // SAFETY: a descriptor that is open, a NUL-terminated path, and two arrays that end in a null pointer, all alive until
    // the call returns; with `AT_EXECVE_CHECK` the process stays what it is.
    let result = unsafe {
        syscall(
            EXECVEAT,
            fd,
            path.as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            AT_EMPTY_PATH | AT_EXECVE_CHECK,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Both bits where they cannot be read: who forbids that call must gain nothing.
fn securebits() -> c_int {
    let none: c_ulong = 0;
    // SAFETY: the operation takes no pointer.
    let bits = unsafe { prctl(PR_GET_SECUREBITS, none, none, none, none) };
    if bits < 0 { EXEC_RESTRICT_FILE | EXEC_DENY_INTERACTIVE } else { bits }
}

fn interpret(text: &str) -> io::Result<()> {
    text.lines().map(|line| line.split('#').next().unwrap_or_default()).try_for_each(statement)
}

fn statement(line: &str) -> io::Result<()> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match *words.as_slice() {
        [] => Ok(()),
        ["say", ..] => writeln!(io::stdout(), "{}", words[1..].join(" ")),
        ["include", path] => file(path),
        ["copy", from, to] => {
            fs::copy(from, to)?;
            fs::set_permissions(to, fs::Permissions::from_mode(0o755))
        }
        ["run", name, program, ref arguments @ ..] => run(name, Command::new(program).args(arguments), None),
        ["from", input, name, program, ref arguments @ ..] => {
            run(name, Command::new(program).args(arguments).stdin(File::open(input)?), None)
        }
        ["pipe", input, name, program, ref arguments @ ..] => {
            let bytes = fs::read(input)?;
            run(name, Command::new(program).args(arguments).stdin(Stdio::piped()), Some(&bytes))
        }
        ["stay"] => loop {
            std::thread::park();
        },
        _ => Err(io::Error::other(format!("no statement: {line}"))),
    }
}

/// Starts a program and prints `run NAME STATUS`, or why it could not be started.
fn run(name: &str, command: &mut Command, input: Option<&[u8]>) -> io::Result<()> {
    let ended = command.spawn().and_then(|mut child| {
        if let (Some(bytes), Some(mut pipe)) = (input, child.stdin.take()) {
            // Who refuses reads nothing.
            let _ = pipe.write_all(bytes);
        }
        child.wait()
    });
    match ended {
        Ok(status) => writeln!(io::stdout(), "run {name} {status}"),
        Err(error) => writeln!(io::stdout(), "run {name} not started: {error}"),
    }
}
