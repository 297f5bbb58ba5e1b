//! A whole Debian system with systemd, as mmdebstrap makes it, carved and booted: what goes in comes out again, and
//! systemd lives with a read-only root and everything that stage0 has closed.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use graven_image::erofs::Reader;
use graven_image::tree;
use graven_recipe::{Recipe, Selection};
use graven_tests::guest::{BOOT, Guest};
use graven_tests::{audit, image, inputs, oracle};
use graven_verity::io::Window;

fn recipe() -> PathBuf {
    inputs::project().join("tests/recipes/debian-systemd")
}

fn carved() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| image::shared("debian-systemd", |out| image::build(&recipe(), out, &[])))
}

#[test]
fn systemd_reaches_its_goal_without_a_failed_unit() {
    let (mut guest, log) = Guest::reach(&image::machine(carved()), "root@carved:~# ");
    assert!(log.contains("secureboot: Secure boot enabled"), "the firmware enforces");
    assert!(log.contains("graven: stage0: step 8/8 init /usr/lib/systemd/systemd"), "stage0 hands over");
    guest.shell("dmesg -n 1; export PAGER=cat SYSTEMD_COLORS=0");

    let state = guest.shell("systemctl is-system-running --wait");
    let failed = guest.shell("systemctl --failed --no-legend --no-pager; journalctl -b -p err --no-pager");
    assert_eq!(state.text, "running", "{}", failed.text);
    // Nothing that a unit wanted was refused for the sake of the lockdown.
    let log = guest.kernel_log();
    let refused: Vec<_> =
        audit::records(&log).into_iter().filter(|record| record.kind == audit::IPE_ACCESS).collect();
    assert!(refused.is_empty(), "{refused:?}");

    // The root is the verified one, and an identity exists for this boot only.
    assert!(guest.succeed("grep ' / ' /proc/mounts").starts_with("/dev/dm-0 / erofs ro,"));
    assert_eq!(guest.succeed("stat -c %s /etc/machine-id"), "33");
    assert!(guest.succeed("findmnt -no FSTYPE /etc/machine-id").contains("tmpfs"));
    assert_ne!(guest.shell("touch /etc/new /usr/new").status, 0, "the root is read-only");

    // What stage0 has closed stays closed under systemd, for process 1 and for what a unit starts.
    let mac_admin = 1u64 << 33;
    for process in ["1", "self", "$(systemctl show -P MainPID dbus.service)"] {
        let status = guest.succeed(&format!("grep -E '^(CapBnd|Seccomp_filters):' /proc/{process}/status"));
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("").trim();
        let bounding = u64::from_str_radix(field("CapBnd:"), 16).unwrap();
        assert_eq!(bounding & mac_admin, 0, "{process}: {status}");
        assert!(field("Seccomp_filters:").parse::<u32>().unwrap() >= 1, "{process}: {status}");
    }
    assert_eq!(guest.succeed("cat /sys/kernel/security/ipe/enforce"), "1");
    assert_eq!(guest.succeed("cat /proc/sys/kernel/yama/ptrace_scope"), "3");
    let copied = guest
        .shell("cp /usr/bin/true /run/true && chmod 755 /run/true; mount -o remount,exec /run; /run/true");
    assert!(copied.text.contains("Permission denied"), "{}", copied.text);
    let denied = audit::records(&guest.kernel_log());
    let denied = denied.iter().find(|record| record.get("path") == "/run/true").expect("the kernel says so");
    assert_eq!(denied.get("ipe_hook"), "BPRM_CHECK");
    // A service with a filter and a sandbox of its own still starts.
    let sandbox = "systemd-run --wait --pipe -p MemoryDenyWriteExecute=yes -p SystemCallFilter=@system-service \
                   -p DynamicUser=yes -p ProtectSystem=strict -p PrivateDevices=yes /usr/bin/id -u";
    let user = guest.succeed(sandbox);
    assert!(user.lines().any(|line| line.trim().parse::<u32>().is_ok_and(|uid| uid > 60_000)), "{user}");

    guest.console.send_line("systemctl poweroff");
    let end = guest.expect_end(BOOT);
    assert!(end.contains("Power down"), "it shuts down in order");
}

#[test]
fn the_image_holds_exactly_the_tree_that_went_in() {
    let selection = Selection { target: Some("qemu-x86_64".into()), ..Selection::default() };
    let loaded = Recipe::load(&recipe(), &selection).unwrap();
    let spool = image::folder();
    let provided = graven::supply::fetch::Provided::default();
    let circumstances = graven::plan::Circumstances {
        source_date_epoch: None,
        spool: spool.path(),
        tools: &graven::tools::Tools::default(),
        provided: &provided,
        ids: &graven_finish::Ids::default(),
    };
    let mut plan = graven::plan::resolve(loaded, circumstances).unwrap();
    let signers = graven::signers::Signers::uefi(image::keys(), None).unwrap();
    let wanted = graven::assemble::assemble(&mut plan, &signers).unwrap().tree;
    assert!(wanted.len() > 3000, "a real system: {} inodes", wanted.len());

    let manifest = std::fs::read_to_string(carved().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let partitions = manifest["partitions"].as_array().unwrap();
    let root = partitions.iter().find(|partition| partition["role"] == "root").unwrap();
    let (offset, size) = (root["offset"].as_u64().unwrap(), root["size"].as_u64().unwrap());
    let disk = std::fs::File::open(carved().join("disk.img")).unwrap();
    let found = Reader::open(Window::new(disk, offset, size)).unwrap().tree().unwrap();
    assert_eq!(tree::diff(&wanted, &found), Vec::<String>::new());
}

/// Python's own tar reader compares the archive that went in with the one that `graven extract` gives: every member, but
/// for what the recipe lays over it.
#[test]
fn extract_gives_back_the_archive_that_went_in() {
    let out = image::folder();
    let extracted = out.path().join("root.tar");
    let disk = carved().join("disk.img");
    let output = image::run([
        "extract".as_ref(),
        disk.as_os_str(),
        "/".as_ref(),
        "--tar".as_ref(),
        "--to".as_ref(),
        extracted.as_os_str(),
    ]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/oracle/archives.py");
    let said = oracle::content("python3", [script.as_path(), &inputs::debian_system(), &extracted]);
    println!("{said}");
}
