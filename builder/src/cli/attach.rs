//! `graven attach`: takes the answers of whoever signed, and goes on with the build that asked for them.
//!
//! What a build that waits leaves is here too: in its folder, which may travel to whoever signs, the requests and the bytes to be
//! signed; beside that folder, how to go on. What comes back from elsewhere so tells nothing of what is to be run.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args as _, FromArgMatches as _};
use graven_boot::sign::{Request, RequestId, ToSign, answer_path, check_answers};
use graven_recipe::lock::Lock;
use graven_verify::read_certificates;
use serde::{Deserialize, Serialize};

use super::build::{self, Round, sibling};
use super::{Failure, Outcome, Status, write_whole};

/// The requests.
const TO_SIGN: &str = "to-sign.json";
/// How the build goes on: behind the folder's name.
const RECORD: &str = ".build.json";
/// The lock that the build used, likewise.
const LOCK: &str = ".graven.lock";
const FORMAT: u32 = 1;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: graven build recipes/minimal --keys certificates/     # ends with 4, leaves out/NAME.pending\n         \
    (cd out/NAME.pending && for f in *.tbs; do openssl dgst -sha256 -sign db.key -out ${f%.tbs}.sig $f; done)\n         \
    graven attach out/NAME.pending                           # the next round, or the image\n\n\
    To another machine and back: carry the folder there, bring the .sig files alone back, and give them with --answers. The\n\
    folder's neighbour out/NAME.pending.build.json, which says how the build goes on, never leaves this machine.\n\n\
    Exit status 0: the image is there; 1: an answer is wrong, missing, stale or another request's, or what is built has \
    changed since; 4: the next round waits in the same folder."
)]
pub(crate) struct Arguments {
    /// The folder that the build left.
    dir: PathBuf,
    /// Take the answers from this folder instead.
    #[arg(long, value_name = "DIR")]
    answers: Option<PathBuf>,
}

/// The file `OUT.pending.build.json`. Nothing in it is secret: it names the folder of certificates, and no key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct Record {
    format: u32,
    /// The words behind `graven build`.
    build: Vec<String>,
    /// `SOURCE_DATE_EPOCH`, where it was set: no word behind `graven build` says the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    source_date_epoch: Option<i64>,
    /// Requests of rounds before, whose answers were taken.
    answered: BTreeSet<String>,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let folder = &arguments.dir;
    let record = Record::read(folder)?;
    let list = requests(folder)?;
    let build = build_arguments(&record.build)
        .with_context(|| beside(folder, RECORD).display().to_string())
        .map_err(Status::Usage.because())?;
    let (keys, kept) = build.keys_and_answers();
    let kept = kept.unwrap_or(folder);
    let from = arguments.answers.as_deref().unwrap_or(kept);

    let earlier: Vec<RequestId> = record.answered.iter().filter_map(|id| id.parse().ok()).collect();
    let certificates = keys.map_or_else(|| Ok(Vec::new()), read_certificates)?;
    let problems = check_answers(from, &list.requests, &certificates, &earlier)
        .with_context(|| from.display().to_string())
        .map_err(Status::Environment.because())?;
    if !problems.is_empty() {
        problems.iter().for_each(|problem| eprintln!("graven: {problem}"));
        return Ok(Status::Bad);
    }
    for request in &list.requests {
        let (found, place) = (answer_path(from, request), answer_path(kept, request));
        if found != place {
            let bytes = fs::read(&found).with_context(|| found.display().to_string());
            write_whole(&place, &bytes.map_err(Status::Environment.because())?)?;
        }
    }
    let Record { source_date_epoch, .. } = record;
    build.resume(&Round { source_date_epoch, pending: Some(folder), answered: &list.requests })
}

/// Leaves the requests of a round, and the bytes that each is about, where the answers are expected.
pub(super) fn leave(folder: &Path, requests: &[Request]) -> Result<PathBuf, Failure> {
    let text = ToSign::new(requests.to_vec()).to_json().map_err(Status::Environment.because())?;
    let write = || -> io::Result<()> {
        fs::create_dir_all(folder)?;
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let of_a_request = path.file_stem().and_then(|name| name.to_str()).is_some_and(is_id);
            if of_a_request && path.extension().is_some_and(|ending| ending == "tbs" || ending == "digest") {
                fs::remove_file(path)?;
            }
        }
        for request in requests {
            let named = |ending: &str| folder.join(format!("{}.{ending}", request.id()));
            fs::write(named("tbs"), request.to_be_signed())?;
            if request.algorithm().is_over_digest() {
                fs::write(named("digest"), request.digest())?;
            }
        }
        Ok(())
    };
    write().with_context(|| folder.display().to_string()).map_err(Status::Environment.because())?;
    let path = folder.join(TO_SIGN);
    write_whole(&path, text.as_bytes())?;
    Ok(path)
}

/// Leaves beside the folder of requests the lock that a build used, which may hold more than the recipe's; where it is.
pub(super) fn leave_lock(folder: &Path, lock: Option<&Lock>) -> Result<Option<PathBuf>, Failure> {
    let Some(lock) = lock else { return Ok(None) };
    let path = beside(folder, LOCK);
    write_whole(&path, lock.render().as_bytes())?;
    Ok(Some(path))
}

/// Leaves beside the folder of requests how a build goes on: these words, and the time. To be called before [`leave`], since it
/// notes which requests of the round before were answered in `answers`.
pub(super) fn leave_record(
    folder: &Path,
    words: &[OsString],
    source_date_epoch: Option<i64>,
    answers: &Path,
) -> Result<(), Failure> {
    let mut answered = Record::read(folder).map(|record| record.answered).unwrap_or_default();
    let before = requests(folder).map(|list| list.requests).unwrap_or_default();
    let taken = before.iter().filter(|request| answer_path(answers, request).exists());
    answered.extend(taken.map(|request| request.id().to_string()));
    let build: Option<Vec<String>> = words.iter().map(|word| word.to_str().map(str::to_owned)).collect();
    let build =
        build.ok_or_else(|| anyhow!("a path is no UTF-8, so that it cannot be noted for graven attach"));
    let build = build.map_err(Status::Usage.because())?;
    let record = Record { format: FORMAT, build, source_date_epoch, answered };
    let text = serde_json::to_string_pretty(&record).map_err(Status::Environment.because())? + "\n";
    write_whole(&beside(folder, RECORD), text.as_bytes())
}

impl Record {
    fn read(folder: &Path) -> Result<Self, Failure> {
        let path = beside(folder, RECORD);
        let wrong = |error: anyhow::Error| Status::Usage.because()(error.context(path.display().to_string()));
        let text = fs::read_to_string(&path).map_err(|error| {
            wrong(anyhow!(error).context("expected a folder that a waiting graven build left"))
        })?;
        let record: Self = serde_json::from_str(&text).map_err(|error| wrong(error.into()))?;
        match record.format {
            FORMAT => Ok(record),
            other => Err(wrong(anyhow!("format {other}, expected {FORMAT}; build again with this version"))),
        }
    }
}

/// A neighbour of the folder, whose name begins with the folder's.
fn beside(folder: &Path, ending: &str) -> PathBuf {
    // So that `.` has a name, too.
    sibling(&std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned()), ending)
}

fn requests(folder: &Path) -> Result<ToSign, Failure> {
    let path = folder.join(TO_SIGN);
    let read = || -> anyhow::Result<ToSign> { Ok(ToSign::from_json(&fs::read_to_string(&path)?)?) };
    read().with_context(|| path.display().to_string()).map_err(Status::Usage.because())
}

/// What the words mean to `graven build`.
fn build_arguments(words: &[String]) -> anyhow::Result<build::Arguments> {
    let command = build::Arguments::augment_args(clap::Command::new("build").no_binary_name(true));
    Ok(build::Arguments::from_arg_matches(&command.try_get_matches_from(words)?)?)
}

fn is_id(name: &str) -> bool {
    name.parse::<RequestId>().is_ok()
}
