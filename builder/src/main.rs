//! The program: flags first, meaning second, one line of error at the end.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = match cli::Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return cli::misunderstood(&error),
    };
    match cli::run(arguments) {
        Ok(status) => status.into(),
        Err(failure) => {
            eprintln!("graven: {}", chain(&failure.error));
            failure.status.into()
        }
    }
}

/// An error and its causes; a cause that is told in the words before it is not told again.
fn chain(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        told if told.contains(&cause) => told.to_owned(),
        told => format!("{told}: {cause}"),
    })
}
