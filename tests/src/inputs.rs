//! The parts of an image that the set-up script fetched.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::emulated::Emulated;

/// `~/.cache/graven`.
pub fn cache() -> PathBuf {
    let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home);
    cache.expect("HOME is set").join("graven")
}

/// The newest Debian package in a folder of the cache whose file begins with `prefix` and is of the given kernel flavour,
/// if of any. amd64's lie in `debs`, arm64's in `debs/arm64`.
fn newest(folder: &str, prefix: &str, cloud: bool) -> PathBuf {
    let folder = cache().join(folder);
    let listed = std::fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}: run tests/setup.sh", folder.display()));
    let mut found: Vec<String> = listed
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix) && name.ends_with(".deb"))
        .filter(|name| name.contains("-cloud-") == cloud && !name.contains("-rt-"))
        .collect();
    found.sort_by_key(|name| numbers(name));
    folder.join(
        found.pop().unwrap_or_else(|| panic!("no {prefix}*.deb in {}: run tests/setup.sh", folder.display())),
    )
}

/// The numbers in a name, which order versions well enough here.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// `linux-{binary,modules,base}-7.3…` of the generic flavour: `part` is `binary`, `modules` or `base`.
pub fn kernel(part: &str) -> PathBuf {
    newest("debs", &format!("linux-{part}-7.3"), false)
}

/// The same of the cloud flavour, which the builder must refuse: `binary`, `modules` or `base`.
pub fn cloud_kernel(part: &str) -> PathBuf {
    newest("debs", &format!("linux-{part}-7.3"), true)
}

/// The same for arm64.
pub fn kernel_arm64(part: &str) -> PathBuf {
    newest("debs/arm64", &format!("linux-{part}-7.3"), false)
}

/// systemd's UEFI stub.
pub fn stub() -> PathBuf {
    newest("debs", "systemd-boot-efi_", false)
}

/// The package with a stub for arm64 that starts the kernel itself instead of having the firmware load it: systemd 258's or
/// newer.
pub fn newer_stub_arm64() -> PathBuf {
    newest("debs/newer-stub", "systemd-boot-efi_", false)
}

/// U-Boot for arm64 boards of a maker of processors: `rockchip` or `mvebu`.
pub fn u_boot(maker: &str) -> PathBuf {
    newest("debs/arm64", &format!("u-boot-{maker}_"), false)
}

/// Static busybox.
pub fn busybox() -> PathBuf {
    newest("debs", "busybox-static_", false)
}

/// The same for arm64.
pub fn busybox_arm64() -> PathBuf {
    newest("debs/arm64", "busybox-static_", false)
}

/// A file of a Debian package; `path` begins with `./`.
pub fn member(package: &Path, path: &str) -> Vec<u8> {
    let mut unpack = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped())
        .spawn()
        .expect("dpkg-deb can be started");
    let archive = unpack.stdout.take().expect("it is a pipe");
    let output = Command::new("tar").args(["-xO", path]).stdin(archive).output().expect("tar can be started");
    let unpacked = unpack.wait().expect("dpkg-deb ends");
    assert!(unpacked.success() && output.status.success(), "{} has no {path}", package.display());
    output.stdout
}

/// The kernels of `tests/kernels` that trust [`arm64_keys`]: a folder with `base/` and `deny/`, each with `Image`,
/// `config` and `modules/`. Built where they are not there yet, which takes minutes.
pub fn arm64_kernels() -> &'static Path {
    static KERNELS: OnceLock<PathBuf> = OnceLock::new();
    KERNELS.get_or_init(|| {
        let build = project().join("tests/kernels/build.sh");
        let output =
            Command::new(&build).stderr(Stdio::inherit()).output().expect("the script can be started");
        assert!(output.status.success(), "{}: {}", build.display(), output.status);
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end())
    })
}

/// The kernel of `tests/kernels/ml-dsa.config`, which trusts the policy certificate of [`ml_dsa_keys`]. Built where it is not there
/// yet, which takes minutes.
pub fn ml_dsa_kernel() -> PathBuf {
    let build = project().join("tests/kernels/build.sh");
    let output = Command::new(&build)
        .arg("--ml-dsa")
        .stderr(Stdio::inherit())
        .output()
        .expect("the script can be started");
    assert!(output.status.success(), "{}: {}", build.display(), output.status);
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end()).join("Image")
}

/// Keys that stay, since [`ml_dsa_kernel`] trusts them; there once it is built.
pub fn ml_dsa_keys() -> PathBuf {
    cache().join("keys-ml-dsa")
}

/// The U-Boot of `tests/u-boot`, which wants its control device tree behind it. Built where it is not there yet.
pub fn locked_u_boot() -> Vec<u8> {
    let build = project().join("tests/u-boot/build.sh");
    let output = Command::new(&build).stderr(Stdio::inherit()).output().expect("the script can be started");
    assert!(output.status.success(), "{}: {}", build.display(), output.status);
    let path = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim_end());
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Has `recipes/minimal` find what its FIT target needs, made by its own script where it is not there yet.
pub fn fit() {
    static MADE: OnceLock<()> = OnceLock::new();
    MADE.get_or_init(|| {
        let script = project().join("recipes/minimal/fit.sh");
        let status = Command::new(&script).status().expect("the script can be started");
        assert!(status.success(), "{}: {status}", script.display());
    });
}

/// Release keys that stay, since a kernel trusts them: what `graven keys new` makes, and `modules.crt` with `modules.pem`.
pub fn arm64_keys() -> PathBuf {
    arm64_kernels();
    cache().join("keys-arm64")
}

/// A real Debian system with systemd, one tar archive.
pub fn debian_system() -> PathBuf {
    let path = cache().join("debian-systemd.tar");
    assert!(path.exists(), "{}: run tests/setup.sh", path.display());
    path
}

/// The static attack program, to be put into a test image (anywhere on the root, mode 0755). `attack` without
/// arguments lists what it can do.
pub fn attack(machine: Emulated) -> &'static Path {
    Path::new(match machine {
        Emulated::X86_64 => env!("GRAVEN_ATTACK_X86_64"),
        Emulated::Arm64 => env!("GRAVEN_ATTACK_ARM64"),
    })
}

/// What only a program for 32-bit ARM can try on arm64: `attack32 dm-version 32`.
pub fn attack32() -> &'static Path {
    Path::new(env!("GRAVEN_ATTACK_ARM32"))
}

/// A static `chattr -i`, for x86-64.
pub fn chattr() -> &'static Path {
    Path::new(env!("GRAVEN_CHATTR"))
}

/// The static interpreter that asks the kernel before it runs a script, for x86-64.
pub fn asking() -> &'static Path {
    Path::new(env!("GRAVEN_ASKING"))
}

/// The project's top folder.
pub fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}
