//! The attack programs on a kernel that defends nothing: each must work there, or its refusal elsewhere says nothing.

use std::fs;
use std::path::Path;

use graven::run::Machine;
use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;
use graven_tests::{inputs, oracle};

/// In the order they are loaded. `test_firmware` asks for firmware by name; `dummy` is the module to be smuggled in.
const MODULES: [&str; 4] = ["dm-mod", "loop", "test_firmware", "dummy"];

const INIT: &str = r#"#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /etc /lib/firmware
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mount -t securityfs securityfs /sys/kernel/security
for module in dm-mod loop test_firmware; do /attack finit-module /modules/$module.ko.xz; done
echo fine >/lib/firmware/fine.bin
exec setsid cttyhack sh -c 'PS1="guest# " exec sh'
"#;

/// An initramfs with busybox, the attack program and a few of the kernel's modules, and that kernel.
fn unprotected(folder: &Path) -> Machine {
    let root = folder.join("root");
    fs::create_dir_all(root.join("modules")).unwrap();
    fs::create_dir_all(root.join("bin")).unwrap();
    let unpack = |deb: &Path, to: &str| {
        oracle::content("dpkg-deb", ["-x".as_ref(), deb.as_os_str(), folder.join(to).as_os_str()]);
    };
    unpack(&inputs::kernel("binary"), "kernel");
    unpack(&inputs::kernel("modules"), "kernel");
    unpack(&inputs::busybox(), "busybox");
    for module in MODULES {
        let name = format!("{module}.ko.xz");
        let found = oracle::content("find", [folder.join("kernel").to_str().unwrap(), "-name", &name]);
        fs::copy(found.trim(), root.join("modules").join(name)).unwrap();
    }
    let vmlinuz = oracle::content("find", [folder.join("kernel").to_str().unwrap(), "-name", "vmlinuz"]);
    fs::copy(vmlinuz.trim(), root.join("vmlinuz")).unwrap();
    fs::copy(folder.join("busybox/usr/bin/busybox"), root.join("bin/busybox")).unwrap();
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).unwrap();
    fs::copy(inputs::attack(Emulated::X86_64), root.join("attack")).unwrap();
    fs::write(root.join("init"), INIT).unwrap();
    oracle::content("chmod", ["755", root.join("init").to_str().unwrap()]);
    let pack = "cd \"$1/root\" && find . | cpio -o -H newc --quiet >../initramfs";
    oracle::content("sh", ["-c", pack, "sh", folder.to_str().unwrap()]);

    let disk = folder.join("disk.img");
    fs::File::create(&disk).unwrap().set_len(1 << 20).unwrap();
    Machine::new(disk).arguments([
        "-kernel".into(),
        root.join("vmlinuz").into_os_string(),
        "-initrd".into(),
        folder.join("initramfs").into_os_string(),
        "-append".into(),
        "console=ttyS0 proc_mem.force_override=always panic=-1".into(),
    ])
}

#[test]
fn every_attack_works_where_nothing_stands_against_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut guest = Guest::boot(&unprotected(folder.path()), "guest# ");
    guest.succeed(
        "cp /bin/busybox /tmp/evil && printf '#!/bin/sh\\n' >/tmp/script && chmod 755 /tmp/evil /tmp/script",
    );
    guest.succeed("mkdir /tmp/fw && echo evil >/tmp/fw/evil.bin && echo policy >/tmp/policy");
    guest.succeed("unxz -c /modules/dummy.ko.xz >/tmp/dummy.ko");
    guest.succeed("dd if=/dev/zero of=/tmp/disk bs=1M count=4 2>/dev/null && losetup /dev/loop0 /tmp/disk");
    let mut not_working = Vec::new();
    for attack in [
        "exec /tmp/evil",
        "exec /tmp/script",
        "execve-check /tmp/script",
        "memfd-exec /tmp/evil",
        "mmap-exec /tmp/evil",
        "mprotect-exec /tmp/evil",
        "private-mapping /attack",
        "anonymous-exec",
        "ptrace-poketext",
        "proc-mem self",
        "proc-mem child",
        "init-module /tmp/dummy.ko",
        "firmware fine.bin",
        "firmware-from-elsewhere evil.bin /tmp/fw",
        "firmware-fallback nowhere.bin",
        "kexec-load",
        "kexec-file-load /vmlinuz",
        "dm-create forged 8192 linear '/dev/loop0 0'",
        "dm-replace forged 8192 error ''",
        "dm-replace forged 8192 linear '/dev/loop0 0'",
        "dm-version 64",
        "dm-version high",
        "dm-version 32",
        "write-enforce",
    ] {
        let done = guest.shell(&format!("/attack {attack}"));
        if done.status != 0 {
            not_working.push(format!("{attack}: {}", done.text));
        }
    }
    let helper = guest.succeed("/attack core-pattern /tmp/helper /tmp/policy none");
    for found in ["attack core-helper CapEff:\t000001ffffffffff", "attack write-enforce write worked"] {
        assert!(helper.contains(found), "{found}: {helper}");
    }
    assert!(not_working.is_empty(), "{}", not_working.join("\n"));
}
