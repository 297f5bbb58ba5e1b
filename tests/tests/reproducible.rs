//! An image is a function of recipe, inputs and keys: not of who builds it, where, when and with how many threads.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use graven_boot::fdt::{Node, Property, Tree};
use graven_tests::oracle::content;
use graven_tests::{image, inputs};

/// `nobody`, on every Linux.
const UNPRIVILEGED: &str = "65534";

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("the test owns its files");
}

fn is_root() -> bool {
    content("id", ["-u"]).trim() == "0"
}

/// The recipe as another person would have it: a checkout made under `umask 077`, years ago, in another place.
fn checkout(recipe: &Path, to: &Path) {
    let copied = Command::new("sh")
        .args([
            "-c",
            "umask 077; cp -RL \"$1\" \"$2\" && find \"$2\" -exec touch -d '2019-03-04 05:06:07' {} +",
        ])
        .args(["sh".as_ref(), recipe.as_os_str(), to.as_os_str()])
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "the recipe can be copied");
}

#[test]
fn folder_time_umask_locale_user_home_and_threads_change_no_byte() {
    the_same_bytes(&minimal(), "qemu-x86_64");
}

/// Built by a machine of another architecture, by nobody in particular, with no emulation.
#[test]
fn nor_do_they_for_arm64() {
    the_same_bytes(&minimal(), "qemu-arm64-uefi");
}

/// Over Debian's kernel, which trusts nobody's policy without UEFI: it is built, never booted.
#[test]
fn nor_do_they_for_a_fit() {
    let folder = image::folder();
    mode(folder.path(), 0o755);
    for name in ["inputs", "overlay"] {
        symlink(minimal().join(name), folder.path().join(name)).expect("a link can be made");
    }
    let text = fs::read_to_string(minimal().join("recipe.toml")).expect("the recipe can be read");
    let recipe: String = text
        .lines()
        .take_while(|line| *line != "[target.qemu-arm64-fit]")
        .map(|line| match line {
            "[kernel]" => "[kernel]\naccept.signer-not-in-kernel = \"never booted\"\n".to_owned(),
            "[boot]" => "[boot]\ndevice-trees = [\"board.dtb\"]\n".to_owned(),
            line if line.starts_with("targets") => "targets = [\"qemu-arm64-fit\"]\n".to_owned(),
            line => format!("{line}\n"),
        })
        .collect();
    fs::write(folder.path().join("recipe.toml"), recipe).expect("the recipe can be written");
    let tree = Tree::new(Node::new("").with(Property::text("compatible", "acme,board")));
    let tree = tree.and_then(|tree| tree.to_bytes()).expect("it is one");
    fs::write(folder.path().join("board.dtb"), tree).expect("the tree can be written");
    the_same_bytes(folder.path(), "qemu-arm64-fit");
}

fn minimal() -> PathBuf {
    inputs::project().join("recipes/minimal")
}

fn the_same_bytes(recipe: &Path, target: &str) {
    let scratch = image::folder();
    let here = scratch.path().join("here");
    let reference = Command::new(image::graven())
        .arg("build")
        .arg(recipe)
        .args(["--target", target, "--jobs", "2", "--keys"])
        .arg(image::keys())
        .arg("--out")
        .arg(&here)
        .env("LC_ALL", "C.UTF-8")
        .env("TZ", "UTC")
        .output()
        .expect("graven can be started");
    assert!(reference.status.success(), "{}", String::from_utf8_lossy(&reference.stderr));

    // Nothing that the other one uses lies where the first one's does, or belongs to whom it belonged.
    let elsewhere = scratch.path().join("a place with blanks/Ünïcode");
    fs::create_dir_all(&elsewhere).expect("the scratch folder takes folders");
    mode(scratch.path(), 0o755);
    checkout(recipe, &elsewhere.join("checkout"));
    checkout(image::keys(), &elsewhere.join("keys"));
    fs::copy(image::graven(), elsewhere.join("graven")).expect("the program can be copied");
    mode(&elsewhere.join("graven"), 0o755);

    let mut other = Command::new("env");
    other.arg("-i").args(["PATH=/usr/bin:/bin", "LC_ALL=tr_TR.UTF-8", "LANG=tr_TR.UTF-8"]);
    other.args([
        "TZ=Pacific/Kiritimati",
        "HOME=/nonexistent",
        "USER=nobody",
        "TMPDIR=/nonexistent",
        "TERM=dumb",
    ]);
    if is_root() {
        content("chown", ["-R".as_ref(), UNPRIVILEGED.as_ref(), elsewhere.as_os_str()]);
        other.args(["setpriv", "--reuid", UNPRIVILEGED, "--regid", UNPRIVILEGED, "--clear-groups"]);
        other.args(["--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]);
    }
    other.args([
        "faketime",
        "2038-11-12 13:14:15",
        "sh",
        "-c",
        "umask 0177 && umask 077 && exec \"$@\"",
        "sh",
    ]);
    other.args(["../graven", "build", ".", "--target", target, "--jobs", "1"]);
    other.args(["--keys", "../keys", "--out", "../there"]).current_dir(elsewhere.join("checkout"));
    let output = other.output().expect("env is there");
    assert!(output.status.success(), "another person's build: {}", String::from_utf8_lossy(&output.stderr));

    image::assert_same_outputs(&here, &elsewhere.join("there"));
}
