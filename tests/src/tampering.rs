//! Changes to an image: who stops the boot of each, and which links `graven verify` finds broken.

use std::path::{Path, PathBuf};

use graven::run::Machine;

use crate::forge::Forgery;
use crate::image;
use crate::refusal::{Stop, assert_stopped};

/// One change to an image.
pub struct Row {
    /// What is changed, and what is signed again.
    pub name: &'static str,
    /// Changes it.
    pub forge: fn(&mut Forgery),
    /// Who stops the boot.
    pub stop: Stop,
    /// Words that the console must have besides.
    pub said: &'static str,
    /// The links that `graven verify` calls broken, from the disk's bytes alone.
    pub found: &'static [&'static str],
}

/// A change that the proof finds.
#[derive(Debug, Clone, Copy)]
pub struct Change {
    /// What is changed, and what is signed again.
    pub name: &'static str,
    /// Changes it.
    pub forge: fn(&mut Forgery),
    /// The links that `graven verify` calls broken, from the disk's bytes alone.
    pub found: &'static [&'static str],
}

impl Row {
    /// What the proof has to say of it.
    pub fn change(&self) -> Change {
        Change { name: self.name, forge: self.forge, found: self.found }
    }
}

/// The image that is changed.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its output folder.
    pub out: PathBuf,
    /// The machine that boots a copy of its disk.
    pub machine: fn(&Path) -> Machine,
    /// What `graven verify` is told to trust.
    pub trust: Vec<String>,
}

impl Subject {
    /// Boots every row; one that fails does not keep the others from being tried.
    pub fn boot_all(&self, rows: &[Row]) {
        let boots = |row: &&Row| std::panic::catch_unwind(|| self.boot(row)).is_err();
        let failed: Vec<&str> = rows.iter().filter(boots).map(|row| row.name).collect();
        assert!(failed.is_empty(), "{} of {} rows: {failed:#?}", failed.len(), rows.len());
    }

    fn boot(&self, row: &Row) {
        println!("{}: {} stops it", row.name, row.stop);
        let mut image = Forgery::of(&self.out);
        (row.forge)(&mut image);
        let log = assert_stopped(&(self.machine)(image.path()), row.stop);
        assert!(log.contains(row.said), "{}: the console says «{}»:\n{log}", row.name, row.said);
    }

    /// `graven verify` finds the broken links of every change, and where the image's own bytes tell nothing, that its manifest
    /// differs.
    pub fn finds_all(&self, changes: impl IntoIterator<Item = Change>) {
        let wrong: Vec<String> = changes.into_iter().filter_map(|change| self.finds(change).err()).collect();
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn finds(&self, Change { name, forge, found: expected }: Change) -> Result<(), String> {
        let mut image = Forgery::of(&self.out);
        forge(&mut image);
        let trust: Vec<&str> = self.trust.iter().map(String::as_str).collect();
        let (bad, status) = broken_links(image.path(), &trust);
        let good = match expected.is_empty() {
            true => broken_links(&self.out.join(graven::deliver::DISK), &trust).1,
            false => Some(1),
        };
        if bad != expected || status != good {
            return Err(format!("{name}: expected {expected:?}, found {bad:?} and exit status {status:?}"));
        }
        if expected.is_empty() {
            let manifest = self.out.join("manifest.json").display().to_string();
            let (bad, status) =
                broken_links(image.path(), &[&trust[..], &["--manifest", &manifest]].concat());
            if bad != ["manifest"] || status != Some(1) {
                return Err(format!(
                    "{name}: expected the manifest to differ, found {bad:?}, exit status {status:?}"
                ));
            }
        }
        Ok(())
    }
}

/// What `graven verify` calls broken, and its exit status.
pub fn broken_links(disk: &Path, more: &[&str]) -> (Vec<String>, Option<i32>) {
    let disk = disk.display().to_string();
    let output = image::run([&["verify", &disk, "--json"], more].concat());
    let said = String::from_utf8_lossy(&output.stdout);
    let report: serde_json::Value = serde_json::from_str(&said)
        .unwrap_or_else(|error| panic!("{error}: {said}{}", String::from_utf8_lossy(&output.stderr)));
    let links = report["links"].as_array().expect("the report lists links");
    let bad = links.iter().filter(|link| link["state"] == "bad");
    let names = bad.map(|link| link["name"].as_str().expect("each has a name").to_owned());
    (names.collect(), output.status.code())
}
