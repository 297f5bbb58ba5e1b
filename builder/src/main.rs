//! The program: flags first, meaning second, one line of error at the end.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match cli::run(cli::Arguments::parse()) {
        Ok(status) => status.into(),
        Err(failure) => {
            eprintln!("graven: {:#}", failure.error);
            failure.status.into()
        }
    }
}
