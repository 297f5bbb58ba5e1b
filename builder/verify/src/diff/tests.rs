use std::collections::BTreeSet;

use graven_image::tree::{Content, DeviceNumber, Inode, Kind, Metadata, Tree, TreePath, compare};
use proptest::prelude::*;

use super::listed::{Lines, lines};
use super::security::capabilities;
use super::{About, Change, Concern, Fate, PackageFate, files, packages, services, version};
use crate::dpkg;

fn path(text: &str) -> TreePath {
    TreePath::parse(text.as_bytes()).unwrap()
}

fn file(mode: u16, text: &str) -> Inode {
    Inode::new(Metadata { mode, ..Metadata::default() }, Kind::File(Content::from_bytes(text)))
}

fn put(tree: &mut Tree, name: &str, inode: Inode) {
    let folder = Metadata { mode: 0o755, ..Metadata::default() };
    tree.make_directories(&path(name).parent().unwrap(), &folder).unwrap();
    tree.insert(&path(name), inode).unwrap();
}

fn with(entries: &[(&str, Inode)]) -> Tree {
    let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
    for (name, inode) in entries {
        put(&mut tree, name, inode.clone());
    }
    tree
}

/// `aspect: old → new` of each file that is not the same.
fn told(old: &Tree, new: &Tree) -> Vec<String> {
    let (files, _) = files::changes(&compare(old, new), old, new);
    let lines = files.iter().map(|file| {
        let changes: Vec<String> = file.changes.iter().map(super::show::told).collect();
        format!("{} {}", file.path, super::show::short(&changes.join("; ")))
    });
    lines.collect()
}

#[test]
fn each_aspect_of_a_file_is_told_with_what_it_was_and_is() {
    let device = |minor| Kind::CharDevice(DeviceNumber { major: 1, minor });
    let inode = |kind| Inode::new(Metadata { mode: 0o600, ..Metadata::default() }, kind);
    let link = |target: &str| inode(Kind::Symlink(target.as_bytes().into()));
    let mut owned = file(0o644, "x");
    owned.metadata.uid = 7;
    let mut able = file(0o644, "x");
    let raw = [1u32 | 2 << 24, 1 << 13, 0, 0, 0].map(u32::to_le_bytes).concat();
    able.metadata.xattrs.insert(capabilities::ATTRIBUTE.into(), raw.into());
    let mut tagged = file(0o644, "x");
    tagged.metadata.xattrs.insert(b"user.tag".as_slice().into(), b"\x01".as_slice().into());
    let mut later = file(0o644, "x");
    later.metadata.mtime = 9;
    let plain = file(0o644, "x");
    let old = with(&[
        ("/mode", plain.clone()),
        ("/owner", plain.clone()),
        ("/able", plain.clone()),
        ("/tagged", plain.clone()),
        ("/time", plain.clone()),
        ("/contents", plain.clone()),
        ("/length", plain.clone()),
        ("/kind", plain.clone()),
        ("/gone", plain),
        ("/target", link("a")),
        ("/device", inode(device(3))),
    ]);
    let mut new = with(&[
        ("/mode", file(0o4755, "x")),
        ("/owner", owned),
        ("/able", able),
        ("/tagged", tagged),
        ("/time", later),
        ("/contents", file(0o644, "y")),
        ("/length", file(0o644, "xx")),
        ("/kind", inode(Kind::Fifo)),
        ("/come\x1b\u{e4}", link("a")),
        ("/target", link("b")),
        ("/device", inode(device(5))),
    ]);
    new.hard_link(&path("/length2"), &path("/length")).unwrap();
    let x = "2d711642b726b044…";
    assert_eq!(
        told(&old, &new),
        [
            "/able capability cap_net_raw=ep, before none".to_owned(),
            "/come\\u{1b}ä symbolic link to a".to_owned(),
            format!("/contents contents 1 bytes, sha256:{x} → 1 bytes, sha256:a1fce4363854ff88…"),
            "/device device 1:3 → 1:5".to_owned(),
            format!("/gone 1 bytes, sha256:{x}, mode 0644, owner 0:0"),
            "/kind kind regular file → named pipe; mode 0644 → 0600".to_owned(),
            format!(
                "/length contents 1 bytes, sha256:{x} → 2 bytes, sha256:5dde896887f6754c…; \
                 hard links /length, /length2, before none"
            ),
            "/length2 2 bytes, sha256:5dde896887f6754c…, mode 0644, owner 0:0".to_owned(),
            "/mode mode 0644 → 4755".to_owned(),
            "/owner owner 0:0 → 7:0".to_owned(),
            "/tagged xattr user.tag 01, before none".to_owned(),
            "/target target a → b".to_owned(),
        ]
    );
    let (_, follow) = files::changes(&compare(&old, &new), &old, &new);
    assert_eq!(follow.len(), 1);
    assert_eq!(follow[0].new.as_deref(), Some("1"), "a time alone is counted");
    assert_eq!(told(&new, &new), Vec::<String>::new());
}

#[test]
fn lines_of_a_text_are_shown_unless_it_is_a_secret_or_no_text() {
    let lines = |mode, old: &str, new: &str| {
        let (old, new) = (with(&[("/f", file(mode, old))]), with(&[("/f", file(mode, new))]));
        files::changes(&compare(&old, &new), &old, &new).0.remove(0).lines
    };
    assert_eq!(
        lines(0o644, "a\nb\nc\nd\n", "a\nb\nX\nd\n").as_deref(),
        Some("@@ -2,3 +2,3 @@\n b\n-c\n+X\n d\n")
    );
    assert_eq!(lines(0o640, "a\n", "b\n"), None, "what not everybody may read is not shown");
    assert_eq!(lines(0o644, "a\0", "b\0"), None);
    assert_eq!(lines(0o644, &"a\n".repeat(3000), "b\n"), None);
}

fn status(packages: &[(&str, &str, &str)]) -> Inode {
    let paragraphs = packages.iter().map(|(name, version, more)| {
        format!(
            "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\
             Description: a {more}\n of several lines\n\n"
        )
    });
    file(0o644, &paragraphs.collect::<String>())
}

#[test]
fn packages_are_told_by_what_became_of_them() {
    let old = with(&[(
        dpkg::STATUS,
        status(&[
            ("down", "2", ""),
            ("gone", "1", ""),
            ("said", "1", ""),
            ("same", "1", ""),
            ("up", "1~rc1", ""),
        ]),
    )]);
    let new = with(&[(
        dpkg::STATUS,
        status(&[
            ("come", "1", ""),
            ("down", "1:1", ""),
            ("said", "1", "x"),
            ("same", "1", ""),
            ("up", "1", ""),
        ]),
    )]);
    let fates = |old, new| -> Vec<_> {
        packages::changed(old, new).into_iter().map(|one| (one.name, one.fate)).collect()
    };
    use PackageFate::*;
    let named = |all: [(&str, PackageFate); 5]| all.map(|(name, fate)| (name.to_owned(), fate)).to_vec();
    // An epoch outranks every version without.
    assert_eq!(
        fates(&old, &new),
        named([("come", Added), ("down", Upgraded), ("gone", Removed), ("said", Changed), ("up", Upgraded)])
    );
    assert_eq!(
        fates(&new, &old),
        named([
            ("come", Removed),
            ("down", Downgraded),
            ("gone", Added),
            ("said", Changed),
            ("up", Downgraded)
        ])
    );
    assert_eq!(fates(&new, &new), []);
}

#[test]
fn files_are_of_the_package_that_lists_them_and_what_follows_from_packages_is_no_file() {
    let tree = |version: &str| {
        with(&[
            (dpkg::STATUS, status(&[("libx", version, "")])),
            ("/var/lib/dpkg/info/libx:amd64.list", file(0o644, "/.\n/lib\n/lib/libx.so\n")),
            ("/var/lib/dpkg/info/libx:amd64.md5sums", file(0o644, version)),
            ("/usr/lib/libx.so", file(0o644, version)),
            ("/etc/ld.so.cache", file(0o644, version)),
            ("/etc/own", file(0o644, version)),
        ])
    };
    let (old, new) = (tree("1"), tree("2"));
    let (found, follow) = files::changes(&compare(&old, &new), &old, &new);
    let found: Vec<_> = found.iter().map(|file| (file.path.as_str(), file.package.as_deref())).collect();
    assert_eq!(
        found,
        [
            ("/etc/own", None),
            ("/usr/lib/libx.so", Some("libx")),
            ("/var/lib/dpkg/info/libx:amd64.md5sums", Some("libx")),
        ]
    );
    let follow: Vec<_> = follow.iter().map(|change| change.what.as_str()).collect();
    assert_eq!(follow, ["/etc/ld.so.cache", dpkg::STATUS]);
}

#[test]
fn units_that_face_the_network_are_told_of_when_they_or_their_programs_change() {
    let unit = |name: &str| format!("/usr/lib/systemd/system/{name}");
    let tree = |entries: &[(&str, &str)]| {
        let entries: Vec<(String, Inode)> =
            entries.iter().map(|(name, text)| (unit(name), file(0o644, text))).collect();
        let mut entries: Vec<(&str, Inode)> =
            entries.iter().map(|(name, inode)| (name.as_str(), inode.clone())).collect();
        entries.push(("/usr/sbin/sshd", file(0o755, "")));
        with(&entries)
    };
    let ssh = "[Unit]\nAfter=network.target auditd.service\n[Service]\nExecStart=/usr/sbin/sshd -D\n";
    let local = "[Socket]\nListenStream=/run/local\n";
    let old = tree(&[("ssh.service", ssh), ("local.socket", local), ("quiet.service", "[Service]\n")]);
    let mut new = tree(&[
        ("ssh.service", ssh),
        ("local.socket", "[Socket]\nListenStream=/run/other\n"),
        ("quiet.service", "[Service]\nExecStart=/usr/bin/quiet\n"),
        ("far.socket", "[Socket]\nListenStream=\\\n 2222\n"),
    ]);
    let concerns = |old: &Tree, new: &Tree, changed: &[&str]| -> Vec<(String, Fate, String)> {
        let changed: BTreeSet<String> = changed.iter().map(|path| (*path).to_owned()).collect();
        let found: Vec<Concern> = services::concerns(old, new, &changed);
        assert!(found.iter().all(|concern| concern.about == About::Network));
        found.into_iter().map(|concern| (concern.what, concern.fate, concern.says)).collect()
    };
    let far = ("far.socket".to_owned(), Fate::Added, "listens on 2222".to_owned());
    assert_eq!(concerns(&old, &new, &[]), std::slice::from_ref(&far));
    let says = "/usr/sbin/sshd is another: faces the network, starts /usr/sbin/sshd";
    let program = ("ssh.service".to_owned(), Fate::Changed, says.to_owned());
    assert_eq!(concerns(&old, &new, &["/usr/sbin/sshd"]), [far.clone(), program]);
    put(&mut new, "/etc/systemd/system/ssh.service.d/port.conf", file(0o644, "[Service]\nExecReload=/x\n"));
    let says = "its settings are others: faces the network, starts /usr/sbin/sshd";
    assert_eq!(
        concerns(&old, &new, &[]),
        [far.clone(), ("ssh.service".to_owned(), Fate::Changed, says.to_owned())]
    );
    let mask = Inode::new(Metadata::default(), Kind::Symlink(b"/dev/null".as_slice().into()));
    put(&mut new, "/etc/systemd/system/ssh.service", mask);
    let gone = "faces the network, starts /usr/sbin/sshd".to_owned();
    assert_eq!(concerns(&old, &new, &[]), [far, ("ssh.service".to_owned(), Fate::Removed, gone)]);
}

#[test]
fn capabilities_are_read_as_the_kernel_lays_them_out() {
    let words = |words: &[u32]| {
        capabilities::words(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>())
    };
    assert_eq!(words(&[1 | 2 << 24, 1 << 10, 0, 1 << 6, 0]), "cap_net_bind_service,cap_perfmon=ep");
    assert_eq!(words(&[2 << 24, 1, 2, 0, 0]), "cap_chown=p cap_dac_override=i");
    assert_eq!(words(&[1 | 3 << 24, 1, 1, 0, 1 << 31, 1000]), "cap_63=ei cap_chown=eip [rootid=1000]");
    assert_eq!(words(&[1 << 24, 1, 0]), "cap_chown=p");
    assert_eq!(words(&[2 << 24, 0, 0, 0, 0]), "none");
    assert_eq!(words(&[2 << 24, 1, 0]), "000000020100000000000000", "too short is shown as it is");
    assert_eq!(capabilities::words(b"\xff"), "ff");
}

#[test]
fn lines_are_paired_by_name_only_where_it_is_plain_which_is_which() {
    let list = |lines: &[(&str, &str)]| -> Lines {
        lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let change = |what: &str, old: Option<&str>, new: Option<&str>| Change {
        what: what.to_owned(),
        old: old.map(str::to_owned),
        new: new.map(str::to_owned),
    };
    let old = list(&[("console", "ttyS0"), ("quiet", "given"), ("rule", "a"), ("rule", "b")]);
    let new = list(&[("console", "ttyS1"), ("rule", "c"), ("rule", "d"), ("rule", "b")]);
    assert_eq!(
        lines(&old, &new),
        [
            change("console", Some("ttyS0"), Some("ttyS1")),
            change("quiet", Some("given"), None),
            change("rule", Some("a"), None),
            change("rule", None, Some("c")),
            change("rule", None, Some("d")),
        ]
    );
    let twice = list(&[("rule", "a"), ("rule", "a")]);
    assert_eq!(lines(&twice, &twice[..1].to_vec()), [change("rule", Some("a"), None)]);
    let turned = list(&[("rule", "b"), ("rule", "a")]);
    let order = change("order", Some("rule b; rule a"), Some("rule a; rule b"));
    assert_eq!(lines(&turned, &list(&[("rule", "a"), ("rule", "b")])), [order]);
    assert_eq!(lines(&old, &old), []);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn versions_are_ordered_as_debversion_orders_them(
        a in "([0-3]:)?[0-9][0-9a-c.+~]{0,4}(-[0-9a-c.+~]{1,3})?",
        b in "([0-3]:)?[0-9][0-9a-c.+~]{0,4}(-[0-9a-c.+~]{1,3})?",
    ) {
        let (Ok(first), Ok(second)) = (a.parse::<debversion::Version>(), b.parse::<debversion::Version>()) else {
            return Err(TestCaseError::reject("no version"));
        };
        prop_assert_eq!(version::compare(&a, &b), first.cmp(&second));
    }
}
