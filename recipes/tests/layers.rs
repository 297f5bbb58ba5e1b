//! What lies over what.

#![allow(clippy::unwrap_used, reason = "a test may fail here")]

use graven_recipe::{
    Content, KernelSource, Metadata, Modules, PolicyMode, Profile, Recipe, Relaxation, Selection, SourceKind,
    Stub,
};
use std::path::{Path, PathBuf};

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}

fn load(folder: &Path, target: &str, profile: Profile, sets: &[&str]) -> graven_recipe::Loaded {
    let sets = sets.iter().map(|set| (*set).to_owned()).collect();
    let selection = Selection { target: Some(target.into()), profile, sets };
    Recipe::load(folder, &selection).unwrap_or_else(|error| panic!("{error}"))
}

const COMMON: &str = r#"
version = "0.0.1"
init-args = ["common"]
hostname = "common"
files."/a" = { text = "common", mode = 0o600, owner = "1:2" }
files."/b" = "b.txt"
lockdown.relax.ptrace = "debugging"
packages.local = ["common/*.deb"]
[kernel]
modules = ["loop"]
[target.qemu-x86_64]
init-args = ["common-target"]
[profile.development]
init-args = ["common-profile"]
"#;

const TOP: &str = r#"
inherit = ["../shared/common.toml"]
name = "fw"
version = "2.4.1"
targets = ["qemu-x86_64", "x86_64-uefi", "qemu-x86_64"]
init = "/init"
init-args = ["top"]
source-date = 2026-01-01T00:00:00Z
[packages]
local = ["dist/fw_*_{arch}.deb"]
[[source]]
tar = "root.tar"
[[source]]
dir = "overlay"
at = "/opt"
[files]
"/a" = { text = "top" }
[kernel]
local = ["k.deb"]
modules = ["usb-storage"]
[boot]
stub = "s.deb"
[disk]
slots = 2
root-size = "1G"
[target.qemu-x86_64]
disk.slots = 1
init-args = ["target"]
[target.x86_64-uefi]
kernel.modules = "all"
[profile.development]
policy.mode = "audit"
init-args = ["profile"]
hostname = "lab"
"#;

fn example() -> (tempfile::TempDir, PathBuf) {
    let folder = folder(&[("shared/common.toml", COMMON), ("fw/recipe.toml", TOP)]);
    let recipe = folder.path().join("fw");
    (folder, recipe)
}

#[test]
fn later_layers_lie_over_earlier_ones() {
    let (_folder, path) = example();
    let loaded = load(&path, "qemu-x86_64", Profile::Development, &["hostname=desk", "disk.esp-size='64M'"]);
    let recipe = loaded.recipe;

    assert_eq!(recipe.init.args, ["common", "top", "common-target", "target", "common-profile", "profile"]);
    assert_eq!(recipe.version.to_string(), "2.4.1");
    assert_eq!(recipe.hostname.as_deref(), Some("desk"));
    assert_eq!(recipe.policy.mode, PolicyMode::Audit);
    assert_eq!((recipe.disk.slots, recipe.disk.root_size.unwrap().value), (1, 1 << 30));
    assert_eq!(recipe.disk.esp_size.unwrap().value, 64 << 20);
    assert_eq!(*recipe.lockdown.relax[&Relaxation::Ptrace], "debugging");
    assert_eq!(recipe.targets, ["qemu-x86_64", "x86_64-uefi"]);
    assert_eq!(recipe.source_date, Some(1_767_225_600));
    let Modules::Listed(modules) = recipe.kernel.modules else { panic!("all") };
    assert_eq!(modules.iter().map(|m| m.as_str()).collect::<Vec<_>>(), ["loop", "usb_storage"]);
    assert_eq!(loaded.files, [path.join("recipe.toml"), path.join("../shared/common.toml")]);
}

#[test]
fn a_release_for_another_target_takes_other_sections() {
    let (_folder, path) = example();
    let recipe = load(&path, "x86_64-uefi", Profile::Release, &[]).recipe;
    assert_eq!(recipe.init.args, ["common", "top"]);
    assert_eq!((recipe.disk.slots, recipe.policy.mode), (2, PolicyMode::Enforce));
    assert!(matches!(recipe.kernel.modules, Modules::All));
    assert_eq!(Recipe::targets_of(&path).unwrap(), ["qemu-x86_64", "x86_64-uefi"]);
}

#[test]
fn a_kernel_of_files_takes_the_place_of_packages_and_the_other_way_round() {
    let with = |base: &str, over: &str| {
        let section = format!("[target.x86_64-uefi]\nkernel.modules = \"all\"\n{over}\n");
        let text = TOP.replace("inherit = [\"../shared/common.toml\"]", "");
        let text = text.replace("[target.x86_64-uefi]\nkernel.modules = \"all\"\n", &section);
        let folder = folder(&[("recipe.toml", &text.replace("local = [\"k.deb\"]", base))]);
        let selection = Selection { target: Some("x86_64-uefi".into()), ..Selection::default() };
        Recipe::load(folder.path(), &selection).map(|loaded| loaded.recipe.kernel.source)
    };
    let (packages, files) =
        ("local = [\"k.deb\"]", "vmlinuz = \"Image\"\nconfig = \"config\"\nmodules-dir = \"m\"");
    let over = "kernel.vmlinuz = \"Image\"\nkernel.config = \"config\"";
    let KernelSource::Files { vmlinuz, modules_dir: None, .. } = with(packages, over).unwrap() else {
        panic!("the section's files count")
    };
    assert!(vmlinuz.path.ends_with("Image"));
    let KernelSource::Packages(found) = with(files, "kernel.local = [\"o.deb\"]").unwrap() else {
        panic!("the section's packages count")
    };
    assert_eq!(found.iter().map(|one| &*one.pattern).collect::<Vec<_>>(), ["o.deb"]);
    let mixed =
        with(packages, "kernel.local = [\"o.deb\"]\nkernel.vmlinuz = \"Image\"").unwrap_err().to_string();
    assert!(mixed.contains("either from `local` packages or from files"), "{mixed}");
    assert!(matches!(with("package = \"linux\"", over).unwrap(), KernelSource::Files { .. }));
    // More packages for one target are still more packages.
    let KernelSource::Packages(found) = with(packages, "kernel.local = [\"o.deb\"]").unwrap() else {
        panic!()
    };
    assert_eq!(found.len(), 2);
}

#[test]
fn an_entry_of_files_is_replaced_whole() {
    let (_folder, path) = example();
    let recipe = load(&path, "qemu-x86_64", Profile::Release, &[]).recipe;
    let entry = &recipe.files["/a"];
    assert!(matches!(&entry.content, Content::Text(text) if text == "top"));
    assert_eq!((entry.mode, entry.owner.uid), (None, 0));
}

#[test]
fn paths_start_from_the_file_that_states_them() {
    let (_folder, path) = example();
    let recipe = load(&path, "qemu-x86_64", Profile::Release, &["boot.stub=here/s.stub"]).recipe;
    let Content::File(b) = &recipe.files["/b"].content else { panic!("no file") };
    assert_eq!(b.path, path.join("../shared/b.txt"));
    assert_eq!(recipe.packages.local[1].pattern, "dist/fw_*_amd64.deb");
    let SourceKind::Dir { path: overlay } = &recipe.sources[1].kind else { panic!("no folder") };
    assert_eq!(overlay.path, path.join("overlay"));
    assert_eq!(recipe.sources[1].at, "/opt");
    assert_eq!(
        recipe.sources.iter().map(|source| source.metadata).collect::<Vec<_>>(),
        [Metadata::Keep, Metadata::Normalised]
    );
    let Some(Stub::File(stub)) = recipe.boot.stub else { panic!("no file") };
    assert_eq!(stub.place.file(), "--set");
}

#[test]
fn an_override_replaces_arrays_and_has_the_last_word() {
    let (_folder, path) = example();
    let sets = ["init-args=['only']", "files.'/a=b'='x'", "files.'/c'.symlink=a=b", "version=3.0.0"];
    let recipe = load(&path, "qemu-x86_64", Profile::Release, &sets).recipe;
    assert_eq!(recipe.init.args, ["only"]);
    assert!(recipe.files.contains_key("/a=b"));
    assert!(matches!(&recipe.files["/c"].content, Content::Symlink(to) if to == "a=b"));
    assert_eq!(recipe.version.to_string(), "3.0.0");
}

#[test]
fn a_board_file_of_ones_own_is_a_target() {
    let board = "name = 'acme'\ninherit = 'qemu-x86_64'\nconsoles = ['ttyS1,9600']\n";
    let recipe = TOP
        .replace("inherit = [\"../shared/common.toml\"]", "")
        .replace("\"x86_64-uefi\", \"qemu-x86_64\"]", "\"../boards/acme.toml\"]")
        + "[target.acme]\nhostname = 'acme'\n";
    let folder = folder(&[("boards/acme.toml", board), ("fw/recipe.toml", &recipe)]);
    let loaded = load(&folder.path().join("fw"), "acme", Profile::Release, &[]);
    assert_eq!(loaded.recipe.target.consoles, ["ttyS1,9600"]);
    assert_eq!(loaded.recipe.hostname.as_deref(), Some("acme"));
    assert_eq!(loaded.files.len(), 2);
}

#[test]
fn a_pattern_finds_files_sorted_and_only_files() {
    let (guard, path) = example();
    for name in ["dist/fw_2_amd64.deb", "dist/fw_1_amd64.deb", "dist/fw_1_arm64.deb", "dist/.fw_0_amd64.deb"]
    {
        std::fs::create_dir_all(path.join("dist/fw_9_amd64.deb")).unwrap();
        std::fs::write(path.join(name), "").unwrap();
    }
    let recipe = load(&path, "qemu-x86_64", Profile::Release, &[]).recipe;
    let found = recipe.packages.local[1].files().unwrap();
    assert_eq!(found, [path.join("dist/fw_1_amd64.deb"), path.join("dist/fw_2_amd64.deb")]);

    let shown =
        |error: graven_recipe::RecipeError| error.to_string().replace(&*guard.path().to_string_lossy(), "…");
    insta::assert_snapshot!(shown(recipe.packages.local[0].files().unwrap_err()), @r#"
    no file matches `common/*.deb`
     --> …/fw/../shared/common.toml:8:19
      |
    8 | packages.local = ["common/*.deb"]
      |                   ^^^^^^^^^^^^^^
      = help: looked for …/fw/../shared/common/*.deb
    "#);
    insta::assert_snapshot!(shown(recipe.packages.local[1].file().unwrap_err()), @r#"
    more than one file matches `dist/fw_*_amd64.deb`
      --> …/fw/recipe.toml:10:10
       |
    10 | local = ["dist/fw_*_{arch}.deb"]
       |          ^^^^^^^^^^^^^^^^^^^^^^
       = help: two of them: …/fw/dist/fw_1_amd64.deb, …/fw/dist/fw_2_amd64.deb
    "#);
}

#[test]
fn mount_options_are_strict_unless_allowed() {
    let mount = |more: &str| {
        let text =
            format!("{TOP}[[mount]]\ntarget = '/var'\ntype = 'tmpfs'\n{more}\n").replace("inherit = ", "# ");
        let folder = folder(&[("recipe.toml", &text)]);
        load(folder.path(), "qemu-x86_64", Profile::Release, &[]).recipe.mounts[0].option_line()
    };
    assert_eq!(mount(""), "noexec,nosuid,nodev");
    assert_eq!(
        mount("size = '1M'\nmode = '0750'\noptions = ['nr_inodes=9']"),
        "noexec,nosuid,nodev,size=1048576,mode=0750,nr_inodes=9"
    );
    assert_eq!(mount("allow.exec = 'a build server'\nallow.dev = 'x'"), "nosuid");
}

#[test]
fn images_are_named_with_their_registry() {
    let digest = "0123456789abcdef".repeat(4);
    let bytes: [u8; 32] = std::array::from_fn(|at| [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef][at % 8]);
    for (text, registry, repository, tag, pinned) in [
        ("r.example/app:1.0".to_owned(), "r.example", "app", Some("1.0"), None),
        ("localhost/a/b-c/d__e.f:_x-Y".to_owned(), "localhost", "a/b-c/d__e.f", Some("_x-Y"), None),
        (format!("127.0.0.1:5000/a@sha256:{digest}"), "127.0.0.1:5000", "a", None, Some(bytes)),
        (format!("[::1]:5000/a:t@sha256:{digest}"), "[::1]:5000", "a", Some("t"), Some(bytes)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let source = format!("[[source]]\noci = '{text}'\nplain-http = true\n");
        let recipe = format!(
            "name = 'a'\nversion = '1.0.0'\ntargets = ['qemu-x86_64']\ninit = '/init'\nkernel.local = ['k.deb']\n\
             boot.stub = 's.deb'\n{source}"
        );
        std::fs::write(folder.path().join("recipe.toml"), recipe).unwrap();
        let recipe = Recipe::load(folder.path(), &Selection::default()).unwrap().recipe;
        let SourceKind::Oci { image, plain_http } = &recipe.sources[0].kind else { panic!("no image") };
        assert_eq!((image.text.as_str(), *plain_http), (text.as_str(), Some(true)));
        assert_eq!((image.registry.as_str(), image.repository.as_str()), (registry, repository));
        assert_eq!((image.tag.as_deref(), image.digest), (tag, pinned));
        assert_eq!(recipe.sources[0].metadata, Metadata::Keep);
    }
}
