//! Two releases of an image: what somebody changed is told, what follows is told apart, and nothing else.

use std::sync::Arc;

use graven_handoff::OnFailure;
use graven_image::gpt::Spec;
use graven_image::tree::{Content, Inode, Kind, Metadata, Tree, TreePath};
use graven_verify::Contents;
use graven_verify::diff::{Differences, Image as Compared, Section, diff};
use graven_verify::page::render_differences;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::image::{Change, Image};

fn put(tree: &mut Tree, name: &str, mode: u16, text: &str) {
    let path = TreePath::parse(name.as_bytes()).unwrap();
    let metadata = |mode| Metadata { mode, mtime: 1_700_000_000, ..Metadata::default() };
    tree.make_directories(&path.parent().unwrap(), &metadata(0o755)).unwrap();
    tree.insert(&path, Inode::new(metadata(mode), Kind::File(Content::from_bytes(text)))).unwrap();
}

/// A root with two packages, one of them of this version.
fn with_packages(tree: &mut Tree, version: &str) {
    let paragraph = |name: &str, version: &str| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")
    };
    let status = paragraph("libstill", "1") + &paragraph("moving", version);
    put(tree, "/var/lib/dpkg/status", 0o644, &status);
    put(
        tree,
        "/var/lib/dpkg/info/moving.list",
        0o644,
        "/.\n/usr/bin/moving\n/usr/share/doc/moving/changelog\n",
    );
    put(tree, "/var/lib/dpkg/info/libstill:amd64.list", 0o644, "/.\n/usr/lib/libstill.so\n");
    put(tree, "/usr/bin/moving", 0o755, &format!("moving {version}\n"));
    put(tree, "/usr/share/doc/moving/changelog", 0o644, &format!("{version}: another one\n"));
    put(tree, "/usr/lib/libstill.so", 0o644, "still\n");
}

fn compared(old: &Image, new: &Image) -> Differences {
    let open = |image: &Image| Contents::open(Arc::new(image.disk.clone())).unwrap();
    let (first, second) = (open(old), open(new));
    let (old, new) = (Some(&old.manifest), Some(&new.manifest));
    diff(Compared { contents: &first, manifest: old }, Compared { contents: &second, manifest: new }).unwrap()
}

/// The sections in which something is told.
fn told(differences: &Differences) -> Vec<&'static str> {
    let all = Section::ALL.iter().filter(|section| differences.count(**section) > 0);
    all.map(|section| section.name()).collect()
}

fn named(differences: &Differences, section: &str) -> Vec<String> {
    let value = serde_json::to_value(differences).unwrap();
    value[section].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_image_and_itself_are_the_same() {
    let same = compared(Image::plain(), Image::plain());
    assert!(same.is_empty(), "{same:?}");
    assert_eq!(same.to_string(), "", "nothing is said");
    let page = render_differences(&same);
    assert!(page.contains("No difference") && !page.contains("<nav"));
}

#[test]
fn a_release_with_one_package_upgraded_names_it_and_its_files_and_nothing_else() {
    let release = |version: &'static str, image: &'static str| {
        Image::build(&Change {
            tree: Box::new(move |tree| with_packages(tree, version)),
            policy: Box::new(move |text| text.replace("1.2.3", image)),
            plan: Box::new(move |plan| plan.image = format!("acme {image}")),
            os_release: Box::new(move |text| text.replace("1.2.3", image)),
            ..Change::default()
        })
    };
    let found = compared(&release("1.0-1", "1.2.3"), &release("1.0-2", "1.2.4"));
    assert_eq!(told(&found), ["packages", "files", "follows"], "{found}");
    let value = serde_json::to_value(&found).unwrap();
    assert_eq!(
        value["packages"],
        json!([{
            "name": "moving", "architecture": "amd64", "fate": "upgraded", "old": "1.0-1", "new": "1.0-2",
        }])
    );
    let files: Vec<(&str, Option<&str>)> =
        found.files.iter().map(|file| (file.path.as_str(), file.package.as_deref())).collect();
    assert_eq!(
        files,
        [("/usr/bin/moving", Some("moving")), ("/usr/share/doc/moving/changelog", Some("moving"))]
    );
    assert_eq!(
        named(&found, "follows"),
        [
            "root hash",
            "policy",
            "signed policy",
            "boot artefact",
            "policy_version",
            "os-release VERSION_ID",
            "plan image",
            "PARTUUID of root",
            "PARTUUID of root 2",
            "/var/lib/dpkg/status",
        ]
    );
}

/// Everything that somebody can change, once.
fn changed() -> Change {
    Change {
        tree: Box::new(|tree| {
            with_packages(tree, "2");
            put(tree, "/etc/shown", 0o644, "one\nTWO\n");
            put(tree, "/usr/bin/tool", 0o4755, "tool");
            put(tree, "/usr/bin/script", 0o755, "#!/usr/sbin/init\n");
            put(tree, "/etc/passwd", 0o644, "root:x:0:0::/:/bin/sh\nmallory:x:0:0::/:/bin/sh\n");
        }),
        policy: Box::new(|text| text + "op=FIRMWARE action=ALLOW\n"),
        line: Box::new(|line| line.replace("quiet", "debug")),
        plan: Box::new(|plan| plan.on_failure = OnFailure::Halt),
        initramfs: Box::new(|archive| {
            archive.file("/graven/modules/001-more.ko", 0o444, *b"more");
        }),
        boot_key: "pk",
        esp: vec![("EFI/more.efi", b"more".to_vec())],
        more_partitions: vec![Spec {
            type_guid: Uuid::from_u128(77),
            guid: Uuid::from_u128(78),
            name: "data".into(),
            len: 1 << 20,
            attributes: 0,
        }],
        ..Change::default()
    }
}

fn both() -> Differences {
    let old = Image::build(&Change {
        tree: Box::new(|tree| {
            with_packages(tree, "1");
            put(tree, "/etc/shown", 0o644, "one\ntwo\n");
            put(tree, "/usr/bin/tool", 0o755, "tool");
            put(tree, "/etc/passwd", 0o644, "root:x:0:0::/:/bin/sh\n");
        }),
        ..Change::default()
    });
    let mut new = Image::build(&changed());
    new.manifest.accepted.insert("kernel.no-lockdown".into(), "a bench machine".into());
    new.manifest.target = "x86_64-other".into();
    compared(&old, &new)
}

#[test]
fn everything_that_somebody_changed_is_told_in_its_place() {
    let found = both();
    let value = serde_json::to_value(&found).unwrap();
    let concern = |about: &str, what: &str, fate: &str, says: &str| json!({ "about": about, "what": what, "fate": fate, "says": says });
    assert_eq!(
        value["security"],
        json!([
            concern("set-id", "/usr/bin/tool", "added", "runs as user 0, mode 4755"),
            concern("user", "user mallory", "added", "x:0:0::/:/bin/sh"),
            concern("script", "/usr/bin/script", "added", "run by /usr/sbin/init"),
            concern("accepted", "kernel.no-lockdown", "added", "a bench machine"),
        ])
    );
    let change = |what: &str, old: Value, new: Value| json!({ "what": what, "old": old, "new": new });
    assert_eq!(value["policy"], json!([change("rule", Value::Null, json!("op=FIRMWARE action=ALLOW"))]));
    assert_eq!(
        value["command_line"],
        json!([change("quiet", json!("given"), Value::Null), change("debug", Value::Null, json!("given"))])
    );
    assert_eq!(value["plan"], json!([change("on-failure", json!("reboot"), json!("halt"))]));
    assert_eq!(named(&found, "signers"), ["boot artefact"]);
    assert_eq!(named(&found, "boot"), ["initramfs /graven/modules/001-more.ko"]);
    assert_eq!(named(&found, "partitions"), ["data"]);
    assert_eq!(named(&found, "esp"), ["EFI/more.efi"]);
    assert_eq!(value["made_from"], json!([change("target", json!("x86_64-uefi"), json!("x86_64-other"))]));
    let shown = value["files"].as_array().unwrap().iter().find(|file| file["path"] == "/etc/shown").unwrap();
    assert_eq!(shown["fate"], "changed");
    assert_eq!(shown["package"], Value::Null);
    assert_eq!(shown["changes"][0]["what"], "contents");
    assert_eq!(shown["lines"], "@@ -1,2 +1,2 @@\n one\n-two\n+TWO\n");

    let mut only = found;
    only.retain(&["packages".parse().unwrap(), "esp".parse().unwrap()]);
    assert_eq!(told(&only), ["esp", "packages"]);
    only.retain(&[Section::KernelConfig]);
    assert!(only.is_empty());
    assert!("nothing".parse::<Section>().unwrap_err().contains("expected one of security, policy"));
}

#[test]
fn words_and_page_tell_it_all_and_names_are_text() {
    let found = both();
    let words = found.to_string();
    for line in [
        "What bears on security\n  + set-id      /usr/bin/tool: runs as user 0, mode 4755\n",
        "Policy\n  + rule: op=FIRMWARE action=ALLOW\n",
        "Packages\n  ~ moving:amd64 1 → 2\n",
        "Files\n  of moving\n    ~ /usr/bin/moving: contents 9 bytes, sha256:",
        "  of no package\n",
        "        -two\n        +TWO\n",
        "What follows\n  ~ root hash: ",
    ] {
        assert!(words.contains(line), "{line} in:\n{words}");
    }
    let mut hostile = found;
    hostile.files[0].path = "/<script>alert(1)</script>\x1b[2J".into();
    hostile.old.name = "<b>".into();
    let page = render_differences(&hostile);
    assert!(page.contains("/&lt;script&gt;") && page.contains("&lt;b&gt;"), "{page}");
    assert!(!page.contains("<script") && !page.contains("<b>&"), "{page}");
    assert!(!hostile.to_string().contains('\x1b'), "a terminal obeys nothing of it");
    for section in Section::ALL.iter().filter(|section| hostile.count(**section) > 0) {
        assert!(page.contains(&format!("<section id=\"{}\"", section.name())), "{}", section.name());
    }
}

#[test]
fn a_changed_kernel_is_told_by_its_symbols() {
    let config = |more: &'static str| {
        Image::build(&Change {
            tree: Box::new(move |tree| {
                let path = format!("/usr/lib/modules/{}/config", crate::image::RELEASE);
                let text = crate::image::CONFIG.replace("CONFIG_SECURITY_IPE=y", more);
                put(tree, &path, 0o644, &text);
            }),
            ..Change::default()
        })
    };
    let found =
        compared(&config("CONFIG_SECURITY_IPE=y"), &config("# CONFIG_SECURITY_IPE is not set\nCONFIG_NEW=m"));
    let value = serde_json::to_value(&found).unwrap();
    assert_eq!(
        value["kernel_config"],
        json!([
            { "what": "NEW", "old": null, "new": "m" },
            { "what": "SECURITY_IPE", "old": "y", "new": null },
        ])
    );
}
