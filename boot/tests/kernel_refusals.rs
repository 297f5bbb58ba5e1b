//! What the builder refuses in a kernel: Debian's two amd64 flavours (excerpts of their real configurations), and one
//! change to the good one for each refusal.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use graven_boot::compression::Compression;
use graven_boot::kernel::{
    AcceptError, Config, Demands, InspectError, Kernel, NAMES, Parts, Value, accept, assess,
};
use graven_handoff::{PolicyIdentity, PolicyVersion};
use graven_targets::BootChain;

const GENERIC: &str = include_str!("kernels/debian-7.3.4-amd64.config");
const CLOUD: &str = include_str!("kernels/debian-7.3.4-cloud-amd64.config");

/// The headers of a bzImage: DOS and PE header, boot header, version string.
fn bz_image(release: &str) -> Vec<u8> {
    let mut image = vec![0u8; 0x400];
    image[..2].copy_from_slice(b"MZ");
    image[0x3c] = 0x80;
    image[0x80..0x86].copy_from_slice(b"PE\0\0\x64\x86");
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    image[0x20e..0x210].copy_from_slice(&0x100u16.to_le_bytes());
    image[0x236] = 0x3f;
    image[0x238..0x23c].copy_from_slice(&2047u32.to_le_bytes());
    let version = format!("{release} (debian-kernel@lists.debian.org) #1 SMP\0");
    image[0x300..0x300 + version.len()].copy_from_slice(version.as_bytes());
    image
}

/// The same with a payload: the kernel proper, compressed.
fn bz_image_of(kernel: &[u8], compression: Compression) -> Vec<u8> {
    let payload = compression.compress(kernel).unwrap();
    let mut image = bz_image("7.3.4");
    // setup_sects = 1: the protected-mode part begins at 1024.
    image[0x1f1] = 1;
    image[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len() + 4).unwrap().to_le_bytes());
    image.extend_from_slice(&payload);
    image.extend_from_slice(&[0; 4]);
    image
}

fn kernel_of(release: &str, config: &str) -> Kernel {
    let image = bz_image(release);
    Kernel::inspect(&Parts { image: &image, config: Some(config), builtin: "", builtin_modinfo: b"" })
        .unwrap()
}

fn demands() -> Demands {
    Demands {
        boot_chain: BootChain::Uki,
        secure_boot: true,
        fec: true,
        root_file_system: "EROFS_FS",
        root_needs: Vec::new(),
        command_line_limit: 2048,
        modules: Compression::Xz,
        lsm: None,
        policy: None,
        signers: None,
    }
}

fn names(kernel: &Kernel, demands: &Demands) -> Vec<&'static str> {
    assess(kernel, demands).into_iter().map(|refusal| refusal.name).collect()
}

/// The generic configuration with other values for some symbols.
fn with(changes: &[&str]) -> String {
    let symbol = |line: &str| {
        let line = line.trim_start_matches("# ");
        line.split(['=', ' ']).next().unwrap_or_default().to_owned()
    };
    let changed: Vec<_> = changes.iter().map(|line| symbol(line)).collect();
    let kept = GENERIC.lines().filter(|line| !changed.contains(&symbol(line)));
    kept.chain(changes.iter().copied()).collect::<Vec<_>>().join("\n")
}

fn refused_with(changes: &[&str]) -> Vec<&'static str> {
    names(&kernel_of("7.3.4+deb13-amd64", &with(changes)), &demands())
}

#[test]
fn debians_generic_kernel_is_taken() {
    let kernel = kernel_of("7.3.4+deb13-amd64", GENERIC);
    assert_eq!(assess(&kernel, &demands()), []);
    assert_eq!(kernel.release.as_str(), "7.3.4+deb13-amd64");
    assert_eq!(kernel.config.get("DM_VERITY"), &Value::Module);
}

#[test]
fn debians_cloud_kernel_mounts_a_foreign_root_by_itself() {
    let refusals = assess(&kernel_of("7.3.4+deb13-cloud-amd64", CLOUD), &demands());
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(refusals[0].name, "builtin-disk-driver-and-file-system");
    assert!(refusals[0].why.contains("CONFIG_BLK_DEV_NVME=y and CONFIG_EXT4_FS=y"), "{}", refusals[0]);
}

#[test]
fn each_refusal_is_given_for_its_cause_and_for_nothing_else() {
    let off = |symbol: &str| format!("# CONFIG_{symbol} is not set");
    let mut seen = BTreeSet::new();
    for (name, symbol) in [
        ("ipe-missing", "SECURITY_IPE"),
        ("ipe-property-dm-verity-off", "IPE_PROP_DM_VERITY"),
        ("ipe-property-signature-off", "IPE_PROP_DM_VERITY_SIGNATURE"),
        ("no-reachable-policy-keyring", "IPE_POLICY_SIG_PLATFORM_KEYRING"),
        ("no-root-hash-keyring", "DM_VERITY_VERIFY_ROOTHASH_SIG_PLATFORM_KEYRING"),
        ("no-root-hash-keyring", "DM_VERITY_VERIFY_ROOTHASH_SIG"),
        ("seccomp-filter-off", "SECCOMP_FILTER"),
        ("yama-off", "SECURITY_YAMA"),
        ("lockdown-off", "SECURITY_LOCKDOWN_LSM"),
        ("dm-verity-off", "DM_VERITY"),
        ("fec-off", "DM_VERITY_FEC"),
        ("root-file-system-off", "EROFS_FS"),
        ("module-decompression-off", "MODULE_DECOMPRESS"),
        ("initramfs-off", "BLK_DEV_INITRD"),
        ("file-systems-of-stage0-off", "TMPFS"),
        ("sysctl-off", "SYSCTL"),
        ("devtmpfs-off", "DEVTMPFS"),
        ("securityfs-off", "SECURITYFS"),
        ("gpt-off", "EFI_PARTITION"),
        ("audit-off", "AUDITSYSCALL"),
        ("elf-off", "BINFMT_ELF"),
        ("keys-off", "X509_CERTIFICATE_PARSER"),
        ("signature-algorithms-off", "CRYPTO_RSA"),
        ("efi-stub-off", "EFI_STUB"),
        ("efivarfs-off", "EFIVAR_FS"),
    ] {
        assert_eq!(refused_with(&[&off(symbol)]), [name], "{symbol}");
        seen.insert(name);
    }
    for (name, changes) in [
        ("lsm-list-without-ipe", &["CONFIG_LSM=\"lockdown,yama\""][..]),
        ("command-line-built-in", &["CONFIG_CMDLINE_BOOL=y", "CONFIG_CMDLINE=\"quiet\""]),
        (
            "command-line-forced",
            &["CONFIG_CMDLINE_BOOL=y", "CONFIG_CMDLINE=\"quiet\"", "CONFIG_CMDLINE_OVERRIDE=y"],
        ),
        ("builtin-disk-driver-and-file-system", &["CONFIG_VIRTIO_BLK=y", "CONFIG_SQUASHFS=y"]),
        ("builtin-disk-driver-and-file-system", &["CONFIG_IP_PNP=y", "CONFIG_ROOT_NFS=y"]),
    ] {
        assert_eq!(refused_with(changes), [name], "{changes:?}");
        seen.insert(name);
    }
    for (name, release) in [
        ("script-checks-missing", "6.18.9"),
        ("proc-mem-override-missing", "6.11.0"),
        ("mdwe-missing", "6.2.16"),
        ("memfd-noexec-missing", "6.2.16"),
    ] {
        assert!(names(&kernel_of(release, GENERIC), &demands()).contains(&name), "{release}");
        seen.insert(name);
    }
    let other_limit = Demands { command_line_limit: 4096, ..demands() };
    assert_eq!(names(&kernel_of("7.3.4", GENERIC), &other_limit), ["command-line-limit"]);
    seen.insert("command-line-limit");
    // These are judged by what lies in the kernel: the tests of compiled-in policies and certificates.
    seen.extend(["boot-policy-in-the-way", "boot-policy-stops-stage0", "signer-not-in-kernel"]);
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), NAMES, "every refusal has a test");
}

#[test]
fn what_does_not_matter_is_not_refused() {
    // One half of the pair; a disk without host adapters' SD layer.
    assert_eq!(refused_with(&["CONFIG_EXT4_FS=y"]), [""; 0]);
    assert_eq!(refused_with(&["CONFIG_EXT4_FS=y", "CONFIG_USB_STORAGE=y"]), [""; 0]);
    let lsm = Demands { lsm: Some("lockdown,yama,ipe".to_owned()), ..demands() };
    assert_eq!(names(&kernel_of("7.3.4", &with(&["CONFIG_LSM=\"yama\""])), &lsm), [""; 0]);
}

const DENY: &str = include_str!("../../tests/kernels/deny.pol");
const OWN_ROOT: [&str; 2] = ["CONFIG_EXT4_FS=y", "CONFIG_VIRTIO_BLK=y"];

/// A kernel with this text where the policy of `CONFIG_IPE_BOOT_POLICY` lies, and these options.
fn kernel_with_policy(policy: &str, options: &[&str]) -> Kernel {
    // Words of the kernel's own that hold the name, and another string before and behind.
    let core = format!(" policy_name=\"%s\"\0policy_name=\0noise\0{policy}\0noise\0");
    let image = bz_image_of(core.as_bytes(), Compression::Zstd);
    let config = with(&[options, &["CONFIG_IPE_BOOT_POLICY=\"deny.pol\""]].concat());
    Kernel::inspect(&Parts { image: &image, config: Some(&config), builtin: "", builtin_modinfo: b"" })
        .unwrap()
}

/// What is refused in a kernel that could mount a foreign root by itself, behind this policy.
fn refused_behind(policy: &str) -> Vec<graven_boot::kernel::Refusal> {
    assess(&kernel_with_policy(policy, &OWN_ROOT), &demands())
}

#[test]
fn a_compiled_in_policy_that_stage0_cannot_replace_is_refused() {
    let behind = |policy: &str, name: &str, version| {
        let policy_of_image = PolicyIdentity { name: name.to_owned(), version };
        let kernel = kernel_with_policy(policy, &[]);
        let demands = Demands { policy: Some(policy_of_image), ..demands() };
        assess(&kernel, &demands).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let kernel = kernel_with_policy(DENY, &[]);
    let expected = PolicyIdentity { name: "graven-boot".to_owned(), version: PolicyVersion(0, 0, 0) };
    assert_eq!(kernel.compiled_in_policy(), Some(expected));
    assert_eq!(behind(DENY, "acme", PolicyVersion(0, 0, 0)), "");
    let newer = DENY.replace("policy_version=0.0.0", "policy_version=1.2.4");
    assert_eq!(behind(&newer, "acme", PolicyVersion(1, 2, 4)), "");
    for (said, words) in [
        (behind(DENY, "graven-boot", PolicyVersion(1, 0, 0)), "graven-boot 0.0.0, has the image's own name"),
        (behind(&newer, "acme", PolicyVersion(1, 2, 3)), "graven-boot 1.2.4, is newer than the image's"),
        (behind("", "acme", PolicyVersion(1, 0, 0)), "is not found in the kernel, or is none"),
    ] {
        assert!(said.starts_with("boot-policy-in-the-way: ") && said.contains(words), "{words}: {said}");
    }
}

#[test]
fn a_compiled_in_policy_counts_by_what_it_says() {
    let refused = |policy: &str, words: &str| {
        let refusals = refused_behind(policy);
        let [only] = refusals.as_slice() else { panic!("{policy}: {refusals:?}") };
        assert_eq!(only.name, "builtin-disk-driver-and-file-system", "{policy}");
        assert!(only.why.contains(words), "{policy}: {only}");
    };
    // It stops a line that names another root, and not one that says ipe.enforce=0 or lsm= besides.
    refused(DENY, "undone by ipe.enforce=0 or lsm=");
    refused(&format!("# who may\n\n{DENY}"), "undone by ipe.enforce=0 or lsm=");
    refused(&DENY.replace("DEFAULT action=DENY", "DEFAULT action=ALLOW"), "allows what is on it");
    // A file on a disk without dm-verity is one whose root hash is not signed.
    refused(&format!("{DENY}op=EXECUTE dmverity_signature=FALSE action=ALLOW\n"), "allows what is on it");
    // The kernel goes on without a policy that it cannot read.
    refused(&DENY.replace("op=EXECUTE", "op=RUN"), "is not found in it, or is none");
    refused("", "is not found in it, or is none");
    refused(&format!("{DENY}\0{}", DENY.replace("0.0.0", "0.0.1")), "is not found in it, or is none");

    let unbootable = refused_behind("policy_name=boot policy_version=0.0.0\nDEFAULT action=DENY\n");
    assert_eq!(
        unbootable.iter().map(|one| one.name).collect::<Vec<_>>(),
        ["boot-policy-stops-stage0", "builtin-disk-driver-and-file-system"]
    );
    // A line that nobody can replace is the one good reason.
    let forced = with(&[
        "CONFIG_EXT4_FS=y",
        "CONFIG_VIRTIO_BLK=y",
        "CONFIG_CMDLINE_BOOL=y",
        "CONFIG_CMDLINE_OVERRIDE=y",
        "CONFIG_CMDLINE=\"x\"",
    ]);
    assert_eq!(names(&kernel_of("7.3.4", &forced), &demands()), ["command-line-forced"]);
}

#[test]
fn refusals_are_accepted_by_name_with_a_reason() {
    let cloud = || assess(&kernel_of("7.3.4", CLOUD), &demands());
    let accepted = |name: &str, reason: &str| BTreeMap::from([(name.to_owned(), reason.to_owned())]);
    let judged =
        accept(cloud(), &accepted("builtin-disk-driver-and-file-system", "the board has no second disk"))
            .unwrap();
    assert!(judged.remaining.is_empty() && judged.idle.is_empty());
    assert_eq!(judged.accepted[0].reason, "the board has no second disk");

    let judged = accept(cloud(), &accepted("fec-off", "not used")).unwrap();
    assert_eq!((judged.remaining.len(), judged.idle), (1, vec!["fec-off"]));

    let error = accept(cloud(), &accepted("builtin-disk-and-file-system", "x")).unwrap_err();
    assert!(matches!(error, AcceptError::Unknown { nearest: "builtin-disk-driver-and-file-system", .. }));
    assert!(matches!(accept(cloud(), &accepted("fec-off", " ")), Err(AcceptError::NoReason { .. })));
}

#[test]
fn torn_configurations_and_foreign_ones_are_errors() {
    assert!(Config::parse("").is_err());
    assert!(Config::parse("CONFIG_A=y\nCONFIG_B").is_err());
    assert!(Config::parse("CONFIG_A=y\nCONFIG_A=m").is_err());
    assert!(Config::parse("CONFIG_A=\"x").is_err());
    assert_eq!(Config::parse(r#"CONFIG_A="x\"y\\""#).unwrap().text("A"), r#"x"y\"#);
    let image = bz_image("7.3.4");
    let arm = Parts { image: &image, config: Some("CONFIG_ARM64=y"), builtin: "", builtin_modinfo: b"" };
    assert!(matches!(Kernel::inspect(&arm), Err(InspectError::ForeignConfig { .. })));
    assert!(matches!(Kernel::inspect(&Parts { image: b"MZ", ..arm }), Err(InspectError::Image(_))));
    for cut in 0..image.len() {
        let _ = Kernel::inspect(&Parts { image: &image[..cut], ..arm });
    }
}

#[test]
fn the_configuration_inside_a_kernel_is_found() {
    let inside = Compression::Gzip.compress(GENERIC.as_bytes()).unwrap();
    let kernel = [&[0u8; 100][..], b"IKCFG_ST", &inside, b"IKCFG_ED", &[0; 50]].concat();
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let image = bz_image_of(&kernel, compression);
        let parts = Parts {
            image: &image,
            config: None,
            builtin: "kernel/a/x-y.ko\n",
            builtin_modinfo: b"z.license=GPL\0",
        };
        let kernel = Kernel::inspect(&parts).unwrap();
        assert_eq!(assess(&kernel, &demands()), [], "{compression:?}");
        assert_eq!(kernel.builtin.names().collect::<Vec<_>>(), ["x_y", "z"]);
    }
}
