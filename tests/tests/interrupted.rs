//! The output appears whole or not at all, whatever stops the build.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use graven_tests::{image, inputs};

/// Builds that are stopped.
const ROUNDS: u32 = if cfg!(feature = "full") { 20 } else { 4 };
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

/// Starts a build and stops it with `signal`: some time after its start, or after it has begun to write the disk.
fn stop(out: &Path, version: &str, signal: &str, writing: bool, after: Duration) {
    // A test that runs in the background has Ctrl-C ignored, and would hand that on.
    let mut child = Command::new("env")
        .args(["--default-signal=INT".as_ref(), image::graven().as_os_str()])
        .arg("build")
        .arg(inputs::project().join("recipes/minimal"))
        .args(["--target", "qemu-x86_64", "--set", version, "--keys"])
        .arg(image::keys())
        .arg("--out")
        .arg(out)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("graven can be started");
    let disk = out.with_file_name(STAGING).join("disk.img");
    while writing && !disk.exists() && child.try_wait().expect("a child").is_none() {
        sleep(Duration::from_millis(1));
    }
    sleep(after);
    // A child that has not been waited for keeps its number, also when it has ended.
    let killed = Command::new("kill").args([signal, &child.id().to_string()]).status();
    assert!(killed.is_ok_and(|status| status.success()), "kill {signal}");
    child.wait().expect("a child");
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
    let parent = scratch.path().join("outputs");
    let out = parent.join("out");
    fs::create_dir(&parent).expect("a folder");
    for round in 0..ROUNDS {
        let version = round as usize % 2;
        let (new, old) = (&complete[version], &complete[1 - version]);
        let signal = if round % 4 == 3 { "-INT" } else { "-KILL" };
        let writing = round % 2 == 1;
        // Where nothing lies as yet, and over an older output.
        if round % 4 < 2 && out.exists() {
            fs::remove_dir_all(&out).expect("it can be removed");
        }
        let had_older = out.exists();
        let after = moments.below(if writing { whole / 3 } else { whole });
        stop(&out, VERSIONS[version], signal, writing, after);

        let state = format!(
            "round {round}: {signal} {after:?} after {}",
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
