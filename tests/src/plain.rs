//! A machine that defends nothing: Debian's kernel, busybox as its whole system, a shell. What is held against ours, and
//! what stands beside it on a network.

use std::fs;
use std::path::Path;

use graven::run::Machine;

use crate::emulated::Emulated;
use crate::{inputs, oracle};

/// What its shell says when it waits.
pub const PROMPT: &str = "guest# ";

/// Before the caller's own lines: busybox under all its names, what a system mounts.
const BEGIN: &str = r#"#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /tmp /etc /lib/firmware
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs tmp /tmp
mount -t securityfs securityfs /sys/kernel/security
"#;
const END: &str = "exec setsid cttyhack sh -c 'PS1=\"guest# \" exec sh'\n";

/// An x86-64 machine without firmware's help. `folder` takes what it is made of. Its root has the attack program as
/// `/attack` and these modules in `/modules`, of which those in `loaded` are loaded, in their order; then `init` is run.
pub fn machine(folder: &Path, modules: &[&str], loaded: &[&str], init: &str) -> Machine {
    let root = folder.join("root");
    let write = |name: &str, bytes: &[u8]| fs::write(root.join(name), bytes).expect("the folder takes files");
    for name in ["modules", "bin"] {
        fs::create_dir_all(root.join(name)).expect("the folder takes folders");
    }
    let unpack = |deb: &Path, to: &str| {
        oracle::content("dpkg-deb", ["-x".as_ref(), deb.as_os_str(), folder.join(to).as_os_str()]);
    };
    unpack(&inputs::kernel("binary"), "kernel");
    unpack(&inputs::kernel("modules"), "kernel");
    let kernel = folder.join("kernel").display().to_string();
    let found = |name: &str| {
        let found = oracle::content("find", [kernel.as_str(), "-name", name]);
        fs::read(found.trim()).unwrap_or_else(|error| panic!("{name}: {error}"))
    };
    for module in modules {
        let name = format!("{module}.ko.xz");
        write(&format!("modules/{name}"), &found(&name));
    }
    write("vmlinuz", &found("vmlinuz"));
    write("bin/busybox", &inputs::member(&inputs::busybox(), "./usr/bin/busybox"));
    std::os::unix::fs::symlink("busybox", root.join("bin/sh")).expect("the folder takes links");
    fs::copy(inputs::attack(Emulated::X86_64), root.join("attack")).expect("the folder takes files");
    let load: String =
        loaded.iter().map(|module| format!("/attack finit-module /modules/{module}.ko.xz\n")).collect();
    write("init", format!("{BEGIN}{load}{init}{END}").as_bytes());
    for name in ["init", "bin/busybox"] {
        oracle::content("chmod", ["755", &root.join(name).display().to_string()]);
    }
    let pack = "cd \"$1/root\" && find . | cpio -o -H newc --quiet >../initramfs && rm -r ../kernel";
    oracle::content("sh", ["-c", pack, "sh", &folder.display().to_string()]);

    let disk = folder.join("disk.img");
    let made = fs::File::create(&disk).and_then(|disk| disk.set_len(1 << 20));
    made.expect("the folder takes a disk");
    Machine::new(disk).arguments([
        "-kernel".into(),
        root.join("vmlinuz").into_os_string(),
        "-initrd".into(),
        folder.join("initramfs").into_os_string(),
        "-append".into(),
        "console=ttyS0 proc_mem.force_override=always panic=-1".into(),
    ])
}
