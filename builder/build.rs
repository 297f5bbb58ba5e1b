//! Puts stage0 into the program: builds it with `boot/stage0/build.sh` for each architecture that the compiler has a
//! standard library for, or takes a prebuilt one from `GRAVEN_STAGE0_X86_64` or `GRAVEN_STAGE0_AARCH64`.
//!
//! For each architecture that there is one for, the configuration `stage0_x86_64` or `stage0_aarch64` is set, and
//! `GRAVEN_STAGE0_X86_64_FILE` or `GRAVEN_STAGE0_AARCH64_FILE` is the file's path for `include_bytes!`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `build.sh`'s exit status where the compiler has no standard library for the architecture.
const NO_STANDARD_LIBRARY: i32 = 3;

const SOURCES: [&str; 6] = [
    "boot/stage0/src",
    "boot/stage0/Cargo.toml",
    "boot/stage0/Cargo.lock",
    "boot/stage0/build.sh",
    "boot/handoff/src",
    "boot/handoff/Cargo.toml",
];

fn main() {
    let out = PathBuf::from(variable("OUT_DIR"));
    let manifest = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let repository = manifest.parent().expect("the builder is a folder of the repository").to_owned();
    for source in SOURCES {
        println!("cargo::rerun-if-changed={}", repository.join(source).display());
    }
    for arch in ["x86_64", "aarch64"] {
        let upper = arch.to_uppercase();
        let prebuilt = format!("GRAVEN_STAGE0_{upper}");
        println!("cargo::rerun-if-env-changed={prebuilt}");
        println!("cargo::rustc-check-cfg=cfg(stage0_{arch})");
        // One that is built here is newer than the start of this script: watched, it would be built each time.
        let program = match env::var_os(&prebuilt) {
            Some(path) => {
                println!("cargo::rerun-if-changed={}", Path::new(&path).display());
                Some(PathBuf::from(path))
            }
            None => build(arch, &repository, &out),
        };
        if let Some(program) = program {
            let program =
                program.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
            println!("cargo::rustc-cfg=stage0_{arch}");
            println!("cargo::rustc-env=GRAVEN_STAGE0_{upper}_FILE={}", program.display());
        }
    }
}

/// Builds in a folder of its own, so that it does not wait for the cargo that is waiting for this.
fn build(arch: &str, repository: &Path, out: &Path) -> Option<PathBuf> {
    let program = out.join(format!("stage0-{arch}"));
    let output = Command::new("sh")
        .arg(repository.join("boot/stage0/build.sh"))
        .arg(arch)
        .arg(&program)
        .env("CARGO_TARGET_DIR", out.join("stage0-target"))
        .output()
        .expect("sh can be started");
    if output.status.success() {
        return Some(program);
    }
    let message = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(NO_STANDARD_LIBRARY) {
        println!("cargo::warning=no stage0 for {arch}: {}", message.trim());
        return None;
    }
    panic!("boot/stage0/build.sh {arch}: {}\n{message}", output.status);
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("cargo sets {name}"))
}
