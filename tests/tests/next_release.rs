//! The next release of a server from packages, one of which was upgraded: what is told of it, and how much of the root has to
//! travel to a machine that has the release before.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;

use graven_recipe::lock::Lock;
use graven_sources::Sha256;
use graven_sources::store::Store;
use graven_tests::edge::Edge;
use graven_tests::oracle::content;
use graven_tests::{accounts, image, inputs};
use serde_json::Value;

const BLOCK: usize = 4096;

struct Releases {
    edge: Edge,
}

impl Releases {
    fn path(&self, name: &str) -> PathBuf {
        self.edge.recipe(name)
    }

    /// The server with its web server from a file of its own, and the next release with that upgraded.
    fn build() -> Self {
        let releases = Self { edge: Edge::server() };
        let recipe = releases.path("server");
        let text = fs::read_to_string(recipe.join("recipe.toml")).unwrap();
        let store = releases.path("store");
        let fetched = image::run(["fetch".as_ref(), recipe.as_os_str(), "--to".as_ref(), store.as_os_str()]);
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        let lock = Lock::read(&Lock::path_for(&recipe)).unwrap().unwrap();
        let package = lock.packages.iter().find(|package| package.name == "lighttpd").unwrap();
        let deb = Store::new(&store).path(&Sha256::from(package.sha256.0));

        let (own, unpacked) = (recipe.join("dist"), releases.path("unpacked"));
        fs::create_dir(&own).unwrap();
        fs::copy(deb, own.join("lighttpd_1.deb")).unwrap();
        let without = text.replace("\"lighttpd\", ", "");
        assert_ne!(without, text, "the recipe asks for it");
        let text = without.replace("[packages]\n", "[packages]\nlocal = [\"dist/lighttpd_*.deb\"]\n");
        fs::write(recipe.join("recipe.toml"), text).unwrap();
        image::build(&recipe, &releases.path("first"), &[]);
        let shared = "root.dedupe=true";
        image::build(&recipe, &releases.path("first-shared"), &["--set", shared]);

        content("dpkg-deb", ["-R".as_ref(), own.join("lighttpd_1.deb").as_os_str(), unpacked.as_os_str()]);
        let control = unpacked.join("DEBIAN/control");
        let text = fs::read_to_string(&control).unwrap();
        let version = text.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap();
        fs::write(
            &control,
            text.replace(&format!("Version: {version}"), &format!("Version: {version}+acme1")),
        )
        .unwrap();
        let program = unpacked.join("usr/sbin/lighttpd");
        fs::write(&program, recompiled(fs::read(&program).unwrap())).unwrap();
        fs::remove_file(own.join("lighttpd_1.deb")).unwrap();
        content("dpkg-deb", ["-b".as_ref(), unpacked.as_os_str(), own.join("lighttpd_2.deb").as_os_str()]);
        let version = "version=0.1.1";
        image::build(&recipe, &releases.path("anew"), &["--set", version]);
        let kept = format!("root.places-of={:?}", releases.path("first/files.json"));
        image::build(&recipe, &releases.path("next"), &["--set", version, "--set", &kept]);
        let kept = format!("root.places-of={:?}", releases.path("first-shared/files.json"));
        let sets = ["--set", version, "--set", shared, "--set", &kept];
        image::build(&recipe, &releases.path("next-shared"), &sets);
        releases
    }

    /// The root's bytes, without the room behind them in its partition.
    fn root(&self, out: &str) -> Vec<u8> {
        let to = self.path(&format!("{out}.root"));
        let done = image::run([
            "extract".as_ref(),
            self.path(out).as_os_str(),
            "root".as_ref(),
            "--to".as_ref(),
            to.as_os_str(),
        ]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let manifest: Value =
            serde_json::from_slice(&fs::read(self.path(out).join("manifest.json")).unwrap()).unwrap();
        let blocks = manifest["root"]["data_blocks"].as_u64().unwrap() as usize;
        let mut bytes = fs::read(&to).unwrap();
        bytes.truncate(blocks * BLOCK);
        fs::remove_file(to).unwrap();
        bytes
    }

    /// The same root by another writer, fed with a tar archive.
    fn written(&self, out: &str, writer: &str, options: &str) -> Vec<u8> {
        let tar = self.path(&format!("{out}.tar"));
        if !tar.exists() {
            let image = self.path(out);
            let to = ["/".as_ref(), "--tar".as_ref(), "--to".as_ref(), tar.as_os_str()];
            let done = image::run([&["extract".as_ref(), image.as_os_str()], &to[..]].concat());
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        }
        let to = self.path("written");
        let program = inputs::cache().join("writers/bin").join(writer);
        let (program, tar, image) = (program.display(), tar.display(), to.display());
        let command = match writer {
            "sqfstar" => format!("{program} {options} {image} < {tar}"),
            _ => format!(
                "{program} --quiet --tar=f {options} -T0 -U00000000-0000-0000-0000-000000000000 {image} {tar}"
            ),
        };
        content("sh", ["-c", &command]);
        let bytes = fs::read(&to).unwrap();
        fs::remove_file(&to).unwrap();
        bytes
    }
}

/// A program as another compiler might have made it: its head, then other code, and a little more of it.
fn recompiled(mut program: Vec<u8>) -> Vec<u8> {
    program.resize(program.len() + 3 * BLOCK, 0);
    let mut state = 1u64;
    for byte in program.iter_mut().skip(BLOCK) {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        *byte ^= (state >> 56) as u8;
    }
    program
}

/// The share of the second's blocks that the first has in the same place, and anywhere.
fn shares(first: &[u8], second: &[u8]) -> (f64, f64) {
    let (have, all) = (first.chunks(BLOCK).collect::<HashSet<_>>(), second.chunks(BLOCK).count() as f64);
    let same = second.chunks(BLOCK).zip(first.chunks(BLOCK)).filter(|(new, old)| new == old).count();
    let anywhere = second.chunks(BLOCK).filter(|block| have.contains(block)).count();
    (same as f64 / all, anywhere as f64 / all)
}

#[test]
fn one_upgraded_package_is_all_that_differs_and_most_blocks_stay_where_they_are() {
    let releases = Releases::build();
    it_accounts_for_itself(&releases);
    the_package_is_named_with_its_files_and_nothing_else(&releases);
    no_other_writer_keeps_as_many_blocks(&releases);
    shared_blocks_make_it_smaller_than_the_chunks_of_mkfs(&releases);
    for next in ["next", "next-shared"] {
        let next = releases.path(next);
        let trust = image::keys().join("db.crt");
        let words = ["verify".as_ref(), next.as_os_str(), "--trust".as_ref(), trust.as_os_str()];
        let said = image::run(words);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stdout));
    }
}

fn shared_blocks_make_it_smaller_than_the_chunks_of_mkfs(releases: &Releases) {
    let plain = releases.root("first").len();
    let shared = releases.root("first-shared").len();
    let theirs = releases.written("first", "mkfs.erofs", "").len();
    let chunks = releases.written("first", "mkfs.erofs", "--chunksize=4096").len();
    let lines = format!(
        "bytes of the root: ours {plain}, with dedupe {shared}; mkfs.erofs {theirs}, with --chunksize=4096 {chunks}"
    );
    println!("{lines}");
    assert!(shared < plain && shared < chunks && shared < theirs, "{lines}");
}

fn it_accounts_for_itself(releases: &Releases) {
    let out = releases.path("first");
    accounts::bill(&out);
    let keys = image::keys();
    let words = ["provenance", "make", "--role", "db", "--builder-id", "https://build.example/1", "--keys"];
    let words = words.map(OsStr::new).into_iter().chain([keys.as_os_str(), out.as_os_str()]);
    let made = image::run(words);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let about = accounts::provenance(&out, &keys.join("db.crt"));
    assert!(about.iter().any(|name| name == "disk.img/root"), "{about:?}");
}

fn the_package_is_named_with_its_files_and_nothing_else(releases: &Releases) {
    for next in ["anew", "next"] {
        let (first, next) = (releases.path("first"), releases.path(next));
        let said = image::run(["diff".as_ref(), first.as_os_str(), next.as_os_str(), "--json".as_ref()]);
        assert_eq!(said.status.code(), Some(1), "{}", String::from_utf8_lossy(&said.stderr));
        let found: Value = serde_json::from_slice(&said.stdout).unwrap();
        let packages: Vec<&str> = found["packages"]
            .as_array()
            .unwrap()
            .iter()
            .map(|package| package["name"].as_str().unwrap())
            .collect();
        assert_eq!(packages, ["lighttpd"]);
        let files = found["files"].as_array().unwrap();
        assert!(files.iter().any(|file| file["path"] == "/usr/sbin/lighttpd"), "{files:?}");
        let others: Vec<&Value> = files.iter().filter(|file| file["package"] != "lighttpd").collect();
        assert!(others.is_empty(), "{others:?}");
        let security = found["security"].as_array().unwrap();
        let says: Vec<&str> = security.iter().map(|concern| concern["says"].as_str().unwrap()).collect();
        assert_eq!(says, ["/usr/sbin/lighttpd is another: faces the network, starts /usr/sbin/lighttpd"]);
        for nothing in ["policy", "command_line", "signers", "boot", "kernel_config", "plan", "esp"] {
            assert_eq!(found[nothing], Value::Array(Vec::new()), "{nothing}");
        }
    }
}

fn no_other_writer_keeps_as_many_blocks(releases: &Releases) {
    let first = releases.root("first");
    let ours = shares(&first, &releases.root("next"));
    let mut table =
        vec![("ours, [root] places-of", ours), ("ours, anew", shares(&first, &releases.root("anew")))];
    let shared = shares(&releases.root("first-shared"), &releases.root("next-shared"));
    println!(
        "ours, with dedupe: {:.2} % in the same place, {:.2} % anywhere",
        shared.0 * 100.0,
        shared.1 * 100.0
    );
    assert!(shared.0 > 0.98);
    for (name, writer, options) in [
        ("mkfs.erofs", "mkfs.erofs", ""),
        ("mkfs.erofs -zlz4hc", "mkfs.erofs", "-zlz4hc"),
        ("mkfs.erofs -zzstd -Ededupe", "mkfs.erofs", "-zzstd -Ededupe"),
        ("sqfstar", "sqfstar", "-quiet -no-progress -comp zstd -mkfs-time 0 -all-time 0"),
    ] {
        let [first, next] = ["first", "next"].map(|out| releases.written(out, writer, options));
        table.push((name, shares(&first, &next)));
    }
    let lines = table.iter().map(|(name, (same, anywhere))| {
        format!("{name:<28} {:6.2} % in the same place, {:6.2} % anywhere\n", same * 100.0, anywhere * 100.0)
    });
    let lines: String = lines.collect();
    println!("{lines}");
    for (name, others) in table.iter().skip(1) {
        assert!(ours.0 > others.0 && ours.1 > others.1, "{name}:\n{lines}");
    }
    assert!(ours.0 > 0.98, "{lines}");
}
