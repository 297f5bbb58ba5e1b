//! A FIT on arm64: U-Boot checks it, the kernel has the policy's certificate in it, stage0 enforces. Each of its parts is
//! changed, as it lies there and signed again with the key that U-Boot requires. Slow the first time: kernels are built.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use graven_boot::fdt::Tree;
use graven_boot::fit as format;
use graven_boot::sign::Signer;
use graven_handoff::{Code, PolicySource};
use graven_tests::fit::{self, Kernel};
use graven_tests::forge::fit::{
    CONFIGURATION, DEVICE_TREE, INITRAMFS, KERNEL, changed, put, put_image, sign, value,
};
use graven_tests::forge::{FIT_FILE, Forgery, signer_of};
use graven_tests::oracle::ask;
use graven_tests::refusal::{Stop, assert_stopped};
use graven_tests::tampering::{Row, Subject, broken_links};
use graven_tests::{image, inputs};

/// U-Boot's words for a signature that is not its key's, a digest that is not the data's, and data that is no kernel.
const BAD_SIGNATURE: Stop = Stop::UBoot("Failed to verify required signature 'key-fit'");
const BAD_HASH: Stop = Stop::UBoot("Bad Data Hash");
const SIGNATURE: &str = "signature-1";

/// As it lies there: U-Boot stops each.
const AS_IS: [Row; 9] = [
    Row {
        name: "kernel, a byte",
        forge: |image| image.flip_image(KERNEL),
        stop: BAD_HASH,
        said: "",
        found: &["boot-signature", "kernel"],
    },
    Row {
        name: "kernel, a byte and its hash",
        forge: |image| change_image(image, KERNEL),
        stop: BAD_SIGNATURE,
        said: "",
        found: &["boot-signature", "kernel"],
    },
    Row {
        name: "initramfs, a byte",
        forge: |image| image.flip_image(INITRAMFS),
        stop: BAD_HASH,
        said: "",
        found: &["boot-signature", "initramfs"],
    },
    Row {
        name: "device tree, enforcement switched off on its line, and its hash",
        forge: |image| image.change_fit(without_enforcement),
        stop: BAD_SIGNATURE,
        said: "",
        found: &["boot-signature", "command-line", "plan"],
    },
    Row {
        name: "configuration, a word of it",
        forge: |image| image.change_fit(|tree| put(tree, CONFIGURATION, "description", b"virt.dtc\0")),
        stop: BAD_SIGNATURE,
        said: "",
        found: &["boot-signature"],
    },
    Row {
        name: "device tree of another release that is signed, too",
        forge: |image| {
            let other = other_release();
            image.change_fit(|tree| take(tree, &other, &[DEVICE_TREE]));
        },
        stop: BAD_SIGNATURE,
        said: "",
        found: &["boot-signature", "command-line"],
    },
    Row {
        name: "initramfs and configuration with its signature of another release that is signed, too",
        forge: |image| {
            let other = other_release();
            image.change_fit(|tree| {
                take(tree, &other, &[INITRAMFS]);
                take_signature(tree, &other);
            });
        },
        stop: BAD_SIGNATURE,
        said: "",
        found: &["boot-signature", "command-line"],
    },
    Row {
        name: "the whole, signed by a stranger",
        forge: |image| {
            image.put_esp_file(FIT_FILE, &sign(&unsigned(image), &signer_of(image::strangers_keys(), "fit")));
        },
        stop: BAD_SIGNATURE,
        said: "",
        found: &["boot-signature"],
    },
    Row {
        name: "the whole, not signed",
        forge: |image| image.put_esp_file(FIT_FILE, &unsigned(image)),
        stop: BAD_SIGNATURE,
        said: "",
        found: &["boot-signature"],
    },
];

/// Signed again with the key that U-Boot requires: the next link stops each.
const SIGNED_AGAIN: [Row; 12] = [
    Row {
        name: "kernel, a byte, signed again",
        forge: |image| {
            image.sign_boot_again(&fit_key(), |boot| {
                let middle = boot.kernel.len() / 2;
                boot.kernel[middle] ^= 1;
            });
        },
        stop: Stop::UBoot("uncompress"),
        said: "",
        found: &["kernel"],
    },
    Row {
        name: "initramfs, a byte of the disk driver",
        forge: |image| {
            image.sign_boot_again(&fit_key(), |boot| {
                let mut paths = boot.initramfs.entries().map(|(path, _)| path.to_owned());
                let module = paths.find(|path| path.contains("virtio_blk")).expect("the module is carried");
                drop(paths);
                boot.flip_member(&module);
            });
        },
        stop: Stop::Stage0(Code::Module),
        said: "",
        found: &[],
    },
    Row {
        name: "initramfs of another release",
        forge: |image| {
            let other = other_release();
            sign_fit_again(image, |tree| take(tree, &other, &[INITRAMFS]));
        },
        stop: Stop::Stage0(Code::CommandLine),
        said: "",
        found: &["command-line"],
    },
    Row {
        name: "device tree, enforcement switched off on its line",
        forge: |image| {
            sign_fit_again(image, without_enforcement);
        },
        stop: Stop::Stage0(Code::CommandLine),
        said: "ipe.enforce=",
        found: &["command-line", "plan"],
    },
    Row {
        name: "line and its copy, enforcement switched off",
        forge: |image| {
            image.sign_boot_again(&fit_key(), |boot| {
                boot.set_line(boot.line.replace("ipe.enforce=1", "ipe.enforce=0"));
            });
        },
        stop: Stop::Stage0(Code::Enforce),
        said: "",
        found: &["command-line", "plan"],
    },
    Row {
        name: "configuration without the initramfs",
        forge: |image| {
            sign_fit_again(image, |tree| put(tree, CONFIGURATION, "ramdisk", b"fdt-1\0"));
        },
        stop: Stop::UBoot("Ramdisk image is corrupt or invalid"),
        said: "",
        found: &["boot-signature", "boot-artefact", "initramfs"],
    },
    Row {
        name: "policy, signed by a stranger",
        forge: |image| sign_policy_again(image, &signer_of(image::strangers_keys(), "policy")),
        stop: Stop::Stage0(Code::PolicyRefused),
        said: "ENOKEY",
        found: &["policy-signature"],
    },
    Row {
        name: "policy, signed by the FIT's key, which the kernel does not know",
        forge: |image| sign_policy_again(image, &fit_key()),
        stop: Stop::Stage0(Code::PolicyRefused),
        said: "ENOKEY",
        found: &["kernel", "certificate-roles"],
    },
    Row {
        name: "root, tree made again, FIT for it",
        forge: |image| {
            let root_hash = image.change_init();
            image.sign_boot_again(&fit_key(), |boot| boot.bind(&root_hash));
        },
        stop: Stop::Stage0(Code::RootSignature),
        said: "",
        found: &["policy", "root-signature"],
    },
    Row {
        name: "the same, and the FIT's key signs the new root hash",
        forge: |image| {
            let root_hash = image.change_init();
            image.sign_root_hash(&root_hash.to_string(), &fit_key());
            image.sign_boot_again(&fit_key(), |boot| boot.bind(&root_hash));
        },
        stop: Stop::Stage0(Code::RootSignatureRefused),
        said: "ENOKEY",
        found: &["policy", "kernel", "certificate-roles"],
    },
    Row {
        name: "the same, and the policy's key signs the new root hash, but no policy for it",
        forge: |image| {
            let root_hash = image.change_init();
            image.sign_root_hash(&root_hash.to_string(), &policy_key());
            image.sign_boot_again(&fit_key(), |boot| boot.bind(&root_hash));
        },
        stop: Stop::Stage0(Code::InitRefused),
        said: "type=1420",
        found: &["policy"],
    },
    Row {
        name: "initramfs without the signed line",
        forge: |image| {
            image.sign_boot_again(&fit_key(), |boot| {
                boot.initramfs.file(graven_handoff::initramfs::COMMAND_LINE, 0o444, "");
            });
        },
        stop: Stop::Stage0(Code::CommandLine),
        said: "",
        found: &["command-line"],
    },
];

fn fit_key() -> impl Signer {
    signer_of(&inputs::arm64_keys(), "fit")
}

fn policy_key() -> impl Signer {
    signer_of(&inputs::arm64_keys(), "policy")
}

fn trust() -> Vec<String> {
    fit::trust(&inputs::arm64_keys())
}

fn subject() -> Subject {
    Subject { out: fit::minimal(Kernel::Base).to_owned(), machine: fit::machine, trust: trust() }
}

/// Another FIT of the same kernel that the same key signed: only its line says more.
fn other_release() -> Vec<u8> {
    let image = Forgery::of(fit::minimal(Kernel::Base));
    image.sign_boot_again(&fit_key(), |boot| boot.set_line(format!("quiet {}", boot.line)));
    image.esp_file(FIT_FILE)
}

/// Puts another FIT's images into this one, each with its hash.
fn take(tree: &mut Tree<'_>, other: &[u8], images: &[&str]) {
    let other = Tree::parse(other).unwrap();
    for image in images {
        put_image(tree, image, &value(&other, image, "data"));
    }
}

fn take_signature(tree: &mut Tree<'_>, other: &[u8]) {
    let node = format!("{CONFIGURATION}/{SIGNATURE}");
    let other = Tree::parse(other).unwrap();
    put(tree, &node, "value", &value(&other, &node, "value"));
}

/// Changes one bit of an image and makes its hash again; the signature stays.
fn change_image(image: &Forgery, node: &str) {
    image.change_fit(|tree| {
        let mut data = value(tree, node, "data");
        let middle = data.len() / 2;
        data[middle] ^= 1;
        put_image(tree, node, &data);
    });
}

fn without_enforcement(tree: &mut Tree<'_>) {
    let words = b"ipe.enforce=1";
    let mut data = value(tree, DEVICE_TREE, "data");
    let at = data.windows(words.len()).position(|window| window == words).unwrap();
    data[at + words.len() - 1] = b'0';
    put_image(tree, DEVICE_TREE, &data);
}

/// The FIT with a signature node that holds nothing.
fn unsigned(image: &Forgery) -> Vec<u8> {
    changed(&image.esp_file(FIT_FILE), |tree| {
        put(tree, &format!("{CONFIGURATION}/{SIGNATURE}"), "value", &[0; 256]);
    })
}

/// Changes the FIT's tree and signs its configurations again.
fn sign_fit_again(image: &Forgery, change: impl FnOnce(&mut Tree<'_>)) {
    let changed = changed(&image.esp_file(FIT_FILE), change);
    image.put_esp_file(FIT_FILE, &sign(&changed, &fit_key()));
}

fn sign_policy_again(image: &mut Forgery, signer: &dyn Signer) {
    let text = std::fs::read_to_string(fit::minimal(Kernel::Base).join("policy.pol")).unwrap();
    image.sign_boot_again(&fit_key(), |boot| boot.sign_policy(&text, signer));
}

#[test]
fn minimal_boots_enforced_from_a_fit_that_u_boot_verified() {
    fit::boots_enforced(&fit::machine(&fit::minimal(Kernel::Base).join("disk.img")));
}

/// `tests/kernels`' other variant: what stage0 finds in force denies all but the initramfs.
#[test]
fn a_policy_compiled_into_the_kernel_gives_way_to_the_images() {
    fit::boots_enforced(&fit::machine(&fit::minimal(Kernel::Deny).join("disk.img")));
}

#[test]
fn a_compiled_in_policy_that_is_not_the_one_of_the_plan_is_refused() {
    let unchanged = fit::minimal(Kernel::Deny).join("disk.img");
    for (change, stop, word) in [
        (None, Code::PolicyOthers, "graven-boot"),
        (Some(("graven-boot", (0, 0, 1))), Code::CompiledInPolicy, "version"),
        (Some(("another", (0, 0, 0))), Code::CompiledInPolicy, "another"),
    ] {
        let image = Forgery::of(fit::minimal(Kernel::Deny));
        image.sign_boot_again(&fit_key(), |boot| {
            boot.change_plan(|plan| {
                plan.compiled_in_policy = change.map(|(name, (major, minor, revision))| {
                    let version = graven_handoff::PolicyVersion(major, minor, revision);
                    graven_handoff::PolicyIdentity { name: name.to_owned(), version }
                });
            });
        });
        let log = assert_stopped(&fit::machine(image.path()), Stop::Stage0(stop));
        let line = log.lines().find(|line| line.contains("stage0: S0-")).unwrap();
        assert!(line.contains(word), "{line}");
        // With the manifest the kernel's own fault is accepted; what the plan says of it is not.
        let manifest = fit::minimal(Kernel::Deny).join("manifest.json").display().to_string();
        let trust: Vec<String> = trust().into_iter().chain(["--manifest".to_owned(), manifest]).collect();
        let trust: Vec<&str> = trust.iter().map(String::as_str).collect();
        assert!(!broken_links(&unchanged, &trust).0.contains(&"kernel".to_owned()));
        assert!(broken_links(image.path(), &trust).0.contains(&"kernel".to_owned()));
    }
}

/// Debian's own kernel knows nobody's certificate without UEFI: the builder says so, and where that is accepted by name,
/// nothing runs all the same.
#[test]
fn the_stock_kernel_is_refused_and_where_forced_runs_nothing() {
    let local: Vec<String> = ["base", "binary", "modules"]
        .iter()
        .map(|part| format!("{:?}", inputs::kernel_arm64(part)))
        .collect();
    let stock = format!("kernel.local=[{}]", local.join(", "));
    let folder = image::folder();
    let out = folder.path().join("out");
    let refused = fit::try_build(&out, std::slice::from_ref(&stock));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("signer-not-in-kernel") && said.contains("ENOKEY"), "{said}");
    assert!(!out.exists());

    fit::build(&out, &[stock, "kernel.accept.signer-not-in-kernel=\"to see who stops it then\"".to_owned()]);
    let log = assert_stopped(&fit::machine(&out.join("disk.img")), Stop::Stage0(Code::RootSignatureRefused));
    assert!(log.contains("sha256,rsa2048:fit+ OK") && log.contains("ENOKEY"), "{log}");
    let trust = trust();
    let trust: Vec<&str> = trust.iter().map(String::as_str).collect();
    let alone = Forgery::of(&out);
    assert_eq!(broken_links(alone.path(), &trust), (vec!["kernel".to_owned()], Some(1)));
    // With the manifest beside it the builder's acceptance is told with its reason, not hidden.
    let disk = out.join("disk.img").display().to_string();
    let said = ask(image::graven(), [&["verify", &disk], &trust[..]].concat()).text;
    assert!(said.contains("ACCEPTED signer-not-in-kernel (to see who stops it then)"), "{said}");
}

/// The mixtures are no damaged files: put back together from the same release, the FIT is the one that was signed.
#[test]
fn a_fit_taken_apart_and_put_together_is_the_same() {
    let fit = std::fs::read(fit::minimal(Kernel::Base).join("minimal.itb")).unwrap();
    let same = changed(&fit, |tree| {
        take(tree, &fit, &[KERNEL, INITRAMFS, DEVICE_TREE]);
        take_signature(tree, &fit);
    });
    assert!(same == fit);
    let other = other_release();
    let key = format::TrustedKey::of(fit_key().certificate());
    assert!(format::verify(&other, &[key]).unwrap().holds(), "the other release is well signed");
    let forgery = Forgery::of(fit::minimal(Kernel::Base));
    assert!(matches!(forgery.boot_parts().binding().policy, PolicySource::Inline(_)));
}

#[test]
fn verify_names_the_broken_link_of_every_change() {
    subject().finds_all(AS_IS.iter().chain(&SIGNED_AGAIN).map(Row::change));
}

#[test]
fn u_boot_stops_every_change_that_nobody_signed() {
    subject().boot_all(&AS_IS);
}

#[test]
fn every_change_signed_again_is_stopped_by_the_next_link() {
    subject().boot_all(&SIGNED_AGAIN);
}

#[test]
fn a_u_boot_that_requires_a_strangers_key_does_not_start_it() {
    let machine =
        fit::machine_trusting(&fit::minimal(Kernel::Base).join("disk.img"), image::strangers_keys());
    assert_stopped(&machine, BAD_SIGNATURE);
}
