//! Archives of three tar programs against what `tar` extracts.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use graven_image::tree::{Tree, diff};
use graven_sources::{Limits, Spool, dir, tar};
use support::{comparable, run, tree_of};

/// Every kind of file that the machine lets us make, with awkward names, times, modes and sizes.
fn sample(folder: &Path) {
    run(
        folder,
        "sh",
        &[
            "-ec",
            r#"
        umask 022; mkdir -p s/a/b s/empty; cd s
        printf hi > a/small; : > a/nothing; head -c 1300000 /dev/urandom > a/b/large; head -c 512 /dev/zero > a/block
        ln a/small a/hard; ln a/b/large a/b/hard; ln -s ../a/small a/b/link; ln -s /etc/passwd absolute; ln -s missing dangling
        mkfifo pipe; chmod 6711 a/b/large; chmod 1777 empty; chmod 000 a/nothing
        deep=$(printf 'directory-number-%s/' 1 2 3 4 5 6 7 8 9); mkdir -p "$deep"; echo deep > "${deep}file"
        printf 'ü \\ \n' > 'ümläut und space'; echo x > "$(printf 'n%.0s' $(seq 180))"
        ln -s "$(printf 't%.0s' $(seq 150))" long-target
        find . -exec touch -h -d '1999-12-31 23:59:59.75' {} +
    "#,
        ],
    );
    if rustix::process::geteuid().is_root() {
        let special = "mknod s/null c 1 3; mknod s/disk b 259 70000; chown 3000000:70 s/a/small; \
                       touch -d '1999-12-31 23:59:59.75' s/null s/disk s";
        run(folder, "sh", &["-ec", special]);
    }
}

fn read(folder: &Path, name: &str) -> Tree {
    let spool = Spool::new(folder).unwrap();
    tree_of(tar::read(&folder.join(name), None, None, &spool, &Limits::default()).unwrap())
}

fn on_disk(folder: &Path) -> Tree {
    tree_of(dir::scan(folder, dir::Attributes::Kept, None).unwrap())
}

#[test]
fn gnu_tar_in_every_format_gives_the_folder_back() {
    let work = tempfile::tempdir().unwrap();
    sample(work.path());
    for format in ["gnu", "oldgnu", "posix", "ustar"] {
        // The POSIX format of 1988 has neither long targets nor large owners.
        let prepare = "rm -rf u; cp -a s u; if [ $0 = ustar ]; then rm u/long-target u/n*; chown -h -R 0:0 u; fi; \
                       find u -exec touch -h -d '1999-12-31 23:59:59' {} +";
        let prepare = if rustix::process::geteuid().is_root() {
            prepare.into()
        } else {
            prepare.replace("chown -h -R 0:0 u; ", "")
        };
        run(work.path(), "sh", &["-ec", &prepare, format]);
        run(
            work.path(),
            "tar",
            &["-C", "u", "--format", format, "--xattrs", "-cf", "t.tar", "."].map(|argument| {
                if argument == "--xattrs" && format != "posix" { "--no-xattrs" } else { argument }
            }),
        );
        assert_eq!(
            diff(&read(work.path(), "t.tar"), &on_disk(&work.path().join("u"))),
            Vec::<String>::new(),
            "{format}"
        );
    }
}

#[test]
fn extended_attributes_of_gnu_tar_and_bsdtar_are_those_on_disk() {
    let work = tempfile::tempdir().unwrap();
    sample(work.path());
    let set = "import os; os.setxattr('s/a/small', 'user.plain', b'v\\0=\\n1'); os.setxattr('s/a/b', 'user.of a folder', b'')\n\
               if os.geteuid() == 0: os.setxattr('s/a/small', 'security.capability', bytes.fromhex('0100000200040000000000000000000000000000'))";
    run(work.path(), "python3", &["-c", set]);
    let expected = on_disk(&work.path().join("s"));
    let small = graven_image::tree::TreePath::parse(b"/a/small").unwrap();
    assert!(
        !expected.inode(expected.lookup(&small).unwrap()).metadata.xattrs.is_empty(),
        "no attributes to compare"
    );
    run(
        work.path(),
        "tar",
        &["-C", "s", "--format=posix", "--xattrs", "--xattrs-include=*", "-cf", "g.tar", "."],
    );
    run(
        work.path(),
        "bsdtar",
        &["-C", "s", "--format=pax", "--xattrs", "--no-acls", "--no-fflags", "-cf", "b.tar", "."],
    );
    for name in ["g.tar", "b.tar"] {
        assert_eq!(diff(&read(work.path(), name), &expected), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn bsdtar_and_python_give_the_folder_back() {
    let work = tempfile::tempdir().unwrap();
    sample(work.path());
    let expected = on_disk(&work.path().join("s"));
    run(work.path(), "bsdtar", &["-C", "s", "--format=gnutar", "-cf", "gnutar.tar", "."]);
    let script = "import tarfile\nfor name, form in (('py-gnu', tarfile.GNU_FORMAT), ('py-pax', tarfile.PAX_FORMAT)):\n \
                  with tarfile.open(name + '.tar', 'w', format=form) as t: t.add('s', '.')";
    run(work.path(), "python3", &["-c", script]);
    for name in ["gnutar.tar", "py-gnu.tar", "py-pax.tar"] {
        assert_eq!(diff(&read(work.path(), name), &expected), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_compression_gives_the_same_tree_as_the_plain_archive() {
    let work = tempfile::tempdir().unwrap();
    sample(work.path());
    run(work.path(), "tar", &["-C", "s", "--format=posix", "-cf", "t.tar", "."]);
    let plain = read(work.path(), "t.tar");
    run(
        work.path(),
        "sh",
        &[
            "-ec",
            r"
        gzip -k t.tar; xz -kT2 --block-size=300KiB t.tar; zstd -q --long=27 t.tar
        split -b 700000 t.tar part.
        for part in part.*; do gzip -c $part; done > parts.gz
        for part in part.*; do xz -c $part; printf '\0\0\0\0'; done > parts.xz
        for part in part.*; do zstd -qc $part; done > parts.zst
    ",
        ],
    );
    for name in ["t.tar.gz", "t.tar.xz", "t.tar.zst", "parts.gz", "parts.xz", "parts.zst"] {
        assert_eq!(diff(&read(work.path(), name), &plain), Vec::<String>::new(), "{name}");
    }
    let spool = Spool::new(work.path()).unwrap();
    let layer = tar::read(&work.path().join("t.tar.gz"), None, None, &spool, &Limits::default()).unwrap();
    let sum = run(work.path(), "sha256sum", &["t.tar.gz"]);
    assert_eq!(layer.sha256.unwrap().to_string(), sum[..64]);
    assert_eq!(layer.newest_mtime, Some(946_684_799));
}

#[test]
fn an_archive_that_changes_after_it_was_read_is_refused_when_its_contents_are() {
    let work = tempfile::tempdir().unwrap();
    sample(work.path());
    run(work.path(), "tar", &["-C", "s", "-cf", "t.tar", "a"]);
    let tree = read(work.path(), "t.tar");
    run(work.path(), "touch", &["-d", "2001-01-01", "t.tar"]);
    let small = graven_image::tree::TreePath::parse(b"/a/small").unwrap();
    let error = std::error::Error::source(&tree.read(&small, 10).unwrap_err()).unwrap().to_string();
    assert!(error.ends_with("t.tar` changed while it was in use; build again"), "{error}");
}

#[test]
fn git_archives_are_read() {
    let work = tempfile::tempdir().unwrap();
    run(work.path(), "sh", &["-ec", "
        git -c init.defaultBranch=main init -q g; cd g; echo hi > f; chmod 755 f; mkdir d; echo x > d/x; git add .
        git -c user.name=a -c user.email=a@b.c commit -qm x; git archive -o ../g.tar HEAD
    "]);
    let names: Vec<_> =
        read(work.path(), "g.tar").walk().map(|entry| String::from_utf8(entry.path).unwrap()).collect();
    assert_eq!(names, ["/", "/d", "/d/x", "/f"]);
}

#[test]
fn root_file_systems_of_unprivileged_users_compare_without_owners() {
    let work = tempfile::tempdir().unwrap();
    sample(work.path());
    run(work.path(), "tar", &["-C", "s", "-cf", "t.tar", "--owner=0", "--group=0", "."]);
    let tree = read(work.path(), "t.tar");
    assert!(tree.walk().all(|entry| entry.inode.metadata.uid == 0));
    assert_eq!(comparable(tree).len(), on_disk(&work.path().join("s")).len());
}
