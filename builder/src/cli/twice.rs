//! `graven build --check`: the same image once more, under other conditions.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};
use graven::error::Error;
use graven::output::{Staging, replace};

use super::build::sibling;
use super::{Failure, Outcome, Status, print};

/// Threads of the second build: not as many as the first had.
pub(super) fn other_number_of(threads: usize) -> usize {
    if threads == 1 { 3 } else { 1 }
}

/// Builds again by these words, as another user might another day elsewhere, and compares every file with those in `out`.
///
/// Other are: the output folder, umask, home, user name, locale and time zone, folder for temporary files, and the time itself
/// by the moments between; and the number of threads, which the words say. `SOURCE_DATE_EPOCH` is the first build's.
pub(super) fn build_again(words: &[OsString], source_date_epoch: Option<i64>, out: &Path) -> Outcome {
    // Where the first was built: it stays the output until both are compared, and the next build clears what is left of this one.
    let scratch = Staging::open(out).map_err(Error::from)?;
    scratch.share_lock().map_err(Error::from)?;
    let place = std::path::absolute(scratch.folder()).map_err(Status::Environment.because())?;
    let at = |name: &str| place.join(name);
    fs::create_dir(at("tmp")).map_err(Status::Environment.because())?;
    let again = at("another place").join("out");

    let program = std::env::current_exe().map_err(Status::Environment.because())?;
    let mut command = Command::new("sh");
    command.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(program).arg("build").args(words);
    command.arg("--out").arg(&again).arg("--with-parent");
    command.env("HOME", &place).env("TMPDIR", at("tmp")).env("USER", "another").env("LOGNAME", "another");
    command.env("TZ", "Pacific/Kiritimati").env("LANG", "tr_TR.UTF-8").env("LC_ALL", "tr_TR.UTF-8");
    match source_date_epoch {
        Some(seconds) => command.env("SOURCE_DATE_EPOCH", seconds.to_string()),
        None => command.env_remove("SOURCE_DATE_EPOCH"),
    };
    let output = command
        .stdin(Stdio::null())
        .output()
        .context("starting the second build")
        .map_err(Status::Environment.because())?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let error = anyhow!("the second build failed ({}):\n{}", output.status, said.trim_end());
        return Err(Status::Environment.because()(error));
    }

    let differences = compare(out, &again)?;
    if differences.is_empty() {
        let count = names(out)?.len();
        print(&format!("built twice, under other conditions: the same {count} files, byte for byte\n"))?;
        return Ok(Status::Good);
    }
    // What differs is worth a look.
    let kept = sibling(out, ".again");
    replace(&kept, &again).map_err(Error::from)?;
    eprintln!("graven: built twice, and not the same:");
    for line in differences {
        eprintln!("graven:   {line}");
    }
    eprintln!("graven: the second one is kept in {}", kept.display());
    Ok(Status::Bad)
}

/// How the files of two folders differ, each in a line.
fn compare(one: &Path, other: &Path) -> Result<Vec<String>, Failure> {
    let (ones, others) = (names(one)?, names(other)?);
    let mut lines = Vec::new();
    for name in ones.union(&others) {
        let shown = name.to_string_lossy();
        match (ones.contains(name), others.contains(name)) {
            (true, false) => lines.push(format!("{shown}: only the first build has it")),
            (false, _) => lines.push(format!("{shown}: only the second build has it")),
            _ => lines.extend(difference(&one.join(name), &other.join(name))?),
        }
    }
    Ok(lines)
}

/// How two files of the same name differ.
pub(super) fn difference(one: &Path, other: &Path) -> Result<Option<String>, Failure> {
    let name = one.file_name().unwrap_or_default().to_string_lossy();
    let differs = first_difference(one, other)
        .with_context(|| format!("comparing {name}"))
        .map_err(Status::Environment.because())?;
    Ok(differs.map(|offset| format!("{name}: differs, first at byte {offset}")))
}

pub(super) fn names(folder: &Path) -> Result<BTreeSet<PathBuf>, Failure> {
    let read = || -> io::Result<BTreeSet<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().into())).collect()
    };
    read().with_context(|| folder.display().to_string()).map_err(Status::Environment.because())
}

/// Offset of the first byte in which two files differ, their ends among them.
fn first_difference(one: &Path, other: &Path) -> io::Result<Option<u64>> {
    const PIECE: usize = 1 << 20;
    let (mut one, mut other) = (BufReader::new(File::open(one)?), BufReader::new(File::open(other)?));
    let (mut ours, mut theirs) = (Vec::with_capacity(PIECE), Vec::with_capacity(PIECE));
    let mut offset = 0;
    loop {
        ours.clear();
        theirs.clear();
        one.by_ref().take(PIECE as u64).read_to_end(&mut ours)?;
        other.by_ref().take(PIECE as u64).read_to_end(&mut theirs)?;
        if ours != theirs {
            let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            return Ok(Some(offset + same as u64));
        }
        if ours.is_empty() {
            return Ok(None);
        }
        offset += ours.len() as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named_with_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        for (place, files) in [
            (&one, [("same", "abc"), ("longer", "abcd"), ("changed", "abc"), ("alone", "")]),
            (&other, [("same", "abc"), ("longer", "abc"), ("changed", "aXc"), ("else", "")]),
        ] {
            fs::create_dir(place).unwrap();
            for (name, text) in files {
                fs::write(place.join(name), text).unwrap();
            }
        }
        let lines = compare(&one, &other).unwrap_or_else(|failure| panic!("{:?}", failure.error));
        let expected = [
            "alone: only the first build has it",
            "changed: differs, first at byte 1",
            "else: only the second build has it",
            "longer: differs, first at byte 3",
        ];
        assert_eq!(lines, expected);
    }
}
