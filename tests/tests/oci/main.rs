//! Container images, through the program: from Debian's registry and from what `skopeo` writes, unpacked as `umoci` does it.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use graven_image::tree::{Metadata, Tree, diff};
use graven_sources::dir;
use graven_tests::oracle::content;
use graven_tests::{image, inputs};

const GOOD: i32 = 0;
const BAD: i32 = 1;
const USAGE: i32 = 2;
const ENVIRONMENT: i32 = 3;

/// `me:hunter2`, by bcrypt.
const HTPASSWD: &str = "me:$2b$04$abcdefghijklmnopqrstuuV3duMsC0HpUex6N9qapiuOHHWkwRXVm\n";

/// Debian's `docker-registry` on the loopback.
struct Registry {
    process: Child,
    address: String,
}

impl Registry {
    /// Serves what lies in `folder`; `more` are further lines of its configuration. Where a certificate lies there, too, with
    /// that.
    fn start(folder: &Path, more: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let configuration = folder.join(format!("{port}.yml"));
        let storage = folder.join("storage");
        let certificate = folder.join("registry.crt");
        let tls = match certificate.exists() {
            true => {
                format!(", tls: {{certificate: {certificate:?}, key: {:?}}}", folder.join("registry.key"))
            }
            false => String::new(),
        };
        let text = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage:\n  filesystem: {{rootdirectory: {storage:?}}}\n  delete: {{enabled: true}}\n\
             http: {{addr: \"{address}\", secret: none{tls}}}\n{more}"
        );
        fs::write(&configuration, text).unwrap();
        let mut process = Command::new("docker-registry")
            .arg("serve")
            .arg(&configuration)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("docker-registry: {error}: run tests/setup.sh"));
        let mut said = BufReader::new(process.stderr.take().unwrap());
        let mut lines = String::new();
        while !lines.contains("listening on") {
            assert!(said.read_line(&mut lines).unwrap() > 0, "docker-registry: {lines}");
        }
        // Nobody else reads what it says from now on, and a full pipe would stop it.
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        Self { process, address }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A registry with an image, and a recipe that takes it.
struct Bench {
    folder: tempfile::TempDir,
    registry: Registry,
}

impl Bench {
    fn new() -> Self {
        let folder = image::folder();
        let registry = Registry::start(folder.path(), "");
        let bench = Self { folder, registry };
        bench.make("layout", "one", ["gzip", "zstd", "none"]);
        bench.push("layout");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn image(&self) -> String {
        format!("{}/team/app:1.0", self.registry.address)
    }

    /// A layout with an image; see the script.
    fn make(&self, name: &str, text: &str, compressions: [&str; 3]) {
        let script = inputs::project().join("tests/tests/oci/image.py");
        let path = self.path(name);
        let mut arguments = vec![script.to_str().unwrap(), path.to_str().unwrap(), text];
        arguments.extend(compressions);
        content("python3", arguments);
    }

    fn skopeo(&self, arguments: &[&str]) {
        let policy = self.path("policy.json");
        fs::write(&policy, r#"{"default": [{"type": "insecureAcceptAnything"}]}"#).unwrap();
        let mut all = vec!["--policy", policy.to_str().unwrap(), "copy", "-q"];
        all.extend(arguments);
        content("skopeo", all);
    }

    /// Pushes the index of a layout, with the images of both architectures.
    fn push(&self, layout: &str) {
        let from = format!("oci:{}:app", self.path(layout).display());
        let to = format!("docker://{}", self.image());
        self.skopeo(&["--all", "--dest-tls-verify=false", &from, &to]);
    }

    /// Writes a recipe with these sources.
    fn recipe(&self, sources: &str) {
        let inputs = inputs::project().join("recipes/minimal/inputs");
        let inputs = inputs.to_str().unwrap();
        let text = format!(
            "name = \"contained\"\nversion = \"1.0.0\"\ntargets = [\"qemu-x86_64\", \"qemu-arm64-uefi\"]\ninit = \"/usr/bin/sh\"\n\
             source-date = 1700000000\n{sources}\
             [files]\n\"/usr/bin/sh\" = {{ text = \"never started\", mode = 0o755 }}\n\
             [boot]\nstub = \"{inputs}/systemd-boot-efi_*_{{arch}}.deb\"\n\
             [kernel]\nmodules = []\nlocal = [\"{inputs}/linux-base-7.3*-{{arch}}_*.deb\", \
             \"{inputs}/linux-binary-7.3*-{{arch}}_*.deb\", \"{inputs}/linux-modules-7.3*-{{arch}}_*.deb\"]\n"
        );
        fs::create_dir_all(self.path("recipe")).unwrap();
        fs::write(self.path("recipe/recipe.toml"), text).unwrap();
    }

    fn of_registry(&self) -> String {
        format!("[[source]]\noci = {:?}\nat = \"/registry\"\n", self.image())
    }

    fn lock(&self) -> String {
        fs::read_to_string(self.path("recipe/graven.lock")).unwrap()
    }

    /// A verb on the recipe, straight to the loopback, with a cache of its own; it must end so.
    fn graven(&self, verb: &str, arguments: &[&str], status: i32) -> String {
        let mut command = Command::new(image::graven());
        for variable in
            ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "REGISTRY_AUTH_FILE"]
        {
            command.env_remove(variable);
        }
        command.env("XDG_CACHE_HOME", self.path("cache")).env("SSL_CERT_FILE", self.path("registry.crt"));
        command.current_dir(self.folder.path());
        command.arg(verb).arg(self.path("recipe")).args(arguments);
        let output: Output = command.output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert_eq!(output.status.code(), Some(status), "{verb} {arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }

    fn fetch(&self, store: &str, status: i32) -> String {
        self.graven("fetch", &["--to", self.path(store).to_str().unwrap()], status)
    }

    /// What `umoci` makes of an image of a layout.
    fn unpacked_by_umoci(&self, layout: &str) -> Tree {
        let (from, to) = (format!("{}:amd64", self.path(layout).display()), self.path("umoci"));
        let mut arguments = vec!["raw", "unpack"];
        if !is_root() {
            arguments.push("--rootless");
        }
        arguments.extend(["--image", &from, to.to_str().unwrap()]);
        content("umoci", arguments);
        scanned(&to)
    }
}

fn is_root() -> bool {
    content("id", ["-u"]).trim() == "0"
}

/// A folder as it lies on the disk. The root's time is when it was unpacked; owners are somebody's only where root unpacks.
fn scanned(folder: &Path) -> Tree {
    let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
    dir::scan(folder, dir::Attributes::Kept, None).unwrap().apply(&mut tree).unwrap();
    let ids: Vec<_> = tree.walk().map(|entry| entry.id).collect();
    for id in ids {
        let inode = tree.inode_mut(id);
        inode.origin = None;
        if !is_root() {
            (inode.metadata.uid, inode.metadata.gid) = (0, 0);
        }
    }
    tree.inode_mut(Tree::ROOT).metadata = Metadata { mode: 0o755, ..Metadata::default() };
    tree
}

/// A folder of an image, by way of `tar`.
fn extracted(disk: &Path, folder: &str, to: &Path) -> Tree {
    let archive = to.with_extension("tar");
    content(
        image::graven(),
        ["extract", disk.to_str().unwrap(), folder, "--tar", "--to", archive.to_str().unwrap()],
    );
    fs::create_dir(to).unwrap();
    content(
        "tar",
        [
            "-C",
            to.to_str().unwrap(),
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "-xpf",
            archive.to_str().unwrap(),
        ],
    );
    scanned(to)
}

#[test]
fn images_of_a_registry_a_layout_and_an_archive_are_unpacked_as_umoci_does_it() {
    let bench = Bench::new();
    let archive = bench.path("image.tar");
    let from = format!("oci:{}:amd64", bench.path("layout").display());
    bench.skopeo(&[&from, &format!("oci-archive:{}:app", archive.display())]);
    bench.skopeo(&[&from, &format!("oci:{}:app", bench.path("by-skopeo").display())]);
    // Docker's own documents and `umoci` know gzip alone: the same layers, so compressed.
    bench.make("gzip", "one", ["gzip", "gzip", "gzip"]);
    let docker = format!("{}/team/docker:1.0", bench.registry.address);
    let from = format!("oci:{}:amd64", bench.path("gzip").display());
    bench.skopeo(&["--format", "v2s2", "--dest-tls-verify=false", &from, &format!("docker://{docker}")]);
    let raw = content("skopeo", ["inspect", "--raw", "--tls-verify=false", &format!("docker://{docker}")]);
    assert!(raw.contains("application/vnd.docker.image.rootfs.diff.tar.gzip"), "{raw}");
    bench.recipe(&format!(
        "{}[[target.qemu-x86_64.source]]\noci = {docker:?}\nat = \"/docker\"\n\
         [[target.qemu-x86_64.source]]\noci-layout = {:?}\nref = \"app\"\nat = \"/layout\"\n\
         [[target.qemu-x86_64.source]]\noci-archive = {archive:?}\nat = \"/archive\"\n",
        bench.of_registry(),
        bench.path("by-skopeo"),
    ));
    bench.graven("build", &["--target", "qemu-x86_64", "--locked"], USAGE);
    bench.graven("build", &["--target", "qemu-x86_64", "--offline"], ENVIRONMENT);
    let said = bench.graven("lock", &[], GOOD);
    assert!(said.contains("0 packages and 3 images"), "{said}");
    let lock = bench.lock();
    for platform in ["linux/amd64", "linux/arm64"] {
        assert!(lock.contains(&format!("platform = \"{platform}\"")), "{lock}");
    }
    let said = bench.fetch("store", GOOD);
    assert!(said.contains("0 packages and 3 images are in "), "{said}");
    assert_eq!(bench.lock(), lock);

    // From here on there is no registry.
    let Bench { folder, registry } = bench;
    let address = registry.address.clone();
    drop(registry);
    let bench =
        Bench { folder, registry: Registry { process: Command::new("true").spawn().unwrap(), address } };
    let (out, keys, store) = (bench.path("built"), image::keys(), bench.path("store"));
    let words = ["--target", "qemu-x86_64", "--locked", "--offline", "--store", store.to_str().unwrap()];
    let places = ["--out", out.to_str().unwrap(), "--keys", keys.to_str().unwrap()];
    bench.graven("build", &[words.as_slice(), &places].concat(), GOOD);

    let expected = bench.unpacked_by_umoci("gzip");
    assert!(expected.len() > 30, "umoci unpacked {} files", expected.len());
    for source in ["registry", "docker", "layout", "archive"] {
        let found = extracted(
            &out.join("disk.img"),
            &format!("/{source}"),
            &bench.path(&format!("extracted-{source}")),
        );
        assert_eq!(diff(&found, &expected), Vec::<String>::new(), "{source}");
    }
    let manifest: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("manifest.json")).unwrap()).unwrap();
    let images: Vec<&str> = manifest["inputs"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|input| input["kind"] == "oci" && input["sha256"].is_string())
        .map(|input| input["name"].as_str().unwrap())
        .collect();
    assert_eq!(images, [bench.image().as_str(), docker.as_str(), "by-skopeo:app", "image.tar"]);
    let bill: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("sbom.cdx.json")).unwrap()).unwrap();
    let containers = bill["components"].as_array().unwrap().iter();
    let containers: Vec<(&str, &str)> = containers
        .filter(|component| component["type"] == "container")
        .map(|image| (image["name"].as_str().unwrap(), image["version"].as_str().unwrap()))
        .collect();
    let mut expected: Vec<(&str, &str)> = images.iter().map(|name| (*name, "1.0")).collect();
    expected.sort_unstable();
    assert_eq!(containers, expected);
    let files = fs::read_to_string(out.join("files.json")).unwrap();
    assert!(
        files.contains(&format!("\"oci:{}\"", bench.image())),
        "files do not say that they are of the image"
    );
}

#[test]
fn a_tag_that_moves_is_followed_when_asked_for() {
    let bench = Bench::new();
    bench.recipe(&bench.of_registry());
    bench.graven("lock", &[], GOOD);
    let lock = bench.lock();
    bench.make("moved", "two", ["zstd", "none", "gzip"]);
    bench.push("moved");
    bench.graven("lock", &[], GOOD);
    assert_eq!(bench.lock(), lock, "nothing moves by itself");
    bench.graven("lock", &["--locked"], GOOD);
    let said = bench.graven("lock", &["--update", &bench.image()], GOOD);
    assert!(said.contains(&format!("{} for linux/amd64 sha256:", bench.image())), "{said}");
    assert_ne!(bench.lock(), lock);
    let said = bench.graven("lock", &["--update", "somebody/else:1"], USAGE);
    assert!(said.contains("has no such package or image"), "{said}");
}

/// A web server that is no registry: `python3 -m http.server`.
struct Elsewhere {
    process: Child,
    address: String,
}

impl Elsewhere {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new("python3")
            .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory"])
            .arg(folder)
            .arg("0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.split("port ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        let address = format!("127.0.0.1:{port}");
        Self { process, address }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn blobs_that_lie_elsewhere_are_followed_there_but_not_from_https_to_http() {
    let bench = Bench::new();
    let elsewhere = Elsewhere::start(&bench.path("storage"));
    // Blobs are not sent but redirected to, as registries with an object store do it.
    let away = format!(
        "middleware:\n  storage:\n    - name: redirect\n      options: {{baseurl: \"http://{}/\"}}\n",
        elsewhere.address
    );
    let plain = Registry::start(bench.folder.path(), &away);
    let of = |registry: &Registry| bench.of_registry().replace(&bench.registry.address, &registry.address);
    bench.recipe(&of(&plain));
    bench.graven("lock", &[], GOOD);
    assert!(bench.fetch("store", GOOD).contains("2 images are in"));

    content(
        "openssl",
        [
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=registry",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-keyout",
            bench.path("registry.key").to_str().unwrap(),
            "-out",
            bench.path("registry.crt").to_str().unwrap(),
        ],
    );
    let sound = Registry::start(bench.folder.path(), "");
    bench.recipe(&format!("{}plain-http = false\n", of(&sound)));
    bench.graven("lock", &["--store", bench.path("by-https").to_str().unwrap()], GOOD);
    bench.recipe(&of(&sound));
    bench.graven("lock", &["--update", "--store", bench.path("by-http").to_str().unwrap()], ENVIRONMENT);
    let open = Registry::start(bench.folder.path(), &away);
    bench.recipe(&format!("{}plain-http = false\n", of(&open)));
    let said = bench.graven("lock", &["--store", bench.path("refused").to_str().unwrap()], ENVIRONMENT);
    assert!(said.contains(&format!("it redirects from https to http://{}/", elsewhere.address)), "{said}");
}

/// Where the registry keeps a blob that the lock names.
fn blob(bench: &Bench, digest: &str) -> PathBuf {
    let folder = bench.path("storage/docker/registry/v2/blobs/sha256");
    folder.join(&digest[..2]).join(digest).join("data")
}

#[test]
fn what_a_registry_no_longer_has_as_it_was_is_refused() {
    let bench = Bench::new();
    bench.recipe(&bench.of_registry());
    bench.graven("lock", &[], GOOD);
    let lock = bench.lock();
    let digests: Vec<&str> = lock
        .lines()
        .filter_map(|line| line.strip_prefix("sha256 = \""))
        .map(|rest| rest.trim_matches('"'))
        .collect();
    let largest = digests
        .iter()
        .filter(|digest| blob(&bench, digest).exists())
        .max_by_key(|digest| fs::metadata(blob(&bench, digest)).unwrap().len())
        .unwrap();
    let path = blob(&bench, largest);
    let sound = fs::read(&path).unwrap();
    let with = |bytes: &[u8], status: i32, words: &str| {
        fs::write(&path, bytes).unwrap();
        let store = bench.path("fresh");
        let said = bench.fetch("fresh", status);
        assert!(said.contains(words) && said.contains(largest), "{words}: {said}");
        assert!(!store.join("sha256").join(&largest[..2]).join(largest).exists(), "{words}");
        let _ = fs::remove_dir_all(store);
    };
    let mut changed = sound.clone();
    changed[100] ^= 1;
    with(&changed, BAD, "its SHA-256 is");
    with(&sound[..sound.len() - 1], BAD, "expected are");
    with(&[sound.as_slice(), b"!"].concat(), BAD, "which it may not have");
    fs::remove_file(&path).unwrap();
    let said = bench.fetch("fresh", ENVIRONMENT);
    assert!(said.contains("is gone from the registry"), "{said}");
    fs::write(&path, &sound).unwrap();
    bench.fetch("whole", GOOD);
    let said = {
        bench.recipe(&bench.of_registry().replace(":1.0", ":2.0"));
        bench.graven("lock", &[], USAGE)
    };
    assert!(said.contains("the registry has no such image"), "{said}");
}

#[test]
fn a_registry_that_wants_to_know_who_asks_is_told_from_the_file_that_is_named() {
    let bench = Bench::new();
    fs::write(bench.path("htpasswd"), HTPASSWD).unwrap();
    let who = format!("auth:\n  htpasswd: {{realm: here, path: {:?}}}\n", bench.path("htpasswd"));
    let guarded = Registry::start(bench.folder.path(), &who);
    bench.recipe(&bench.of_registry().replace(&bench.registry.address, &guarded.address));
    let said = bench.graven("lock", &[], ENVIRONMENT);
    assert!(said.contains("it wants to know who asks") && said.contains("--registry-auth"), "{said}");
    let file = |user: &str| {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(user);
        let path = bench.path("auth.json");
        fs::write(&path, format!("{{\"auths\": {{{:?}: {{\"auth\": {auth:?}}}}}}}", guarded.address))
            .unwrap();
        path
    };
    let wrong = file("me:wrong");
    let said = bench.graven("lock", &["--registry-auth", wrong.to_str().unwrap()], ENVIRONMENT);
    assert!(said.contains("the credentials do not allow it") && !said.contains("wrong"), "{said}");
    let right = file("me:hunter2");
    bench.graven("lock", &["--registry-auth", right.to_str().unwrap()], GOOD);
    let said = bench.graven("lock", &["--update", "--registry-auth", "/nonexistent/auth.json"], ENVIRONMENT);
    assert!(said.contains("/nonexistent/auth.json"), "{said}");
    fs::write(&right, "hunter2").unwrap();
    let said = bench.graven("lock", &["--update", "--registry-auth", right.to_str().unwrap()], USAGE);
    assert!(said.contains("is no part of a file of credentials") && !said.contains("hunter2"), "{said}");
}
