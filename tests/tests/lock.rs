//! Packages from a repository, through the program: what the lock pins, what moves it, what is refused.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use graven_tests::archive::{Answer, Archive, IN_RELEASE, SUITE};
use graven_tests::image;
use graven_tests::oracle::content;

const GOOD: i32 = 0;
const BAD: i32 = 1;
const USAGE: i32 = 2;
const ENVIRONMENT: i32 = 3;

/// An archive, and a recipe that takes packages from it.
struct Bench {
    archive: Archive,
    folder: tempfile::TempDir,
}

impl Bench {
    /// `hello`, which needs `greet`, both of version 1; a day old.
    fn new() -> Self {
        let mut archive = Archive::new();
        archive.package("hello", "1", "Depends: greet\n", &[("usr/bin/hello", "hello 1\n")]);
        archive.package("greet", "1", "", &[("usr/lib/greet", "greet 1\n")]);
        archive.publish("yesterday");
        let bench = Self { archive, folder: image::folder() };
        bench.recipe("install = [\"hello\"]\n", "");
        bench
    }

    /// Writes the recipe; `packages` are lines of `[packages]`, `more` is what follows.
    fn recipe(&self, packages: &str, more: &str) {
        let text = self.archive.recipe("locked", packages, more);
        fs::create_dir_all(self.recipe_folder()).unwrap();
        fs::write(self.recipe_folder().join("recipe.toml"), text).unwrap();
    }

    fn recipe_folder(&self) -> PathBuf {
        self.folder.path().join("recipe")
    }

    fn lock_path(&self) -> PathBuf {
        self.recipe_folder().join("graven.lock")
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.lock_path()).unwrap()
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The store that is used where none is named.
    fn store(&self) -> PathBuf {
        self.folder.path().join("cache/graven/store")
    }

    /// A command with a cache of its own, straight to the loopback.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for variable in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        command.env("XDG_CACHE_HOME", self.folder.path().join("cache"));
        command
    }

    fn graven(&self, verb: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(image::graven());
        command.arg(verb).arg(self.recipe_folder()).args(arguments).output().unwrap()
    }

    fn build(&self, out: &str, arguments: &[&str]) -> Output {
        let (out, keys) = (self.out(out), image::keys());
        let mut all = vec!["--target", "qemu-x86_64", "--keys", keys.to_str().unwrap()];
        all.extend(["--out", out.to_str().unwrap()]);
        all.extend(arguments);
        self.graven("build", &all)
    }

    /// Runs the verb, which must end so and say so in one line; nothing is to become of it.
    fn refused(&self, verb: &str, arguments: &[&str], status: i32, words: &[&str]) {
        let before = fs::read_to_string(self.lock_path()).ok();
        let output = match verb {
            "build" => self.build("refused", arguments),
            verb => self.graven(verb, arguments),
        };
        let said = says(&output, status);
        for word in words {
            assert!(said.contains(word), "`{word}` in: {said}");
        }
        let told =
            said.lines().filter(|line| line.starts_with("graven: ") && !line.ends_with("(from the recipe)"));
        assert_eq!(told.count(), 1, "one line: {said}");
        assert_eq!(fs::read_to_string(self.lock_path()).ok(), before, "the lock is what it was");
        assert!(!self.out("refused").exists(), "nothing lies under the output's name");
    }

    /// Names of what the store holds, whole or in part.
    fn kept(&self) -> Vec<String> {
        let store = self.store();
        match store.exists() {
            true => content("find", [store.as_os_str(), "-type".as_ref(), "f".as_ref()])
                .lines()
                .map(str::to_owned)
                .collect(),
            false => Vec::new(),
        }
    }
}

/// What it says where it ends with this status.
fn says(output: &Output, status: i32) -> String {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

/// `name=version` of the lock's packages.
fn locked(lock: &str) -> Vec<String> {
    let value = |line: &str| line.split('"').nth(1).unwrap().to_owned();
    let packages = lock.split("[[package]]").skip(1);
    packages
        .map(|package| {
            let field = |name: &str| value(package.lines().find(|line| line.starts_with(name)).unwrap());
            format!("{}={}", field("name ="), field("version ="))
        })
        .collect()
}

#[test]
fn a_lock_is_written_once_then_obeyed_and_moves_only_as_it_is_told() {
    let mut bench = Bench::new();
    bench.refused("build", &["--locked"], USAGE, &["there is no lock: run `graven lock`"]);
    says(&bench.build("first", &[]), GOOD);
    let first = bench.lock();
    assert_eq!(locked(&first), ["greet=1", "hello=1"]);

    // The archive moves on; the build does not, and asks for no index.
    bench.archive.package("hello", "2", "Depends: greet\n", &[("usr/bin/hello", "hello 2\n")]);
    let old =
        bench.archive.package("greet", "2", "", &[("usr/lib/greet", "greet 2\n")]).replace("_2_", "_1_");
    bench.archive.package("extra", "2", "", &[("usr/lib/extra", "extra 2\n")]);
    bench.archive.publish("yesterday + 1 hour");
    bench.archive.asked();
    says(&bench.build("second", &["--locked"]), GOOD);
    assert_eq!(bench.archive.asked(), Vec::<String>::new(), "everything is in the store");
    image::assert_same_outputs(&bench.out("first"), &bench.out("second"));
    assert_eq!(bench.lock(), first);

    // What the recipe does not ask, or asks beyond the lock.
    bench.recipe("install = [\"hello\", \"extra\"]\n", "");
    bench.refused("build", &["--locked"], USAGE, &["packages.install has `extra`, the lock has not"]);
    bench.refused("lock", &["--update", "nothing"], USAGE, &["has no such package"]);
    let said = says(&bench.graven("lock", &[]), GOOD);
    assert!(said.contains("extra:amd64 2 is new"), "{said}");
    assert_eq!(locked(&bench.lock()), ["extra=2", "greet=1", "hello=1"], "the others stay");
    says(&bench.graven("lock", &["--update", "hello"]), GOOD);
    assert_eq!(locked(&bench.lock()), ["extra=2", "greet=1", "hello=2"], "it alone moves");

    // A version that is gone from the mirror.
    bench.archive.remove(&format!("/{old}"));
    fs::remove_dir_all(bench.store()).unwrap();
    let words = ["greet 1 is gone from the mirror", "graven lock RECIPE --update greet"];
    bench.refused("build", &[], ENVIRONMENT, &words);
    says(&bench.graven("lock", &["--update"]), GOOD);
    assert_eq!(locked(&bench.lock()), ["extra=2", "greet=2", "hello=2"], "everything moves");
}

#[test]
fn what_was_fetched_is_built_without_a_network_elsewhere_and_another_day_to_the_same_bytes() {
    let bench = Bench::new();
    says(&bench.build("here", &[]), GOOD);
    let store = bench.out("a store");
    let store = store.to_str().unwrap();
    let fetched = bench.graven("fetch", &["--to", store, "--locked"]);
    says(&fetched, GOOD);
    assert!(String::from_utf8_lossy(&fetched.stdout).starts_with("2 packages are in"), "{fetched:?}");

    bench.refused("build", &["--offline", "--store", "/nonexistent"], ENVIRONMENT, &["bring it there with"]);
    let user = if content("id", ["-u"]).trim() == "0" { "--net" } else { "--map-root-user" };
    let built = bench
        .command("unshare")
        .args([user, "--net", "faketime", "2038-11-12 13:14:15"])
        .arg(image::graven())
        .args(["build", "--locked", "--offline", "--store", store, "--target", "qemu-x86_64", "--keys"])
        .arg(image::keys())
        .arg("--out")
        .arg(bench.out("there"))
        .arg(bench.recipe_folder())
        .env("HOME", "/nonexistent")
        .env("XDG_CACHE_HOME", "/nonexistent")
        .env("GRAVEN_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
        .output()
        .unwrap();
    says(&built, GOOD);
    image::assert_same_outputs(&bench.out("here"), &bench.out("there"));
}

#[test]
fn a_user_keeps_the_number_that_it_was_given_first() {
    let mut bench = Bench::new();
    for (package, user) in [("one", "mm"), ("two", "aa"), ("three", "zz")] {
        let path = format!("usr/lib/sysusers.d/{user}.conf");
        bench.archive.package(package, "1", "", &[(&path, &format!("u {user} - \"Of {package}\"\n"))]);
    }
    bench.archive.publish("yesterday + 1 hour");
    let person = "[users.mary]\n";
    bench.recipe("install = [\"one\"]\n", person);
    says(&bench.graven("lock", &[]), GOOD);
    let numbered = "[users]\nmary = 1000\nmm = 999\n";
    assert!(bench.lock().contains(numbered), "{}", bench.lock());

    // By itself `aa` would be the first, and take that number.
    bench.recipe("install = [\"one\", \"two\"]\n", "[users.bob]\n[users.mary]\n");
    let said = says(&bench.graven("lock", &[]), GOOD);
    assert!(said.contains("user aa 998 is new"), "{said}");
    let numbered = "[users]\naa = 998\nbob = 1001\nmary = 1000\nmm = 999\n";
    assert!(bench.lock().contains(numbered), "{}", bench.lock());
    says(&bench.build("built", &["--locked"]), GOOD);
    let disk = bench.out("built").join("disk.img");
    let passwd = image::run(["cat".as_ref(), disk.as_os_str(), "/etc/passwd".as_ref()]);
    let passwd = String::from_utf8_lossy(&passwd.stdout).into_owned();
    for line in ["mm:x:999:999:", "aa:x:998:998:", "mary:x:1000:1000:", "bob:x:1001:1001:"] {
        assert!(passwd.contains(line), "{line} in {passwd}");
    }

    // A number that a build gives and the lock does not have.
    let overlay = bench.recipe_folder().join("overlay/usr/lib/sysusers.d");
    fs::create_dir_all(&overlay).unwrap();
    fs::write(overlay.join("late.conf"), "u late - -\n").unwrap();
    bench.recipe(
        "install = [\"one\", \"two\"]\n",
        "[users.bob]\n[users.mary]\n[[source]]\ndir = \"overlay\"\n",
    );
    bench.refused("build", &["--locked"], USAGE, &["user late 997 is new"]);
    says(&bench.build("again", &[]), GOOD);
    assert!(bench.lock().contains("late = 997\n"), "{}", bench.lock());

    // Who is gone keeps its number: a machine in the field may have files of it.
    bench.recipe("install = [\"two\", \"three\"]\n", "");
    says(&bench.graven("lock", &["--update"]), GOOD);
    let numbered = "[users]\naa = 998\nbob = 1001\nlate = 997\nmary = 1000\nmm = 999\nzz = 996\n";
    assert!(bench.lock().contains(numbered), "{}", bench.lock());
}

#[test]
fn a_mistake_is_told_in_one_line_that_says_what_to_do() {
    let bench = Bench::new();
    bench.recipe("instal = [\"hello\"]\n", "");
    bench.refused("build", &[], USAGE, &["recipe.toml:6:1", "did you mean `install`"]);
    bench.recipe("install = [\"helo\"]\n", "");
    bench.refused(
        "build",
        &[],
        USAGE,
        &["no package is called helo for amd64 in one", "did you mean hello?"],
    );
    bench.recipe("install = [\"hello=3\"]\n", "");
    bench.refused("build", &[], USAGE, &["no package is hello=3", "of hello there is 1 (amd64, one)"]);

    let recipe = bench.recipe_folder().join("recipe.toml");
    bench.recipe("install = [\"hello\"]\n", "");
    let text = fs::read_to_string(&recipe).unwrap();
    fs::write(&recipe, text.replace(&bench.archive.url(), "http://127.0.0.1:1/debian")).unwrap();
    let words = ["http://127.0.0.1:1/debian/dists/one/InRelease: cannot be reached", "name another mirror"];
    bench.refused("build", &[], ENVIRONMENT, &words);
    fs::write(&recipe, text.replace("\"one\"", "\"two\"")).unwrap();
    bench.refused("build", &[], USAGE, &["has no suite `two`", "correct [[packages.repo]] suite or url"]);
    fs::write(&recipe, text.replace("owner/keyring", "owner/nothing")).unwrap();
    bench.refused("build", &[], ENVIRONMENT, &["owner/nothing"]);
    let strangers = bench.archive.strangers_keyring();
    fs::write(&recipe, text.replace(bench.archive.keyring().to_str().unwrap(), strangers.to_str().unwrap()))
        .unwrap();
    bench.refused("build", &[], BAD, &["cannot be trusted", "keyring"]);
}

#[test]
fn a_hostile_repository_is_refused_and_nothing_of_it_is_kept() {
    let bench = Bench::new();
    let archive = &bench.archive;
    // Its list: nobody's, a stranger's, changed, too old, going round in circles.
    archive.publish_signed_by("yesterday", "", None);
    bench.refused("build", &[], BAD, &["cannot be trusted", "not signed"]);
    archive.publish_signed_by("yesterday", "", Some("stranger"));
    bench.refused("build", &[], BAD, &["cannot be trusted", "keyring"]);
    archive.publish("yesterday");
    let signed = String::from_utf8(archive.bytes(IN_RELEASE)).unwrap();
    archive.put(IN_RELEASE, Answer::Bytes(signed.replace("Components: main", "Components: mian").into()));
    bench.refused("build", &[], BAD, &["cannot be trusted"]);
    archive.publish_signed_by("2 days ago", "Valid-Until: Thu, 01 Jan 2026 00:00:00 UTC\n", Some("owner"));
    bench.refused("build", &[], BAD, &["expired on 2026-01-01", "use another mirror"]);
    archive.put(IN_RELEASE, Answer::Redirect(IN_RELEASE.to_owned()));
    bench.refused("build", &[], ENVIRONMENT, &["redirects more than 5 times"]);

    // Its index: other bytes than it signed, fewer, more.
    archive.publish("yesterday");
    let index = format!("/dists/{SUITE}/main/binary-amd64/Packages");
    let sound = archive.bytes(&index);
    let text = String::from_utf8(sound.clone()).unwrap();
    for bytes in [
        text.replace("Depends: greet", "Depends: great").into(),
        sound[1..].to_vec(),
        text.clone().into_bytes(),
    ] {
        let bytes = if bytes == sound { [&sound[..], b"\n"].concat() } else { bytes };
        archive.put(&index, Answer::Bytes(bytes));
        bench.refused("build", &[], BAD, &[&index, "nothing was kept"]);
    }
    assert!(bench.kept().is_empty(), "{:?}", bench.kept());

    // An older list than the lock's.
    archive.publish("yesterday");
    says(&bench.graven("lock", &[]), GOOD);
    archive.publish("3 days ago");
    bench.refused("lock", &["--update"], BAD, &["the mirror went back in time"]);
    bench.refused("lock", &["--update", "hello"], BAD, &["the mirror went back in time"]);

    // Its packages: other bytes than it promised, fewer, more, a connection that breaks.
    let hello = "/pool/hello_1_amd64.deb";
    let sound = archive.bytes(hello);
    let sha256 = archive.sha256(&sound);
    let mut other = sound.clone();
    other[1000] ^= 1;
    for (bytes, status) in [
        (Answer::Bytes(other), BAD),
        (Answer::Bytes(sound[..1000].to_vec()), BAD),
        (Answer::Bytes([&sound[..], b"x"].concat()), BAD),
        (Answer::Redirect(hello.to_owned()), ENVIRONMENT),
        (Answer::Cut(sound.clone(), 0), ENVIRONMENT),
    ] {
        fs::remove_dir_all(bench.store()).unwrap();
        archive.put(hello, bytes);
        bench.refused("build", &[], status, &[hello]);
        assert!(bench.kept().iter().all(|file| !file.ends_with(&sha256)), "{:?}", bench.kept());
    }
}

#[test]
fn what_a_local_package_needs_comes_from_the_repository() {
    let bench = Bench::new();
    let deb = |version: &str, fields: &str| {
        let made = graven_tests::archive::deb("own", version, fields, &[("usr/lib/own", "own\n")]);
        fs::create_dir_all(bench.recipe_folder()).unwrap();
        fs::write(bench.recipe_folder().join("own_amd64.deb"), made).unwrap();
    };
    let recipe =
        |install: &str| bench.recipe(&format!("local = [\"own_{{arch}}.deb\"]\ninstall = [{install}]\n"), "");
    deb("1", "Depends: hello (>= 1)\n");
    recipe("");
    says(&bench.build("built", &[]), GOOD);
    assert_eq!(locked(&bench.lock()), ["greet=1", "hello=1"]);
    let files = fs::read_to_string(bench.out("built").join("files.json")).unwrap();
    for path in ["/usr/lib/own", "/usr/bin/hello", "/usr/lib/greet"] {
        assert!(files.contains(path), "{path}");
    }
    deb("1", "Depends: greet\n");
    bench.refused("build", &["--locked"], USAGE, &["packages.local has `own:amd64=1; Depends: greet`"]);
    says(&bench.graven("lock", &[]), GOOD);
    assert_eq!(locked(&bench.lock()), ["greet=1"]);
    deb("2", "Depends: greet (>= 2)\n");
    bench.refused("lock", &[], USAGE, &["own 2 needs greet (>= 2), which no repository has"]);
    deb("2", "Conflicts: hello\n");
    recipe("\"hello\"");
    bench.refused("lock", &[], USAGE, &["own 2 conflicts with hello"]);
}

/// Packages that their archive vouches for and that are none.
#[test]
fn a_package_that_is_no_sound_one_is_refused_though_it_was_signed() {
    let mut bench = Bench::new();
    let sound = graven_tests::archive::deb("hello", "1", "", &[("usr/bin/hello", "hello\n")]);
    for (version, deb, words) in [
        ("1.1", sound[..sound.len() - 2000].to_vec(), "a member of the package"),
        ("1.2", b"!<arch>\nno package".to_vec(), "the header of a member"),
        ("1.3", member(&sound, "./../../etc/passwd"), "etc/passwd"),
        ("1.4", member(&sound, "./usr/bin/hello/below"), "/usr/bin/hello"),
    ] {
        bench.archive.package_of_bytes("hello", version, "", deb);
        bench.archive.publish(&format!("yesterday + {} minutes", &version[2..]));
        bench.recipe(&format!("install = [\"hello={version}\"]\n"), "");
        let output = bench.build("refused", &[]);
        let said = says(&output, BAD);
        for words in [&format!("hello_{version}_amd64.deb"), words] {
            assert!(said.contains(words), "`{words}` in: {said}");
        }
        assert!(!bench.out("refused").exists());
    }
}

/// The package with one more member in its archive of files, packed anew by Python: no tool of Debian's makes such.
fn member(sound: &[u8], path: &str) -> Vec<u8> {
    let folder = image::folder();
    let (from, to) = (folder.path().join("from.deb"), folder.path().join("to.deb"));
    fs::write(&from, sound).unwrap();
    let script = r"
import io, subprocess, sys, tarfile
source, target, path = sys.argv[1:]
parts = {name: subprocess.run(['ar', 'p', source, name], capture_output=True, check=True).stdout
         for name in ('debian-binary', 'control.tar', 'data.tar')}
data = io.BytesIO()
with tarfile.open(fileobj=io.BytesIO(parts['data.tar'])) as old, tarfile.open(fileobj=data, mode='w') as new:
    for info in old:
        new.addfile(info, old.extractfile(info) if info.isfile() else None)
    new.addfile(tarfile.TarInfo(path), io.BytesIO())
parts['data.tar'] = data.getvalue()
with open(target, 'wb') as out:
    out.write(b'!<arch>\n')
    for name, part in parts.items():
        out.write(f'{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n'.encode() + part + b'\n' * (len(part) % 2))
";
    content("python3", ["-c", script, from.to_str().unwrap(), to.to_str().unwrap(), path]);
    fs::read(to).unwrap()
}
