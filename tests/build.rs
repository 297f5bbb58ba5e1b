//! Compiles the programs that go into test machines: static ones, the attacks for each processor that is attacked.

use std::path::Path;
use std::process::Command;

/// The environment variable that names a program, its compiler, the compiler's words, its sources.
type Program = (&'static str, &'static str, &'static [&'static str], &'static [&'static str]);

const ATTACK: &[&str] = &["attack", "execution", "loading", "policy", "devicemapper"];
const PROGRAMS: [Program; 9] = [
    ("GRAVEN_ATTACK_X86_64", "gcc", &[], ATTACK),
    ("GRAVEN_ATTACK_ARM64", "aarch64-linux-gnu-gcc", &[], ATTACK),
    ("GRAVEN_ATTACK_ARM32", "arm-linux-gnueabihf-gcc", &["-nostdlib"], &["attack32"]),
    ("GRAVEN_JUDGE", "gcc", &[], &["judge"]),
    ("GRAVEN_JUDGE_ARM64", "aarch64-linux-gnu-gcc", &[], &["judge"]),
    ("GRAVEN_DECIDE", "gcc", &[], &["decide", "machine", "devices", "places", "ways", "records"]),
    ("GRAVEN_AGREE", "gcc", &[], &["agree", "machine", "devices", "records"]),
    ("GRAVEN_NOTHING", "gcc", &["-nostdlib"], &["nothing"]),
    ("GRAVEN_CHATTR", "gcc", &[], &["chattr"]),
];

fn main() {
    let folder = Path::new("src/guest");
    println!("cargo::rerun-if-changed={}", folder.display());
    let out = std::env::var_os("OUT_DIR").expect("cargo sets it");
    for (name, compiler, words, sources) in PROGRAMS {
        let program = Path::new(&out).join(name);
        let status = Command::new(compiler)
            .args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&program)
            .args(words)
            .args(sources.iter().map(|source| folder.join(source).with_extension("c")))
            .status()
            .unwrap_or_else(|error| panic!("{compiler}: {error}: run tests/setup.sh"));
        assert!(status.success(), "{compiler} could not compile {sources:?}: {status}");
        println!("cargo::rustc-env={name}={}", program.display());
    }
    asking(folder, &Path::new(&out).join("asking"));
}

/// The interpreter that asks the kernel: one file, linked as stage0 is.
fn asking(folder: &Path, program: &Path) {
    let status = Command::new(std::env::var_os("RUSTC").expect("cargo sets it"))
        .args(["--edition", "2024", "--target", "x86_64-unknown-linux-musl", "-Dwarnings"])
        .args(["-Copt-level=s", "-Cpanic=abort", "-Clinker=rust-lld", "-Clinker-flavor=ld.lld"])
        .args(["-Clink-self-contained=yes", "-Ctarget-feature=+crt-static", "-Cstrip=symbols", "-o"])
        .arg(program)
        .arg(folder.join("asking.rs"))
        .status()
        .expect("the compiler can be started");
    assert!(status.success(), "asking.rs: {status}: run tests/setup.sh");
    println!("cargo::rustc-env=GRAVEN_ASKING={}", program.display());
}
