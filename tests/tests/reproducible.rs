//! An image is a function of recipe, inputs and keys: not of who builds it, where, when and with how many threads.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use graven_boot::fdt::{Node, Property, Tree};
use graven_tests::elsewhere::{mode, same_bytes};
use graven_tests::{image, inputs};

#[test]
fn folder_time_umask_locale_user_home_and_threads_change_no_byte() {
    same_bytes(&minimal(), ".", "qemu-x86_64", &[]);
}

/// Built by a machine of another architecture, by nobody in particular, with no emulation.
#[test]
fn nor_do_they_for_arm64() {
    same_bytes(&minimal(), ".", "qemu-arm64-uefi", &[]);
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
    same_bytes(folder.path(), ".", "qemu-arm64-fit", &[]);
}

fn minimal() -> PathBuf {
    inputs::project().join("recipes/minimal")
}

/// Real packages, with the state's file system by `mke2fs`; then in a root that has nothing but the program, from an empty
/// cache and from a store without network.
#[cfg(feature = "full")]
mod appliances {
    use std::path::Path;

    use graven_tests::edge::Edge;
    use graven_tests::elsewhere::{BareRoot, mode, same_bytes};
    use graven_tests::image;

    #[test]
    fn a_server_is_the_same_everywhere_and_built_again() {
        everywhere(&Edge::server(), "server", "server", &["qemu-x86_64"]);
    }

    #[test]
    fn a_firewall_is_the_same_everywhere_and_built_again() {
        everywhere(&Edge::firewall(), "", "edge-firewall", &["qemu-x86_64", "qemu-arm64-uefi"]);
    }

    /// `folder` is what is checked out: the recipe, or what it lies in with its neighbours.
    fn everywhere(edge: &Edge, folder: &str, name: &str, targets: &[&str]) {
        let (folder, recipe) = (edge.recipe(folder), edge.recipe(name));
        // An order of files that can be another.
        for page in 0..40 {
            let page = recipe.join(format!("files/page-{page}"));
            std::fs::write(page, "a page").expect("the recipe takes files");
        }
        let text = std::fs::read_to_string(recipe.join("recipe.toml")).expect("it is there");
        let text = format!("{text}\n[[source]]\ndir = \"files\"\nat = \"/usr/share/pages\"\n");
        std::fs::write(recipe.join("recipe.toml"), text).expect("it can be written");

        let store = image::folder();
        mode(store.path(), 0o755);
        let store = store.path().join("store");
        let fetched = image::run(["fetch".as_ref(), recipe.as_os_str(), "--to".as_ref(), store.as_os_str()]);
        assert!(fetched.status.success(), "{}", String::from_utf8_lossy(&fetched.stderr));
        let store = store.to_str().expect("a plain path");
        let inner = recipe.strip_prefix(&folder).expect("it lies in it");
        let inner = if inner == Path::new("") { ".".to_owned() } else { inner.display().to_string() };
        for target in targets {
            same_bytes(&folder, &inner, target, &["--locked", "--offline", "--store", store]);
        }
        again_in_a_bare_root(&recipe, &folder, &inner, targets[0], Path::new(store));
    }

    fn again_in_a_bare_root(recipe: &Path, folder: &Path, inner: &str, target: &str, store: &Path) {
        let out = image::folder();
        let out = out.path().join("out");
        image::build(recipe, &out, &["--target", target]);
        let root = BareRoot::new(&[Path::new("/usr/sbin/mke2fs")]);
        root.bring_to(folder, "/checkout");
        root.bring_to(&out, "/release");
        let recipe = format!("/checkout/{inner}");
        let rebuild = |alone, more: &[&str]| {
            let words = [&["rebuild", "/release", "--recipe", &recipe], more].concat();
            let output = root.graven(alone, &words);
            let said = String::from_utf8_lossy(&output.stdout);
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains("the same byte for byte"), "{said}{told}");
        };
        rebuild(false, &[]);
        root.bring_to(store, "/store");
        rebuild(true, &["--offline", "--store", "/store"]);
    }
}
