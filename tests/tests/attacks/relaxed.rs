//! The same image with the lockdown left out and the policy enforced: where the policy itself refuses, and what root
//! gets away with for want of each part of the lockdown.

use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;

use crate::image::{self, Forgery, SECOND, STRANGER, UPDATE};
use crate::judge::{By, all_refused};

#[test]
fn each_part_of_the_lockdown_is_missed_where_it_is_left_out() {
    let image = image::build("relaxed.toml", Emulated::X86_64);
    let mut guest = image.boot();
    the_policy_refuses_by_itself(&mut guest);
    verified_memory_can_be_changed(&mut guest);
    let forgery = image.forge(&mut guest);
    a_forged_device_runs_a_changed_program(&mut guest, &forgery);
    another_table_runs_it_from_the_root(&mut guest, &forgery);
    any_policy_of_the_enrolled_key_is_taken(&mut guest);
    helpers_switch_the_policy_off(&mut guest);
}

fn the_policy_refuses_by_itself(guest: &mut Guest) {
    all_refused(
        guest,
        &[
            (
                "exec /exec/evil",
                &[("exec", "refused EACCES")],
                By::Policy(&[("EXECUTE", "BPRM_CHECK", "/exec/evil")]),
            ),
            (
                "memfd-exec /usr/bin/attack",
                &[("memfd-exec", "worked"), ("exec", "refused EACCES")],
                By::Policy(&[("EXECUTE", "BPRM_CHECK", "/memfd:attack (deleted)"); 2]),
            ),
            (
                "mprotect-exec /exec/evil",
                &[("mprotect", "refused EACCES")],
                By::Policy(&[("EXECUTE", "MPROTECT", "/exec/evil")]),
            ),
            (
                "kexec-load",
                &[("kexec_load", "refused EACCES")],
                By::Policy(&[("KEXEC_IMAGE", "KERNEL_LOAD", "?")]),
            ),
            (
                "kexec-file-load /usr/bin/busybox",
                &[("kexec_file_load", "refused EACCES")],
                By::Policy(&[("KEXEC_IMAGE", "KERNEL_READ", "/usr/bin/busybox")]),
            ),
        ],
    );
}

/// MDWE and Yama are what stops these: the policy sees verified files only. (`/proc/PID/mem` is left to tracers by
/// Debian's kernel in itself.)
fn verified_memory_can_be_changed(guest: &mut Guest) {
    for attack in ["private-mapping /usr/bin/attack", "ptrace-poketext"] {
        guest.succeed(&format!("attack {attack}"));
    }
}

/// Why there is a filter of device-mapper ioctls: the root hash in the policy is what a device *claims*. The kernel
/// demands its genuine signature here (`dm_verity.require_signatures=1`), and root has it.
fn a_forged_device_runs_a_changed_program(guest: &mut Guest, Forgery { sectors, verity, .. }: &Forgery) {
    assert_eq!(guest.succeed("cat /sys/module/dm_verity/parameters/require_signatures"), "Y");
    guest.succeed("mkdir /exec/forged");
    let forged = guest.succeed(&format!("attack dm-verity forged {sectors} '{verity}' /tmp/root.p7s"));
    let minor = forged.lines().find_map(|line| line.split_once(" device ")?.1.split_once(':'));
    let (_, minor) = minor.unwrap_or_else(|| panic!("the device's numbers: {forged}"));
    guest.succeed(&format!("mount -t erofs -o ro /dev/dm-{minor} /exec/forged"));
    assert_eq!(guest.succeed("/exec/forged/usr/bin/attack marker"), "attack marker: changed bytes");
    assert_eq!(guest.succeed("attack marker"), "attack marker: genuine bytes");
}

/// The kernel keeps a verity target from being replaced by another one, but for the error target; and what IPE knows of
/// the device is not forgotten.
fn another_table_runs_it_from_the_root(guest: &mut Guest, Forgery { sectors, linear, .. }: &Forgery) {
    let refused = guest.shell(&format!("attack dm-replace root {sectors} linear '{linear}'"));
    assert_eq!(refused.step("dm-replace", "table-load"), Some("refused EINVAL"), "{}", refused.text);
    guest.succeed(&format!("attack dm-through-error root {sectors} '{linear}'"));
    guest.succeed("echo 3 >/proc/sys/vm/drop_caches");
    assert_eq!(guest.succeed("attack marker"), "attack marker: changed bytes");
}

fn any_policy_of_the_enrolled_key_is_taken(guest: &mut Guest) {
    let stranger = guest.shell(&format!("attack load-policy {STRANGER}"));
    assert_eq!(stranger.step("load-policy", "write"), Some("refused ENOKEY"), "{}", stranger.text);
    guest.succeed(&format!("attack load-policy {SECOND}"));
    let evil = guest.shell("attack exec /exec/evil");
    assert_eq!(evil.step("exec", "exec"), Some("refused EACCES"), "loaded is not active: {}", evil.text);
    guest.succeed(&format!("attack update-policy attacks {UPDATE}"));
    guest.succeed("attack exec /exec/evil");
    guest.succeed("attack activate-policy second && attack delete-policy attacks");
    assert_eq!(guest.succeed("ls /sys/kernel/security/ipe/policies"), "second");
}

fn helpers_switch_the_policy_off(guest: &mut Guest) {
    let helper = guest.succeed(&format!("attack core-pattern /tmp/helper {SECOND} second"));
    for found in
        ["core-helper CapEff:\t000001ffffffffff", "dm-version 64 worked", "write-enforce write worked"]
    {
        assert!(helper.contains(&format!("attack {found}")), "{found}: {helper}");
    }
    assert_eq!(guest.succeed("cat /sys/kernel/security/ipe/enforce"), "0");
}
