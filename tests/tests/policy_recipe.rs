//! Policies as people write them: rules and texts of a recipe, checked as the kernel reads them, bound to the root hash.

use std::fs;
use std::path::Path;
use std::process::Command;

use graven_tests::program::{Said, run_in};
use graven_tests::{image, inputs};
use serde_json::Value;

/// A recipe over `recipes/minimal` in a folder of its own.
fn recipe(more: &str) -> tempfile::TempDir {
    let folder = image::folder();
    let base = inputs::project().join("recipes/minimal/recipe.toml");
    fs::write(folder.path().join("recipe.toml"), format!("inherit = [{base:?}]\n{more}")).expect("a file");
    folder
}

fn write(folder: &Path, name: &str, contents: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().expect("it lies in a folder")).expect("folders can be made");
    fs::write(path, contents).expect("files can be written");
}

fn output(folder: &Path, name: &str) -> String {
    fs::read_to_string(folder.join("out").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_str(&output(folder, "manifest.json")).expect("it is JSON")
}

/// What `graven verify` says of the link `policy`.
fn verified(folder: &Path) -> Value {
    let trust = image::keys().join("db.crt");
    let words = ["verify", "out/disk.img", "--json", "--trust", trust.to_str().expect("plain")];
    let said: Said = run_in(folder, image::graven(), words);
    let report: Value =
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {}", said.err));
    let links = report["links"].as_array().expect("a list");
    links.iter().find(|link| link["name"] == "policy").expect("the link is judged").clone()
}

fn refused(folder: &Path) -> String {
    let output = image::try_build(folder, &folder.join("out"), image::keys(), &[]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(!folder.join("out").exists(), "nothing is left");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn rules_of_a_recipe_go_before_the_roots_and_files_are_named_by_what_fsverity_measures() {
    let folder = recipe(
        "[[policy.rule]]\nop = [\"EXECUTE\"]\nfiles = [\"plugins/*.so\"]\n\
         [[policy.rule]]\nop = [\"KMODULE\", \"FIRMWARE\"]\nfsverity-signature = true\naction = \"DENY\"\n",
    );
    let folder = folder.path();
    write(folder, "plugins/a.so", vec![7; 10_000]);
    write(folder, "plugins/b.so", "b");
    image::build(folder, &folder.join("out"), &[]);

    let digest = |name: &str| {
        let measured =
            Command::new("fsverity").arg("digest").arg("--compact").arg(folder.join(name)).output();
        let measured = measured.expect("fsverity can be started: run tests/setup.sh").stdout;
        String::from_utf8(measured).expect("text").trim().to_owned()
    };
    let hash = manifest(folder)["root"]["root_hash"].as_str().expect("a text").to_owned();
    let expected = [
        "policy_name=minimal policy_version=0.1.0".to_owned(),
        "DEFAULT action=DENY".to_owned(),
        format!("op=EXECUTE fsverity_digest=sha256:{} action=ALLOW", digest("plugins/a.so")),
        format!("op=EXECUTE fsverity_digest=sha256:{} action=ALLOW", digest("plugins/b.so")),
        "op=KMODULE fsverity_signature=TRUE action=DENY".to_owned(),
        "op=FIRMWARE fsverity_signature=TRUE action=DENY".to_owned(),
        format!("op=EXECUTE dmverity_roothash=sha256:{hash} action=ALLOW"),
        format!("op=KMODULE dmverity_roothash=sha256:{hash} action=ALLOW"),
        format!("op=FIRMWARE dmverity_roothash=sha256:{hash} action=ALLOW"),
    ];
    assert_eq!(output(folder, "policy.pol").lines().collect::<Vec<_>>(), expected);
    let link = verified(folder);
    assert_eq!(link["state"], "ok", "{link}");
    assert!(link["detail"].as_str().expect("text").contains("2 more rules"), "{link}");

    // Beside it lies what a kernel of one's own would have compiled in.
    let checked = run_in(folder, image::graven(), ["policy", "check", "out/boot-policy.pol"]);
    assert_eq!(checked.status, 0, "{}{}", checked.out, checked.err);
    assert!(checked.out.contains("minimal-boot 0.0.0"), "{}", checked.out);
}

#[test]
fn a_text_of_ones_own_is_signed_as_it_stands_but_for_its_place_holders() {
    let folder = recipe("policy.text = \"mine.pol\"\n");
    let folder = folder.path();
    let text = "# Whoever reads this\npolicy_name={{name}} policy_version={{version}}\r\nDEFAULT action=DENY\n\
                op=EXECUTE dmverity_roothash=sha256:{{roothash}} action=ALLOW # the root\n\
                op=EXECUTE dmverity_signature=TRUE action=ALLOW\n";
    write(folder, "mine.pol", text);
    image::build(folder, &folder.join("out"), &[]);
    let hash = manifest(folder)["root"]["root_hash"].as_str().expect("a text").to_owned();
    let expected =
        text.replace("{{name}}", "minimal").replace("{{version}}", "0.1.0").replace("{{roothash}}", &hash);
    assert_eq!(output(folder, "policy.pol"), expected);
    let link = verified(folder);
    assert_eq!(link["state"], "unproved", "what a key signs is not in the image: {link}");
}

#[test]
fn a_policy_that_leaves_open_what_runs_needs_a_reason() {
    let open = "policy_name=minimal policy_version=0.1.0\nDEFAULT action=ALLOW\n\
                op=KMODULE dmverity_roothash=sha256:{{roothash}} action=ALLOW\n";
    let folder = recipe("policy.text = \"mine.pol\"\n");
    write(folder.path(), "mine.pol", open);
    let said = refused(folder.path());
    for words in [
        "mine.pol",
        "default-allow: line 2, column 1",
        "unbound-execute: ",
        "unbound-kexec-image: ",
        "accept.NAME",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }

    let all = ["execute", "firmware", "kmodule", "kexec-image", "kexec-initramfs", "policy", "x509-cert"];
    let reasons: String = all.iter().map(|op| format!("unbound-{op} = \"for the laboratory\"\n")).collect();
    let more = "default-allow = \"for the laboratory\"\n";
    let folder = recipe(&format!("[policy]\ntext = \"mine.pol\"\n[policy.accept]\n{more}{reasons}"));
    write(folder.path(), "mine.pol", open);
    image::build(folder.path(), &folder.path().join("out"), &[]);
    assert_eq!(manifest(folder.path())["accepted"]["policy.unbound-execute"], "for the laboratory");
    assert_eq!(verified(folder.path())["state"], "bad", "the image says what it is");
}

#[test]
fn a_policy_that_is_none_to_ship_stops_the_build() {
    let own = "op=EXECUTE dmverity_roothash=sha256:{{roothash}} action=ALLOW\n";
    let head = "policy_name={{name}} policy_version={{version}}\nDEFAULT action=DENY\n";
    let other = format!("op=EXECUTE dmverity_roothash=sha256:{} action=ALLOW\n", "5a".repeat(32));
    for (text, accept, words) in [
        ("policy_name=minimal\n".to_owned(), "refused", "refused: line 1"),
        (
            format!("{head}{own}op=EXECUTE fsverity_digest=sha256:12 action=ALLOW\n"),
            "",
            "digest-length: line 4",
        ),
        (format!("{head}{own}\0"), "text-after-nul", "text-after-nul: line 4"),
        (format!("{head}{own}"), "unbound-execute", "the policy gives no occasion for it"),
        (format!("{head}{other}"), "", "lets no program of the root run"),
        (
            format!("policy_name=other policy_version={{{{version}}}}\nDEFAULT action=DENY\n{own}"),
            "",
            "the policy is other 0.1.0, the recipe's name and version are minimal 0.1.0",
        ),
    ] {
        let accept = match accept {
            "" => String::new(),
            name => format!("policy.accept.{name} = \"a reason\"\n"),
        };
        let folder = recipe(&format!("policy.text = \"mine.pol\"\n{accept}"));
        write(folder.path(), "mine.pol", &text);
        let said = refused(folder.path());
        assert!(said.contains(words), "{words}: {said}");
    }
}
