//! Every link of the chain is changed, as it lies there and signed again with the `db` key that the machine trusts. Each
//! row says who stops the boot, and which links `graven verify` finds broken.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::path::Path;

use graven_boot::pkcs7;
use graven_boot::sign::Signer;
use graven_handoff::{Code, Enforcement};
use graven_tests::forge::{Forgery, INIT, Part, addon, signed, signer, signer_of};
use graven_tests::guest::Guest;
use graven_tests::image;
use graven_tests::refusal::{Stop, UP};
use graven_tests::tampering::{Change, Row, Subject, broken_links};
use graven_verity::dm::RootHash;

const SHELL: &str = "/usr/bin/busybox";

/// The kernel's word for a block of data, or of the tree, that is not the one that was hashed.
const BAD_DATA: &str = "data block";
const BAD_TREE: &str = "metadata block";

/// Few boots that between them show each judge at work.
const SOME: [Row; 4] = [
    Row {
        name: "kernel, a byte",
        forge: |image| image.flip_section(".linux"),
        stop: Stop::Firmware,
        said: "",
        found: &["boot-signature"],
    },
    Row {
        name: "root, a byte of init",
        forge: |image| image.flip(Part::Root, image.find(Part::Root, INIT)),
        stop: Stop::Stage0(Code::Init),
        said: BAD_DATA,
        found: &["data"],
    },
    Row {
        name: "command line without enforcement, boot artefact signed again",
        forge: |image| {
            image.sign_boot_again(&db(), |boot| {
                boot.line = boot.line.replace("ipe.enforce=1", "ipe.enforce=0");
            });
        },
        stop: Stop::Stage0(Code::CommandLine),
        said: "ipe.enforce=",
        found: &["command-line", "plan"],
    },
    Row {
        name: "root, everything but the policy signed again",
        forge: |image| {
            let root_hash = image.change_init();
            image.sign_root_hash(&root_hash.to_string(), &db());
            image.sign_boot_again(&db(), |boot| boot.bind(&root_hash));
        },
        stop: Stop::Stage0(Code::InitRefused),
        said: "type=1420",
        found: &["policy"],
    },
];

/// The others.
const MORE: [Row; 23] = [
    Row {
        name: "root, the first byte of the shell that runs init",
        forge: |image| image.flip(Part::Root, image.first_block_of(SHELL)),
        stop: Stop::Stage0(Code::Init),
        said: BAD_DATA,
        found: &["data"],
    },
    Row {
        name: "root, tree made again",
        forge: |image| {
            image.flip(Part::Root, image.find(Part::Root, INIT));
            image.hash_again();
        },
        stop: Stop::Stage0(Code::VerityState),
        said: BAD_TREE,
        found: &["tree"],
    },
    Row {
        name: "root, tree made again, boot artefact for it signed again",
        forge: |image| {
            let root_hash = image.change_init();
            image.sign_boot_again(&db(), |boot| boot.bind(&root_hash));
        },
        stop: Stop::Stage0(Code::RootSignature),
        said: "",
        found: &["policy", "root-signature"],
    },
    Row {
        name: "the same, and the old signature is said to be for the new root hash",
        forge: |image| {
            let (old, root_hash) = (image.signature(), image.change_init());
            image.put_signature(&root_hash.to_string(), &old, &db());
            image.sign_boot_again(&db(), |boot| boot.bind(&root_hash));
        },
        stop: Stop::Stage0(Code::RootSignatureRefused),
        said: "EKEYREJECTED",
        found: &["policy", "root-signature"],
    },
    Row {
        name: "the same, and a stranger signs the new root hash",
        forge: |image| {
            let root_hash = image.change_init();
            image.sign_root_hash(&root_hash.to_string(), &stranger());
            image.sign_boot_again(&db(), |boot| boot.bind(&root_hash));
        },
        stop: Stop::Stage0(Code::RootSignatureRefused),
        said: "ENOKEY",
        found: &["policy", "root-signature"],
    },
    Row {
        name: "tree, a digest above the first instruction of the shell that runs init",
        forge: |image| {
            let leaf = image.leaf_above(image.entry_block_of(SHELL));
            let read_before = [0, image.first_block_of(SHELL)].map(|offset| image.leaf_above(offset));
            assert!(!read_before.contains(&leaf), "stage0's own reads go through this leaf");
            image.flip(Part::Verity, leaf);
        },
        stop: Stop::Kernel("Attempted to kill init"),
        said: BAD_TREE,
        found: &["tree"],
    },
    Row {
        name: "tree, its top",
        forge: |image| image.flip(Part::Verity, 4096),
        stop: Stop::Stage0(Code::VerityState),
        said: BAD_TREE,
        found: &["tree"],
    },
    Row {
        name: "tree over another init, everything signed again",
        forge: |image| {
            let root_hash = image.change_init();
            image.sign_root_hash(&root_hash.to_string(), &db());
            let policy = policy_for(&root_hash);
            image.sign_boot_again(&db(), |boot| {
                boot.bind(&root_hash);
                boot.sign_policy(&policy, &db());
            });
            // And init as it was.
            let init = image.find(Part::Root, &changed_init());
            image.flip(Part::Root, init);
        },
        stop: Stop::Stage0(Code::Init),
        said: BAD_DATA,
        found: &["data"],
    },
    Row {
        name: "superblock, a byte of the salt",
        forge: |image| image.flip(Part::Verity, SALT),
        stop: Stop::Stage0(Code::Superblock),
        said: "",
        found: &["superblock"],
    },
    Row {
        name: "superblock, the plan changed likewise and the boot artefact signed again",
        forge: |image| {
            image.flip(Part::Verity, SALT);
            image.sign_boot_again(&db(), |boot| boot.change_plan(|plan| plan.root.verity.salt[0] ^= 1));
        },
        stop: Stop::Stage0(Code::VerityState),
        said: BAD_TREE,
        found: &["tree"],
    },
    Row {
        name: "verity-sig, a byte of the signature",
        forge: |image| {
            let mut signature = image.signature();
            *signature.last_mut().unwrap() ^= 1;
            image.put_signature(&root_hash_of(image), &signature, &db());
        },
        stop: Stop::Stage0(Code::RootSignatureRefused),
        said: "EKEYREJECTED",
        found: &["root-signature"],
    },
    Row {
        name: "verity-sig, empty",
        forge: |image| image.write(Part::Signature, 0, &[0; 16384]),
        stop: Stop::Stage0(Code::RootSignature),
        said: "",
        found: &["root-signature"],
    },
    Row {
        name: "verity-sig, signed again by a stranger",
        forge: |image| image.sign_root_hash(&root_hash_of(image), &stranger()),
        stop: Stop::Stage0(Code::RootSignatureRefused),
        said: "ENOKEY",
        found: &["root-signature"],
    },
    Row {
        name: "verity-sig, db's signature of another root hash",
        forge: |image| {
            let other = signed(pkcs7::sign_root_hash(&"ab".repeat(32), &db()));
            image.put_signature(&root_hash_of(image), &other, &db());
        },
        stop: Stop::Stage0(Code::RootSignatureRefused),
        said: "EKEYREJECTED",
        found: &["root-signature"],
    },
    Row {
        name: "command line, enforcement switched off",
        forge: |image| image.overwrite_line("ipe.enforce=1", "ipe.enforce=0"),
        stop: Stop::Firmware,
        said: "",
        found: &["boot-signature", "command-line", "plan"],
    },
    Row {
        name: "policy, a byte on the command line",
        forge: |image| image.flip_section(".cmdline"),
        stop: Stop::Firmware,
        said: "",
        found: &["boot-signature", "command-line", "policy-signature", "policy"],
    },
    Row {
        name: "policy, a digit of its root hash, boot artefact signed again",
        forge: |image| {
            let digits = root_hash_of(image);
            image.sign_boot_again(&db(), |boot| {
                let mut policy = boot.policy();
                let place = policy.windows(64).position(|window| window == digits.as_bytes());
                policy[place.expect("the policy names the root hash")] ^= 1;
                boot.set_policy(policy);
            });
        },
        stop: Stop::Stage0(Code::PolicyRefused),
        said: "EKEYREJECTED",
        found: &["policy-signature", "policy"],
    },
    Row {
        name: "policy, signed by a stranger, boot artefact signed again",
        forge: |image| {
            image.sign_boot_again(&db(), |boot| boot.sign_policy(&policy(), &stranger()));
        },
        stop: Stop::Stage0(Code::PolicyRefused),
        said: "ENOKEY",
        found: &["policy-signature"],
    },
    Row {
        name: "policy, an older one of db's, boot artefact signed again",
        forge: |image| {
            let older = policy().replace("policy_version=0.1.0", "policy_version=0.0.9");
            assert_ne!(older, policy());
            image.sign_boot_again(&db(), |boot| boot.sign_policy(&older, &db()));
        },
        stop: Stop::Stage0(Code::PolicyReadBack),
        said: "",
        found: &["policy"],
    },
    Row {
        name: "initramfs, a byte",
        forge: |image| image.flip_section(".initrd"),
        stop: Stop::Firmware,
        said: "",
        found: &["boot-signature", "initramfs"],
    },
    Row {
        name: "initramfs, a byte of dm-verity's module, boot artefact signed again",
        forge: |image| {
            image.sign_boot_again(&db(), |boot| {
                let mut paths = boot.initramfs.entries().map(|(path, _)| path.to_owned());
                let module = paths.find(|path| path.contains("dm-verity")).expect("the module is carried");
                drop(paths);
                boot.flip_member(&module);
            });
        },
        stop: Stop::Stage0(Code::Module),
        said: "",
        found: &[],
    },
    Row {
        name: "initramfs without the signed line, boot artefact signed again",
        forge: |image| {
            image.sign_boot_again(&db(), |boot| {
                boot.initramfs.file(graven_handoff::initramfs::COMMAND_LINE, 0o444, "");
            });
        },
        stop: Stop::Stage0(Code::CommandLine),
        said: "",
        found: &["command-line"],
    },
    Row {
        name: "kernel, a byte, signed again",
        forge: |image| {
            image.sign_boot_again(&db(), |boot| {
                let middle = boot.kernel.len() / 2;
                boot.kernel[middle] ^= 1;
            });
        },
        stop: Stop::Loader("Failed to decompress kernel"),
        said: "",
        found: &[],
    },
];

/// Offset of the salt in the superblock.
const SALT: u64 = 88;

fn db() -> impl Signer {
    signer(image::keys())
}

fn stranger() -> impl Signer {
    signer(image::strangers_keys())
}

/// The image's policy.
fn policy() -> String {
    std::fs::read_to_string(image::minimal().join("policy.pol")).expect("the output has the policy's text")
}

fn root_hash_of(image: &Forgery) -> String {
    image.boot_parts().binding().root_hash.to_string()
}

/// The policy, for another root.
fn policy_for(root_hash: &RootHash) -> String {
    let forgery = Forgery::of(image::minimal());
    policy().replace(&root_hash_of(&forgery), &root_hash.to_string())
}

/// What [`Forgery::change_init`] makes of init's words.
fn changed_init() -> Vec<u8> {
    let mut words = INIT.to_vec();
    words[0] ^= 1;
    words
}

/// `recipes/minimal`, with the `db` certificate trusted for everything.
fn minimal() -> Subject {
    Subject {
        out: image::minimal().to_owned(),
        machine: image::machine,
        trust: vec!["--trust".to_owned(), image::keys().join("db.crt").display().to_string()],
    }
}

/// What a machine may start without a word, or whoever holds the db key can make it start: it is for the proof to find.
const FOUND_BY_VERIFY: [Change; 8] = [
    Change {
        name: "an addon of this UKI",
        forge: |image| image.put_esp_file("EFI/BOOT/BOOTX64.EFI.extra.d/x.addon.efi", &addon("quiet", &db())),
        found: &["esp"],
    },
    Change {
        name: "an addon of every UKI",
        forge: |image| image.put_esp_file("loader/addons/x.addon.efi", &addon("quiet", &db())),
        found: &["esp"],
    },
    Change {
        name: "another EFI program",
        forge: |image| image.put_esp_file("EFI/tools/shell.efi", &image.boot_parts().sign(&db())),
        found: &["esp"],
    },
    Change {
        name: "a file more in the initramfs",
        forge: |image| image.sign_boot_again(&db(), |boot| boot.initramfs.file("/etc/extra", 0o644, "x")),
        found: &["initramfs"],
    },
    Change {
        name: "another stage0",
        forge: |image| image.sign_boot_again(&db(), |boot| boot.flip_member("/init")),
        found: &["stage0"],
    },
    Change {
        name: "a policy that allows everything",
        forge: |image| {
            let open = policy().replace("DEFAULT action=DENY", "DEFAULT action=ALLOW");
            assert_ne!(open, policy());
            image.sign_boot_again(&db(), |boot| boot.sign_policy(&open, &db()));
        },
        found: &["policy"],
    },
    Change {
        name: "a line that only records, in both places",
        forge: |image| {
            image.sign_boot_again(&db(), |boot| {
                boot.set_line(boot.line.replace("ipe.enforce=1", "ipe.enforce=0"));
                boot.change_plan(|plan| plan.enforcement = Enforcement::Audit);
            });
        },
        found: &["command-line"],
    },
    Change {
        name: "a boot artefact that a stranger signed",
        forge: |image| image.sign_boot_again(&stranger(), |_| {}),
        found: &["boot-signature"],
    },
];

#[test]
fn verify_names_the_broken_link_of_every_change() {
    minimal().finds_all(SOME.iter().chain(&MORE).map(Row::change).chain(FOUND_BY_VERIFY));
}

#[test]
fn verify_takes_each_certificate_for_its_role_only() {
    let keys = image::keys();
    let path = |folder: &Path, role: &str| folder.join(format!("{role}.crt")).display().to_string();
    let (db, policy_key) = (path(keys, "db"), path(keys, "policy"));
    let stranger = path(image::strangers_keys(), "db");
    let image = Forgery::of(image::minimal());

    let finds = |trust: &[&str], expected: &[&str]| {
        let (bad, status) = broken_links(image.path(), trust);
        assert_eq!(bad, expected, "{trust:?}");
        assert_eq!(status, Some(i32::from(!expected.is_empty())), "{trust:?}");
    };

    finds(&["--trust", &stranger], &["boot-signature", "policy-signature", "root-signature"]);
    // db's certificate for boot code only: it signed the policy and the root hash as well.
    let by_role = ["--trust-boot", &db, "--trust-policy", &policy_key, "--trust-root", &policy_key];
    finds(&by_role, &["certificate-roles"]);

    // A policy by the policy key: proved for whoever trusts it with policies, and with nothing else.
    let signer = signer_of(keys, "policy");
    image.sign_boot_again(&self::db(), |boot| boot.sign_policy(&policy(), &signer));
    finds(&["--trust-boot", &db, "--trust-policy", &policy_key, "--trust-root", &db], &[]);
    finds(&["--trust-boot", &policy_key, "--trust-policy", &db, "--trust-root", &db], &["certificate-roles"]);
    finds(&["--trust", &db], &["policy-signature"]);
}

#[test]
fn each_judge_stops_what_is_its_to_stop() {
    minimal().boot_all(&SOME);
}

#[test]
#[cfg_attr(not(feature = "full"), ignore = "a boot for every row: feature `full`")]
fn every_change_is_stopped_by_the_next_link() {
    minimal().boot_all(&MORE);
}

/// The control: whoever holds the db key and signs everything makes an image that boots. Each row above lacks one thing.
#[test]
#[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
fn an_image_with_everything_signed_again_boots() {
    let mut image = Forgery::of(image::minimal());
    // A comment of init's, so that it still says that it is up.
    let root_hash = image.change_root(b"Process 1. stage0 has mounted");
    image.sign_root_hash(&root_hash.to_string(), &db());
    image.sign_boot_again(&db(), |boot| {
        boot.bind(&root_hash);
        boot.sign_policy(&policy_for(&root_hash), &db());
    });
    Guest::reach(&image::machine(image.path()), UP);
}
