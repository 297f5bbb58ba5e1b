//! What changed between two releases, through the program: what was changed is told, what was not is not.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use graven_tests::archive::{Archive, SUITE};
use graven_tests::program::{Said, run_in};
use graven_tests::{image, inputs};
use serde_json::{Value, json};

/// Three releases of one image: the first, one with a package upgraded, one with other settings.
struct Releases {
    folder: PathBuf,
}

impl Releases {
    fn build_all() -> Self {
        let releases = Self { folder: image::scratch().join("releases") };
        let mut archive = Archive::new();
        let hello = |version: &str| format!("#!/usr/bin/sh\necho hello {version}\n");
        let list = ("usr/share/doc/hello/list", "one\ntwo\n");
        archive.package("hello", "1.9", "Depends: greet\n", &[("usr/bin/hello", &hello("1.9")), list]);
        archive.package("greet", "1", "", &[("usr/lib/greet", "greet 1\n")]);
        archive.publish("yesterday");
        releases.recipe(&archive, "1.0.0", "mode = 0o755", "");
        releases.build("first");

        archive.package("hello", "1.10", "Depends: greet\n", &[("usr/bin/hello", &hello("1.10")), list]);
        archive.publish("yesterday + 1 hour");
        releases.recipe(&archive, "1.0.1", "mode = 0o755", "");
        releases.graven("lock", &["--update", "hello"]);
        releases.build("upgraded");

        releases.recipe(
            &archive,
            "1.0.1",
            "mode = 0o4755",
            "[[policy.rule]]\nop = [\"FIRMWARE\"]\nfsverity-signature = true\naction = \"DENY\"\n\
                 [files.\"/etc/motd\"]\ntext = \"hello\\n\"\n",
        );
        releases.build("loosened");
        releases
    }

    fn recipe(&self, archive: &Archive, version: &str, tool: &str, more: &str) {
        let inputs = inputs::project().join("recipes/minimal/inputs");
        let inputs = inputs.to_str().unwrap();
        let (url, keyring) = (archive.url(), archive.keyring());
        let words = if more.is_empty() { "" } else { "command-line = [\"loglevel=7\"]\n" };
        let text = format!(
            "name = \"told\"\nversion = \"{version}\"\ntargets = [\"qemu-x86_64\"]\ninit = \"/usr/bin/sh\"\n\
             [packages]\ninstall = [\"hello\"]\n[[packages.repo]]\nsuite = \"{SUITE}\"\nurl = \"{url}\"\n\
             keyring = {keyring:?}\n\
             [files]\n\"/usr/bin/sh\" = {{ text = \"never started\", {tool} }}\n\
             [boot]\nstub = \"{inputs}/systemd-boot-efi_*_amd64.deb\"\n\
             [kernel]\nmodules = []\n{words}local = [\"{inputs}/linux-base-7.3*-amd64_*.deb\", \
             \"{inputs}/linux-binary-7.3*-amd64_*.deb\", \"{inputs}/linux-modules-7.3*-amd64_*.deb\"]\n{more}"
        );
        fs::create_dir_all(self.folder.join("recipe")).unwrap();
        fs::write(self.folder.join("recipe/recipe.toml"), text).unwrap();
    }

    fn graven(&self, verb: &str, arguments: &[&str]) {
        let mut command = Command::new(image::graven());
        for variable in ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            command.env_remove(variable);
        }
        command.env("XDG_CACHE_HOME", self.folder.join("cache"));
        let output = command.arg(verb).arg(self.folder.join("recipe")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{verb}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn build(&self, out: &str) {
        let (out, keys) = (self.folder.join(out), image::keys());
        let words = ["--keys", keys.to_str().unwrap(), "--out", out.to_str().unwrap()];
        self.graven("build", &words);
    }

    fn diff(&self, words: &[&str]) -> Said {
        run_in(&self.folder, image::graven(), [&["diff"], words].concat())
    }

    fn json(&self, words: &[&str]) -> Value {
        let said = self.diff(&[words, &["--json"]].concat());
        assert_eq!((said.status, said.err.as_str()), (1, ""));
        serde_json::from_str(&said.out).unwrap()
    }
}

fn whats(found: &Value, part: &str) -> Vec<String> {
    let list = found[part].as_array().unwrap();
    list.iter().map(|one| one["what"].as_str().unwrap().to_owned()).collect()
}

/// One set of images for all that is asked of them.
#[test]
fn releases_are_told_apart_by_what_was_changed_and_by_nothing_else() {
    let releases = Releases::build_all();
    one_upgraded_package_is_named_with_its_files(&releases);
    what_is_loosened_stands_first_and_other_settings_in_their_places(&releases);
    the_same_image_is_the_same_and_nothing_is_said(&releases);
    the_page_needs_nothing_besides_and_is_the_same_each_time(&releases);
}

fn one_upgraded_package_is_named_with_its_files(releases: &Releases) {
    let found = releases.json(&["first", "upgraded"]);
    assert_eq!(
        found["packages"],
        json!([{ "name": "hello", "architecture": "amd64", "fate": "upgraded", "old": "1.9", "new": "1.10" }])
    );
    let files = found["files"].as_array().unwrap();
    let files: Vec<(&str, &str)> = files
        .iter()
        .map(|file| (file["path"].as_str().unwrap(), file["package"].as_str().unwrap()))
        .collect();
    assert_eq!(files, [("/usr/bin/hello", "hello")]);
    let lines = "@@ -1,2 +1,2 @@\n #!/usr/bin/sh\n-echo hello 1.9\n+echo hello 1.10\n";
    assert_eq!(found["files"][0]["lines"], lines);
    assert_eq!(
        found["security"],
        json!([{ "about": "script", "what": "/usr/bin/hello", "fate": "changed", "says": "run by /usr/bin/sh" }])
    );
    assert_eq!(whats(&found, "made_from"), ["deb hello", "recipe recipe.toml"]);
    for part in ["policy", "command_line", "signers", "boot", "kernel_config", "plan", "partitions", "esp"] {
        assert_eq!(found[part], json!([]), "{part}");
    }
    let follows = whats(&found, "follows");
    for what in ["root hash", "policy", "version", "PARTUUID of root", "/var/lib/dpkg/status", "source date"]
    {
        assert!(follows.iter().any(|follow| follow == what), "{what} in {follows:?}");
    }
    assert_eq!(found["old"]["name"], "told 1.0.0");
    assert_eq!(found["new"]["name"], "told 1.0.1");
}

fn what_is_loosened_stands_first_and_other_settings_in_their_places(releases: &Releases) {
    let said = releases.diff(&["upgraded", "loosened"]);
    assert_eq!((said.status, said.err.as_str()), (1, ""));
    let parts: Vec<&str> = said.out.split("\n\n").collect();
    assert!(parts[0].starts_with("old  told 1.0.1, release, x86_64, root hash "), "{}", said.out);
    assert_eq!(parts[1], "What bears on security\n  + set-id      /usr/bin/sh: runs as user 0, mode 4755");
    assert_eq!(parts[2], "Policy\n  + rule: op=FIRMWARE fsverity_signature=TRUE action=DENY");
    assert_eq!(parts[3], "Command line\n  + loglevel: 7");
    let files = parts.iter().find(|part| part.starts_with("Files\n")).unwrap();
    assert!(files.contains("    + /etc/motd: 6 bytes, sha256:"), "{files}");
    assert!(files.contains("    ~ /usr/bin/sh: mode 0755 → 4755"), "{files}");
    assert_eq!(files.lines().count(), 4, "{files}");
    assert!(parts.last().unwrap().starts_with("What follows\n"), "{}", said.out);
    assert!(!parts.iter().any(|part| part.starts_with("Packages")), "{}", said.out);
}

fn the_same_image_is_the_same_and_nothing_is_said(releases: &Releases) {
    let copy = releases.folder.join("copy.img");
    fs::copy(releases.folder.join("first/disk.img"), &copy).unwrap();
    for words in [
        &["first", "first"][..],
        &["first", "copy.img"],
        &["first", "upgraded", "--only", "policy,signers"],
        &["first", "upgraded", "--only", "esp", "--only", "plan"],
    ] {
        let said = releases.diff(words);
        assert_eq!((said.status, said.out.as_str(), said.err.as_str()), (0, "", ""), "{words:?}");
    }
    fs::remove_file(copy).unwrap();
    let only = releases.json(&["first", "upgraded", "--only", "packages"]);
    assert_eq!((whats(&only, "follows").len(), only["packages"].as_array().unwrap().len()), (0, 1));
}

#[test]
fn what_cannot_be_compared_is_said_with_its_status() {
    let image = image::minimal();
    let good = image.to_str().unwrap();
    let folder = image::folder();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("text", "no image\n");
    for name in ["empty", "odd"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    std::os::unix::fs::symlink(image.join("disk.img"), folder.path().join("odd/disk.img")).unwrap();
    write("odd/manifest.json", "{}");
    for (words, status, says) in [
        (&[good, "text"][..], 1, "text: "),
        (&[good, "nothing"], 3, "opening nothing"),
        (&["empty", good], 3, "empty/disk.img"),
        (&[good, "odd"], 1, "manifest.json: "),
        (&[good], 2, "<NEW>"),
        (&[good, good, "--only", "weather"], 2, "expected one of security, policy"),
        (&[good, good, "--html", "x.html", "--json"], 2, "--json"),
        (&[good, good, "--html", "nowhere/x.html"], 3, "nowhere/x.html"),
    ] {
        let said = run_in(folder.path(), image::graven(), [&["diff"], words].concat());
        assert_eq!((said.status, said.out.as_str()), (status, ""), "{words:?}: {}", said.err);
        assert!(said.err.contains(says), "{says} in {}", said.err);
    }
    assert!(!folder.path().join("x.html").exists(), "nothing is written");
}

fn page(releases: &Releases, old: &str, new: &str, status: i32) -> String {
    let to = image::folder();
    let html = to.path().join("page.html");
    let said = releases.diff(&[old, new, "--html", html.to_str().unwrap()]);
    assert_eq!((said.status, said.out.as_str(), said.err.as_str()), (status, "", ""));
    fs::read_to_string(html).unwrap()
}

fn the_page_needs_nothing_besides_and_is_the_same_each_time(releases: &Releases) {
    let told = page(releases, "upgraded", "loosened", 1);
    assert!(told.contains("One change bears on security") && told.contains("id=\"policy\""));
    for part in ["<script", "<img", "<link", "src=", "@import", "url(", "href=\"h"] {
        assert!(!told.replace("url(#", "").contains(part), "the page has {part}");
    }
    assert_eq!(page(releases, "upgraded", "loosened", 1), told);
    assert!(page(releases, "first", "first", 0).contains("No difference"));
}

/// As the trust report is looked at: nothing sticks out, nothing is asked for, axe finds nothing.
#[cfg(feature = "full")]
#[test]
fn the_page_can_be_read_by_everyone_in_a_browser() {
    use graven_tests::oracle;

    let releases = Releases::build_all();
    let folder = image::folder();
    let mut words = vec![inputs::project().join("tests/src/oracle/browser.py")];
    for (name, old, new, status) in [
        ("upgraded", "first", "upgraded", 1),
        ("loosened", "upgraded", "loosened", 1),
        ("same", "first", "first", 0),
    ] {
        let path = folder.path().join(format!("diff-{name}.html"));
        fs::write(&path, page(&releases, old, new, status)).unwrap();
        words.push(path);
    }
    let pages = words.len() - 1;
    let said = oracle::content(oracle::python("python3"), words);
    let views: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    assert_eq!(views.len(), 4 * pages, "{said}");
    for view in views {
        assert_eq!(view["told"], json!([]), "{view:#}");
        assert!(view["passes"].as_u64().is_some_and(|passes| passes > 10), "axe looked: {view:#}");
    }
}
