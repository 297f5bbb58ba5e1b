//! What maintainer scripts would have done, held against a system in which `mmdebstrap` ran them: the same packages, file by
//! file. Whatever differs is explained here, or the test fails.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use graven_finish::{Ids, Installed, Services, Settings, configure};
use graven_image::tree::{Inode, Kind, Metadata, Tree, TreePath};
use graven_sources::{Limits, Spool, deb, tar};
use graven_tests::{image, inputs, oracle};

/// 2026-01-01, the time of the reference system.
const TIME: i64 = 1_767_225_600;

/// Paths that differ, by how they begin, each with the reason. One that explains nothing is an error.
const EXPLAINED: &[(&str, &str)] = &[
    ("/dev/", "mmdebstrap's device nodes; devtmpfs has them at run time"),
    ("/run/lock", "made at every start, by tmpfiles.d"),
    ("/etc/.pwd.lock", "a lock of the tools that change accounts"),
    ("/etc/group-", "what an account tool leaves of an earlier state"),
    ("/etc/gshadow-", "the same"),
    ("/etc/passwd-", "the same"),
    ("/etc/shadow-", "the same"),
    (
        "/etc/.resolv.conf.systemd-resolved.bak",
        "the building machine's resolv.conf, which mmdebstrap had put there",
    ),
    ("/etc/hostname", "the building machine's; the recipe's `hostname` writes it"),
    ("/etc/fstab", "mmdebstrap's; stage0 mounts the root"),
    ("/etc/apt/apt.conf.d/99mmdebstrap", "mmdebstrap's"),
    ("/etc/apt/preferences.d", "mmdebstrap's"),
    ("/etc/apt/sources.list", "mmdebstrap's"),
    ("/var/cache/apt", "mmdebstrap's apt"),
    ("/var/lib/apt", "mmdebstrap's apt"),
    ("/var/log/apt", "mmdebstrap's apt"),
    ("/etc/rc", "links of init scripts: systemd starts units"),
    ("/var/lib/systemd/deb-systemd-", "what deb-systemd-helper remembers for updates and removals"),
    ("/etc/lighttpd/conf-enabled/99-unconfigured.conf", "the page that says that it is not configured"),
    ("/var/www/html/index.lighttpd.html", "the same"),
    ("/etc/machine-id", "empty in both; read-only here"),
    ("/var/lib/dbus/machine-id", "a link to /etc/machine-id, by tmpfiles.d; mmdebstrap removes identities"),
    ("/etc/ssh/ssh_host_", "secrets of one machine"),
    ("/usr/lib/udev/hwdb.bin", "an index; udev works without"),
    ("/var/lib/systemd/catalog", "an index that `journalctl -x` alone needs"),
    ("/var/cache/debconf/", "debconf's memory: no question is ever asked"),
    ("/var/lib/pam", "what pam-auth-update remembers for updates"),
    ("/var/lib/shells.state", "what update-shells remembers for updates"),
    ("/var/lib/ucf/", "what ucf remembers for updates"),
    ("/var/log/journal", "its access list, which systemd-tmpfiles sets at every start"),
    ("/var/lib/dpkg/arch", "foreign architectures: none"),
    ("/var/lib/dpkg/diversions-old", "an earlier state"),
    ("/var/lib/dpkg/status-old", "an earlier state"),
    ("/var/lib/dpkg/lock", "locks of dpkg"),
    ("/var/lib/dpkg/triggers", "dpkg's memory of who waits for what"),
    ("/var/lib/dpkg/info/procps.conffiles", "a line for updates: what is to be removed then"),
];

/// Ends of names in dpkg's folder: scripts and questions, which nothing may ever run or ask.
const SCRIPTS: [&str; 6] = [".preinst", ".postinst", ".prerm", ".postrm", ".config", ".templates"];

fn packages(architecture: &str, spool: &Spool) -> Vec<deb::Package> {
    let folder = inputs::cache().join("finish").join(architecture);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}: run tests/setup.sh", folder.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "deb"))
        .collect();
    files.sort();
    assert!(files.len() > 100, "{} packages", files.len());
    files.iter().map(|file| deb::read(file, None, spool, &Limits::default()).unwrap()).collect()
}

fn root() -> Metadata {
    Metadata { mode: 0o755, mtime: TIME, ..Metadata::default() }
}

/// The packages, finished by us.
fn finished(architecture: &str, pinned: Ids) -> (Tree, Ids) {
    let spool = Spool::new(image::folder().path()).unwrap();
    let packages = packages(architecture, &spool);
    let installed = packages.iter().map(|package| Installed::of(package).unwrap()).collect();
    let mut tree = Tree::new(root());
    deb::unpack(packages, &mut tree).unwrap();
    let settings = Settings { ids: pinned, time: TIME, ..Settings::default() };
    let configured =
        configure(&mut tree, installed, settings).unwrap_or_else(|error| panic!("{architecture}: {error}"));
    let ids = configured.complete(&mut tree, &[], &Services::default()).unwrap();
    (tree, ids)
}

fn amd64() -> &'static (Tree, Ids) {
    static FINISHED: OnceLock<(Tree, Ids)> = OnceLock::new();
    FINISHED.get_or_init(|| finished("amd64", Ids::default()))
}

/// The system in which the scripts ran.
fn reference() -> &'static Tree {
    static REFERENCE: OnceLock<Tree> = OnceLock::new();
    REFERENCE.get_or_init(|| {
        let spool = Spool::new(image::folder().path()).unwrap();
        let path = inputs::cache().join("finish/reference.tar");
        assert!(path.exists(), "{}: run tests/setup.sh", path.display());
        let mut tree = Tree::new(root());
        tar::read(&path, None, None, &spool, &Limits::default()).unwrap().apply(&mut tree).unwrap();
        tree
    })
}

fn read(tree: &Tree, path: &str) -> Vec<u8> {
    tree.read(&TreePath::parse(path.as_bytes()).unwrap(), 1 << 30)
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn text(tree: &Tree, path: &str) -> String {
    String::from_utf8_lossy(&read(tree, path)).into_owned()
}

/// Names by number, of `/etc/passwd` or `/etc/group`.
fn names(tree: &Tree, path: &str) -> BTreeMap<u32, String> {
    let lines = text(tree, path);
    let fields = lines.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields.map(|fields| (fields[2].parse().unwrap(), fields[0].to_owned())).collect()
}

/// A file as it is compared: owners by name, since numbers are given out in another order.
fn described(inode: &Inode, users: &BTreeMap<u32, String>, groups: &BTreeMap<u32, String>) -> String {
    match &inode.kind {
        // A link's mode and owner mean nothing; /lib is a link to usr/lib in both.
        Kind::Symlink(target) => {
            let target = String::from_utf8_lossy(target).into_owned();
            format!(
                "-> {}",
                target.strip_prefix("/lib/").map_or(target.clone(), |rest| format!("/usr/lib/{rest}"))
            )
        }
        kind => {
            let Metadata { mode, uid, gid, .. } = &inode.metadata;
            format!("{} {mode:o} {}:{} {:?}", kind.noun(), users[uid], groups[gid], inode.metadata.xattrs)
        }
    }
}

/// Contents in the form in which they are compared.
fn normalised(tree: &Tree, path: &str) -> String {
    let lines = || {
        let text = text(tree, path);
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let sorted = |lines: Vec<String>| {
        lines.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join("\n")
    };
    match path {
        "/etc/passwd" => {
            let groups = names(tree, "/etc/group");
            let line = |line: String| {
                let fields: Vec<&str> = line.split(':').collect();
                format!(
                    "{} {} {} {:?}",
                    fields[0],
                    groups[&fields[3].parse().unwrap()],
                    fields[1],
                    &fields[4..]
                )
            };
            sorted(lines().into_iter().map(line).collect())
        }
        "/etc/group" => sorted(
            lines()
                .into_iter()
                .map(|line| {
                    let fields: Vec<&str> = line.split(':').collect();
                    format!("{} {}", fields[0], fields[3])
                })
                .collect(),
        ),
        // `!`, `!*` and `*`: no password, in the words of three tools.
        "/etc/shadow" | "/etc/gshadow" => sorted(
            lines()
                .into_iter()
                .map(|line| {
                    let fields: Vec<&str> = line.split(':').collect();
                    assert!(["!", "!*", "*"].contains(&fields[1]), "{line}");
                    let expiry = fields.get(7).copied().unwrap_or_default();
                    format!("{} {expiry}", fields[0])
                })
                .collect(),
        ),
        "/etc/ca-certificates.conf" => {
            lines().into_iter().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
        }
        "/var/lib/dpkg/diversions" => {
            let lines = lines();
            sorted(lines.chunks(3).map(|entry| entry.join(" ")).collect())
        }
        // Fields in any order; a configuration file that is to be removed on an update is none here.
        "/var/lib/dpkg/status" => {
            let text = text(tree, path).replace("\n /etc/sysctl.conf newconffile remove-on-upgrade", "");
            let paragraphs = text.split("\n\n").map(|paragraph| {
                let fields = paragraph.trim().replace("\n ", "\u{1} ");
                sorted(fields.lines().map(str::to_owned).collect())
            });
            sorted(paragraphs.collect())
        }
        "/etc/ld.so.cache" => {
            let folder = image::folder();
            let file = folder.path().join("cache");
            std::fs::write(&file, read(tree, path)).unwrap();
            let listed = oracle::content("/sbin/ldconfig", [Path::new("-p"), Path::new("-C"), &file]);
            let lines = listed
                .lines()
                .filter(|line| !line.contains("found in cache") && !line.contains("generated by"));
            lines.collect::<Vec<_>>().join("\n")
        }
        _ => format!("{:?}", read(tree, path)),
    }
}

#[test]
fn the_tree_is_the_one_that_the_scripts_make() {
    let (ours, theirs) = (&amd64().0, reference());
    let described = |tree: &Tree| -> BTreeMap<String, String> {
        let (users, groups) = (names(tree, "/etc/passwd"), names(tree, "/etc/group"));
        let entries = tree.walk();
        entries
            .map(|entry| {
                let path = String::from_utf8_lossy(&entry.path).into_owned();
                let mut shown = described(entry.inode, &users, &groups);
                if let Kind::File(content) = &entry.inode.kind {
                    // Large ones come from packages as they are: their length says enough.
                    match content.len < 4 << 20 && !path.starts_with("/usr/share/doc") {
                        true if !EXPLAINED.iter().any(|(start, _)| path.starts_with(start)) => {
                            shown.push_str(&format!(" {}", normalised(tree, &path)));
                        }
                        _ => shown.push_str(&format!(" {} bytes", content.len)),
                    }
                }
                (path, shown)
            })
            .collect()
    };
    let (ours, theirs) = (described(ours), described(theirs));
    let mut used = BTreeSet::new();
    let mut unexplained = Vec::new();
    for path in ours.keys().chain(theirs.keys()).collect::<BTreeSet<_>>() {
        let (our, their) = (ours.get(path), theirs.get(path));
        if our == their {
            continue;
        }
        let script = path.starts_with("/var/lib/dpkg/info/") && SCRIPTS.iter().any(|end| path.ends_with(end));
        match EXPLAINED.iter().find(|(start, _)| path.starts_with(start)) {
            Some((start, _)) => {
                used.insert(*start);
            }
            None if script && our.is_none() => {}
            None => {
                let short = |shown: Option<&String>| {
                    shown.map_or("not there".to_owned(), |shown| shown.chars().take(300).collect())
                };
                unexplained.push(format!("{path}\n  ours:   {}\n  theirs: {}", short(our), short(their)));
            }
        }
    }
    assert!(unexplained.is_empty(), "{} differences:\n{}", unexplained.len(), unexplained.join("\n"));
    let idle: Vec<&str> =
        EXPLAINED.iter().map(|(start, _)| *start).filter(|start| !used.contains(start)).collect();
    assert!(idle.is_empty(), "these explain nothing: {idle:?}");
}

#[test]
fn another_architecture_gives_the_same_users_and_units() {
    let (arm64, ids) = finished("arm64", Ids::default());
    assert_eq!(ids, amd64().1);
    for path in [
        "/etc/passwd",
        "/etc/group",
        "/etc/shadow",
        "/etc/shells",
        "/etc/pam.d/common-auth",
        "/etc/ssl/certs/ca-certificates.crt",
    ] {
        assert!(read(&arm64, path) == read(&amd64().0, path), "{path}");
    }
    let units = |tree: &Tree| -> Vec<String> {
        let paths = tree.walk().map(|entry| String::from_utf8_lossy(&entry.path).into_owned());
        paths.filter(|path| path.starts_with("/etc/systemd/")).collect()
    };
    assert_eq!(units(&arm64), units(&amd64().0));
    let cache = read(&arm64, "/etc/ld.so.cache");
    assert!(
        cache.windows(40).any(|bytes| bytes == b"/lib/aarch64-linux-gnu/libcrypto.so.3\0/l"),
        "libraries of arm64"
    );
}

#[test]
fn numbers_that_were_given_out_stay() {
    let mut pinned = Ids::default();
    pinned.users.insert("sshd".into(), 777);
    pinned.users.insert("tcpdump".into(), 100);
    pinned.groups.insert("_ssh".into(), 333);
    // Nobody of this name is made any more; nobody else gets its number.
    pinned.users.insert("gone".into(), 999);
    let (tree, ids) = finished("amd64", pinned);
    assert_eq!((ids.users["sshd"], ids.users["tcpdump"], ids.groups["_ssh"]), (777, 100, 333));
    assert!(!ids.users.values().any(|uid| *uid == 999), "{ids:?}");
    let agent = tree.resolve(&TreePath::parse(b"/usr/bin/ssh-agent").unwrap()).unwrap();
    assert_eq!((tree.inode(agent).metadata.gid, tree.inode(agent).metadata.mode), (333, 0o2755));
}

#[test]
fn dpkg_finds_what_is_installed_and_all_of_it_sound() {
    let folder = image::folder();
    let tree = &amd64().0;
    for entry in tree.walk().filter(|entry| entry.path.starts_with(b"/var/lib/dpkg/")) {
        let path = folder.path().join(String::from_utf8_lossy(&entry.path).trim_start_matches('/'));
        match &entry.inode.kind {
            Kind::Directory(_) => std::fs::create_dir_all(path).unwrap(),
            Kind::File(_) => {
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, read(tree, &String::from_utf8_lossy(&entry.path))).unwrap();
            }
            other => panic!("{other:?}"),
        }
    }
    let root = format!("--root={}", folder.path().display());
    let listed = oracle::content("dpkg-query", [&root, "-W", "-f=${db:Status-Abbrev}${Package}\\n"]);
    let spool = Spool::new(image::folder().path()).unwrap();
    let expected: BTreeSet<String> =
        packages("amd64", &spool).iter().map(|package| format!("ii {}", package.control.package())).collect();
    let found: BTreeSet<String> =
        listed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(found, expected);
    assert_eq!(oracle::content("dpkg", [&root, "--audit"]), "");
    assert!(oracle::content("dpkg", [&root, "-S", "/usr/sbin/sshd"]).starts_with("openssh-server: "));
}
