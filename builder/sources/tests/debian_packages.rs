//! Packages against `dpkg-deb`, which is the judge.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use graven_image::tree::{Kind, Metadata, Tree, TreePath, diff};
use graven_sources::{Limits, Spool, deb, dir};
use support::{comparable, run, tree_of};

const KEPT: dir::Attributes = dir::Attributes::Kept;

/// A package with scripts, configuration files, links, odd modes and a long name, made by `dpkg-deb`.
fn build(folder: &std::path::Path, compression: &str) -> std::path::PathBuf {
    let root = folder.join("root");
    run(
        folder,
        "sh",
        &[
            "-ec",
            r#"
        umask 022; rm -rf root; mkdir -p root/DEBIAN root/etc root/usr/bin root/usr/share/doc/acme
        printf 'Package: acme-fwd\nVersion: 1:2.0-1\nArchitecture: amd64\nMaintainer: A <a@b.c>\nSource: acme (2.0)\nDescription: firewall\n for tests\n' > root/DEBIAN/control
        printf '/etc/acme.conf\n' > root/DEBIAN/conffiles
        printf '#!/bin/sh\nexit 0\n' > root/DEBIAN/postinst; chmod 755 root/DEBIAN/postinst
        printf 'interest-noawait /usr/lib/acme\n' > root/DEBIAN/triggers
        echo key=1 > root/etc/acme.conf; chmod 640 root/etc/acme.conf
        head -c 300000 /dev/zero | tr '\0' x > root/usr/bin/acme; chmod 4755 root/usr/bin/acme
        ln root/usr/bin/acme root/usr/bin/acme2; ln -s acme root/usr/bin/link; ln -s ../share/doc root/usr/bin/doc
        long=$(printf 'n%.0s' $(seq 200)); echo long > root/usr/share/doc/acme/$long
        (cd root; find . -type f ! -path './DEBIAN/*' -printf '%P\n' | LC_ALL=C sort | xargs md5sum > DEBIAN/md5sums)
        find root -exec touch -h -d @1600000000 {} +
    "#,
        ],
    );
    let package = folder.join(format!("acme-{compression}.deb"));
    run(
        folder,
        "dpkg-deb",
        &["--root-owner-group", "-Z", compression, "-b", root.to_str().unwrap(), package.to_str().unwrap()],
    );
    package
}

fn agrees_with_dpkg(package: &std::path::Path) -> deb::Package {
    let work = tempfile::tempdir().unwrap();
    let spool = Spool::new(work.path()).unwrap();
    let read = deb::read(package, None, &spool, &Limits::default()).unwrap();
    let again = deb::read(package, Some(&read.sha256), &spool, &Limits::default()).unwrap();
    // Not `-x`: packages have their links last, and the folders that those go into would keep the time of that.
    let extract =
        "mkdir x; dpkg-deb --fsys-tarfile \"$0\" | tar -x -p --delay-directory-restore --numeric-owner -C x";
    run(work.path(), "sh", &["-ec", extract, package.to_str().unwrap()]);
    let theirs = tree_of(dir::scan(&work.path().join("x"), KEPT, None).unwrap());
    assert_eq!(diff(&comparable(tree_of(again.layer)), &comparable(theirs)), Vec::<String>::new());

    for field in ["Package", "Version", "Architecture", "Depends", "Source", "Section", "Description"] {
        let theirs = run(work.path(), "dpkg-deb", &["-f", package.to_str().unwrap(), field]);
        assert_eq!(read.control.field(field).unwrap_or_default(), theirs.trim_end(), "{field}");
    }
    read.verify_md5sums().unwrap();
    read
}

#[test]
fn every_compression_gives_what_dpkg_deb_extracts() {
    let work = tempfile::tempdir().unwrap();
    for compression in ["none", "gzip", "xz", "zstd"] {
        let package = agrees_with_dpkg(&build(work.path(), compression));
        assert_eq!(package.scripts.keys().collect::<Vec<_>>(), ["postinst"]);
        assert_eq!(package.control_files.keys().collect::<Vec<_>>(), ["md5sums", "triggers"]);
        assert_eq!(package.conffiles, [TreePath::parse(b"/etc/acme.conf").unwrap()]);
        assert_eq!((package.control.source(), package.layer.newest_mtime), ("acme", Some(1_600_000_000)));
        assert_eq!(package.layer.sha256, Some(package.sha256));
        let member = package.member(&TreePath::parse(b"/usr/bin/acme2").unwrap()).unwrap();
        assert_eq!(member.len, 300_000);
        assert!(package.member(&TreePath::parse(b"/usr/bin/link").unwrap()).is_err());
        let tree = tree_of(package.layer);
        let conf = tree.inode(tree.lookup(&TreePath::parse(b"/etc/acme.conf").unwrap()).unwrap());
        assert_eq!(conf.origin.as_deref(), Some("acme-fwd=1:2.0-1"));
    }
}

#[test]
fn status_paragraph_is_what_dpkg_reads_back() {
    let work = tempfile::tempdir().unwrap();
    let package = build(work.path(), "gzip");
    let spool = Spool::new(work.path()).unwrap();
    let package = deb::read(&package, None, &spool, &Limits::default()).unwrap();
    let status = package.status_paragraph().unwrap();
    let admin = work.path().join("dpkg");
    std::fs::create_dir_all(admin.join("info")).unwrap();
    std::fs::create_dir_all(admin.join("updates")).unwrap();
    std::fs::write(admin.join("status"), &status).unwrap();
    std::fs::write(admin.join("info/acme-fwd.list"), package.file_list()).unwrap();
    let admin = format!("--admindir={}", admin.to_str().unwrap());
    let format = "${Package} ${Version} ${db:Status-Abbrev}${Conffiles}";
    let shown = run(work.path(), "dpkg-query", &[&admin, "-W", "-f", format, "acme-fwd"]);
    let sum = run(work.path(), "md5sum", &["root/etc/acme.conf"]);
    let words: Vec<&str> = shown.split_whitespace().collect();
    assert_eq!(words, ["acme-fwd", "1:2.0-1", "ii", "/etc/acme.conf", &sum[..32]]);
    let listed = run(work.path(), "dpkg-query", &[&admin, "-L", "acme-fwd"]);
    assert!(listed.starts_with("/.\n/etc\n/etc/acme.conf\n"), "{listed}");
}

#[test]
fn packages_of_a_merged_usr_follow_the_trees_links() {
    let work = tempfile::tempdir().unwrap();
    run(
        work.path(),
        "sh",
        &[
            "-ec",
            r"
        mkdir -p p/DEBIAN p/bin p/lib
        printf 'Package: old-style\nVersion: 1\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: x\n' > p/DEBIAN/control
        echo a > p/bin/a; echo b > p/lib/b
        dpkg-deb --root-owner-group -b p p.deb
        mkdir -p base/usr/bin base/usr/lib; ln -s usr/bin base/bin; ln -s /usr/lib base/lib
    ",
        ],
    );
    let spool = Spool::new(work.path()).unwrap();
    let mut tree = tree_of(dir::scan(&work.path().join("base"), KEPT, None).unwrap());
    let package = deb::read(&work.path().join("p.deb"), None, &spool, &Limits::default()).unwrap();
    assert_eq!(package.layer.apply(&mut tree).unwrap(), []);
    for (path, bytes) in [("/usr/bin/a", b"a\n"), ("/usr/lib/b", b"b\n")] {
        assert_eq!(tree.read(&TreePath::parse(path.as_bytes()).unwrap(), 10).unwrap(), bytes);
    }
    let bin = tree.lookup(&TreePath::parse(b"/bin").unwrap()).unwrap();
    assert!(matches!(tree.inode(bin).kind, Kind::Symlink(_)));
}

#[test]
fn a_wrong_digest_stops_everything_before_it_is_read() {
    let work = tempfile::tempdir().unwrap();
    std::fs::write(work.path().join("x.deb"), "no package at all").unwrap();
    let spool = Spool::new(work.path()).unwrap();
    let expected = [0; 32].into();
    let error =
        deb::read(&work.path().join("x.deb"), Some(&expected), &spool, &Limits::default()).unwrap_err();
    let found = run(work.path(), "sha256sum", &["x.deb"]);
    let text = error.to_string();
    assert!(text.contains(&format!("its SHA-256 is {}, expected is 0000", &found[..64])), "{text}");
}

/// Real packages, where a machine has fetched them: all their bytes against dpkg's.
#[test]
fn real_packages_give_what_dpkg_deb_extracts() {
    let Some(folder) = std::env::var_os("GRAVEN_TEST_DEBS") else { return };
    let mut packages = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            let started = std::time::Instant::now();
            agrees_with_dpkg(&path);
            println!("{}: {:?}", path.display(), started.elapsed());
            packages += 1;
        }
    }
    assert!(packages > 0, "no package in the folder of GRAVEN_TEST_DEBS");
}

/// A package of one file, `/usr/bin/tool`, whose content is its name.
fn with_tool(folder: &std::path::Path, name: &str, replaces: &str) -> std::path::PathBuf {
    let script = r#"
        mkdir -p "$0/DEBIAN" "$0/usr/bin"
        printf 'Package: %s\nVersion: 2\nArchitecture: all\nMaintainer: A <a@b.c>\nDescription: x\n%s' "$0" "$1" > "$0/DEBIAN/control"
        echo "$0" > "$0/usr/bin/tool"
        dpkg-deb --root-owner-group -b "$0" "$0.deb"
    "#;
    run(folder, "sh", &["-ec", script, name, replaces]);
    folder.join(format!("{name}.deb"))
}

#[test]
fn two_packages_bring_one_file_only_where_dpkg_would_take_them() {
    for (replaces, taken) in [
        ("", false),
        ("Replaces: first\n", true),
        ("Replaces: first (<< 2~)\n", false),
        ("Replaces: other, first (>= 2)\n", true),
    ] {
        let work = tempfile::tempdir().unwrap();
        let first = with_tool(work.path(), "first", "");
        let second = with_tool(work.path(), "second", replaces);
        // dpkg itself, on a root of its own.
        let install = r#"
            mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates; : > root/var/lib/dpkg/status
            for package in "$0" "$1"; do
              dpkg --root=root --force-not-root --force-script-chrootless --unpack "$package" >/dev/null 2>&1 || { echo refused; exit 0; }
            done
            cat root/usr/bin/tool
        "#;
        let said =
            run(work.path(), "sh", &["-ec", install, first.to_str().unwrap(), second.to_str().unwrap()]);
        assert_eq!(said.trim(), if taken { "second" } else { "refused" }, "{replaces}");

        // Ours, in whichever order.
        for order in [[&first, &second], [&second, &first]] {
            let spool = Spool::new(work.path()).unwrap();
            let packages = order.map(|path| deb::read(path, None, &spool, &Limits::default()).unwrap());
            let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
            match deb::unpack(packages.into(), &mut tree) {
                Ok(()) => {
                    let tool = tree.read(&TreePath::parse(b"/usr/bin/tool").unwrap(), 100).unwrap();
                    assert_eq!((taken, &*tool), (true, &b"second\n"[..]), "{replaces}");
                }
                Err(error) => {
                    assert!(!taken, "{replaces}: {error}");
                    let said = error.to_string();
                    assert!(said.contains("/usr/bin/tool") && said.contains("=2 brings it too"), "{said}");
                }
            }
        }
    }
}
