//! What a recipe's author reads when something is wrong with it, word for word.

#![allow(clippy::unwrap_used, reason = "a test may fail here")]

use graven_recipe::{Profile, Recipe, Selection};
use std::fmt::Write;
use std::path::Path;

const GOOD: &str = r#"name = "fw"
version = "1.0.0"
targets = ["qemu-x86_64"]
init = "/init"
kernel.local = ["k.deb"]
boot.stub = "s.deb"
"#;

fn load(folder: &Path, selection: &Selection) -> String {
    match Recipe::load(folder, selection) {
        Ok(_) => "no error".to_owned(),
        Err(error) => {
            let source = std::error::Error::source(&error).map(|s| format!(": {s}")).unwrap_or_default();
            format!("{error}{source}").replace(&format!("{}/", folder.display()), "")
        }
    }
}

/// A catalogue: what is written after a good recipe, and what is answered.
fn answers(cases: &[&str]) -> String {
    let mut catalogue = String::new();
    for case in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("recipe.toml"), format!("{GOOD}{case}\n")).unwrap();
        let answer = load(folder.path(), &Selection::default());
        writeln!(catalogue, "===== {case}\n{answer}\n").unwrap();
    }
    catalogue
}

#[test]
fn a_good_recipe_is_good() {
    assert_eq!(answers(&[""]), "===== \nno error\n\n");
}

#[test]
fn unknown_keys_name_the_nearest_right_word() {
    insta::assert_snapshot!(answers(&[
        "hostnam = 'x'",
        "[packages]\ninstal = ['x']",
        "[packages]\ninstall = ['x']\nessential = true",
        "[pakages]",
        "kernel.command_line = ['x']",
        "[verity]\nzzz = 1",
        "[[source]]\ndri = 'x'",
        "[files]\n'/x' = { text = '', own = '0:0' }",
        "[[mount]]\ntarget = '/x'\ntype = 'tmpfs'\nallow.exce = 'x'",
        "[users.admin]\nssh-key = ['x']\npassword = 'x'\n[services]\nenabled = ['x']",
        "kernel.package = 'linux'",
        "firmware.blob.u-boot = 'x'",
        "firmware.blobs.u-boot = 'x'",
        "[target.qemu-x86_64]\ntargets = ['x']\nkernel.modulse = 'all'",
        "[target.x86_64-uef]",
        "[target.x86_64-uefi]\ndisk.slot = 2",
        "[profile.developement]",
    ]));
}

#[test]
fn wrong_types_say_what_is_expected() {
    insta::assert_snapshot!(answers(&[
        "hostname = 3",
        "disk = 'large'",
        "disk.slots = '2'",
        "init-args = 'x'",
        "init-args = ['x', 3]",
        "source = 'x.tar'",
        "source = [3]",
        "lockdown.exec-securebits = 'yes'",
        "lockdown.relax = ['ptrace']",
        "scripts.interpreters = '/usr/bin/sh'",
        "lockdown.relax.ptrace = true",
        "files.'/x' = 3",
        "files = 3",
        "verity.fec-roots = 2.5",
        "source-date = '2026-01-01'",
        "inherit = 'x.toml'",
        "firmware.blobs = 'x'",
        "firmware.blobs.u-boot = 3",
        "users.admin = 'x'",
        "services.enable = 'ssh'",
        "target = 3",
        "target.qemu-x86_64 = 3",
    ]));
}

#[test]
fn impossible_values_say_what_is_possible() {
    insta::assert_snapshot!(answers(&[
        "hostname = '-x-'",
        "scripts.unenlightened = 'denied'",
        "policy.rule = [{ fsverity-signature = true }]",
        "policy.rule = [{ op = ['EXEC'] }]",
        "policy.successor = '/var/lib/acme/policy.p7b'",
        "state = { persist = ['/var/log'], exec = { '/srv' = 'plug-ins' } }",
        "policy.rule = [{ op = ['EXECUTE'], fsverity-digest = 'sha256:12' }]",
        "policy = { text = 'p.pol', rule = [{ op = ['EXECUTE'], dmverity-signature = true }] }",
        "scripts.interpreters = ['sh']",
        "scripts.accept.'/usr/bin/sh' = ' '",
        "scripts = { interpreters = ['/usr/bin/sh'], accept = { '/usr/bin/sh' = 'both' } }",
        "disk.slots = 3",
        "disk.slots = 2",
        "disk.root-size = '512MB'",
        "disk.root-size = 5000",
        "disk.esp-size = '99999999T'",
        "verity.fec-roots = 1",
        "verity.fec-roots = 25",
        "verity.salt = 'abc'",
        "verity.data-block-size = 1024",
        "policy.mode = 'audti'",
        "policy.mode = 'audit'",
        "boot.secure-boot = 'off'",
        "boot.on-failure = 'powerof'",
        "lockdown.relax.ptrac = 'debugger'",
        "lockdown.relax.ptrace = ' '",
        "source-date = 2026-01-01T00:00:00",
        "source-date = -1",
        "[[source]]\ntar = 'x'\ndir = 'y'",
        "[[source]]\nat = '/usr'",
        "[[source]]\ntar = 'x'\nsha256 = 'abc'",
        "[[source]]\ndir = 'x'\nat = 'usr'\nmetadata = 'normalized'",
        "files.'etc/x' = 'x'",
        "files.'/etc/x' = {}",
        "files.'/etc/x' = { source = 'x', text = 'y' }",
        "files.'/etc/x' = { text = 'y', mode = 644 }",
        "files.'/etc/x' = { text = 'y', owner = 'root:root' }",
        "files.'/etc/x' = { symlink = 'y', mode = '0777' }",
        "kernel.modules = 'al'",
        "kernel.modules = ['drivers/foo.ko']",
        "kernel.vmlinuz = 'x'",
        "kernel.command-line = ['quiet', 'ipe.enforce=0', 'a b']",
        "kernel.accept.No = 'x'",
        "packages.local = ['[']",
        "packages.accept-scripts.Foo = 'x'",
        "users.Admin = {}",
        "users.admin = { uid = -1, shell = 'sh', comment = 'a:b' }",
        "services = { enable = ['s h', 'ssh'], mask = ['ssh'] }",
        "[[mount]]\ntarget = '/'\ntype = 'tmpfs'",
        "[[mount]]\ntarget = '/x'\ntype = 'ext4'",
        "[[mount]]\ntype = 'bpf'\nsize = '1M'\noptions = ['exec', 'nosuid', 'a,b']",
        "[[mount]]\ntarget = '/x'\ntype = 'tmpfs'\n[[mount]]\ntarget = '/x'\ntype = 'tmpfs'",
        "hostname = 99999999999999999999",
        "init-args = ['\u{1F9EA}', \"\ttab\", 7]",
        "x = [",
    ]));
}

#[test]
fn volumes_that_cannot_be_are_refused() {
    let volume = |name: &str, target: &str, more: &str| {
        format!("[[volume]]\nname = '{name}'\nimage = '{name}.erofs'\ntarget = '{target}'\n{more}")
    };
    let shop = volume("shop", "/opt/shop", "");
    let cases = [
        "[[volume]]".to_owned(),
        "[[volume]]\nname = 'Shop'\nimage = 3\ntarget = 'opt'\nallow = ['EXEC']\nsize = '1'\nmount = 'x'"
            .to_owned(),
        volume("root", "/", ""),
        volume("shop-verity", "/opt/a b", ""),
        format!("{shop}{}", volume("shop", "/srv/shop", "")),
        format!("{shop}{}", volume("other", "/opt/shop", "")),
        format!("{shop}{}", volume("plug-ins", "/opt/shop/plug-ins", "allow = []\n")),
        volume("shop", "/run/shop", ""),
        format!("{}[state]", volume("shop", "/var/lib/shop", "")),
        format!("{shop}[state]\npersist = ['/opt/shop/data']"),
        format!("{shop}[[mount]]\ntarget = '/opt'\ntype = 'tmpfs'"),
        format!("{shop}[disk]\nslots = 2\nroot-size = '64M'"),
    ];
    insta::assert_snapshot!(answers(&cases.each_ref().map(String::as_str)));
}

#[test]
fn images_that_nobody_can_mean_are_refused() {
    let digest = "0123456789abcdef".repeat(4);
    let oci = |image: &str| format!("[[source]]\noci = '{image}'");
    let cases = [
        oci("debian:13"),
        oci("team/app:1"),
        oci("docker.io/debian:13"),
        oci("docker://r.example/app:1"),
        oci("r.example/app"),
        oci("r.example/App:1"),
        oci("r.example/../app:1"),
        oci("r.example/app:-1"),
        oci("r.example:0/app:1"),
        oci("r.example/app:1@sha256:12"),
        oci(&format!("r.example/app@sha512:{digest}")),
        format!("{}\nsha256 = '{digest}'\nref = 'x'", oci("r.example/app:1")),
        format!("[[source]]\noci-layout = 'x'\nref = 'a'\ndigest = 'sha256:{digest}'\nplain-http = true"),
        format!("[[source]]\noci-archive = 'x'\ndigest = '{digest}'"),
        "[[source]]\ntar = 'x'\nref = 'a'".to_owned(),
    ];
    insta::assert_snapshot!(answers(&cases.each_ref().map(String::as_str)));
}

#[test]
fn what_is_missing_is_said_all_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    std::fs::write(&recipe, "targets = ['qemu-x86_64', 'x86_64-uefi', 'qemu-x86']\nversion = 2.4\n").unwrap();
    let mut catalogue = load(folder.path(), &Selection::default());
    for target in ["x86_64-uef", "qemu-x86_64"] {
        let selection = Selection { target: Some(target.into()), ..Selection::default() };
        write!(catalogue, "\n\n===== --target {target}\n{}", load(folder.path(), &selection)).unwrap();
    }
    std::fs::write(&recipe, "").unwrap();
    write!(catalogue, "\n\n===== empty\n{}", load(folder.path(), &Selection::default())).unwrap();
    std::fs::remove_file(&recipe).unwrap();
    write!(catalogue, "\n\n===== none\n{}", load(folder.path(), &Selection::default())).unwrap();
    insta::assert_snapshot!(catalogue);
}

#[test]
fn overrides_show_where_they_are_wrong() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("recipe.toml"), GOOD).unwrap();
    let mut catalogue = String::new();
    for set in [
        "policy.mode",
        "policy.mod=audit",
        "policy.mode=audit",
        "disk.slots=9",
        "version=1.2",
        "targets=[]",
        "init='x",
        "=3",
        "a b=3",
        "hostname=",
        "name=a\nversion='3.0.0'",
    ] {
        let selection = Selection { sets: vec![set.into()], ..Selection::default() };
        writeln!(catalogue, "===== --set {set}\n{}\n", load(folder.path(), &selection)).unwrap();
    }
    insta::assert_snapshot!(catalogue);
}

#[test]
fn roots_that_cannot_be_are_refused() {
    insta::assert_snapshot!(answers(&[
        "[root]\nfs = 'xfs'",
        "[root]\ncompress = 'gzip'",
        "[root]\nfs = 'squashfs'\ncompress = 'lz4hc'",
        "[root]\nfs = 'squashfs'\ndedupe = true",
        "[root]\nfs = 'ext4'\ncompress = 'zstd'\nlevel = 3",
        "[root]\nlevel = 3\ncluster = '64K'\ndedupe = true",
        "[root]\nfs = 'ext4'\ndedupe = true",
        "[root]\ncompress = 'zstd'\nlevel = 23",
        "[root]\ncompress = 'lz4hc'\nlevel = 13",
        "[root]\ncompress = 'lz4'\nlevel = 1",
        "[root]\ncompress = 'zstd'\ncluster = '12K'",
        "[root]\ncompress = 'zstd'\ncluster = '2M'",
        "[root]\ncompression = 'zstd'",
        "[target.qemu-x86_64]\nroot.level = 3",
        "[root]\nfs = 'ext4'\nplaces-of = 'files.json'",
    ]));
}

#[test]
fn what_a_root_is_compressed_with_can_be_stated_in_parts() {
    let more = "root.compress = 'zstd'\nroot.dedupe = true\n[target.qemu-x86_64]\nroot.level = 3\n";
    assert_eq!(answers(&[more]), format!("===== {more}\nno error\n\n"));
}

#[test]
fn inheritance_gone_wrong_names_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let top = |inherit: &str| write("recipe.toml", &format!("inherit = {inherit}\n{GOOD}"));
    write("a.toml", "inherit = ['b.toml']\n");
    write("b.toml", "inherit = ['a.toml']\n");
    write("c.toml", "inherit = ['e.toml']\n");
    write("d.toml", "inherit = ['e.toml']\n");
    write("e.toml", "[verity]\nfec_roots = 2\n");
    write("latin.toml", "");
    std::fs::write(folder.path().join("latin.toml"), b"name = '\xe9'").unwrap();
    write("board.toml", "name = 'own'\ninherit = 'qemu-x86_64'\nconsole = ['ttyS1']\n");
    let real = std::fs::canonicalize(folder.path()).unwrap().display().to_string();

    let mut catalogue = String::new();
    for inherit in [
        "['a.toml']",
        "['c.toml', 'd.toml']",
        "['nowhere.toml']",
        "['e.toml']",
        "['recipe.toml']",
        "['latin.toml']",
        "[3]",
        "[]\nboot.on-failure = 'board.toml'",
    ] {
        top(inherit);
        let answer = load(folder.path(), &Selection::default()).replace(&format!("{real}/"), "");
        writeln!(catalogue, "===== inherit = {inherit}\n{answer}\n").unwrap();
    }
    write("recipe.toml", &GOOD.replace("'qemu-x86_64'", "x").replace("\"qemu-x86_64\"", "'./board.toml'"));
    writeln!(catalogue, "===== a board file of one's own\n{}", load(folder.path(), &Selection::default()))
        .unwrap();
    insta::assert_snapshot!(catalogue);
}

#[test]
fn audit_is_for_development_images() {
    let folder = tempfile::tempdir().unwrap();
    let audit = format!("{GOOD}[profile.development]\npolicy.mode = 'audit'\n");
    std::fs::write(folder.path().join("recipe.toml"), audit).unwrap();
    for profile in [Profile::Release, Profile::Development] {
        let selection = Selection { profile, ..Selection::default() };
        let recipe = Recipe::load(folder.path(), &selection).unwrap().recipe;
        let audited = recipe.policy.mode == graven_recipe::PolicyMode::Audit;
        assert_eq!(audited, profile == Profile::Development);
    }
}
