//! Each kind of tampering breaks exactly the link that answers for it: as it is, and signed again with the trusted key.

use crate::image::{self, Change, Image, Keys, RELEASE, by_role, options};
use graven_boot::initramfs::{Entry, Initramfs, Kind as ArchiveKind};
use graven_handoff::{Relaxation, Relaxed, SecureBoot};
use graven_image::gpt::Spec;
use graven_image::tree::{Content, Inode, Kind, Metadata, Tree, TreePath};
use graven_verify::report::{Report, State};
use graven_verify::{Options, Trust};
use uuid::Uuid;

/// The links in a state.
fn names(report: &Report, state: State) -> Vec<&str> {
    report.in_state(state).map(|link| &*link.name).collect()
}

#[track_caller]
fn only_bad(report: &Report, link: &str, says: &str) {
    assert_eq!(names(report, State::Bad), [link], "{report}");
    let detail = &report.link(link).unwrap().detail;
    assert!(detail.contains(says), "{says:?} is not in {detail:?}");
}

/// Builds with a change and expects exactly one broken link, with and without the builder's own manifest of it.
#[track_caller]
fn rebuilt(change: &Change, link: &str, says: &str) {
    let image = Image::build(change);
    only_bad(&image.prove(false), link, says);
    only_bad(&image.prove(true), link, says);
}

/// Changes bytes of the finished disk.
#[track_caller]
fn damaged(damage: impl Fn(&mut Image), link: &str, says: &str) -> Report {
    let mut image = Image::plain().clone();
    damage(&mut image);
    assert!(image.disk != Image::plain().disk);
    let report = image.prove(false);
    only_bad(&report, link, says);
    // Whoever has the manifest sees it there too.
    let mut expected = vec![link, "manifest"];
    expected.dedup();
    assert_eq!(names(&image.prove(true), State::Bad), expected);
    report
}

fn flip(image: &mut Image, offset: usize) {
    image.disk[offset] ^= 1;
}

#[test]
fn an_untouched_image_is_proved_to_the_last_link() {
    for with_manifest in [false, true] {
        let report = Image::plain().prove(with_manifest);
        assert_eq!(report.verdict(), State::Ok, "{report}");
        assert_eq!(report.links.len(), if with_manifest { 22 } else { 21 });
    }
    let all = Trust::for_all(["db", "policy", "fit"].map(|key| Keys::get().certificate(key)));
    assert_eq!(Image::plain().prove_with(true, &all, &options()).verdict(), State::Ok);
}

#[test]
fn a_policy_in_the_initramfs_is_proved_too() {
    let image = Image::build(&Change { limit: 700, ..Change::default() });
    assert_eq!(image.manifest.policy.placement, "initramfs");
    assert_eq!(image.prove(true).verdict(), State::Ok, "{}", image.prove(true));
    let swapped = Change {
        limit: 700,
        initramfs: Box::new(|archive: &mut Initramfs| archive.file("/graven/policy.p7b", 0o444, *b"another")),
        ..Change::default()
    };
    only_bad(&Image::build(&swapped).prove(false), "policy-signature", "expected SHA-256");
}

#[test]
fn data_of_a_file_is_named_by_its_path() {
    let report = damaged(
        |image| {
            let offset = image.find(&[b'i'; 4096]);
            flip(image, offset + 100);
        },
        "data",
        "in /usr/sbin/init",
    );
    assert_eq!(names(&report, State::Unproved), ["error-correction"]);
    let mut image = Image::plain().clone();
    let root = image.table.partitions[1].start as usize;
    flip(&mut image, root + 1024 + 64);
    assert_eq!(names(&image.prove(false), State::Bad), ["data", "file-system"]);
}

#[test]
fn hash_area_damage_is_found_where_it_is() {
    let start = |image: &Image| image.table.partitions[2].start as usize;
    let report = damaged(
        |image| {
            let offset = start(image) + image.tree_start as usize + 5;
            flip(image, offset);
        },
        "tree",
        "hash block 0",
    );
    assert_eq!(names(&report, State::Unproved), ["data", "error-correction"]);
    damaged(|image| flip(image, start(image) + 20), "superblock", "at byte 20");
    damaged(|image| flip(image, start(image) + 700), "superblock", "not zero");
    damaged(
        |image| {
            let offset = start(image) + image.parity_start as usize + 9;
            flip(image, offset);
        },
        "error-correction",
        "parity differs",
    );
}

#[test]
fn the_signature_partition_is_read_strictly() {
    let start = |image: &Image| image.table.partitions[3].start as usize;
    damaged(|image| flip(image, start(image) + 5000), "root-signature", "NUL bytes");
    damaged(
        |image| {
            let offset = start(image) + 300;
            image.disk[offset] = if image.disk[offset] == b'A' { b'B' } else { b'A' };
        },
        "root-signature",
        "",
    );
    let other = Change {
        signature_text: Box::new(|json| {
            json.replace("rootHash\":\"", "rootHash\":\"00").replacen("00", "", 0)
        }),
        ..Change::default()
    };
    only_bad(&Image::build(&other).prove(false), "root-signature", "rootHash");
}

#[test]
fn the_boot_artefact_changed_after_signing() {
    damaged(
        |image| {
            let offset = image.uki_offset() + image.uki.len() - 0x1000;
            flip(image, offset);
        },
        "boot-signature",
        "changed after signing",
    );
}

#[test]
fn nothing_hides_beside_the_partitions() {
    let mut legacy = Image::plain().clone();
    flip(&mut legacy, 100);
    assert_eq!(names(&legacy.prove(true), State::Bad), ["partition-table", "manifest"]);
    damaged(|image| flip(image, 500_000), "unused-space", "between partitions");
    let empty = |image: &Image| image.table.partitions[4].start as usize;
    damaged(|image| flip(image, empty(image) + 99), "unused-space", "empty partition");
    let behind = |image: &Image| (image.table.partitions[1].start + image.table.partitions[1].len) as usize;
    damaged(|image| flip(image, behind(image) - 1), "unused-space", "behind the root file system");
}

#[test]
fn a_damaged_table_does_not_hide_the_rest() {
    let mut image = Image::plain().clone();
    flip(&mut image, 512 + 60);
    let report = image.prove(false);
    assert_eq!(names(&report, State::Bad), ["partition-table"]);
    let report = image.prove(true);
    assert_eq!(names(&report, State::Bad), ["partition-table", "manifest"], "{report}");
    assert_eq!(report.link("data").unwrap().state, State::Ok);
}

#[test]
fn strangers_vouch_for_nothing() {
    rebuilt(&Change { boot_key: "pk", ..Change::default() }, "boot-signature", "CN=acme pk");
    rebuilt(&Change { policy_key: "pk", ..Change::default() }, "policy-signature", "CN=acme pk");
    rebuilt(&Change { root_key: "pk", ..Change::default() }, "root-signature", "CN=acme pk");
}

#[test]
fn a_certificate_vouches_for_its_own_role_only() {
    rebuilt(
        &Change { policy_key: "db", ..Change::default() },
        "certificate-roles",
        "the policy is signed by «CN=acme db»",
    );
    rebuilt(
        &Change { boot_key: "fit", ..Change::default() },
        "certificate-roles",
        "trusted for the root hash only",
    );
}

#[test]
fn the_command_line_holds_what_the_builder_writes() {
    let line = |change: fn(String) -> String| Change { line: Box::new(change), ..Change::default() };
    rebuilt(&line(|line| line.replace("quiet", "rdinit=/x")), "command-line", "rdinit=/x");
    rebuilt(&line(|line| line.replace("quiet", "lsm=yama")), "command-line", "leave out ipe");
    rebuilt(&line(|line| format!("{line} root=/dev/vdb")), "command-line", "nothing verifies");
    rebuilt(&line(|line| line.replace("nohibernate ", "")), "plan", "nohibernate");
    rebuilt(&line(|line| line.replace("console=ttyS0 ", "")), "command-line", "no console");
    rebuilt(&line(|line| line.replace("quiet", &format!("a={}", "b".repeat(1800)))), "command-line", "2048");
    let twice = line(|line| line.replace("ipe.enforce=1", "ipe.enforce=1 ipe.enforce=1"));
    rebuilt(&twice, "command-line", "builder makes it");
    let copy = Change {
        initramfs: Box::new(|archive: &mut Initramfs| {
            archive.file("/graven/cmdline", 0o444, *b"console=ttyS0");
        }),
        ..Change::default()
    };
    rebuilt(&copy, "command-line", "/graven/cmdline in the initramfs differs");
}

#[test]
fn audit_mode_is_for_development_only() {
    let change = |variant: &'static str| Change {
        line: Box::new(|line| line.replace("ipe.enforce=1", "ipe.enforce=0")),
        plan: Box::new(|plan| plan.enforcement = graven_handoff::Enforcement::Audit),
        os_release: Box::new(move |text| text.replace("release\n", variant)),
        ..Change::default()
    };
    let allowed = Options { allow_development: true, ..options() };
    let release = Image::build(&change("release\n"));
    only_bad(&release.prove(false), "command-line", "ipe.enforce=0");
    only_bad(&release.prove_with(false, &by_role(), &allowed), "command-line", "ipe.enforce=0");
    let development = Image::build(&change("development\n"));
    assert_eq!(names(&development.prove(false), State::Bad), ["command-line", "profile"]);
    assert_eq!(development.prove_with(false, &by_role(), &allowed).verdict(), State::Ok);
    assert_eq!(names(&development.prove(true), State::Bad), ["command-line", "profile", "manifest"]);
}

#[test]
fn the_initramfs_holds_nothing_unexplained() {
    let archive = |change: fn(&mut Initramfs)| Change { initramfs: Box::new(change), ..Change::default() };
    rebuilt(&archive(|archive| archive.file("/evil", 0o755, *b"x")), "initramfs", "/evil");
    rebuilt(
        &archive(|archive| archive.file("/graven/modules/002-x.ko", 0o444, *b"x")),
        "initramfs",
        "002-x.ko",
    );
    rebuilt(&archive(|archive| archive.symlink("/etc", "/dev")), "initramfs", "/etc");
    rebuilt(&archive(|archive| archive.directory("/dev", 0o777)), "initramfs", "/dev");
    let node = |archive: &mut Initramfs| {
        let kind = ArchiveKind::BlockDevice { major: 8, minor: 0 };
        archive.insert("/dev/sda", Entry { mode: 0o600, kind });
    };
    rebuilt(&Change { initramfs: Box::new(node), ..Change::default() }, "initramfs", "/dev/sda");
    let appended = Change {
        initrd: Box::new(|mut bytes| {
            bytes.extend(
                Initramfs::new().write_compressed(graven_boot::compression::Compression::Zstd).unwrap(),
            );
            bytes
        }),
        ..Change::default()
    };
    rebuilt(&appended, "initramfs", "bytes follow");
    let stage0 = archive(|archive| archive.file("/init", 0o755, *b"another stage0"));
    only_bad(&Image::build(&stage0).prove(false), "stage0", "found");
}

#[test]
fn the_plan_asks_for_what_makes_the_chain_hold() {
    let plan = |change: fn(&mut graven_handoff::Plan)| Change { plan: Box::new(change), ..Change::default() };
    rebuilt(&plan(|plan| plan.module_parameters.clear()), "plan", "require_signatures");
    rebuilt(&plan(|plan| plan.security_modules.retain(|name| name != "ipe")), "plan", "ipe");
    rebuilt(&plan(|plan| plan.enforcement = graven_handoff::Enforcement::Audit), "plan", "enforcement");
    only_bad(&Image::build(&plan(|plan| plan.policy.name = "other".into())).prove(false), "policy", "other");
    only_bad(
        &Image::build(&plan(|plan| plan.root.verity.salt = vec![1; 32])).prove(false).only("superblock"),
        "superblock",
        "at byte 88",
    );
    rebuilt(
        &plan(|plan| plan.root.signature_partition = graven_handoff::PartUuid([9; 16])),
        "partition-uuids",
        "by stage0's plan",
    );
    rebuilt(&plan(|plan| plan.init.path = "/nowhere".into()), "file-system", "/nowhere");

    let lax = Image::build(&plan(|plan| plan.secure_boot = SecureBoot::NotRequired)).prove(true);
    assert_eq!((lax.verdict(), names(&lax, State::Unproved)), (State::Unproved, vec!["plan"]), "{lax}");
    let relaxed = Image::build(&plan(|plan| {
        plan.relaxed.push(Relaxed { what: Relaxation::Ptrace, reason: "a debugger is the product".into() });
    }));
    let report = relaxed.prove(true);
    assert_eq!(report.verdict(), State::Ok);
    assert!(report.link("plan").unwrap().detail.contains("RELAXED ptrace (a debugger is the product)"));

    let relax = |plan: &mut graven_handoff::Plan| {
        plan.relaxed.push(Relaxed { what: Relaxation::Hibernation, reason: "a laptop".into() });
    };
    rebuilt(&plan(relax), "plan", "it relaxes hibernation, and the command line has nohibernate");
    let both = Change {
        line: Box::new(|line| line.replace("nohibernate ", "")),
        plan: Box::new(relax),
        ..Change::default()
    };
    assert_eq!(Image::build(&both).prove(true).verdict(), State::Ok);
}

/// For changes that necessarily break what hangs on them too.
trait Only {
    fn only(self, link: &str) -> Report;
}

impl Only for Report {
    fn only(mut self, link: &str) -> Report {
        self.links.retain(|found| found.name == link);
        self
    }
}

/// An image with a volume, whose finished disk is then changed.
#[track_caller]
fn with_volume(damage: impl Fn(&mut Image), bad: &[&str]) -> Report {
    static IMAGE: std::sync::OnceLock<Image> = std::sync::OnceLock::new();
    let change = || Change { volume_key: Some("fit"), ..Change::default() };
    let mut image = IMAGE.get_or_init(|| Image::build(&change())).clone();
    damage(&mut image);
    let report = image.prove(false);
    assert_eq!(names(&report, State::Bad), bad, "{report}");
    report
}

#[test]
fn each_part_of_a_volume_has_its_link() {
    let start = |image: &Image, part: usize| image.table.partitions[part].start as usize;
    let image = Image::build(&Change { volume_key: Some("fit"), ..Change::default() });
    let report = image.prove(true);
    assert_eq!((report.verdict(), report.links.len()), (State::Ok, 28), "{report}");
    let policy = &report.link("policy").unwrap().detail;
    assert!(policy.contains("EXECUTE from the volume shop"), "{policy}");

    let data = with_volume(|image| flip(image, start(image, 7) + 8192), &["volume shop: data"]);
    assert_eq!(names(&data, State::Unproved), ["volume shop: error-correction"]);
    with_volume(|image| flip(image, start(image, 8) + 4096), &["volume shop: tree"]);
    for offset in [20, 700] {
        with_volume(|image| flip(image, start(image, 8) + offset), &["volume shop: superblock"]);
    }
    // The tree of 256 blocks: two leaves and the block above them.
    let parity = 4096 * 4 + 9;
    with_volume(|image| flip(image, start(image, 8) + parity), &["volume shop: error-correction"]);
    with_volume(|image| flip(image, start(image, 9) + 16_000), &["volume shop: root-signature"]);
    with_volume(|image| flip(image, start(image, 9) + 100), &["volume shop: root-signature"]);
    with_volume(
        |image| flip(image, start(image, 7) + 1024 + 56),
        &["volume shop: data", "volume shop: file-system"],
    );
    let end = |image: &Image, part: usize| start(image, part) + image.table.partitions[part].len as usize;
    for part in [7, 8] {
        with_volume(
            |image| {
                let end = end(image, part);
                flip(image, end - 1);
            },
            &["unused-space"],
        );
    }
}

#[test]
fn a_volume_is_bound_by_the_plan_and_signed_by_who_may_sign_root_hashes() {
    let volume = |change: fn(&mut graven_handoff::Volume)| Change {
        volume_key: Some("fit"),
        plan: Box::new(move |plan| plan.volumes.iter_mut().for_each(change)),
        ..Change::default()
    };
    let by = |key| Image::build(&Change { volume_key: Some(key), ..Change::default() }).prove(false);
    only_bad(&by("policy"), "certificate-roles", "trusted for the policy only");
    only_bad(&by("pk"), "volume shop: root-signature", "");
    only_bad(
        &Image::build(&volume(|shop| shop.image.file_system = "squashfs".into())).prove(false),
        "volume shop: file-system",
        "expected squashfs by stage0's plan, found ext4",
    );
    only_bad(
        &Image::build(&volume(|shop| shop.target = "/nowhere".into())).prove(false),
        "file-system",
        "/nowhere",
    );
    let gone =
        Change { volume_key: Some("fit"), plan: Box::new(|plan| plan.volumes.clear()), ..Change::default() };
    let report = Image::build(&gone).prove(false);
    assert_eq!(names(&report, State::Bad), ["partition-uuids"], "{report}");
    let other = volume(|shop| shop.root_hash = graven_handoff::RootHash::new(&[7; 32]).unwrap());
    let report = Image::build(&other).prove(false);
    assert_eq!(names(&report, State::Bad), ["partition-uuids", "volume shop: root-signature"], "{report}");
}

#[test]
fn the_policy_lets_nothing_through_but_this_root() {
    let policy = |change: fn(String) -> String| Change { policy: Box::new(change), ..Change::default() };
    rebuilt(&policy(|text| text.replace("DEFAULT action=DENY", "DEFAULT action=ALLOW")), "policy", "DEFAULT");
    rebuilt(
        &policy(|text| format!("{text}op=EXECUTE boot_verified=TRUE action=ALLOW\n")),
        "policy",
        "boot_verified",
    );
    rebuilt(&policy(|text| format!("{text}op=KEXEC_IMAGE action=ALLOW\n")), "policy", "KEXEC_IMAGE");
    rebuilt(&policy(|text| format!("{text}DEFAULT op=POLICY action=ALLOW\n")), "policy", "");
    let other_root = |text: String| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for line in lines.iter_mut().filter(|line| line.contains("sha256:")) {
            let start = line.find("sha256:").unwrap() + 7;
            line.replace_range(start..start + 64, &"00".repeat(32));
        }
        lines.join("\n") + "\n"
    };
    rebuilt(&Change { policy: Box::new(other_root), ..Change::default() }, "policy", "this root is denied");
    let older = |text: String| text.replace("1.2.3", "1.2.2");
    only_bad(&Image::build(&policy(older)).prove(false), "policy", "1.2.2");
}

#[test]
fn nobody_else_is_on_the_esp() {
    let esp =
        |path, says| rebuilt(&Change { esp: vec![(path, b"x".to_vec())], ..Change::default() }, "esp", says);
    esp("EFI/BOOT/BOOTX64.EFI.extra.d/a.addon.efi", "a UKI addon");
    esp("EFI/BOOT/BOOTX64.EFI.extra.d/a.cred", "a credential");
    esp("EFI/BOOT/BOOTX64.EFI.extra.d/a.raw", "a system extension");
    esp("loader/addons/a.addon.efi", "a UKI addon");
    esp("loader/keys/auto/db.auth", "an enrolment file");
    esp("EFI/other.efi", "an EFI program");
    esp("notes.txt", "nothing explains this file");

    // A manifest explains a file, but no program.
    let listed = |path: &'static str| {
        let mut image = Image::build(&Change { esp: vec![(path, b"x".to_vec())], ..Change::default() });
        let sha256 = graven_verify::manifest::sha256_hex(b"x");
        let file = graven_verify::manifest::EspFile { path: format!("/{path}"), size: 1, sha256 };
        image.manifest.esp.push(file);
        image.prove(true)
    };
    assert_eq!(listed("FIRMWARE/board.bin").verdict(), State::Ok);
    only_bad(&listed("EFI/other.efi"), "esp", "an EFI program");
}

#[test]
fn sections_that_the_stub_would_take_are_named() {
    rebuilt(&Change { stub_section: ".ucode", ..Change::default() }, "boot-artefact", ".ucode");
    // A device tree is one that boards may have: it is told of, and covered by the signature as all of it is.
    let report = Image::build(&Change { stub_section: ".dtb", ..Change::default() }).prove(false);
    assert_eq!(names(&report, State::Bad), [""; 0], "{report}");
    assert!(report.link("boot-artefact").unwrap().detail.contains("a device tree"), "{report}");
}

#[test]
fn every_partition_is_explained() {
    let spec = Spec {
        type_guid: Uuid::from_u128(0x1234),
        guid: Uuid::from_u128(0x5678),
        name: "extra".into(),
        len: 1 << 20,
        attributes: 0,
    };
    let image = Image::build(&Change { more_partitions: vec![spec], ..Change::default() });
    only_bad(&image.prove(false), "partition-uuids", "explains it");
}

#[test]
fn the_root_must_be_able_to_start() {
    let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
    let not_executable = move |tree: &mut Tree| {
        let id = tree.lookup(&path("/usr/sbin/init")).unwrap();
        tree.inode_mut(id).metadata.mode = 0o644;
    };
    rebuilt(&Change { tree: Box::new(not_executable), ..Change::default() }, "file-system", "not executable");
}

#[test]
fn the_kernel_is_judged_by_its_configuration() {
    let config = TreePath::parse(format!("/usr/lib/modules/{RELEASE}/config").as_bytes()).unwrap();
    let path = config.clone();
    let without = move |tree: &mut Tree| {
        tree.remove(&path).unwrap();
    };
    let report = Image::build(&Change { tree: Box::new(without), ..Change::default() }).prove(true);
    assert_eq!(names(&report, State::Unproved), ["kernel"], "{report}");
    assert_eq!(report.verdict(), State::Unproved);
    let no_ipe = move |tree: &mut Tree| {
        let text = image::CONFIG.replace("CONFIG_SECURITY_IPE=y", "# CONFIG_SECURITY_IPE is not set");
        tree.insert(&config, Inode::new(Metadata::default(), Kind::File(Content::from_bytes(text)))).unwrap();
    };
    let change = Change { tree: Box::new(no_ipe), ..Change::default() };
    rebuilt(&change, "kernel", "ipe-missing");
    let mut image = Image::build(&change);
    image.manifest.accepted.insert("kernel.ipe-missing".into(), "a test".into());
    let report = image.prove(true);
    assert_eq!(report.verdict(), State::Ok, "{report}");
    assert!(report.link("kernel").unwrap().detail.contains("ACCEPTED ipe-missing (a test)"));
}

#[test]
fn a_manifest_that_lies_is_found_out() {
    let mut image = Image::plain().clone();
    image.manifest.boot.kernel_sha256 = "00".repeat(32);
    only_bad(&image.prove(true), "manifest", "boot.kernel_sha256");
    let mut image = Image::plain().clone();
    image.manifest.initramfs.pop();
    only_bad(&image.prove(true), "manifest", "does not list it");
}

#[test]
fn without_a_known_stage0_nothing_is_ok() {
    let report = Image::plain().prove_with(true, &by_role(), &Options::default());
    assert_eq!(names(&report, State::Unproved), ["stage0"]);
}
