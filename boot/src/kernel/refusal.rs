//! What the builder refuses in a kernel, and how a recipe accepts a refusal by name, with a reason.

use std::collections::BTreeMap;

use graven_handoff::PolicyIdentity;
use graven_ipe::{Action, Facts, Op};
use graven_targets::BootChain;

use super::certificates;
use super::config::Config;
use super::inspect::Kernel;
use super::root_without_initramfs::own_root;
use crate::compression::Compression;
use crate::refusal::{self, AcceptError, Judged, Refusal};
use crate::x509::{self, Certificate, PublicKey};

/// What the image asks of its kernel.
#[derive(Clone, Debug)]
pub struct Demands {
    /// UKI or FIT: decides where the kernel can find the policy's certificate.
    pub boot_chain: BootChain,
    /// stage0 is to refuse a boot without Secure Boot.
    pub secure_boot: bool,
    /// The root carries forward error correction.
    pub fec: bool,
    /// Kconfig symbol of the root's file system, such as `EROFS_FS`.
    pub root_file_system: &'static str,
    /// Symbols that it needs besides, built in: of compressors.
    pub root_needs: Vec<&'static str>,
    /// The kernel's command line buffer as the target knows it, in bytes, NUL included.
    pub command_line_limit: usize,
    /// The modules folder holds compressed modules.
    pub modules: Compression,
    /// The recipe puts `lsm=` on the line: its value, instead of `CONFIG_LSM`.
    pub lsm: Option<String>,
    /// The image's policy; `None` where that is not known.
    pub policy: Option<PolicyIdentity>,
    /// Whose signatures the kernel is to accept; `None` where that is not settled yet.
    pub signers: Option<Signers>,
}

/// Who signs what the kernel itself checks.
#[derive(Clone, Debug)]
pub struct Signers {
    /// The IPE policy's signer.
    pub policy: Certificate,
    /// The root hash's signer.
    pub root_hash: Certificate,
    /// Issuers that travel in their signatures with the signer's own certificate, where any certificate does.
    pub issuers: Option<Vec<Certificate>>,
}

/// How a symbol must be set.
#[derive(Clone, Copy)]
enum Must {
    /// `=y`
    BuiltIn,
    /// `=y` or `=m`
    On,
}

/// A symbol without `CONFIG_`, and how it must be set.
type Symbol = (&'static str, Must);

/// Symbols every kernel must have: name of the refusal, symbols, why.
const ALWAYS: [(&str, &[Symbol], &str); 15] = [
    ("ipe-missing", &[("SECURITY_IPE", Must::BuiltIn)], "without IPE no policy is enforced"),
    (
        "ipe-property-dm-verity-off",
        &[("IPE_PROP_DM_VERITY", Must::BuiltIn)],
        "IPE could not tell the verified root from any other file system",
    ),
    (
        "ipe-property-signature-off",
        &[("IPE_PROP_DM_VERITY_SIGNATURE", Must::BuiltIn)],
        "IPE could not tell a signed root hash from an unsigned one",
    ),
    (
        "seccomp-filter-off",
        &[("SECCOMP_FILTER", Must::BuiltIn)],
        "root could load a forged device-mapper table, which only stage0's filter prevents",
    ),
    (
        "dm-verity-off",
        &[("BLK_DEV_DM", Must::On), ("DM_VERITY", Must::On)],
        "the root could not be opened as a verified device",
    ),
    ("initramfs-off", &[("BLK_DEV_INITRD", Must::BuiltIn)], "the kernel would never start stage0"),
    (
        "file-systems-of-stage0-off",
        &[("PROC_FS", Must::BuiltIn), ("SYSFS", Must::BuiltIn), ("TMPFS", Must::BuiltIn)],
        "stage0 cannot read the command line or devices",
    ),
    ("sysctl-off", &[("SYSCTL", Must::BuiltIn)], "stage0 could not lock down the usermode helpers"),
    ("devtmpfs-off", &[("DEVTMPFS", Must::BuiltIn)], "stage0 finds no device nodes"),
    ("securityfs-off", &[("SECURITYFS", Must::BuiltIn)], "stage0 has no way to load the policy"),
    ("gpt-off", &[("EFI_PARTITION", Must::BuiltIn)], "the kernel finds no partition"),
    (
        "audit-off",
        &[("AUDIT", Must::BuiltIn), ("AUDITSYSCALL", Must::BuiltIn)],
        "denials would leave no record",
    ),
    ("elf-off", &[("BINFMT_ELF", Must::BuiltIn)], "the kernel starts no program"),
    (
        "keys-off",
        &[
            ("KEYS", Must::BuiltIn),
            ("ASYMMETRIC_KEY_TYPE", Must::BuiltIn),
            ("ASYMMETRIC_PUBLIC_KEY_SUBTYPE", Must::BuiltIn),
            ("X509_CERTIFICATE_PARSER", Must::BuiltIn),
            ("PKCS7_MESSAGE_PARSER", Must::BuiltIn),
            ("SYSTEM_TRUSTED_KEYRING", Must::BuiltIn),
            ("SYSTEM_DATA_VERIFICATION", Must::BuiltIn),
        ],
        "the kernel cannot check a PKCS#7 signature",
    ),
    (
        "signature-algorithms-off",
        &[("CRYPTO_RSA", Must::BuiltIn), ("CRYPTO_SHA256", Must::On)],
        "the kernel cannot check RSA signatures over SHA-256",
    ),
];

const SIGNER_NOT_IN_KERNEL: &str = "signer-not-in-kernel";

/// Every name that [`assess`] can give, in alphabetical order.
pub const NAMES: [&str; 36] = [
    "audit-off",
    "boot-policy-in-the-way",
    "boot-policy-stops-stage0",
    "builtin-disk-driver-and-file-system",
    "command-line-built-in",
    "command-line-forced",
    "command-line-limit",
    "devtmpfs-off",
    "dm-verity-off",
    "efi-stub-off",
    "efivarfs-off",
    "elf-off",
    "fec-off",
    "file-systems-of-stage0-off",
    "gpt-off",
    "initramfs-off",
    "ipe-missing",
    "ipe-property-dm-verity-off",
    "ipe-property-signature-off",
    "keys-off",
    "lockdown-off",
    "lsm-list-without-ipe",
    "mdwe-missing",
    "memfd-noexec-missing",
    "module-decompression-off",
    "no-reachable-policy-keyring",
    "no-root-hash-keyring",
    "proc-mem-override-missing",
    "root-file-system-off",
    "script-checks-missing",
    "seccomp-filter-off",
    "securityfs-off",
    "signature-algorithms-off",
    SIGNER_NOT_IN_KERNEL,
    "sysctl-off",
    "yama-off",
];

impl Demands {
    /// Whether [`assess`] can tell if there is reason for this refusal.
    pub fn settle(&self, name: &str) -> bool {
        name != SIGNER_NOT_IN_KERNEL || self.boot_chain == BootChain::Uki || self.signers.is_some()
    }
}

/// All that speaks against this kernel, in alphabetical order of names.
pub fn assess(kernel: &Kernel, demands: &Demands) -> Vec<Refusal> {
    let mut found = Assessment { config: &kernel.config, refusals: Vec::new() };
    for (name, symbols, why) in ALWAYS {
        found.demand(name, symbols, why);
    }
    assess_signature_algorithms(&mut found, demands);
    assess_keyrings(&mut found, kernel, demands);
    assess_security_modules(&mut found, demands);
    assess_root(&mut found, demands);
    assess_foreign_root(&mut found, kernel);
    assess_boot_policy(&mut found, kernel, demands);
    assess_release(&mut found, kernel);
    assess_command_line(&mut found, kernel, demands);
    if demands.boot_chain == BootChain::Uki
        && !(kernel.image.efi_stub && kernel.config.is_built_in("EFI_STUB"))
    {
        found.refuse("efi-stub-off", "UEFI cannot start this kernel", "build it with CONFIG_EFI_STUB=y");
    }
    if demands.secure_boot {
        found.demand("efivarfs-off", &[("EFIVAR_FS", Must::On)], "stage0 cannot read the Secure Boot state");
    }
    found.refusals.sort_by_key(|refusal| refusal.name);
    found.refusals
}

struct Assessment<'a> {
    config: &'a Config,
    refusals: Vec<Refusal>,
}

impl Assessment<'_> {
    fn refuse(&mut self, name: &'static str, why: impl Into<String>, remedy: impl Into<String>) {
        self.refusals.push(Refusal { name, why: why.into(), remedy: remedy.into() });
    }

    /// One refusal that names all the symbols which are not as they must be.
    fn demand(&mut self, name: &'static str, symbols: &[(&str, Must)], why: &str) {
        let missing: Vec<_> = symbols
            .iter()
            .filter(|(symbol, must)| match must {
                Must::BuiltIn => !self.config.is_built_in(symbol),
                Must::On => !self.config.is_on(symbol),
            })
            .map(|(symbol, must)| match must {
                Must::BuiltIn => format!("CONFIG_{symbol}=y"),
                Must::On => format!("CONFIG_{symbol}=y or =m"),
            })
            .collect();
        if !missing.is_empty() {
            let missing = missing.join(", ");
            self.refuse(
                name,
                format!("{why} (not set: {missing})"),
                format!("use a kernel built with {missing}"),
            );
        }
    }
}

/// Whether the kernel can check signatures by keys of other kinds than RSA.
fn assess_signature_algorithms(found: &mut Assessment<'_>, demands: &Demands) {
    let Some(Signers { policy, root_hash, .. }) = &demands.signers else { return };
    let has = |wanted: fn(&PublicKey) -> bool| wanted(policy.public_key()) || wanted(root_hash.public_key());
    if has(|key| matches!(key, PublicKey::P256(_) | PublicKey::P384(_))) {
        found.demand(
            "signature-algorithms-off",
            &[("CRYPTO_ECDSA", Must::BuiltIn), ("CRYPTO_SHA512", Must::On)],
            "policy or root hash is signed with ECDSA, which the kernel cannot check",
        );
    }
    if has(|key| matches!(key, PublicKey::MlDsa65(_))) {
        found.demand(
            "signature-algorithms-off",
            &[("CRYPTO_MLDSA", Must::BuiltIn)],
            "policy or root hash is signed with ML-DSA, which the kernel cannot check",
        );
    }
}

/// Where the kernel looks for the certificates of policy and root hash.
fn assess_keyrings(found: &mut Assessment<'_>, kernel: &Kernel, demands: &Demands) {
    let root_hash_signature = ("DM_VERITY_VERIFY_ROOTHASH_SIG", Must::BuiltIn);
    match demands.boot_chain {
        BootChain::Uki => {
            found.demand(
                "no-reachable-policy-keyring",
                &[
                    ("IPE_POLICY_SIG_PLATFORM_KEYRING", Must::BuiltIn),
                    ("INTEGRITY_PLATFORM_KEYRING", Must::BuiltIn),
                    ("LOAD_UEFI_KEYS", Must::BuiltIn),
                ],
                "a policy signed with the key in UEFI's db would be refused: IPE does not look there",
            );
            found.demand(
                "no-root-hash-keyring",
                &[
                    root_hash_signature,
                    ("DM_VERITY_VERIFY_ROOTHASH_SIG_PLATFORM_KEYRING", Must::BuiltIn),
                    ("INTEGRITY_PLATFORM_KEYRING", Must::BuiltIn),
                    ("LOAD_UEFI_KEYS", Must::BuiltIn),
                ],
                "a root hash signed with the key in UEFI's db would be refused: dm-verity does not look there",
            );
        }
        BootChain::Fit => {
            assess_built_in_certificates(found, kernel, demands.signers.as_ref());
            let why = "dm-verity would not check the root hash's signature";
            found.demand("no-root-hash-keyring", &[root_hash_signature], why);
        }
    }
}

/// Without UEFI the kernel trusts what was compiled into it and nothing else.
fn assess_built_in_certificates(found: &mut Assessment<'_>, kernel: &Kernel, signers: Option<&Signers>) {
    const REMEDY: &str =
        "build the kernel with the signer's certificate in the file that CONFIG_SYSTEM_TRUSTED_KEYS names";
    let list = match &kernel.certificates {
        Ok(list) if list.is_empty() => {
            let why = "without UEFI the kernel trusts only certificates compiled into it, and it has none";
            return found.refuse("no-reachable-policy-keyring", why, REMEDY);
        }
        Ok(list) => list,
        Err(problem) => {
            let why = format!(
                "whether the kernel trusts the signer of policy and root hash cannot be told: {problem}"
            );
            let remedy = "give the kernel as it left its build: Image, Image.gz, vmlinuz.efi or bzImage";
            return found.refuse(SIGNER_NOT_IN_KERNEL, why, remedy);
        }
    };
    let Some(Signers { policy, root_hash, issuers }) = signers else { return };
    let named = |certificate: &Certificate| {
        format!("«{}» (sha256:{})", certificate.subject(), certificate.fingerprint())
    };
    let unknown = |signer: &&Certificate| {
        let by_issuer = issuers.as_ref().is_some_and(|issuers| x509::anchor(signer, issuers, list).is_ok());
        !certificates::knows(list, signer) && !by_issuer
    };
    let all: &[(&str, &Certificate)] = match policy == root_hash {
        true => &[("policy and root hash", policy)],
        false => &[("policy", policy), ("root hash", root_hash)],
    };
    for (what, signer) in all.iter().filter(|(_, signer)| unknown(signer)) {
        let trusted = list.iter().map(named).collect::<Vec<_>>().join(", ");
        found.refuse(
            SIGNER_NOT_IN_KERNEL,
            format!(
                "the kernel would refuse {what} (ENOKEY): signed by {}, and the kernel trusts only {trusted}",
                named(signer)
            ),
            REMEDY,
        );
    }
}

/// The list of active security modules, and those that need more than the list.
fn assess_security_modules(found: &mut Assessment<'_>, demands: &Demands) {
    let (source, list) = match &demands.lsm {
        Some(lsm) => ("lsm= on the command line", lsm.as_str()),
        None => ("CONFIG_LSM", found.config.text("LSM")),
    };
    let active = |name| list.split(',').any(|module| module == name);
    let list_is = format!("{source} is \"{list}\"");
    if !active("ipe") {
        let remedy = "add ipe to the list";
        found.refuse("lsm-list-without-ipe", format!("IPE would not be active: {list_is}"), remedy);
    }
    if !found.config.is_built_in("SECURITY_YAMA") || !active("yama") {
        found.refuse(
            "yama-off",
            format!(
                "ptrace could write into verified programs: it takes CONFIG_SECURITY_YAMA=y and yama in the list, and \
                 {list_is}"
            ),
            "build it with CONFIG_SECURITY_YAMA=y and add yama to the list",
        );
    }
    // The early variant is active whatever the list says.
    let early = found.config.is_built_in("SECURITY_LOCKDOWN_LSM_EARLY");
    if !found.config.is_built_in("SECURITY_LOCKDOWN_LSM") || !(early || active("lockdown")) {
        found.refuse(
            "lockdown-off",
            "root could write kernel memory: lockdown=integrity has no effect in this kernel",
            "build it with CONFIG_SECURITY_LOCKDOWN_LSM=y and CONFIG_SECURITY_LOCKDOWN_LSM_EARLY=y",
        );
    }
}

/// What stands between the kernel and the root's bytes.
fn assess_root(found: &mut Assessment<'_>, demands: &Demands) {
    found.demand(
        "root-file-system-off",
        &[(demands.root_file_system, Must::On)],
        "the kernel cannot mount the root",
    );
    let needs: Vec<_> = demands.root_needs.iter().map(|symbol| (*symbol, Must::BuiltIn)).collect();
    found.demand("root-compression-off", &needs, "the kernel cannot read the root as it is compressed");
    if demands.fec {
        let why = "the root's error correction would not be used";
        found.demand("fec-off", &[("DM_VERITY_FEC", Must::BuiltIn)], why);
    }
    if demands.modules != Compression::None {
        found.demand(
            "module-decompression-off",
            &[("MODULE_DECOMPRESS", Must::BuiltIn)],
            "only modules that the kernel itself reads from the root can be told from others, and it cannot read \
             compressed ones",
        );
    }
}

/// What runs when a changed command line skips stage0 (`rdinit=/none root=/dev/…`).
fn assess_foreign_root(found: &mut Assessment<'_>, kernel: &Kernel) {
    let forced = found.config.is_built_in("CMDLINE_OVERRIDE") || found.config.is_built_in("CMDLINE_FORCE");
    let Some(own) = own_root(found.config).filter(|_| !forced) else { return };
    let policy = match (found.config.text("IPE_BOOT_POLICY"), boot_policy_allows(kernel, &Facts::default())) {
        ("", _) => "and has no policy (CONFIG_IPE_BOOT_POLICY) against what is on it",
        (_, None) => "and the policy of CONFIG_IPE_BOOT_POLICY is not found in it, or is none",
        (_, Some(true)) => "and its compiled-in policy allows what is on it",
        // Measured: on the same line these two let a foreign init run (docs/kernels.md).
        (_, Some(false)) => "and its compiled-in policy is undone by ipe.enforce=0 or lsm= on the same line",
    };
    found.refuse(
        "builtin-disk-driver-and-file-system",
        format!(
            "a changed command line can skip stage0 (rdinit=/none root=/dev/…): the kernel mounts a foreign root by \
             itself, with CONFIG_{}=y and CONFIG_{}=y, {policy}",
            own.driver, own.file_system
        ),
        "use a kernel that has one of the two as a module (Debian: not the cloud flavour); where both must be built in, \
         only a boot loader that takes no other line keeps the kernel to this one, and that is for the recipe to say",
    );
}

/// Whether the policy compiled into the kernel lets a program run; `None` where there is none.
fn boot_policy_allows(kernel: &Kernel, facts: &Facts) -> Option<bool> {
    let policy = kernel.boot_policy.as_ref()?;
    Some(policy.evaluate(Op::Execute, facts).action == Action::Allow)
}

/// The policy compiled into the kernel is in force until stage0 has put the image's in its place.
fn assess_boot_policy(found: &mut Assessment<'_>, kernel: &Kernel, demands: &Demands) {
    const NAME: &str = "boot-policy-in-the-way";
    if boot_policy_allows(kernel, &Facts { boot_verified: true, ..Facts::default() }) == Some(false) {
        found.refuse(
            "boot-policy-stops-stage0",
            "the policy compiled into the kernel does not let it run programs of the initramfs",
            "give the policy of CONFIG_IPE_BOOT_POLICY the rule op=EXECUTE boot_verified=TRUE action=ALLOW",
        );
    }
    let Some(compiled_in) = kernel.compiled_in_policy() else {
        let unknown = !found.config.text("IPE_BOOT_POLICY").is_empty();
        // Where that is worse than a boot that stops, it is refused already.
        if unknown
            && found.refusals.iter().all(|refusal| refusal.name != "builtin-disk-driver-and-file-system")
        {
            found.refuse(
                NAME,
                "the policy of CONFIG_IPE_BOOT_POLICY is not found in the kernel, or is none: stage0 could not be told \
                 which policy it has to replace",
                "check the policy with `graven policy check`, and give the kernel as it left its build",
            );
        }
        return;
    };
    let Some(policy) = &demands.policy else { return };
    let why = if compiled_in.name == policy.name {
        "has the image's own name, so that the kernel would take no other (EEXIST)"
    } else if compiled_in.version > policy.version {
        "is newer than the image's, so that the kernel would not let it take its place"
    } else {
        return;
    };
    found.refuse(
        NAME,
        format!("the policy compiled into the kernel, {} {}, {why}", compiled_in.name, compiled_in.version),
        "give the policy of CONFIG_IPE_BOOT_POLICY a name of its own and policy_version=0.0.0",
    );
}

/// What only a version tells.
fn assess_release(found: &mut Assessment<'_>, kernel: &Kernel) {
    for (name, (major, minor), why) in [
        (
            "script-checks-missing",
            (6, 19),
            "IPE does not answer AT_EXECVE_CHECK: scripts from anywhere pass it",
        ),
        (
            "mdwe-missing",
            (6, 3),
            "PR_SET_MDWE is missing: a private mapping of a verified file can be written and run",
        ),
        ("memfd-noexec-missing", (6, 3), "vm.memfd_noexec is missing"),
        (
            "proc-mem-override-missing",
            (6, 12),
            "proc_mem.force_override is missing: /proc/PID/mem writes into programs",
        ),
    ] {
        if !kernel.release.at_least(major, minor) {
            let why = format!("{why} (kernel {})", kernel.release);
            found.refuse(name, why, format!("use Linux {major}.{minor} or later"));
        }
    }
}

/// What the kernel does to the signed command line.
fn assess_command_line(found: &mut Assessment<'_>, kernel: &Kernel, demands: &Demands) {
    let config = found.config;
    let built_in = config.text("CMDLINE");
    if let Some(forced) = kernel.forced_command_line() {
        found.refuse(
            "command-line-forced",
            format!("the kernel replaces the signed command line by its own, \"{forced}\", which names no root hash"),
            "build it without CONFIG_CMDLINE_OVERRIDE and CONFIG_CMDLINE_FORCE; an image whose line is compiled in is \
             not made yet",
        );
    } else if !built_in.is_empty()
        && (config.is_built_in("CMDLINE_BOOL") || config.is_built_in("CMDLINE_EXTEND"))
    {
        found.refuse(
            "command-line-built-in",
            format!(
                "the kernel adds \"{built_in}\" to the signed command line, and stage0 takes no other line"
            ),
            "build it with CONFIG_CMDLINE=\"\"",
        );
    }
    // Without NUL on the kernel's side, with it on the target's.
    let size = kernel.image.command_line_size.map(|size| (size as usize).saturating_add(1));
    if let Some(size) = size.filter(|&size| size != demands.command_line_limit) {
        found.refuse(
            "command-line-limit",
            format!(
                "the kernel's command line buffer has {size} bytes, the target's description says {}",
                demands.command_line_limit
            ),
            "correct the target's description",
        );
    }
}

/// Takes from `refusals` what the recipe accepts by name; `accepted` maps names to reasons.
pub fn accept(refusals: Vec<Refusal>, accepted: &BTreeMap<String, String>) -> Result<Judged, AcceptError> {
    refusal::accept(&NAMES, refusals, accepted)
}
