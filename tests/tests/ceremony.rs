//! The guide's key ceremony: every command of the page, in its order, does what the page says.

use std::fs;
use std::process::Command;

use graven_tests::{image, inputs};

#[test]
#[cfg_attr(not(feature = "full"), ignore = "keys of every kind, and builds with them: feature `full`")]
fn every_command_of_the_key_ceremony_works() {
    let page = fs::read_to_string(inputs::project().join("docs/guide/src/ceremony.md")).expect("the page");
    let commands: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(commands.len() > 20, "{commands:?}");

    let folder = image::folder();
    let at = |name: &str| folder.path().join(name);
    let minimal = inputs::project().join("recipes/minimal/recipe.toml");
    fs::create_dir(at("acme")).expect("a folder");
    fs::create_dir(at("tokens")).expect("a folder");
    let recipe = format!("inherit = [{minimal:?}]\nname = \"acme\"\n");
    fs::write(at("acme/recipe.toml"), recipe).expect("a file");
    let tokens = format!("directories.tokendir = {}\nlog.level = ERROR\n", at("tokens").display());
    fs::write(at("softhsm2.conf"), tokens).expect("a file");
    fs::write(at("half-1"), "correct horse ").expect("a file");
    fs::write(at("half-2"), "battery staple\n").expect("a file");

    let program = image::graven().parent().expect("it lies in a folder");
    let others = std::env::var("PATH").expect("there is a path");
    let done = Command::new("bash")
        .args(["-euxo", "pipefail", "-c", &commands.join("\n")])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{others}", program.display()))
        .env("SOFTHSM2_CONF", at("softhsm2.conf"))
        .env("MODULE", "/usr/lib/softhsm/libsofthsm2.so")
        .envs([("PIN", "4711"), ("SO_PIN", "0815")])
        .output()
        .expect("bash can be started");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{said}");

    let left = image::outputs(&at("ceremony"));
    assert!(
        !left.keys().any(|name| name.ends_with(".key")),
        "no private key is in a file: {:?}",
        left.keys()
    );
    let record = fs::read_to_string(at("record.txt")).expect("the record");
    assert!(record.contains("CN=Acme db") && record.contains("ceremony/db.auth"), "{record}");
    assert!(fs::metadata(at("db-append.auth")).expect("the update").len() > 1000);
}
