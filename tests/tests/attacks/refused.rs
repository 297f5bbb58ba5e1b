//! The whole lockdown: everything is refused, each by what is there for it.

use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;

use crate::image::{self, Forgery, Image, SECOND, UPDATE};
use crate::judge::{By, all_refused};

/// `CAP_MAC_ADMIN` in a capability set.
const MAC_ADMIN: u64 = 1 << 33;

#[test]
fn root_is_refused_each_attack_by_what_is_there_for_it() {
    refused_on(&image::build("recipe.toml", Emulated::X86_64));
}

#[test]
#[cfg(feature = "full")]
fn root_is_refused_the_same_on_arm64() {
    refused_on(&image::build("recipe.toml", Emulated::Arm64));
}

#[test]
#[cfg(feature = "full")]
fn root_is_refused_the_same_on_a_server_with_all_that_it_runs() {
    refused_on(&image::build_edge_server());
}

fn refused_on(image: &Image) {
    let machine = image.on;
    let mut guest = image.boot();
    what_the_image_brings_is_allowed(&mut guest);
    the_policy_refuses_what_lies_elsewhere(&mut guest, machine);
    the_policy_is_out_of_reach(&mut guest);
    helpers_of_the_kernel_have_no_power(&mut guest);
    let forgery = image.forge(&mut guest);
    no_table_can_be_loaded(&mut guest, &forgery, machine);
    verified_memory_stays_as_it_is(&mut guest);
    no_other_kernel_can_be_started(&mut guest, machine);
    nothing_of_it_can_be_taken_back(&mut guest);
    the_policy_is_still_in_force(&mut guest);
}

/// The controls: the same calls, for files of the image.
fn what_the_image_brings_is_allowed(guest: &mut Guest) {
    guest.succeed("attack finit-module /usr/lib/modules/*/kernel/lib/test_firmware.ko.xz");
    for attack in [
        "exec /usr/bin/attack",
        "exec /usr/bin/allowed.sh",
        "execve-check /usr/bin/allowed.sh",
        "mmap-exec /usr/bin/attack",
        "firmware fine.bin",
    ] {
        guest.succeed(&format!("attack {attack}"));
    }
}

fn the_policy_refuses_what_lies_elsewhere(guest: &mut Guest, machine: Emulated) {
    // Debian's arm64 kernel has nobody to hand firmware over (CONFIG_FW_LOADER_USER_HELPER).
    let hand_over = machine == Emulated::X86_64;
    let read = ("FIRMWARE", "KERNEL_READ", "/exec/firmware/evil.bin");
    let handed_over = ("FIRMWARE", "KERNEL_LOAD", "?");
    let from_elsewhere = if hand_over { &[read, handed_over][..] } else { &[read] };
    let refused = |step| [(step, "refused EACCES")];
    all_refused(
        guest,
        &[
            ("exec /exec/evil", &refused("exec"), By::Policy(&[("EXECUTE", "BPRM_CHECK", "/exec/evil")])),
            (
                "exec /exec/script.sh",
                &refused("exec"),
                By::Policy(&[("EXECUTE", "BPRM_CHECK", "/exec/script.sh")]),
            ),
            (
                "execve-check /exec/script.sh",
                &refused("execveat"),
                By::Policy(&[("EXECUTE", "BPRM_CREDS_FOR_EXEC", "/exec/script.sh")]),
            ),
            ("mmap-exec /exec/evil", &refused("mmap"), By::Policy(&[("EXECUTE", "MMAP", "/exec/evil")])),
            (
                "finit-module /exec/dummy.ko.xz",
                &refused("finit_module"),
                By::Policy(&[("KMODULE", "KERNEL_READ", "/exec/dummy.ko.xz")]),
            ),
            (
                "finit-module /exec/dummy.ko",
                &refused("finit_module"),
                By::Policy(&[("KMODULE", "KERNEL_READ", "/exec/dummy.ko")]),
            ),
            (
                "init-module /exec/dummy.ko",
                &refused("init_module"),
                By::Policy(&[("KMODULE", "KERNEL_LOAD", "?")]),
            ),
            // The kernel goes on to its other folders, finds nothing there, and would let sysfs hand it over.
            (
                "firmware-from-elsewhere evil.bin /exec/firmware",
                &[("path", "worked"), ("request_firmware", "refused ENOENT")],
                By::Policy(from_elsewhere),
            ),
        ],
    );
    let fallback = "firmware-fallback nowhere.bin";
    match hand_over {
        true => all_refused(guest, &[(fallback, &[("force", "worked")], By::Policy(&[handed_over]))]),
        false => all_refused(guest, &[(fallback, &[("force", "refused ENOENT")], By::Silence)]),
    }
    guest.succeed("attack finit-module /usr/lib/modules/*/kernel/drivers/net/dummy.ko.xz");
}

/// Every node of IPE asks for `CAP_MAC_ADMIN` before it looks at what is written: nonsense is refused with EPERM too,
/// not with EINVAL or EBADMSG.
fn the_policy_is_out_of_reach(guest: &mut Guest) {
    let privileges = guest.succeed("attack privileges");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let line =
            privileges.lines().find_map(|line| line.strip_prefix(&format!("attack privileges {set}:\t")));
        let held = u64::from_str_radix(line.expect("every set is shown"), 16).expect("it is hexadecimal");
        assert_eq!(held & MAC_ADMIN, 0, "CAP_MAC_ADMIN is in {set}: {privileges}");
    }
    for found in ["Uid:\t0", "CapEff:\t000001f", "Seccomp:\t2", "Mdwe:\t1"] {
        assert!(privileges.contains(found), "{found}: {privileges}");
    }
    guest.succeed("echo nonsense >/tmp/nonsense");
    let refused = [("write", "refused EPERM")];
    let (load, update) = (format!("load-policy {SECOND}"), format!("update-policy attacks {UPDATE}"));
    all_refused(
        guest,
        &[
            ("write-enforce", &refused, By::Silence),
            (&load, &refused, By::Silence),
            (&update, &refused, By::Silence),
            ("activate-policy attacks", &refused, By::Silence),
            ("delete-policy attacks", &refused, By::Silence),
            ("load-policy /tmp/nonsense", &refused, By::Silence),
            ("update-policy attacks /tmp/nonsense", &refused, By::Silence),
        ],
    );
    for node in ["active", "delete"] {
        let done = guest.shell(&format!("echo 0 >/sys/kernel/security/ipe/policies/attacks/{node}"));
        assert!(done.text.contains("Operation not permitted"), "{node}: {}", done.text);
    }
}

/// What the kernel starts by itself inherits no filter and no bounding set of ours.
fn helpers_of_the_kernel_have_no_power(guest: &mut Guest) {
    let helper = guest.succeed(&format!("attack core-pattern /tmp/helper {SECOND} attacks"));
    for found in [
        "core-helper Uid:\t0",
        "core-helper CapPrm:\t0000000000000000",
        "core-helper CapEff:\t0000000000000000",
        "core-helper CapBnd:\t0000000000000000",
        "core-helper Seccomp:\t0",
        "write-enforce write refused EPERM",
        "load-policy write refused EPERM",
        "update-policy write refused EPERM",
        "activate-policy write refused EPERM",
        "delete-policy write refused EPERM",
        // The device-mapper's own answer to who has no CAP_SYS_ADMIN.
        "dm-version 64 refused EACCES",
    ] {
        assert!(helper.contains(&format!("attack {found}")), "{found}: {helper}");
    }
}

/// EPERM is the filter's: the device-mapper would answer EACCES to who may not, and here root may.
fn no_table_can_be_loaded(guest: &mut Guest, forgery: &Forgery, machine: Emulated) {
    let Forgery { sectors, verity, linear } = forgery;
    let forge = format!("dm-verity forged {sectors} '{verity}' /tmp/root.p7s");
    let replace = format!("dm-through-error root {sectors} '{linear}'");
    let refused = |step| [(step, "refused EPERM")];
    all_refused(
        guest,
        &[
            ("dm-version 64", &refused("64"), By::Silence),
            ("dm-version high", &refused("high"), By::Silence),
            // The control: another ioctl reaches the same device.
            ("dm-version other", &[("other", "refused ENOTTY")], By::Silence),
            (&forge, &refused("create"), By::Silence),
            (&replace, &refused("suspend"), By::Silence),
            ("write-device /dev/dm-0", &refused("write"), By::Silence),
        ],
    );
    match machine {
        Emulated::X86_64 => all_refused(
            guest,
            &[
                ("dm-version 32", &refused("32"), By::Silence),
                ("dm-version x32", &refused("x32"), By::Silence),
            ],
        ),
        Emulated::Arm64 => {
            let done = guest.shell("attack32 dm-version 32");
            assert_eq!(
                (done.status, done.step("dm-version", "32")),
                (1, Some("refused EPERM")),
                "{}",
                done.text
            );
        }
    }
}

fn verified_memory_stays_as_it_is(guest: &mut Guest) {
    let mdwe = [("mprotect", "refused EACCES"), ("mmap-write-exec", "refused EACCES")];
    all_refused(
        guest,
        &[
            (
                "ptrace-poketext",
                &[("attach", "refused EPERM"), ("traceme", "refused EPERM")],
                By::Line("ptrace attach of \"attack ptrace-poketext\""),
            ),
            // proc_mem.force_override=never
            ("proc-mem self", &[("open", "worked"), ("write", "refused EIO")], By::Silence),
            ("proc-mem child", &[("open", "refused EACCES")], By::Line("ptrace attach of")),
            ("private-mapping /usr/bin/attack", &mdwe, By::Silence),
            // A new mapping comes before the policy first; what is there already is not asked about: MDWE alone.
            ("anonymous-exec", &mdwe, By::Policy(&[("EXECUTE", "MMAP", "?")])),
            ("mprotect-exec /exec/evil", &mdwe[..1], By::Silence),
            (
                "memfd-exec /usr/bin/attack",
                &[("memfd-exec", "refused EACCES"), ("fchmod", "refused EPERM"), ("exec", "refused EACCES")],
                By::Line("memfd_create() requires MFD_NOEXEC_SEAL"),
            ),
        ],
    );
    // That setting can be taken back; then it is the policy that refuses.
    guest.succeed("echo 0 >/proc/sys/vm/memfd_noexec");
    all_refused(
        guest,
        &[(
            "memfd-exec /usr/bin/attack",
            &[("memfd-exec", "worked"), ("exec", "refused EACCES")],
            By::Policy(&[("EXECUTE", "BPRM_CHECK", "/memfd:attack (deleted)"); 2]),
        )],
    );
}

fn no_other_kernel_can_be_started(guest: &mut Guest, machine: Emulated) {
    let from_file = match machine {
        Emulated::X86_64 => "refused EPERM",
        // Debian's arm64 kernel has no such call (CONFIG_KEXEC_FILE).
        Emulated::Arm64 => "refused ENOSYS",
    };
    assert_eq!(guest.succeed("cat /proc/sys/kernel/kexec_load_disabled"), "1");
    all_refused(
        guest,
        &[
            ("kexec-load", &[("kexec_load", "refused EPERM")], By::Silence),
            ("kexec-file-load /usr/bin/busybox", &[("kexec_file_load", from_file)], By::Silence),
        ],
    );
    assert_eq!(guest.succeed("cat /sys/kernel/security/lockdown"), "none [integrity] confidentiality");
    guest.succeed("dmesg -c >/dev/null");
    let memory = guest.shell("dd if=/dev/mem of=/dev/null bs=1 count=1");
    assert!(memory.text.contains("Operation not permitted"), "{}", memory.text);
    let log = guest.kernel_log();
    assert!(log.contains("Lockdown: dd: /dev/mem,kmem,port is restricted"), "{log}");
    assert_eq!(guest.succeed("cat /sys/power/disk"), "[disabled]");
}

fn nothing_of_it_can_be_taken_back(guest: &mut Guest) {
    for (setting, wanted, stays) in [
        ("yama/ptrace_scope", "0", "3"),
        ("kexec_load_disabled", "0", "1"),
        ("usermodehelper/bset", "4294967295 4294967295", "0\t0"),
        ("usermodehelper/inheritable", "4294967295 4294967295", "0\t0"),
    ] {
        guest.shell(&format!("echo '{wanted}' >/proc/sys/kernel/{setting}"));
        assert_eq!(guest.succeed(&format!("cat /proc/sys/kernel/{setting}")), stays, "{setting}");
    }
}

fn the_policy_is_still_in_force(guest: &mut Guest) {
    let read =
        "cd /sys/kernel/security/ipe && echo $(cat enforce) $(ls policies) $(cat policies/attacks/active)";
    assert_eq!(guest.succeed(read), "1 attacks 1");
    all_refused(
        guest,
        &[(
            "exec /exec/evil",
            &[("exec", "refused EACCES")],
            By::Policy(&[("EXECUTE", "BPRM_CHECK", "/exec/evil")]),
        )],
    );
}
