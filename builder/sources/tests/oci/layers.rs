//! How layers go over each other.

use super::maker::{Directory, File, HardLink, Link, Member, gone, unpacked};

/// One test a name: layers, and what they make.
macro_rules! makes {
    ($($name:ident: [$($layer:expr),+ $(,)?] => $expected:expr;)*) => {
        $(#[test] fn $name() {
            let layers: Vec<Vec<Member>> = vec![$(Vec::from($layer)),+];
            let layers: Vec<&[Member]> = layers.iter().map(Vec::as_slice).collect();
            assert_eq!(unpacked(&layers).unwrap(), $expected);
        })*
    };
}

makes! {
    later_over_earlier: [
        [Directory("a", 0o700), File("a/x", "1"), File("a/y", "1")],
        [Directory("a", 0o755), File("a/x", "2")],
    ] => ["/a/ 755", "/a/x: 2", "/a/y: 1"];
    a_whiteout_takes_a_file_away: [
        [File("a/x", "1"), File("a/y", "1")],
        [gone("a/.wh.x")],
    ] => ["/a/ 755", "/a/y: 1"];
    a_whiteout_takes_a_folder_away_with_all_in_it: [
        [Directory("a", 0o755), Directory("a/b", 0o755), File("a/b/x", "1"), File("c", "1")],
        [gone(".wh.a")],
    ] => ["/c: 1"];
    a_whiteout_of_what_is_not_there_does_nothing: [
        [File("x", "1")],
        [gone(".wh.y"), gone("none/.wh.y"), gone("x/.wh.y")],
    ] => ["/x: 1"];
    a_whiteout_is_about_lower_layers_whatever_comes_first_in_its_own: [
        [Directory("d", 0o755), File("d/old", "1"), File("x", "1")],
        [Directory("d", 0o755), File("d/new", "2"), gone(".wh.d"), File("x", "2"), gone(".wh.x")],
    ] => ["/d/ 755", "/d/new: 2", "/x: 2"];
    an_opaque_folder_keeps_what_its_own_layer_brings: [
        [Directory("d", 0o755), File("d/old", "1"), Directory("d/sub", 0o755), File("d/sub/x", "1")],
        [Directory("d", 0o750), File("d/first", "2"), gone("d/.wh..wh..opq"), File("d/last", "2"), Directory("d/sub", 0o700)],
    ] => ["/d/ 750", "/d/first: 2", "/d/last: 2", "/d/sub/ 700"];
    an_opaque_root_leaves_nothing_of_below: [
        [File("a", "1"), Directory("b", 0o755)],
        [gone(".wh..wh..opq"), File("c", "2")],
    ] => ["/c: 2"];
    a_folder_takes_the_place_of_a_link_and_the_whiteout_in_it_spares_the_target: [
        [Directory("usr", 0o755), Directory("usr/lib", 0o755), File("usr/lib/x", "1"), Link("lib", "usr/lib")],
        [Directory("lib", 0o755), gone("lib/.wh.x"), File("lib/y", "2")],
    ] => ["/lib/ 755", "/lib/y: 2", "/usr/ 755", "/usr/lib/ 755", "/usr/lib/x: 1"];
    a_link_below_is_followed_inside_the_tree: [
        [Directory("usr", 0o755), Directory("usr/lib", 0o755), File("usr/lib/x", "1"), Link("lib", "/usr/lib")],
        [File("lib/y", "2"), gone("lib/.wh.x")],
    ] => ["/lib -> /usr/lib", "/usr/ 755", "/usr/lib/ 755", "/usr/lib/y: 2"];
    a_file_takes_the_place_of_a_folder: [
        [Directory("a", 0o755), File("a/x", "1")],
        [File("a", "2")],
    ] => ["/a: 2"];
    a_folder_takes_the_place_of_a_file: [
        [File("a", "1")],
        [Directory("a", 0o711), File("a/x", "2")],
    ] => ["/a/ 711", "/a/x: 2"];
    hard_links_reach_into_lower_layers: [
        [File("a", "1"), HardLink("b", "a")],
        [HardLink("c", "b"), HardLink("d", "c")],
    ] => ["/a: 1", "/b = /a", "/c = /b", "/d = /c"];
    a_name_that_is_replaced_leaves_its_hard_links: [
        [File("a", "1"), HardLink("b", "a")],
        [File("a", "2")],
        [gone(".wh.a")],
    ] => ["/b: 1"];
    a_hard_link_takes_the_place_of_another_name: [
        [File("a", "1"), File("b", "other")],
        [HardLink("b", "a")],
    ] => ["/a: 1", "/b = /a"];
}

/// One test a name: a last layer that is refused over a sound one, and the words.
macro_rules! refused {
    ($($name:ident: $layer:expr => $error:expr;)*) => {
        $(#[test] fn $name() {
            let below = [Directory("d", 0o755), File("d/x", "1"), Link("l", "d"), File("f", "1")];
            let error = unpacked(&[&below, &$layer]).unwrap_err();
            assert_eq!(error, format!("image: `sha256:…: {}", $error));
        })*
    };
}

refused! {
    a_name_that_climbs: [File("d/../../etc/passwd", "x")] =>
        "d/../../etc/passwd`: the name is no path inside the tree: it has a `..` component";
    an_absolute_name: [File("/etc/passwd", "x")] =>
        "/etc/passwd`: absolute name; members are named from the archive's root on, as `./etc/fstab`";
    a_link_out_of_the_tree: [Link("d/out", "../../etc")] =>
        "d/out`: its target `../../etc` climbs out of the tree; correct the link";
    a_hard_link_out_of_the_tree: [HardLink("h", "../../etc/shadow")] =>
        "h`: its target `../../etc/shadow` climbs out of the tree; correct the link";
    a_hard_link_to_nothing: [HardLink("h", "d/none")] =>
        "/h`: hard link to `/d/none`, which no earlier member of the archive has brought";
    a_hard_link_to_what_the_layer_takes_away: [gone(".wh.f"), HardLink("h", "f")] =>
        "/h`: hard link to `/f`, which no earlier member of the archive has brought";
    a_hard_link_to_a_folder: [HardLink("h", "d")] =>
        "/h`: `/h`: hard link to the directory `/d`; directories have one name only";
    a_whiteout_of_the_folder_itself: [gone("d/.wh..")] =>
        "/d/.wh..`: a whiteout of what is no name in its directory";
    a_whiteout_of_the_folder_above: [gone("d/.wh...")] =>
        "/d/.wh...`: a whiteout of what is no name in its directory";
    a_whiteout_of_nothing: [gone("d/.wh.")] =>
        "/d/.wh.`: a whiteout of what is no name in its directory";
    a_whiteout_with_contents: [File("d/.wh.x", "boo")] =>
        "/d/.wh.x`: a whiteout is an empty regular file, but this is not";
    a_whiteout_that_is_a_link: [Link("d/.wh.x", "x")] =>
        "/d/.wh.x`: a whiteout is an empty regular file, but this is not";
    a_whiteout_that_is_a_folder: [Directory("d/.wh.x", 0o755)] =>
        "/d/.wh.x`: a whiteout is an empty regular file, but this is not";
    a_file_in_a_whiteout: [File("d/.wh.x/y", "1")] =>
        "/d/.wh.x/y`: a name that begins with `.wh.` is a whiteout, which holds nothing";
    aufs_notes: [gone(".wh..wh.plnk")] =>
        "/.wh..wh.plnk`: a whiteout of a whiteout, which only AUFS knows, is not supported; push the image again with a tool \
         of today, as an OCI image";
    one_name_twice: [File("n", "1"), File("n", "2")] =>
        "n`: the same name occurs twice; which of them is meant cannot be told";
    one_file_twice_through_a_link_below: [File("d/n", "1"), File("l/n", "2")] =>
        "/l/n`: two entries of this source become one file, since a directory on the way is a link in the tree";
    a_folder_that_goes_with_what_its_layer_brought: [File("l/n", "1"), File("d", "2")] =>
        "/d`: two entries of this source become one file, since a directory on the way is a link in the tree";
    a_file_below_a_file: [File("f/x", "1")] =>
        "/f/x`: `/f`: `/f` is a regular file, not a directory";
}
