//! Archives made to do harm: each ends in one exact error, and nothing of it reaches the tree or the disk.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::path::Path;

use graven_image::tree::{Metadata, Tree, TreePath};
use graven_sources::{Layer, Limits, Spool, deb, tar};

/// A header of the POSIX format, sum included.
fn header(typeflag: u8, name: &str, link: &str, size: u64) -> Vec<u8> {
    let mut block = vec![0; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..107].copy_from_slice(b"0000644");
    block[108..115].copy_from_slice(b"0000000");
    block[116..123].copy_from_slice(b"0000000");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = typeflag;
    block[157..157 + link.len()].copy_from_slice(link.as_bytes());
    block[257..265].copy_from_slice(b"ustar\x0000");
    sum(block)
}

fn sum(mut block: Vec<u8>) -> Vec<u8> {
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block
}

fn file(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut member = header(b'0', name, "", bytes.len() as u64);
    member.extend_from_slice(bytes);
    member.resize(member.len().next_multiple_of(512), 0);
    member
}

fn pax(typeflag: u8, records: &[(&str, &str)]) -> Vec<u8> {
    let mut body = String::new();
    for (keyword, value) in records {
        let rest = keyword.len() + value.len() + 3;
        let len = (rest + 1..).find(|len| rest + len.to_string().len() == *len).unwrap();
        body.push_str(&format!("{len} {keyword}={value}\n"));
    }
    let mut member = file("pax", body.as_bytes());
    member[156] = typeflag;
    let body = member.split_off(512);
    [sum(member), body].concat()
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = members.concat();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn read_with(bytes: &[u8], limits: &Limits) -> Result<Layer, String> {
    let work = tempfile::tempdir().unwrap();
    let inside = work.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    let path = inside.join("a.tar");
    std::fs::write(&path, bytes).unwrap();
    let spool = Spool::new(&inside).unwrap();
    let result = tar::read(&path, None, None, &spool, limits);
    // The spool has no name, and nothing else was made, here or above.
    assert_eq!((names(&inside), names(work.path())), (vec!["a.tar".into()], vec!["in".into()]));
    result.map_err(|error| error.to_string().replace(path.to_str().unwrap(), "a.tar"))
}

fn names(folder: &Path) -> Vec<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The error of an archive with these members, and the same compressed.
fn refused(members: &[Vec<u8>]) -> String {
    refused_bytes(&archive(members))
}

fn refused_bytes(bytes: &[u8]) -> String {
    let plain = read_with(bytes, &Limits::default()).unwrap_err();
    let packed = zstd::encode_all(bytes, 1).unwrap();
    let packed = read_with(&packed, &Limits::default()).unwrap_err();
    if !plain.contains("truncated") {
        assert_eq!(plain, packed);
    }
    plain
}

/// One test a name, so that a broken one is named.
macro_rules! hostile {
    ($($name:ident: $members:expr => $error:expr;)*) => {
        $(#[test] fn $name() { assert_eq!(refused(&$members), $error); })*
    };
}

hostile! {
    parent_component: [file("a/../../etc/passwd", b"x")] =>
        "a.tar: `a/../../etc/passwd`: the name is no path inside the tree: it has a `..` component";
    absolute_name: [file("/etc/passwd", b"x")] =>
        "a.tar: `/etc/passwd`: absolute name; members are named from the archive's root on, as `./etc/fstab`";
    absolute_name_in_pax: [pax(b'x', &[("path", "/etc/passwd")]), file("etc/passwd", b"x")] =>
        "a.tar: `/etc/passwd`: absolute name; members are named from the archive's root on, as `./etc/fstab`";
    empty_name: [file("", b"x")] => "a.tar: ``: the name is no path inside the tree: it is empty";
    root_that_is_a_file: [file("./.", b"x")] => "a.tar: `./.`: the root of the tree must be a directory";
    root_that_is_a_link: [header(b'2', ".", "etc", 0)] => "a.tar: `.`: the root of the tree must be a directory";
    component_over_255_bytes: [pax(b'x', &[("path", &"n".repeat(256))]), file("n", b"")] =>
        format!("a.tar: `{}`: the name is no path inside the tree: a component is longer than 255 bytes", "n".repeat(256));
    link_that_climbs: [header(b'5', "a/", "", 0), header(b'2', "a/l", "../../etc", 0)] =>
        "a.tar: `a/l`: its target `../../etc` climbs out of the tree; correct the link";
    absolute_link_that_climbs: [header(b'2', "l", "/../etc", 0)] =>
        "a.tar: `l`: its target `/../etc` climbs out of the tree; correct the link";
    link_without_target: [header(b'2', "l", "", 0)] =>
        "a.tar: `l`: a symbolic link needs a target of 1 to 4095 bytes without NUL";
    file_through_a_link_loop: [header(b'2', "l", "l", 0), file("l/x", b"x")] =>
        "a.tar: `l/x`: `/l`: more than 40 symbolic links on the way, most likely they form a loop";
    file_below_a_file: [file("f", b"x"), file("f/x", b"x")] =>
        "a.tar: `f/x`: `/f/x`: `/f` is a regular file, not a directory";
    hard_link_to_missing: [header(b'1', "h", "shadow", 0)] =>
        "a.tar: `h`: hard link to `/shadow`, which no earlier member of the archive has brought";
    hard_link_to_the_host: [header(b'1', "h", "/etc/shadow", 0)] =>
        "a.tar: `h`: its target `/etc/shadow` climbs out of the tree; correct the link";
    hard_link_that_climbs: [header(b'1', "h", "../shadow", 0)] =>
        "a.tar: `h`: its target `../shadow` climbs out of the tree; correct the link";
    hard_link_to_a_later_member: [header(b'1', "h", "f", 0), file("f", b"x")] =>
        "a.tar: `h`: hard link to `/f`, which no earlier member of the archive has brought";
    hard_link_to_a_directory: [header(b'5', "d", "", 0), header(b'1', "h", "d", 0)] =>
        "a.tar: `h`: `/h`: hard link to the directory `/d`; directories have one name only";
    hard_link_with_contents: [file("f", b"x"), header(b'1', "h", "f", 5)] =>
        "a.tar: `h`: a member of type `1` has no contents, but this one says 5 bytes";
    duplicate_file: [file("f", b"good"), file("./f", b"evil")] =>
        "a.tar: `./f`: the same name occurs twice; which of them is meant cannot be told";
    duplicate_through_a_link: [header(b'5', "usr/bin", "", 0), header(b'2', "bin", "usr/bin", 0), file("usr/bin/sh", b"good"), file("bin/sh", b"evil")] =>
        "a.tar: `bin/sh`: the same name occurs twice; which of them is meant cannot be told";
    link_then_directory: [header(b'2', "d", "/etc", 0), header(b'5', "d", "", 0)] =>
        "a.tar: `d`: the same name occurs twice; which of them is meant cannot be told";
    directory_then_link: [header(b'5', "d", "", 0), header(b'2', "d", "/etc", 0)] =>
        "a.tar: `d`: the same name occurs twice; which of them is meant cannot be told";
    sparse_gnu: [header(b'S', "f", "", 0)] => "a.tar: `f`: a sparse member is not supported; repack without --sparse";
    sparse_pax: [pax(b'x', &[("GNU.sparse.major", "1")]), file("f", b"")] =>
        "a.tar: `pax`: a sparse member is not supported; repack without --sparse";
    unknown_type: [header(b'Q', "f", "", 0)] =>
        "a.tar: `f`: a member of type `Q` is not supported; repack with `tar --format=pax`";
    directory_with_contents: [header(b'5', "d", "", 512), vec![0; 512]] =>
        "a.tar: `d`: a member of type `5` has no contents, but this one says 512 bytes";
    owner_over_32_bits: [pax(b'x', &[("uid", "4294967296")]), file("f", b"")] =>
        "a.tar: `f`: owner 4294967296; Linux has ids up to 4294967294";
    global_name: [pax(b'g', &[("path", "evil")]), file("f", b"")] =>
        "a.tar: `pax`: a global header gives all members one name or size";
    two_extended_headers: [pax(b'x', &[("path", "a")]), pax(b'x', &[("path", "b")]), file("f", b"")] =>
        "a.tar: `pax`: two extended headers for one member";
    extended_header_without_member: [pax(b'x', &[("path", "a")])] =>
        "a.tar: `pax`: the archive ends after a header that belongs to a member";
    access_control_list: [pax(b'x', &[("SCHILY.acl.access", "user::rw-")]), file("f", b"")] =>
        "a.tar: `pax`: a member with a POSIX access control list is not supported; repack without --acls";
    endless_extended_header: [header(b'x', "pax", "", 1 << 30)] =>
        "a.tar: `pax`: an extended header of 1073741824 bytes; at most 1048576 are sensible";
    members_after_the_end: [archive(&[file("f", b"x")]), file("g", b"x")] =>
        "a.tar: there is something after the end of the archive, before byte 2560";
}

#[test]
fn truncated_archives() {
    let whole = archive(&[file("f", &[7; 1000])]);
    for (len, error) in [
        (
            100,
            "a.tar: the archive is truncated: the next header (or the two blocks of zeros at the end) needs 512 bytes, 100 are left",
        ),
        (1000, "a.tar: `f`: the archive is truncated: the member's contents needs 1000 bytes, 488 are left"),
        (
            1520,
            "a.tar: `f`: the archive is truncated: the padding of the last block needs 24 bytes, 8 are left",
        ),
        (
            1536,
            "a.tar: the archive is truncated: the next header (or the two blocks of zeros at the end) needs 512 bytes, 0 are left",
        ),
        (
            2048,
            "a.tar: the archive is truncated: the second block of zeros at the end needs 512 bytes, 0 are left",
        ),
    ] {
        assert_eq!(refused_bytes(&whole[..len]), error);
    }
    assert!(read_with(&whole, &Limits::default()).is_ok());
    assert!(refused_bytes(b"").contains("0 are left"));
}

#[test]
fn an_endless_member_is_refused_before_room_is_made_for_it() {
    let bytes = archive(&[header(b'0', "f", "", 7 << 30)]);
    assert_eq!(
        refused_bytes(&bytes),
        "a.tar: `f`: the archive is truncated: the member's contents needs 7516192768 bytes, 1024 are left"
    );
    let bytes = archive(&[pax(b'x', &[("size", "18446744073709551615")]), header(b'0', "f", "", 0)]);
    assert_eq!(
        refused_bytes(&bytes),
        "a.tar: `f`: it passes the limit on unpacked bytes (68719476736); if the input is sound, raise `unpacked_bytes`"
    );
}

#[test]
fn a_wrong_checksum_names_the_place() {
    let mut bytes = archive(&[file("f", b"x"), file("g", b"x")]);
    bytes[1024 + 3] ^= 1;
    let error = refused_bytes(&bytes);
    assert!(error.starts_with("a.tar: the header's checksum is wrong: "), "{error}");
    assert!(error.ends_with(" (at byte 1024)"), "{error}");
}

#[test]
fn bombs_meet_the_limit_on_ratio_bytes_or_members() {
    let limits = Limits { unpacked_bytes: 4 << 20, members: 3, ..Limits::default() };
    let large = zstd::encode_all(&archive(&[file("f", &vec![0; 5 << 20])])[..], 1).unwrap();
    assert_eq!(
        read_with(&large, &limits).unwrap_err(),
        "a.tar: `f`: it passes the limit on unpacked bytes (4194304); if the input is sound, raise `unpacked_bytes`"
    );
    let many = archive(&[file("a", b""), file("b", b""), file("c", b""), file("d", b"")]);
    assert_eq!(
        read_with(&many, &limits).unwrap_err(),
        "a.tar: it passes the limit on members (3); if the input is sound, raise `members`"
    );
    // 300 MiB of zeros in some 10 KiB, with the header that makes them a file.
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    std::io::copy(&mut &header(b'0', "zeros", "", 300 << 20)[..], &mut encoder).unwrap();
    std::io::copy(&mut std::io::Read::take(std::io::repeat(0), (300 << 20) + 1024), &mut encoder).unwrap();
    assert_eq!(
        read_with(&encoder.finish().unwrap(), &Limits::default()).unwrap_err(),
        "a.tar: `zeros`: it passes the limit on unpacked bytes for each compressed one (250); if the input is sound, raise `ratio`"
    );
}

#[test]
fn damaged_and_trailing_compressed_bytes_are_refused() {
    use std::io::Write as _;
    let plain = archive(&[file("f", &[7; 9000])]);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&plain).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
    xz.write_all(&plain).unwrap();
    let packed = [
        ("gzip", gzip.finish().unwrap()),
        ("xz", xz.finish().unwrap()),
        ("zstd", zstd::encode_all(&plain[..], 3).unwrap()),
    ];
    for (format, packed) in packed {
        assert!(read_with(&packed, &Limits::default()).is_ok(), "{format}");
        let mut trailing = packed.clone();
        trailing.extend_from_slice(b"evil");
        let mut damaged = packed.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 0xff;
        for (bytes, what) in
            [(&trailing[..], "trailing"), (&damaged, "damaged"), (&packed[..middle], "truncated")]
        {
            let error = read_with(bytes, &Limits::default()).unwrap_err();
            assert!(error.starts_with("a.tar: "), "{format} {what}: {error}");
        }
    }
    for (magic, name) in [(b"BZh91AY&SY".as_slice(), "bzip2"), (b"PK\x03\x04....", "zip")] {
        let error = read_with(magic, &Limits::default()).unwrap_err();
        assert_eq!(
            error,
            format!("a.tar: {name} is not supported; repack as plain tar or with gzip, xz or zstd")
        );
    }
    assert!(read_with(&[b'x'; 600], &Limits::default()).unwrap_err().contains("this is no tar header"));
}

#[test]
fn names_through_links_of_the_tree_stay_inside_it() {
    let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
    for link in [header(b'2', "up", "/", 0), header(b'2', "out", "/etc", 0)] {
        read_with(&archive(&[header(b'5', "etc", "", 0), link]), &Limits::default())
            .unwrap()
            .apply(&mut tree)
            .unwrap();
    }
    let layer =
        read_with(&archive(&[file("out/passwd", b"ours"), file("up/x", b"x")]), &Limits::default()).unwrap();
    layer.apply(&mut tree).unwrap();
    let names: Vec<_> = tree.walk().map(|entry| String::from_utf8(entry.path).unwrap()).collect();
    assert_eq!(names, ["/", "/etc", "/etc/passwd", "/out", "/up", "/x"]);
    assert!(tree.lookup(&TreePath::parse(b"/out/passwd").unwrap()).is_ok());

    // Two names of one archive that only this tree makes one.
    let layer =
        read_with(&archive(&[file("etc/a", b"good"), file("out/a", b"evil")]), &Limits::default()).unwrap();
    let error = layer.apply(&mut tree).unwrap_err().to_string();
    assert!(error.ends_with("a.tar: `/out/a`: two entries of this source become one file, since a directory on the way is a link in the tree"), "{error}");
}

#[test]
fn packages_out_of_order_or_with_strangers_are_refused() {
    let member = |name: &str, bytes: &[u8]| {
        let mut member =
            format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100644, bytes.len()).into_bytes();
        member.extend_from_slice(bytes);
        member.resize(member.len().next_multiple_of(2), b'\n');
        member
    };
    let version = member("debian-binary", b"2.0\n");
    let control = |text: &[u8]| member("control.tar", &archive(&[file("./control", text)]));
    let sound = control(b"Package: ab\nVersion: 1\nArchitecture: all\n");
    let data = member("data.tar/", &archive(&[file("./f", b"x")]));
    let read = |members: &[&[u8]]| {
        let work = tempfile::tempdir().unwrap();
        let path = work.path().join("x.deb");
        std::fs::write(&path, [b"!<arch>\n", members.concat().as_slice()].concat()).unwrap();
        let result = deb::read(&path, None, &Spool::new(work.path()).unwrap(), &Limits::default());
        assert_eq!(names(work.path()), ["x.deb"]);
        result.map(|_| ()).map_err(|error| error.to_string().replace(path.to_str().unwrap(), "x.deb"))
    };
    assert_eq!(read(&[&version, &sound, &data]), Ok(()));
    assert_eq!(read(&[&version, &sound, &data, &member("_gpgorigin", b"sig")]), Ok(()));
    let evil = member("data.tar", &archive(&[file("./../f", b"x")]));
    let conffiles = member(
        "control.tar",
        &archive(&[
            file("control", b"Package: ab\nVersion: 1\nArchitecture: all\n"),
            file("conffiles", b"/etc/x\n"),
        ]),
    );
    for (members, error) in [
        (vec![&version[..], &data, &sound], "x.deb: member `control.tar` was expected, `data.tar` is there"),
        (vec![&version, &sound], "x.deb: member `data.tar` is missing"),
        (vec![&version, &sound, &data, &data], "x.deb: a member `data.tar` that no package has"),
        (
            vec![&member("debian-binary", b"3.0\n")[..], &sound, &data],
            "x.deb: a package format other than 2.0 is not supported; build the package with a current dpkg-deb",
        ),
        (
            vec![&version, &sound, &evil],
            "x.deb: `data.tar: ./../f`: the name is no path inside the tree: it has a `..` component",
        ),
        (
            vec![&version, &control(b"Package: ../x\nVersion: 1\nArchitecture: all\n"), &data],
            "x.deb: `control.tar: control`: the control file's field `Package` is `../x`, which no package can have",
        ),
        (
            vec![&version, &conffiles, &data],
            "x.deb: `control.tar: conffiles`: `/etc/x` is not among the package's regular files",
        ),
        (
            vec![&version, &sound, &data[..700]],
            "x.deb: the archive is truncated: a member of the package needs 2048 bytes, 640 are left",
        ),
    ] {
        assert_eq!(read(&members), Err(error.to_owned()));
    }
}
