//! The output appears whole or not at all, whatever stops the build.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use graven_tests::{image, inputs};

/// Builds that are stopped.
const ROUNDS: u32 = if cfg!(feature = "full") { 20 } else { 4 };
/// Comparisons that are stopped, of each verb.
const COMPARISONS: usize = if cfg!(feature = "full") { 12 } else { 2 };
/// What a build is called while it is none yet.
const STAGING: &str = ".out.building";
/// Two versions, so that an older output can be told from a newer one.
const VERSIONS: [&str; 2] = ["version=1.0.0", "version=2.0.0"];

/// SplitMix64: the same moments for the same seed.
struct Moments(u64);

impl Moments {
    fn new() -> Self {
        let seed = std::env::var("GRAVEN_TEST_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20);
        println!("moments of seed {seed}; another one: GRAVEN_TEST_SEED=N");
        Self(seed)
    }

    /// Anything up to `longest`.
    fn below(&mut self, longest: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        longest.mul_f64(((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64)
    }
}

type Outputs = BTreeMap<String, Vec<u8>>;

fn build(out: &Path, version: &str) {
    image::build(&inputs::project().join("recipes/minimal"), out, &["--set", version]);
}

fn entries(folder: &Path) -> Vec<String> {
    let listed = fs::read_dir(folder).expect("the folder is there");
    let mut names: Vec<String> =
        listed.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Who gets a signal.
#[derive(Debug, Clone, Copy)]
enum Whom {
    /// The program alone.
    Program,
    /// Those that it has started, too, as Ctrl-C does.
    Group,
}

/// Starts graven in a folder, in a process group of its own.
fn start(folder: &Path, words: &[&OsStr]) -> Child {
    // A test that runs in the background has Ctrl-C ignored, and would hand that on.
    Command::new("env")
        .args(["--default-signal=INT".as_ref(), image::graven().as_os_str()])
        .args(words)
        .current_dir(folder)
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("graven can be started")
}

/// The words of a build in the folder that holds `out`.
fn build_words<'a>(recipe: &'a Path, version: &'a str) -> Vec<&'a OsStr> {
    let words = ["--target", "qemu-x86_64", "--out", "out", "--set", version, "--keys"];
    let words = words.into_iter().map(OsStr::new).chain([image::keys().as_os_str()]);
    [OsStr::new("build"), recipe.as_os_str()].into_iter().chain(words).collect()
}

/// Waits until something is there, or the program has ended.
fn wait_for(child: &mut Child, path: &Path) {
    while !path.exists() && child.try_wait().expect("a child").is_none() {
        sleep(Duration::from_millis(1));
    }
}

fn signal(child: &Child, signal: &str, whom: Whom) {
    // A child that has not been waited for keeps its number, also when it has ended.
    let number = match whom {
        Whom::Program => child.id().to_string(),
        Whom::Group => format!("-{}", child.id()),
    };
    let killed = Command::new("kill").args([signal, "--", &number]).status();
    assert!(killed.is_ok_and(|status| status.success()), "kill {signal} {number}");
}

#[test]
fn a_build_that_is_stopped_leaves_the_older_output_or_none_and_the_next_one_succeeds() {
    let scratch = image::folder();
    // Compiled before the clock runs; how long a build takes is said by the quickest.
    let (_, _) = (image::graven(), image::keys());
    let mut whole = Duration::MAX;
    let complete: Vec<Outputs> = VERSIONS
        .iter()
        .map(|version| {
            let out = scratch.path().join("reference");
            let started = Instant::now();
            build(&out, version);
            whole = whole.min(started.elapsed());
            image::outputs(&out)
        })
        .collect();
    assert_ne!(complete[0], complete[1], "versions differ");

    let (mut moments, mut before, mut left) = (Moments::new(), 0, 0);
    let recipe = inputs::project().join("recipes/minimal");
    let parent = scratch.path().join("outputs");
    let out = parent.join("out");
    fs::create_dir(&parent).expect("a folder");
    for round in 0..ROUNDS {
        let version = round as usize % 2;
        let (new, old) = (&complete[version], &complete[1 - version]);
        let kind = if round % 4 == 3 { "-INT" } else { "-KILL" };
        let writing = round % 2 == 1;
        // Where nothing lies as yet, and over an older output.
        if round % 4 < 2 && out.exists() {
            fs::remove_dir_all(&out).expect("it can be removed");
        }
        let had_older = out.exists();
        let after = moments.below(if writing { whole / 3 } else { whole });
        let mut child = start(&parent, &build_words(&recipe, VERSIONS[version]));
        if writing {
            wait_for(&mut child, &parent.join(STAGING).join("disk.img"));
        }
        sleep(after);
        signal(&child, kind, Whom::Program);
        child.wait().expect("a child");

        let state = format!(
            "round {round}: {kind} {after:?} after {}",
            if writing { "the disk's start" } else { "the start" }
        );
        let names = entries(&parent);
        assert!(names.iter().all(|name| name == "out" || name == STAGING), "{state}: {names:?}");
        left += u32::from(names.iter().any(|name| name == STAGING));
        let found = out.exists().then(|| image::outputs(&out));
        match found {
            Some(found) if &found == new => {}
            Some(found) => {
                before += 1;
                assert!(
                    had_older && &found == old,
                    "{state}: what lies there is neither older output nor the new one"
                );
            }
            None => {
                before += 1;
                assert!(!had_older, "{state}: the older output is gone");
            }
        }

        build(&out, VERSIONS[version]);
        assert_eq!(entries(&parent), ["out"], "{state}: the next build leaves nothing else");
        assert!(&image::outputs(&out) == new, "{state}: the next build's output is whole");
    }
    println!("{ROUNDS} builds stopped, {before} of them before their end, {left} with a staging folder left");
    assert!(before * 2 >= ROUNDS, "most builds were stopped before their end: {before} of {ROUNDS}");
}

/// Where a verb that compares is at work, beside `out`; and what is there once its second image is begun, and once it is finished.
struct Comparison<'a> {
    words: Vec<&'a OsStr>,
    /// The next run, which clears what is left.
    next: Vec<&'a OsStr>,
    staging: &'a str,
    begun: &'a str,
    finished: &'a str,
}

impl<'a> Comparison<'a> {
    fn check(recipe: &'a Path) -> Self {
        let next = build_words(recipe, VERSIONS[0]);
        let words = next.iter().copied().chain(["--check".as_ref()]).collect();
        let (begun, finished) = ("another place/.out.building/disk.img", "another place/out");
        Self { words, next, staging: STAGING, begun, finished }
    }

    fn rebuild(recipe: &'a Path) -> Self {
        let words: Vec<&OsStr> =
            vec!["rebuild".as_ref(), "out".as_ref(), "--recipe".as_ref(), recipe.as_ref()];
        let (begun, finished) = (".out.building/disk.img", "out");
        Self { next: words.clone(), words, staging: ".out.rebuilt.building", begun, finished }
    }
}

/// Waits until no process holds a folder any more.
fn wait_until_free(folder: &Path) {
    if folder.exists() {
        let free = Command::new("flock").args(["--wait", "60"]).arg(folder).arg("true").status();
        assert!(free.is_ok_and(|status| status.success()), "{}: still held", folder.display());
    }
}

#[test]
fn what_a_stopped_comparison_leaves_is_cleared_by_the_next() {
    let recipe = inputs::project().join("recipes/minimal");
    let mut moments = Moments::new();
    let scratch = image::folder();
    let parent = scratch.path();
    build(&parent.join("out"), VERSIONS[0]);
    let original = image::outputs(&parent.join("out"));
    for comparison in [Comparison::check(&recipe), Comparison::rebuild(&recipe)] {
        let staging = parent.join(comparison.staging);
        let mut left = 0;
        for round in 0..COMPARISONS {
            let (kind, whom) =
                [("-INT", Whom::Group), ("-TERM", Whom::Program), ("-KILL", Whom::Group)][round % 3];
            let mut child = start(parent, &comparison.words);
            match round % 4 {
                0 => wait_for(&mut child, &staging.join(comparison.begun)),
                1 => sleep(moments.below(Duration::from_secs(2))),
                2 => wait_for(&mut child, &staging.join(comparison.finished)),
                _ => wait_for(&mut child, &staging),
            }
            signal(&child, kind, whom);
            child.wait().expect("a child");
            wait_until_free(&staging);

            let state = format!("round {round}: {:?} {kind} {whom:?}", comparison.words[0]);
            let names = entries(parent);
            assert!(
                names.iter().all(|name| name == "out" || name == comparison.staging),
                "{state}: {names:?}"
            );
            assert!(image::outputs(&parent.join("out")) == original, "{state}: the output is whole");
            left += usize::from(staging.exists());
            let next = start(parent, &comparison.next).wait().expect("a child");
            assert!(next.success(), "{state}: the next one ends with {next}");
            assert_eq!(entries(parent), ["out"], "{state}: nothing is left");
        }
        assert!(left > 0, "{:?}: some left what was to be cleared", comparison.words[0]);
    }
}

#[test]
fn nobody_clears_what_a_comparison_holds_and_its_second_build_ends_with_the_first() {
    let (scratch, recipe) = (image::folder(), inputs::project().join("recipes/minimal"));
    let parent = scratch.path();
    let comparison = Comparison::check(&recipe);
    let staging = parent.join(STAGING);
    let refused = |when: &str| {
        let next = start(parent, &comparison.next).wait().expect("a child");
        assert_eq!(next.code(), Some(3), "{when}: the output is being written");
        assert!(staging.join(comparison.begun).exists(), "{when}: nothing was cleared");
    };
    let mut child = start(parent, &comparison.words);
    wait_for(&mut child, &staging.join(comparison.begun));
    signal(&child, "-STOP", Whom::Group);
    refused("both stand still");
    signal(&child, "-KILL", Whom::Program);
    refused("the second stands still, the first is gone");
    signal(&child, "-CONT", Whom::Group);
    child.wait().expect("a child");
    wait_until_free(&staging);
    assert!(!staging.join(comparison.finished).exists(), "nobody waits for the second build: it has ended");
    let next = start(parent, &comparison.next).wait().expect("a child");
    assert!(next.success() && entries(parent) == ["out"], "the next build clears: {:?}", entries(parent));
}

#[test]
fn a_second_build_that_came_out_otherwise_is_kept_beside_the_output() {
    let scratch = image::folder();
    let (parent, recipe) = (scratch.path(), scratch.path().join("recipe"));
    fs::create_dir(&recipe).expect("a folder");
    let minimal = inputs::project().join("recipes/minimal/recipe.toml");
    let text = format!("inherit = [{minimal:?}]\n[files.\"/usr/share/note\"]\nsource = \"note\"\n");
    fs::write(recipe.join("recipe.toml"), text).expect("a file");
    let note = |text: &str| fs::write(recipe.join("note"), text).expect("a file");
    note("one");
    let mut child = start(parent, &Comparison::check(&recipe).words);
    wait_for(&mut child, &parent.join(STAGING).join("tmp"));
    note("another");
    let status = child.wait().expect("a child");
    assert_eq!(status.code(), Some(1), "built twice, and not the same");
    assert_eq!(entries(parent), ["out", "out.again", "recipe"]);
    let (one, other) = (image::outputs(&parent.join("out")), image::outputs(&parent.join("out.again")));
    assert!(one.keys().eq(other.keys()) && one["files.json"] != other["files.json"]);
}

/// Builds onto a disk of this many KiB; what then lies on it, too.
fn build_on_disk_of(kib: u64, mount_point: &Path) -> (Output, Vec<String>) {
    let script = "mount -t tmpfs -o size=\"$1k\" tmpfs \"$2\" || exit 99
        out=$2/out; shift 2
        \"$@\" --out \"$out\"; status=$?
        ls -A \"${out%/out}\"
        exit $status";
    let mut command = Command::new("unshare");
    if graven_tests::oracle::content("id", ["-u"]).trim() != "0" {
        command.args(["--user", "--map-root-user"]);
    }
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(kib.to_string()).arg(mount_point);
    command.arg(image::graven()).arg("build").arg(inputs::project().join("recipes/minimal"));
    command.args(["--target", "qemu-x86_64", "--keys"]).arg(image::keys());
    let output = command.output().expect("unshare is there");
    let listed = String::from_utf8_lossy(&output.stdout);
    let names =
        listed.lines().map(str::to_owned).filter(|name| name == "out" || name.starts_with('.')).collect();
    (output, names)
}

#[test]
fn a_full_disk_is_one_line_and_status_3_wherever_it_strikes() {
    let scratch = image::folder();
    // Whether the disk was large enough.
    let fits = |kib: u64| {
        let (output, names) = build_on_disk_of(kib, scratch.path());
        let words = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            assert_eq!(names, ["out"], "{kib} KiB");
            return true;
        }
        println!("{kib} KiB: {words}");
        assert_eq!(output.status.code(), Some(3), "{kib} KiB: {words}");
        assert_eq!(words.lines().count(), 1, "{kib} KiB: one line: {words}");
        assert_eq!(words.matches("No space left on device").count(), 1, "{kib} KiB: said once: {words}");
        assert!(names.is_empty(), "{kib} KiB: nothing lies there: {names:?}");
        false
    };
    assert!(!fits(64), "an image does not fit 64 KiB");
    // Towards the least that does: on the way the disk fills up in every part of the build.
    let (mut too_small, mut enough) = (64, 1 << 20);
    assert!(fits(enough), "minimal builds in 1 GiB");
    let finest = if cfg!(feature = "full") { 64 } else { 8 << 10 };
    while enough - too_small > finest {
        let middle = u64::midpoint(too_small, enough);
        if fits(middle) {
            enough = middle;
        } else {
            too_small = middle;
        }
    }
}
