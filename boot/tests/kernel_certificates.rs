//! What a kernel trusts by itself, and whom it would refuse: lists of certificates as the kernel's build lays them out,
//! and Debian's own kernels.
#![allow(clippy::unwrap_used)]

mod oracle;

use graven_boot::compression::Compression;
use graven_boot::kernel::{CertificatesError, Demands, Kernel, Parts, Signers, assess};
use graven_boot::x509::Certificate;
use graven_targets::BootChain;

const GENERIC: &str = include_str!("kernels/debian-7.3.4-amd64.config");

/// GNU as reads `.align 8` as a power of two on ARM.
const ALIGN: usize = 256;

/// A flat arm64 kernel with these pieces of `.init.rodata`, each aligned as the assembler does.
fn arm64(pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut image = vec![0; 0x1000];
    image[0x38..0x3c].copy_from_slice(b"ARM\x64");
    image[0x100..0x118].copy_from_slice(b"Linux version 7.3.4 (x)\0");
    for piece in pieces {
        image.resize(image.len().next_multiple_of(ALIGN), 0);
        image.extend_from_slice(piece);
    }
    image.resize(image.len() + 0x1000, 0);
    image
}

fn number(number: usize) -> Vec<u8> {
    (number as u64).to_le_bytes().to_vec()
}

/// The list with its two numbers.
fn list(modules: &[&Certificate], trusted: &[&Certificate]) -> [Vec<u8>; 3] {
    let der = |all: &[&Certificate]| all.iter().flat_map(|one| one.der().to_vec()).collect::<Vec<_>>();
    let (modules, trusted) = (der(modules), der(trusted));
    let size = modules.len() + trusted.len();
    [[modules.clone(), trusted].concat(), number(size), number(modules.len())]
}

/// Debian's configuration for arm64, with more lines.
fn config(more: &str) -> String {
    format!("{}\n{more}\n", GENERIC.replace("CONFIG_X86_64=y", "CONFIG_ARM64=y"))
}

const BOTH: &str = "CONFIG_MODULE_SIG=y\nCONFIG_SYSTEM_TRUSTED_KEYS=\"policy.crt\"";

fn inspect(image: &[u8], config: &str) -> Kernel {
    Kernel::inspect(&Parts { image, config: Some(config), builtin: "", builtin_modinfo: b"" }).unwrap()
}

fn trusted(image: &[u8], more: &str) -> Result<Vec<Certificate>, CertificatesError> {
    inspect(image, &config(more)).certificates
}

/// A certificate of [`oracle::keys`].
fn certificate(role: &str) -> Certificate {
    oracle::keys().certificates(role).remove(0)
}

/// What a FIT whose policy and root hash this certificate signs has against a kernel, as far as it is about trust.
fn refusals(kernel: &Kernel, signer: &Certificate) -> Vec<String> {
    let demands = Demands {
        boot_chain: BootChain::Fit,
        secure_boot: false,
        fec: true,
        root_file_system: "EROFS_FS",
        root_needs: Vec::new(),
        command_line_limit: 2048,
        modules: Compression::None,
        lsm: None,
        policy: None,
        signers: Some(Signers { policy: signer.clone(), root_hash: signer.clone(), issuers: None }),
    };
    let about_trust = ["signer-not-in-kernel", "no-reachable-policy-keyring"];
    let refusals = assess(kernel, &demands).into_iter().filter(|one| about_trust.contains(&one.name));
    refusals.map(|one| one.to_string()).collect()
}

#[test]
fn the_list_is_found_and_nothing_that_only_looks_like_it() {
    let (modules, policy) = (certificate("fit"), certificate("policy"));
    let (revoked, stray) = (certificate("db"), certificate("kek"));
    // A list of revoked certificates has its length behind it and no second number; a PE signature has neither.
    let revocations = [revoked.der().to_vec(), number(revoked.der().len()), b"else".to_vec()];
    let pieces = [&list(&[&modules], &[&policy])[..], &revocations, &[stray.der().to_vec()]].concat();
    let image = arm64(&pieces);
    assert_eq!(trusted(&image, BOTH).unwrap(), [modules.clone(), policy.clone()]);
    for compression in [Compression::Gzip, Compression::Xz, Compression::Zstd] {
        let image = compression.compress(&image).unwrap();
        assert_eq!(trusted(&image, BOTH).unwrap(), [modules.clone(), policy.clone()], "{compression:?}");
    }
    let kernel = inspect(&image, &config(BOTH));
    assert_eq!(refusals(&kernel, &policy), [""; 0]);
    assert_eq!(refusals(&kernel, &modules), [""; 0], "one keyring serves policies and modules");
    for foreign in [&revoked, &stray] {
        let refusals = refusals(&kernel, foreign);
        let [refusal] = refusals.as_slice() else { panic!("{refusals:?}") };
        assert!(refusal.starts_with("signer-not-in-kernel: "), "{refusal}");
        assert!(
            refusal.contains("ENOKEY") && refusal.contains(&foreign.fingerprint().to_string()),
            "{refusal}"
        );
        assert!(refusal.contains(&policy.fingerprint().to_string()), "it names what is trusted: {refusal}");
    }
}

#[test]
fn a_module_key_that_the_kernel_does_not_use_is_not_trusted() {
    let (modules, policy) = (certificate("fit"), certificate("policy"));
    let image = arm64(&list(&[&modules], &[&policy]));
    let appraisal = "CONFIG_MODULES=y\nCONFIG_IMA_APPRAISE_MODSIG=y\nCONFIG_SYSTEM_TRUSTED_KEYS=\"policy.crt\"\n# CONFIG_MODULE_SIG is not set";
    assert_eq!(trusted(&image, appraisal).unwrap(), [policy]);
}

#[test]
fn a_certificate_inserted_after_the_build_counts() {
    const KEPT: usize = 4096;
    let (policy, late) = (certificate("policy"), certificate("db"));
    let lines =
        format!("CONFIG_SYSTEM_TRUSTED_KEYS=\"policy.crt\"\nCONFIG_SYSTEM_EXTRA_CERTIFICATE_SIZE={KEPT}");
    let kernel = |inserted: &[u8]| {
        let mut list = [policy.der(), inserted].concat();
        list.resize(policy.der().len() + KEPT, 0);
        list.resize(list.len().next_multiple_of(16), 0);
        list.extend_from_slice(&u32::try_from(inserted.len()).unwrap().to_le_bytes());
        arm64(&[list, number(policy.der().len() + inserted.len()), number(0)])
    };
    assert_eq!(trusted(&kernel(b""), &lines).unwrap(), std::slice::from_ref(&policy));
    assert_eq!(trusted(&kernel(late.der()), &lines).unwrap(), [policy.clone(), late]);
}

#[test]
fn what_cannot_be_read_is_refused() {
    let policy = certificate("policy");
    let [certificates, size, modules] = list(&[], &[&policy]);
    let trusting = "CONFIG_SYSTEM_TRUSTED_KEYS=\"policy.crt\"";
    let good = arm64(&[certificates.clone(), size.clone(), modules.clone()]);
    assert_eq!(trusted(&good, trusting).unwrap(), std::slice::from_ref(&policy));

    let torn = arm64(&[certificates.clone(), number(7), modules.clone()]);
    assert_eq!(trusted(&torn, trusting), Err(CertificatesError::NotFound));
    let twice = arm64(&[[certificates, size, modules].as_slice(); 2].concat());
    assert_eq!(trusted(&twice, trusting), Err(CertificatesError::Ambiguous(2)));
    for image in [torn, twice] {
        let refusals = refusals(&inspect(&image, &config(trusting)), &policy);
        assert!(refusals.len() == 1 && refusals[0].contains("cannot be told"), "{refusals:?}");
    }

    // No certificate was ever asked for, so the list is empty whatever lies in the image.
    assert_eq!(trusted(&good, "CONFIG_SYSTEM_TRUSTED_KEYS=\"\"").unwrap(), []);
    let without = refusals(&inspect(&good, &config("")), &policy);
    assert!(without.len() == 1 && without[0].starts_with("no-reachable-policy-keyring: "), "{without:?}");

    let start = 0x1000;
    for cut in start..good.len() {
        let _ = trusted(&good[..cut], trusting);
    }
}

/// Debian destroys the private half of the key that it signs modules with, and compiles no other certificate in.
#[test]
fn debians_kernels_trust_nobody_who_could_sign_a_policy() {
    let policy = certificate("policy");
    for (folder, arch) in [(".", "amd64"), ("arm64", "arm64")] {
        let file = |part: &str, name: &str| {
            let package = format!("{folder}/linux-{part}-7.3*+deb13-{arch}_");
            oracle::debian_file(&package, &format!("./usr/lib/modules/*/{name}"))
        };
        let config = String::from_utf8(file("base", "config")).unwrap();
        let kernel = inspect(&file("binary", "vmlinuz"), &config);
        let trusted = kernel.certificates.clone().unwrap();
        let subjects: Vec<_> = trusted.iter().map(Certificate::subject).collect();
        assert_eq!(subjects, ["CN=Build time autogenerated kernel key"], "{arch}");
        let refusals = refusals(&kernel, &policy);
        assert!(refusals.len() == 1 && refusals[0].starts_with("signer-not-in-kernel: "), "{refusals:?}");
    }
}
