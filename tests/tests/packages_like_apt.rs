//! The solver against apt: random sets of trixie's packages, resolved by both from the same index.
//!
//! Where the answers differ, both may be right: alternatives and provided names leave a choice. Then apt itself is asked
//! whether ours is whole (told every package of it, it adds none and drops none) and lean (without any one of those that
//! apt had not chosen, it is no longer whole).

#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a test may fail here")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use graven_sources::debian::{Architecture, Index, Origin, Request, Universe, Wanted, solve};
use graven_tests::inputs::cache;
use graven_tests::random::Random;

const SETS: u64 = 200;

/// apt, with trixie's index as the set-up script left it, for a machine on which nothing is installed.
struct Apt(tempfile::TempDir);

impl Apt {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("archives/partial")).unwrap();
        let sources = cache().join("apt/etc/sources.list");
        let text = std::fs::read_to_string(&sources)
            .unwrap_or_else(|error| panic!("{}: {error}: run tests/setup.sh", sources.display()));
        let trixie: Vec<&str> = text.lines().filter(|line| line.contains(" trixie ")).collect();
        std::fs::write(folder.path().join("sources.list"), trixie.join("\n") + "\n").unwrap();
        let apt = Self(folder);
        // The first call makes apt's own form of the index, for all others.
        assert_eq!(apt.install([]), Some(BTreeSet::new()));
        apt
    }

    /// `name=version` of what it would install; `None` where it refuses.
    fn install<'a>(&self, packages: impl IntoIterator<Item = &'a str>) -> Option<BTreeSet<String>> {
        let (own, state) = (self.0.path(), cache().join("apt/state"));
        let option = |name: &str, value: &Path| format!("{name}={}", value.display());
        let output = Command::new("apt-get")
            .args(["-q", "--simulate", "-o", &option("Dir::Etc::sourcelist", &own.join("sources.list"))])
            .args(["-o", "Dir::Etc::sourceparts=/dev/null", "-o", &option("Dir::State", &state)])
            .args(["-o", &option("Dir::State::lists", &state.join("lists"))])
            .args([
                "-o",
                &option("Dir::State::status", &state.join("status")),
                "-o",
                &option("Dir::Cache", own),
            ])
            // Containers' apt is told to keep none.
            .args([
                "-o",
                "Dir::Cache::pkgcache=pkgcache.bin",
                "-o",
                "Dir::Cache::srcpkgcache=srcpkgcache.bin",
            ])
            .args(["-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64"])
            // Essential packages come in only when they are asked for, as with us.
            .args(["-o", "pkgCacheGen::Essential=none", "--no-install-recommends", "install"])
            .args(packages)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let why = text + &String::from_utf8_lossy(&output.stderr);
            assert!(
                why.contains("unmet dependencies") || why.contains("held broken"),
                "apt fails otherwise: {why}"
            );
            return None;
        }
        assert!(!text.contains("\nRemv "), "nothing is there to be removed: {text}");
        let installed = text.lines().filter_map(|line| {
            let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
            Some(format!("{name}={}", rest.split(' ').next()?))
        });
        Some(installed.collect())
    }
}

/// trixie's index of amd64, as apt keeps it.
fn packages() -> String {
    let lists = cache().join("apt/state/lists");
    let file: PathBuf = std::fs::read_dir(&lists)
        .unwrap_or_else(|error| panic!("{}: {error}: run tests/setup.sh", lists.display()))
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("_trixie_main_binary-amd64_Packages"))
        .expect("apt has read trixie");
    let output = Command::new("/usr/lib/apt/apt-helper").arg("cat-file").arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// What is asked for: packages at random; or one with another that it says it cannot be with.
fn sets(text: &str) -> Vec<Vec<String>> {
    let mut names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("Package: ")).collect();
    names.sort_unstable();
    names.dedup();
    let mut enemies = Vec::new();
    for paragraph in text.split("\n\n") {
        let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name));
        let (Some(name), Some(conflicts)) = (field("Package: "), field("Conflicts: ")) else { continue };
        let others = conflicts.split(',').filter_map(|other| other.trim().split([' ', ':']).next());
        let others = others.filter(|other| *other != name && names.binary_search(other).is_ok());
        enemies.extend(others.map(|other| (name, other)));
    }
    let mut random = Random::new(4);
    let mut sets = Vec::new();
    for at in 0..SETS {
        sets.push(match at % 5 {
            4 => {
                let (one, other) = enemies[random.below(enemies.len() as u64) as usize];
                vec![one.to_owned(), other.to_owned()]
            }
            _ => (0..=random.below(4)).map(|_| random.one_of(&names).to_owned()).collect(),
        });
    }
    sets
}

/// How the two answers to one set compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Comparison {
    Same,
    /// No set of packages does it, both say.
    Refused,
    /// Another choice among alternatives; apt finds ours whole and lean.
    Otherwise,
    /// apt found none by itself, and finds ours whole when it is told.
    AptGaveUp,
}

fn compare(set: &[String], universe: &Universe, apt: &Apt) -> Comparison {
    let install =
        set.iter().map(|name| Request { name: name.clone(), architecture: None, version: None, suite: None });
    let ours = solve(universe, &Wanted { install: install.collect(), ..Wanted::default() });
    let theirs = apt.install(set.iter().map(String::as_str));
    let ours: BTreeSet<String> = match ours {
        Ok(all) => all.iter().map(|one| format!("{}={}", one.record.name, one.record.version)).collect(),
        Err(error) => {
            assert!(error.is_usage(), "{set:?}: {error}");
            assert_eq!(theirs, None, "{set:?}: apt finds a set, we say: {error}");
            return Comparison::Refused;
        }
    };
    if theirs.as_ref() == Some(&ours) {
        return Comparison::Same;
    }
    let whole = apt.install(ours.iter().map(String::as_str));
    assert_eq!(whole.as_ref(), Some(&ours), "{set:?}: apt does not find our set whole");
    let Some(theirs) = theirs else { return Comparison::AptGaveUp };
    for extra in ours.difference(&theirs) {
        let rest = ours.iter().filter(|one| *one != extra).map(String::as_str);
        let lean = apt.install(rest).is_none_or(|completed| completed.len() >= ours.len());
        assert!(lean, "{set:?}: {extra} is not needed");
    }
    let names = |all: BTreeSet<&String>| all.into_iter().cloned().collect::<Vec<_>>().join(" ");
    println!(
        "{}: ours {}; apt's {}",
        set.join(" "),
        names(ours.difference(&theirs).collect()),
        names(theirs.difference(&ours).collect())
    );
    Comparison::Otherwise
}

#[test]
fn random_sets_of_packages_have_the_closure_that_apt_gives_them() {
    let text = packages();
    let sets = sets(&text);
    let amd64 = Architecture::parse("amd64").unwrap();
    let mut universe = Universe::new(amd64.clone());
    let origin = Origin { repository: 0, suite: "trixie".into(), priority: 500 };
    universe.add(origin, amd64, Index::parse(text.into_bytes()).unwrap());
    let apt = Apt::new();

    let next = AtomicUsize::new(0);
    let compare_some = || {
        let sets = std::iter::from_fn(|| sets.get(next.fetch_add(1, Ordering::Relaxed)));
        sets.map(|set| compare(set, &universe, &apt)).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2).map(|_| scope.spawn(compare_some)).collect();
        for thread in threads {
            all.extend(thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
    });
    let count = |wanted| all.iter().filter(|found| **found == wanted).count();
    let (same, refused) = (count(Comparison::Same), count(Comparison::Refused));
    println!(
        "{} sets: {same} the same, {refused} refused by both, {} with another choice that apt finds whole and lean, \
         {} that apt had given up and finds whole when it is told them",
        all.len(),
        count(Comparison::Otherwise),
        count(Comparison::AptGaveUp)
    );
    assert_eq!(all.len() as u64, SETS);
    assert!(same * 2 > all.len(), "most are the same: {same} of {}", all.len());
    assert!(refused > 0, "some cannot be");
}
