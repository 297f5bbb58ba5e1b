//! Compiles the attack programs that go into test images: one static program.

use std::path::Path;
use std::process::Command;

fn main() {
    let folder = Path::new("src/guest");
    println!("cargo::rerun-if-changed={}", folder.display());
    let sources = ["attack", "execution", "loading", "policy", "devicemapper"]
        .map(|name| folder.join(name).with_extension("c"));
    let program = Path::new(&std::env::var_os("OUT_DIR").expect("cargo sets it")).join("attack");
    let status = Command::new("gcc")
        .args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(&program)
        .args(&sources)
        .status()
        .expect("gcc must be there: run tests/setup.sh");
    assert!(status.success(), "gcc could not compile {}: {status}", folder.display());
    println!("cargo::rustc-env=GRAVEN_ATTACK={}", program.display());
}
