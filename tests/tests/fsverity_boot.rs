//! The kernel's own word on our built-in fs-verity signatures: ext4 in a machine whose `.fs-verity` keyring has our
//! certificate, and Debian's `fsverity enable` and `measure` there.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use graven_boot::keys::read_certificates;
use graven_tests::{image, inputs, oracle};

/// Files with the parameters that they are signed under.
const SIGNED: [(&str, usize, &[&str]); 3] = [
    ("plain", 1_000_000, &[]),
    ("small", 5, &["--salt=c0ffee"]),
    ("wide", 300_000, &["--hash-alg=sha512", "--block-size=1024", "--salt=00ff00ff"]),
];

const INIT: &str = r#"#!/bin/sh
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs devtmpfs /dev
until [ -b /dev/nvme0n1 ]; do sleep 1; done
mount -t ext4 /dev/nvme0n1 /files || poweroff -f
try() { name=$1; shift; said=$("$@" 2>&1); echo "RESULT $name $? $said"; }
try no-certificate fsverity enable /files/plain --signature=/files/plain.sig
keyctl padd asymmetric '' %keyring:.fs-verity <certificate.der
echo 1 >/proc/sys/fs/verity/require_signatures
try no-signature fsverity enable /files/plain
try of-another-file fsverity enable /files/plain --signature=/files/small.sig
try of-a-stranger fsverity enable /files/plain --signature=/files/plain.stranger
try other-parameters fsverity enable /files/plain --salt=01 --signature=/files/plain.sig
"#;

#[test]
fn the_kernel_takes_our_signatures_and_no_others() {
    let folder = image::folder();
    let files = folder.path().join("files");
    fs::create_dir(&files).unwrap();
    let mut init = INIT.to_owned();
    let mut digests = BTreeMap::new();
    for (name, size, options) in SIGNED {
        let file = files.join(name);
        fs::write(&file, (0..size).map(|i| (i / 3 % 251) as u8).collect::<Vec<u8>>()).unwrap();
        digests.insert(name, sign(image::keys(), &file, "sig", options));
        init += &format!(
            "try {name} fsverity enable /files/{name} --signature=/files/{name}.sig {0}\n\
             try {name}-measured fsverity measure /files/{name}\n\
             try {name}-read sh -c 'cat /files/{name} | wc -c'\n",
            options.join(" ")
        );
    }
    sign(image::strangers_keys(), &files.join("plain"), "stranger", &[]);
    init += "poweroff -f\n";

    let console = boot(folder.path(), &files, &init);
    let results: BTreeMap<&str, (&str, &str)> = console
        .lines()
        .filter_map(|line| line.trim().split_once("RESULT "))
        .filter_map(|(_, line)| {
            let (name, rest) = line.split_once(' ')?;
            Some((name, rest.split_once(' ').unwrap_or((rest, ""))))
        })
        .collect();
    let result = |name: &str| *results.get(name).unwrap_or_else(|| panic!("nothing of {name}: {console}"));
    for (name, words) in [
        ("no-certificate", "Required key not available"),
        ("no-signature", "Operation not permitted"),
        ("of-another-file", "Key was rejected by service"),
        ("of-a-stranger", "Required key not available"),
        ("other-parameters", "Key was rejected by service"),
    ] {
        let (status, said) = result(name);
        assert!(status != "0" && said.contains(words), "{name}: {status} {said}; {console}");
    }
    for (name, size, _) in SIGNED {
        assert_eq!(result(name).0, "0", "{name}: {console}");
        assert_eq!(result(&format!("{name}-measured")).1, format!("{} /files/{name}", digests[name]));
        assert_eq!(result(&format!("{name}-read")), ("0", size.to_string().as_str()), "{name}");
    }
}

/// Signs a file beside it; answers its digest as the program printed it.
fn sign(keys: &Path, file: &Path, extension: &str, options: &[&str]) -> String {
    let mut arguments =
        vec!["fsverity".into(), "sign".into(), file.to_owned(), file.with_extension(extension)];
    for role in ["key", "crt"] {
        let option = if role == "key" { "--key=" } else { "--cert=" };
        arguments.push(format!("{option}{}", keys.join("policy").with_extension(role).display()).into());
    }
    arguments.extend(options.iter().map(PathBuf::from));
    let signed = image::run(&arguments);
    let said = String::from_utf8(signed.stdout).unwrap();
    assert!(signed.status.success(), "{}", String::from_utf8_lossy(&signed.stderr));
    // Signed file 'NAME' (DIGEST)
    said.trim_end().rsplit_once('(').unwrap().1.trim_end_matches(')').to_owned()
}

/// Boots Debian's cloud kernel, which has ext4 built in, with the files on a disk, and answers what the console said.
fn boot(work: &Path, files: &Path, init: &str) -> String {
    let disk = work.join("disk");
    File::create(&disk).unwrap().set_len(64 << 20).unwrap();
    oracle::content(
        "mke2fs",
        ["-q", "-t", "ext4", "-b", "4096", "-O", "verity", "-d", path(files), path(&disk)],
    );

    let root = work.join("root");
    for name in ["bin", "proc", "sys", "dev", "files"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let kernel = inputs::cloud_kernel("binary");
    let release = kernel.file_name().unwrap().to_str().unwrap();
    let release = release.strip_prefix("linux-binary-").unwrap().split('_').next().unwrap();
    fs::write(work.join("kernel"), inputs::member(&kernel, &format!("./usr/lib/modules/{release}/vmlinuz")))
        .unwrap();
    let program = |name: &str, bytes: &[u8]| {
        let at = root.join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, bytes).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o755)).unwrap();
    };
    program("init", init.as_bytes());
    let busybox = inputs::member(&inputs::busybox(), "./usr/bin/busybox");
    for name in ["sh", "mount", "sleep", "cat", "wc", "poweroff"] {
        program(&format!("bin/{name}"), &busybox);
    }
    for name in ["fsverity", "keyctl"] {
        let path = Path::new("/usr/bin").join(name);
        program(
            &format!("bin/{name}"),
            &fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}: run tests/setup.sh")),
        );
        // The libraries that it is loaded with, under the names that it asks for.
        for word in oracle::content("ldd", [path]).split_whitespace().filter(|word| word.starts_with('/')) {
            program(&word[1..], &fs::read(word).unwrap());
        }
    }
    let certificate = read_certificates(&image::keys().join("policy.crt")).unwrap().remove(0);
    fs::write(root.join("certificate.der"), certificate.der()).unwrap();
    let pack = "cd \"$0\" && find . | cpio --quiet -o -H newc >../initramfs";
    oracle::content("sh", ["-c", pack, path(&root)]);

    let output = Command::new("timeout")
        .args(["300", "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max"])
        .args(["-smp", "2", "-m", "512", "-net", "none", "-nographic", "-no-reboot"])
        .args(["-append", "console=ttyS0 quiet panic=-1", "-kernel", "kernel", "-initrd", "initramfs"])
        .args(["-drive", "file=disk,format=raw,if=none,id=files", "-device", "nvme,drive=files,serial=files"])
        .current_dir(work)
        .stdin(Stdio::null())
        .output()
        .expect("timeout can be started");
    let console = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{}: {}{console}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    console
}

fn path(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
