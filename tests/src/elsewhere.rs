//! Another person's build of the same recipe, and another machine's: nothing there is as it was here.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::image;
use crate::oracle::content;

/// `nobody`, on every Linux.
const UNPRIVILEGED: &str = "65534";

/// Lets a mode be what it says.
pub fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the test owns its files");
}

fn is_root() -> bool {
    content("id", ["-u"]).trim() == "0"
}

/// The recipe as another person would have it: a checkout made under `umask 077`, years ago, in another place, on a file
/// system that lists its folders in another order.
fn checkout(recipe: &Path, to: &Path) {
    let copied = Command::new("sh")
        .args([
            "-c",
            "umask 077; cp -RL \"$1\" \"$2\" && find \"$2\" -exec touch -d '2019-03-04 05:06:07' {} +",
        ])
        .args(["sh".as_ref(), recipe.as_os_str(), to.as_os_str()])
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "the recipe can be copied");
}

/// Builds `recipe`, which lies in `folder`, here and as somebody else elsewhere; the outputs must be the same. Paths in `more`
/// must be readable to everybody.
///
/// Other are: the folder, the order of files in folders, owners, umask, times of files, the clock, locale, time zone, home,
/// user, environment, and the number of threads.
pub fn same_bytes(folder: &Path, recipe: &str, target: &str, more: &[&str]) {
    let scratch = image::folder();
    let here = scratch.path().join("here");
    let reference = Command::new(image::graven())
        .arg("build")
        .arg(folder.join(recipe))
        .args(["--target", target, "--jobs", "2", "--keys"])
        .arg(image::keys())
        .arg("--out")
        .arg(&here)
        .args(more)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .output()
        .expect("graven can be started");
    assert!(reference.status.success(), "{}", String::from_utf8_lossy(&reference.stderr));

    // Nothing that the other one uses lies where the first one's does, or belongs to whom it belonged. This file system lists
    // the newest file of a folder first, which no file system on a disk does.
    let memory = tempfile::tempdir_in("/dev/shm").expect("a folder in memory can be made");
    let elsewhere = memory.path().join("a place with blanks/Ünïcode");
    fs::create_dir_all(&elsewhere).expect("the scratch folder takes folders");
    mode(memory.path(), 0o755);
    checkout(folder, &elsewhere.join("checkout"));
    checkout(image::keys(), &elsewhere.join("keys"));
    let order = |folder: &Path| content("ls", ["-U".as_ref(), folder.as_os_str()]);
    assert_ne!(order(image::keys()), order(&elsewhere.join("keys")), "the order of files is another");
    let program = scratch.path().join("graven");
    fs::copy(image::graven(), &program).expect("the program can be copied");
    mode(scratch.path(), 0o755);
    mode(&program, 0o755);

    let mut other = Command::new("env");
    other.arg("-i").args(["PATH=/usr/bin:/bin:/usr/sbin:/sbin", "LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8"]);
    other.args([
        "TZ=Pacific/Kiritimati",
        "HOME=/nonexistent",
        "USER=nobody",
        "TMPDIR=/nonexistent",
        "TERM=dumb",
    ]);
    if is_root() {
        content("chown", ["-R".as_ref(), UNPRIVILEGED.as_ref(), elsewhere.as_os_str()]);
        other.args(["setpriv", "--reuid", UNPRIVILEGED, "--regid", UNPRIVILEGED, "--clear-groups"]);
        other.args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]);
    }
    other.args([
        "faketime",
        "2038-11-12 13:14:15",
        "sh",
        "-c",
        "umask 0177 && umask 077 && exec \"$@\"",
        "sh",
    ]);
    other.arg(&program).args(["build", recipe, "--target", target, "--jobs", "1"]).args(more);
    other.args(["--keys", "../keys", "--out", "../there"]).current_dir(elsewhere.join("checkout"));
    let output = other.output().expect("env is there");
    assert!(output.status.success(), "another person's build: {}", String::from_utf8_lossy(&output.stderr));

    image::assert_same_outputs(&here, &elsewhere.join("there"));
}

/// A root with `graven`, what a build asks of a machine, and nothing else.
pub struct BareRoot {
    folder: tempfile::TempDir,
}

impl BareRoot {
    /// `programs` with their libraries, and where packages come from here.
    pub fn new(programs: &[&Path]) -> Self {
        let root = Self { folder: image::folder() };
        for program in [&[image::graven(), Path::new("/bin/sh")], programs].concat() {
            root.bring(program);
            // `libc.so.6 => /lib/…/libc.so.6 (0x…)`, and the loader by its path alone.
            for line in content("ldd", [program]).lines() {
                let path = line.split_whitespace().find(|word| word.starts_with('/'));
                path.into_iter().for_each(|path| root.bring(Path::new(path)));
            }
        }
        for folder in ["tmp", "dev"] {
            fs::create_dir_all(root.path(folder)).expect("the root takes folders");
        }
        // What a program reads that is given nothing.
        content(
            "mknod",
            [
                "-m".as_ref(),
                "666".as_ref(),
                root.path("dev/null").as_os_str(),
                "c".as_ref(),
                "1".as_ref(),
                "3".as_ref(),
            ],
        );
        for path in
            ["/etc/apt", "/etc/resolv.conf", "/etc/hosts", "/etc/ssl/certs", "/usr/share/ca-certificates"]
        {
            if Path::new(path).exists() {
                root.bring(Path::new(path));
            }
        }
        root
    }

    /// A path inside, from outside.
    pub fn path(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside.trim_start_matches('/'))
    }

    /// Copies something to the same place.
    pub fn bring(&self, path: &Path) {
        self.bring_to(path, &path.display().to_string());
    }

    /// Copies something there.
    pub fn bring_to(&self, path: &Path, inside: &str) {
        let to = self.path(inside);
        fs::create_dir_all(to.parent().expect("it is below the root")).expect("the root takes folders");
        content("cp", ["-rL".as_ref(), path.as_os_str(), to.as_os_str()]);
    }

    /// Runs `graven` in it, in the folder `/`, without a network where `alone`.
    pub fn graven(&self, alone: bool, words: &[&str]) -> Output {
        let mut command = Command::new("unshare");
        command.args(if alone { &["--net"][..] } else { &[] });
        command.arg("env").arg("-i").args(["PATH=/usr/bin:/usr/sbin:/bin:/sbin", "HOME=/"]);
        for name in ["http_proxy", "https_proxy", "no_proxy", "GRAVEN_DEBIAN_MIRROR"] {
            command.args(std::env::var(name).ok().map(|value| format!("{name}={value}")));
        }
        command.arg("chroot").arg(self.folder.path()).arg(image::graven()).args(words);
        command.output().expect("unshare can be started")
    }
}
