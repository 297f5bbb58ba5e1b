use super::*;

fn path(path: &str) -> TreePath {
    TreePath::parse(path.as_bytes()).unwrap()
}

fn metadata(mode: u16) -> Metadata {
    Metadata { mode, ..Metadata::default() }
}

fn file(bytes: &str) -> Inode {
    Inode::new(metadata(0o644), Kind::File(Content::from_bytes(bytes)))
}

fn directory(mode: u16) -> Inode {
    Inode::new(metadata(mode), Kind::directory())
}

fn symlink(target: &str) -> Inode {
    Inode::new(metadata(0o777), Kind::Symlink(target.as_bytes().into()))
}

/// `usr/bin`, `usr/lib`, and `/bin`, `/lib` linked to them.
fn merged_usr() -> Tree {
    let mut tree = Tree::new(metadata(0o755));
    for directory in ["/usr/bin", "/usr/lib"] {
        tree.make_directories(&path(directory), &metadata(0o755)).unwrap();
    }
    tree.insert(&path("/bin"), symlink("usr/bin")).unwrap();
    tree.insert(&path("/lib"), symlink("/usr/lib")).unwrap();
    tree
}

fn names(tree: &Tree) -> Vec<String> {
    tree.walk().map(|entry| String::from_utf8(entry.path).unwrap()).collect()
}

fn error<T>(result: Result<T, Error>) -> String {
    result.map(|_| ()).unwrap_err().to_string()
}

#[test]
fn walk_gives_directories_first_and_names_in_byte_order() {
    let mut tree = Tree::new(metadata(0o755));
    for name in ["/b", "/a", "/a/z", "/a.b", "/a-b", "/B"] {
        tree.insert(&path(name), directory(0o755)).unwrap();
    }
    assert_eq!(names(&tree), ["/", "/B", "/a", "/a/z", "/a-b", "/a.b", "/b"]);
}

#[test]
fn parents_that_are_links_are_followed_inside_the_tree() {
    let mut tree = merged_usr();
    tree.insert(&path("/bin/sh"), file("sh")).unwrap();
    tree.insert(&path("/lib/libc.so"), file("c")).unwrap();
    assert_eq!(
        names(&tree),
        ["/", "/bin", "/lib", "/usr", "/usr/bin", "/usr/bin/sh", "/usr/lib", "/usr/lib/libc.so"]
    );
    assert_eq!(tree.canonical(&path("/bin/sh")).unwrap(), path("/usr/bin/sh"));
    assert_eq!(tree.read(&path("/bin/sh"), 10).unwrap(), b"sh");
}

#[test]
fn links_that_climb_stop_at_the_root() {
    let mut tree = merged_usr();
    tree.insert(&path("/out"), symlink("../../../../usr")).unwrap();
    assert_eq!(tree.resolve(&path("/out/bin")).unwrap(), tree.lookup(&path("/usr/bin")).unwrap());
}

#[test]
fn forty_links_are_followed_and_a_loop_is_named() {
    let mut tree = Tree::new(metadata(0o755));
    tree.insert(&path("/l0"), file("end")).unwrap();
    for step in 1..=41 {
        tree.insert(&path(&format!("/l{step}")), symlink(&format!("l{}", step - 1))).unwrap();
    }
    assert_eq!(tree.read(&path("/l40"), 10).unwrap(), b"end");
    assert!(error(tree.read(&path("/l41"), 10)).starts_with("`/l41`: more than 40 symbolic links"));
    tree.insert(&path("/loop"), symlink("loop")).unwrap();
    assert!(error(tree.insert(&path("/loop/x"), file(""))).starts_with("`/loop`: more than 40"));
}

#[test]
fn a_directory_over_a_linked_directory_keeps_the_link_and_its_target() {
    let mut tree = merged_usr();
    let id = tree.insert(&path("/bin"), directory(0o700)).unwrap();
    assert_eq!(id, tree.lookup(&path("/usr/bin")).unwrap());
    assert!(matches!(tree.inode(tree.lookup(&path("/bin")).unwrap()).kind, Kind::Symlink(_)));
    assert_eq!(tree.inode(id).metadata.mode, 0o755);
}

#[test]
fn later_replaces_earlier_but_no_directory_vanishes_unasked() {
    let mut tree = merged_usr();
    tree.insert(&path("/usr/bin/a"), file("old")).unwrap();
    tree.insert(&path("/usr/bin/a"), file("new")).unwrap();
    assert_eq!(tree.read(&path("/usr/bin/a"), 3).unwrap(), b"new");
    tree.insert(&path("/usr/bin"), directory(0o711)).unwrap();
    assert_eq!(tree.inode(tree.lookup(&path("/usr/bin")).unwrap()).metadata.mode, 0o711);
    assert_eq!(tree.read(&path("/bin/a"), 3).unwrap(), b"new");
    assert_eq!(
        error(tree.insert(&path("/usr/bin"), file(""))),
        "`/usr/bin`: a regular file cannot replace a directory that has entries; remove the directory first"
    );
    assert_eq!(
        error(tree.insert(&path("/usr/bin/a"), directory(0o755))),
        "`/usr/bin/a`: a directory cannot replace a regular file; remove it first"
    );
    tree.insert(&path("/usr/lib"), file("")).unwrap();
    assert_eq!(tree.len(), names(&tree).len());
}

#[test]
fn missing_parents_and_files_in_the_way_are_named() {
    let mut tree = merged_usr();
    tree.insert(&path("/usr/f"), file("")).unwrap();
    assert_eq!(error(tree.insert(&path("/a/b"), file(""))), "`/a`: no such file in the tree");
    assert_eq!(
        error(tree.resolve(&path("/bin/a/b"))),
        "`/bin/a/b`: no such file in the tree (`/usr/bin/a` is missing)"
    );
    assert_eq!(
        error(tree.insert(&path("/usr/f/b"), file(""))),
        "`/usr/f/b`: `/usr/f` is a regular file, not a directory"
    );
    assert_eq!(
        error(tree.make_directories(&path("/usr/f/x"), &metadata(0))),
        "`/usr/f/x`: `/usr/f` is a regular file, not a directory"
    );
    assert_eq!(error(tree.read(&path("/usr"), 1)), "`/usr` is a directory, not a regular file");
    tree.insert(&path("/long"), file("four")).unwrap();
    assert_eq!(error(tree.read(&path("/long"), 3)), "`/long` has 4 bytes, at most 3 are expected here");
}

#[test]
fn hard_links_share_an_inode_until_the_last_name_goes() {
    let mut tree = merged_usr();
    let id = tree.insert(&path("/usr/a"), file("x")).unwrap();
    tree.hard_link(&path("/bin/b"), &path("/usr/a")).unwrap();
    tree.hard_link(&path("/bin/b"), &path("/usr/a")).unwrap();
    assert_eq!(tree.links(id), 2);
    let groups: Vec<_> = tree.hard_links().into_values().collect();
    assert_eq!(groups, [[b"/usr/a".to_vec(), b"/usr/bin/b".to_vec()]]);
    assert!(
        error(tree.hard_link(&path("/x"), &path("/usr"))).starts_with("`/x`: hard link to the directory")
    );

    // Replacing one name leaves the other's contents alone.
    tree.insert(&path("/usr/a"), file("y")).unwrap();
    assert_eq!((tree.read(&path("/bin/b"), 1).unwrap(), tree.links(id)), (b"x".to_vec(), 1));
    let before = tree.len();
    tree.remove(&path("/usr/bin/b")).unwrap();
    assert_eq!((tree.len(), names(&tree).len()), (before - 1, before - 1));
    // The slot is used again.
    let slots = tree.slots();
    tree.insert(&path("/z"), file("z")).unwrap();
    assert_eq!(tree.slots(), slots);
}

#[test]
fn removing_a_directory_takes_all_below_it_but_no_link_target() {
    let mut tree = merged_usr();
    tree.insert(&path("/usr/bin/a"), file("")).unwrap();
    tree.hard_link(&path("/kept"), &path("/usr/bin/a")).unwrap();
    tree.remove(&path("/bin")).unwrap();
    assert_eq!(names(&tree), ["/", "/kept", "/lib", "/usr", "/usr/bin", "/usr/bin/a", "/usr/lib"]);
    tree.remove(&path("/usr")).unwrap();
    assert_eq!(names(&tree), ["/", "/kept", "/lib"]);
    assert_eq!((tree.len(), tree.links(tree.lookup(&path("/kept")).unwrap())), (3, 1));
    assert_eq!(error(tree.remove(&TreePath::root())), "the root directory cannot be removed");
}

#[test]
fn paths_stay_under_4096_bytes_through_links_too() {
    let mut tree = Tree::new(metadata(0o755));
    let deep = path(&"/abcdefg".repeat(500));
    tree.make_directories(&deep, &metadata(0o755)).unwrap();
    tree.insert(&path("/short"), symlink(std::str::from_utf8(deep.as_bytes()).unwrap())).unwrap();
    tree.insert(&path("/short/x"), file("")).unwrap();
    let name = "n".repeat(96);
    assert!(
        error(tree.insert(&path(&format!("/short/{name}")), file(""))).contains("longer than 4096 bytes")
    );
}

#[test]
fn diff_tells_every_kind_of_difference() {
    let mut a = merged_usr();
    a.insert(&path("/f"), file("same")).unwrap();
    let mut b = a.clone();
    assert_eq!(diff(&a, &b), Vec::<String>::new());
    b.insert(&path("/f"), file("sane")).unwrap();
    b.insert(&path("/usr"), directory(0o700)).unwrap();
    b.insert(&path("/bin"), symlink("usr/lib")).unwrap();
    b.remove(&path("/lib")).unwrap();
    b.hard_link(&path("/g"), &path("/f")).unwrap();
    assert_eq!(
        diff(&a, &b),
        [
            "/bin: link to usr/bin and usr/lib",
            "/f: contents differ at byte 2",
            "/f: one of 1 names and of 2",
            "/g: regular file in the second only",
            "/lib: symbolic link in the first only",
            "/usr: mode 0755 and 0700",
        ]
    );
}

#[test]
fn clamping_lowers_later_times_only() {
    let mut tree = Tree::new(Metadata { mtime: 5, ..metadata(0o755) });
    tree.insert(&path("/late"), Inode::new(Metadata { mtime: 50, ..metadata(0) }, Kind::Fifo)).unwrap();
    tree.clamp_mtimes(20);
    let times: Vec<i64> = tree.walk().map(|entry| entry.inode.metadata.mtime).collect();
    assert_eq!(times, [5, 20]);
}
