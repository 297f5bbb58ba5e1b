//! The attack programs on a kernel that defends nothing: each must work there, or its refusal elsewhere says nothing.

use graven_tests::guest::Guest;
use graven_tests::{image, plain};

#[test]
fn every_attack_works_where_nothing_stands_against_it() {
    // `test_firmware` asks for firmware by name; `dummy` is the module to be smuggled in.
    let folder = image::folder();
    let modules = ["dm-mod", "loop", "test_firmware", "dummy"];
    let machine =
        plain::machine(folder.path(), &modules, &modules[..3], "echo fine >/lib/firmware/fine.bin\n");
    let mut guest = Guest::boot(&machine, plain::PROMPT);
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
