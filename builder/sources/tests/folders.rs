//! Folders, normalised and kept.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use graven_image::tree::{TreePath, diff};
use graven_sources::dir::{Attributes, scan};
use support::{run, tree_of};

const NORMALISED: Attributes = Attributes::Normalised { mtime: 1_600_000_000 };

fn path(path: &str) -> TreePath {
    TreePath::parse(path.as_bytes()).unwrap()
}

#[test]
fn normalised_trees_do_not_depend_on_umask_modes_times_or_hard_links() {
    let work = tempfile::tempdir().unwrap();
    let make = r#"umask $0; mkdir -p $1/d/e; echo a > $1/d/a; echo b > $1/d/b; chmod u+x $1/d/b; ln -s ../../out $1/d/l
                  if [ $1 = one ]; then ln -f $1/d/a $1/c; chmod 2700 $1/d; else cp $1/d/a $1/c; touch -d 2001-01-01 $1/d/a; fi"#;
    run(work.path(), "sh", &["-ec", make, "077", "one"]);
    run(work.path(), "sh", &["-ec", make, "002", "two"]);
    let one = tree_of(scan(&work.path().join("one"), NORMALISED, None).unwrap());
    let two = tree_of(scan(&work.path().join("two"), NORMALISED, None).unwrap());
    assert_eq!(diff(&one, &two), Vec::<String>::new());
    let modes: Vec<_> =
        one.walk().map(|entry| (String::from_utf8(entry.path).unwrap(), entry.inode.metadata.mode)).collect();
    let expected = [
        ("/", 0o755),
        ("/c", 0o644),
        ("/d", 0o755),
        ("/d/a", 0o644),
        ("/d/b", 0o755),
        ("/d/e", 0o755),
        ("/d/l", 0o777),
    ];
    assert_eq!(modes, expected.map(|(name, mode)| (name.to_owned(), mode)));
}

#[test]
fn special_files_are_refused_by_name_unless_kept() {
    let work = tempfile::tempdir().unwrap();
    run(work.path(), "sh", &["-ec", "mkdir -p f/d; mkfifo f/d/pipe"]);
    let folder = work.path().join("f");
    let error = scan(&folder, NORMALISED, None).unwrap_err().to_string();
    let why = "it is a named pipe; only a source that keeps owners and modes as on disk takes those";
    assert_eq!(error, format!("{}: `/d/pipe`: {why}", folder.display()));
    assert_eq!(tree_of(scan(&folder, Attributes::Kept, None).unwrap()).len(), 3);
    let missing = scan(&work.path().join("none"), NORMALISED, None).unwrap_err();
    assert!(
        missing.problem.is_environment() && missing.to_string().contains("none: opening the folder failed")
    );
}

#[test]
fn a_file_that_changes_between_scan_and_reading_is_named() {
    let work = tempfile::tempdir().unwrap();
    for change in [
        "echo x >> f/d/a",
        "rm f/d/a",
        "mv f/d/b f/d/a",
        "rm f/d/a; ln -s b f/d/a",
        "mv f/d f/e; cp -a f/e f/o; ln -s o f/d",
    ] {
        run(work.path(), "sh", &["-ec", "rm -rf f; mkdir -p f/d; echo a > f/d/a; echo b > f/d/b"]);
        let tree = tree_of(scan(&work.path().join("f"), NORMALISED, None).unwrap());
        assert_eq!(tree.read(&path("/d/a"), 9).unwrap(), b"a\n");
        run(work.path(), "sh", &["-ec", change]);
        let error = tree.read(&path("/d/a"), 9).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.ends_with("f/d/a` changed while it was in use; build again"), "{change}: {source}");
    }
}

#[test]
fn links_out_of_the_folder_are_taken_as_they_are_and_not_followed() {
    let work = tempfile::tempdir().unwrap();
    run(
        work.path(),
        "sh",
        &["-ec", "mkdir secret f; echo s > secret/s; ln -s ../secret f/d; ln -s /etc f/etc"],
    );
    for attributes in [NORMALISED, Attributes::Kept] {
        let tree = tree_of(scan(&work.path().join("f"), attributes, None).unwrap());
        let names: Vec<_> = tree.walk().map(|entry| String::from_utf8(entry.path).unwrap()).collect();
        assert_eq!(names, ["/", "/d", "/etc"]);
    }
}
