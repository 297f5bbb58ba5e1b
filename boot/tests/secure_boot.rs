//! The firmware and the kernel as judges: QEMU with OVMF, Secure Boot on.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod oracle;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use graven_boot::sign::Answer;
use graven_boot::{authenticode, uki};
use oracle::{keys, run, text};

#[test]
fn firmware_starts_our_uki_and_refuses_it_with_one_byte_changed() {
    let work = tempfile::tempdir().unwrap();
    let variables = work.path().join("vars.fd");
    enrol_by_virt_fw_vars(&variables);
    let image = signed_uki(work.path());

    let console = boot(work.path(), &variables, &[("EFI/BOOT/BOOTX64.EFI", &image)]);
    assert!(console.contains("secureboot: Secure boot enabled"), "{console}");
    assert!(console.contains("graven test: init runs"), "{console}");

    // A byte of the initramfs: nothing but the signature would notice it before the kernel unpacks.
    let mut changed = image.clone();
    let initrd = uki::Uki::parse(&image).unwrap().range(".initrd").unwrap();
    changed[initrd.start + initrd.len() / 2] ^= 1;
    let console = boot(work.path(), &variables, &[("EFI/BOOT/BOOTX64.EFI", &changed)]);
    assert!(!console.contains("Linux version"), "{console}");
    assert!(console.contains("Access Denied") || console.contains("Security Violation"), "{console}");
}

#[test]
fn firmware_in_setup_mode_takes_our_auth_files_and_enforces_them() {
    let work = tempfile::tempdir().unwrap();
    let variables = work.path().join("vars.fd");
    fs::copy("/usr/share/OVMF/OVMF_VARS_4M.fd", &variables).unwrap();
    let image = signed_uki(work.path());
    // systemd-boot writes PK.auth, KEK.auth and db.auth by SetVariable and restarts; firmware then checks both images.
    let loader =
        oracle::debian_file("systemd-boot-efi_*_amd64", "./usr/lib/systemd/boot/efi/systemd-bootx64.efi");
    let Answer::Signed(loader) = authenticode::sign(&loader, &keys().signer("db")).unwrap() else { panic!() };
    let files = ["PK.auth", "KEK.auth", "db.auth"].map(|name| fs::read(keys().path(name)).unwrap());
    let console = boot(
        work.path(),
        &variables,
        &[
            ("EFI/BOOT/BOOTX64.EFI", &loader),
            ("EFI/Linux/test.efi", &image),
            ("loader/loader.conf", b"timeout 0\nsecure-boot-enroll force\n"),
            ("loader/keys/auto/PK.auth", &files[0]),
            ("loader/keys/auto/KEK.auth", &files[1]),
            ("loader/keys/auto/db.auth", &files[2]),
        ],
    );
    assert!(console.contains("secureboot: Secure boot enabled"), "{console}");
    assert!(console.contains("graven test: init runs"), "{console}");
}

fn enrol_by_virt_fw_vars(variables: &Path) {
    let owner = fs::read_to_string(keys().path("owner.guid")).unwrap();
    let owner = owner.trim();
    run(
        "virt-fw-vars",
        &[
            "--input",
            "/usr/share/OVMF/OVMF_VARS_4M.fd",
            "--output",
            &text(variables),
            "--set-pk",
            owner,
            &keys().text("pk.crt"),
            "--add-kek",
            owner,
            &keys().text("kek.crt"),
            "--add-db",
            owner,
            &keys().text("db.crt"),
            "--sb",
        ],
    );
}

/// A UKI of Debian's kernel and an initramfs that says that it runs, signed with db.
fn signed_uki(work: &Path) -> Vec<u8> {
    let initrd = initramfs(work);
    let parts = uki::Parts {
        stub: oracle::stub(),
        os_release: "ID=graven-test\nNAME=\"Graven test\"\nVERSION_ID=1\n",
        cmdline: "console=ttyS0 panic=-1",
        uname: "7.3.4",
        initrd: &initrd,
        linux: oracle::kernel(),
        device_trees: uki::DeviceTrees::None,
    };
    let unsigned = uki::build(&parts).unwrap();
    let Answer::Signed(image) = authenticode::sign(&unsigned, &keys().signer("db")).unwrap() else {
        panic!()
    };
    image
}

fn initramfs(work: &Path) -> Vec<u8> {
    let root = work.join("initramfs");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::create_dir_all(root.join("proc")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    let init = "#!/bin/busybox sh\n\
        /bin/busybox mount -t proc proc /proc\n\
        echo graven test: init runs: $(/bin/busybox cat /proc/cmdline)\n\
        /bin/busybox poweroff -f\n";
    fs::write(root.join("init"), init).unwrap();
    run("chmod", &["755", &text(&root.join("init"))]);
    let script = format!("cd '{}' && find . | cpio --quiet -o -H newc", root.display());
    run("sh", &["-c", &script])
}

/// Boots a FAT disk with these files and returns what the serial console said.
fn boot(work: &Path, variables: &Path, files: &[(&str, &[u8])]) -> String {
    let esp = work.join("esp.img");
    let _ = fs::remove_file(&esp);
    run("mformat", &["-C", "-F", "-T", "262144", "-i", &text(&esp), "::"]);
    for (place, contents) in files {
        let mut folder = String::new();
        for part in place.rsplit_once('/').unwrap().0.split('/') {
            folder = format!("{folder}/{part}");
            // It may be there from the file before.
            let _ = oracle::try_run("mmd", &["-D", "s", "-i", &text(&esp), &format!("::{folder}")]);
        }
        let source = work.join("file");
        fs::File::create(&source).unwrap().write_all(contents).unwrap();
        run("mcopy", &["-i", &text(&esp), &text(&source), &format!("::/{place}")]);
    }
    let code = "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd";
    let log = work.join("console");
    let mut machine = Command::new("qemu-system-x86_64")
        .args(["-machine", "q35,smm=on", "-accel", "tcg,thread=multi", "-cpu", "max", "-smp", "1"])
        .args(["-m", "1024", "-nographic", "-net", "none"])
        .args(["-global", "driver=cfi.pflash01,property=secure,value=on", "-drive", code])
        .args(["-drive", &format!("if=pflash,format=raw,unit=1,file={}", variables.display())])
        .args(["-drive", &format!("if=none,id=esp,format=raw,file={}", esp.display())])
        .args(["-device", "virtio-blk-pci,drive=esp"])
        .stdin(Stdio::null())
        .stdout(fs::File::create(&log).unwrap())
        .spawn()
        .expect("this test needs qemu-system-x86_64");
    let deadline = Instant::now() + LONGEST_BOOT;
    let read = || String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
    while machine.try_wait().unwrap().is_none() && Instant::now() < deadline {
        let console = read();
        if ENDS.iter().any(|end| console.contains(end)) {
            break;
        }
        thread::sleep(Duration::from_millis(200));
    }
    let _ = machine.kill();
    machine.wait().unwrap();
    read()
}

const LONGEST_BOOT: Duration = Duration::from_secs(300);
/// What a boot's last words are: init's, or those of firmware that starts nothing.
const ENDS: [&str; 4] = ["graven test: init runs", "Kernel panic", "Access Denied", "Security Violation"];
