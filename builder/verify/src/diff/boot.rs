//! What starts the root: kernel, command line, policy, plan, signatures.

use graven_boot::fdt;
use graven_boot::fit::Fit;
use graven_boot::kernel::{Config, Value};
use graven_boot::uki::Uki;
use graven_handoff::initramfs as handoff;
use graven_image::tree::TreePath;
use graven_targets::BootChain;
use sha2::{Digest, Sha256};

use super::listed::{self, Lines, Named, one};
use super::{Change, Side};
use crate::manifest::sha256_hex;

/// Keys of os-release that are another one's in another release.
const OF_THE_RELEASE: [&str; 3] = ["IMAGE_VERSION", "PRETTY_NAME", "VERSION_ID"];
/// Words of the command line whose values follow from the root.
const FOLLOW_ON_THE_LINE: [&str; 3] = ["roothash", "graven.policy", "graven.policy_sha256"];
/// Lines of the plan that do, or that are another release's.
const FOLLOW_IN_THE_PLAN: [&str; 8] = [
    "clock-not-before",
    "image",
    "policy.version",
    "verity.data-blocks",
    "verity.fec",
    "verity.hash-start",
    "verity.salt",
    "verity.superblock-uuid",
];
/// Sections of a UKI that are told of by what is in them.
const TOLD_SECTIONS: [&str; 7] = [".osrel", ".cmdline", ".uname", ".initrd", ".linux", ".dtb", ".dtbauto"];
/// Bytes that a kernel's configuration may have.
const MOST_CONFIG_BYTES: u64 = 16 << 20;
/// Bytes that a device tree may have.
const MOST_DEVICE_TREE_BYTES: u64 = 16 << 20;

/// Digests and hashes of the whole.
pub(super) fn identities(old: &Side<'_>, new: &Side<'_>) -> Vec<Change> {
    let identities = |side: &Side<'_>| {
        let (summary, boot) = (&side.summary, &side.boot);
        [
            ("root hash", summary.root_hash.clone()),
            ("salt", summary.root.salt.clone()),
            ("file system UUID", summary.root.uuid.clone().unwrap_or_default()),
            ("policy", format!("sha256:{}", sha256_hex(&boot.policy))),
            ("signed policy", format!("sha256:{}", sha256_hex(&boot.signed_policy))),
            ("boot artefact", format!("sha256:{}", summary.boot.sha256)),
        ]
    };
    let both = identities(old).into_iter().zip(identities(new));
    both.filter_map(|((what, old), (_, new))| one(what, Some(old), Some(new))).collect()
}

/// Kernel, stage0, initramfs, device trees, os-release; then what of it is another release's.
pub(super) fn parts(old: &Side<'_>, new: &Side<'_>) -> (Vec<Change>, Vec<Change>) {
    let parts = |side: &Side<'_>| {
        let boot = &side.summary.boot;
        let mut parts = Named::from([
            ("architecture".to_owned(), side.summary.arch.clone()),
            ("kernel release".to_owned(), boot.kernel_release.clone()),
            ("kernel".to_owned(), format!("sha256:{}", boot.kernel_sha256)),
            ("path".to_owned(), boot.path.clone()),
        ]);
        parts.extend(boot.os_release.iter().map(|(key, value)| (format!("os-release {key}"), value.clone())));
        parts.extend(boot.description.iter().map(|text| ("description".to_owned(), text.clone())));
        for (at, tree) in boot.device_trees.iter().enumerate() {
            let machines = tree.compatible.join(", ");
            parts.insert(format!("device tree {}", at + 1), format!("{machines}, sha256:{}", tree.sha256));
        }
        match side.boot.chain {
            BootChain::Uki => parts.extend(stub(&side.boot.bytes).map(|sum| ("stub".to_owned(), sum))),
            BootChain::Fit => parts.extend(fit(&side.boot.bytes)),
        }
        // What the builder makes is told of by itself.
        let made = [handoff::COMMAND_LINE, handoff::PLAN, handoff::POLICY];
        for entry in &side.summary.initramfs {
            let path = format!("/{}", entry.path);
            if made.contains(&path.as_str()) {
                continue;
            }
            let contents = entry.sha256.as_ref().map(|sum| format!(", sha256:{sum}")).unwrap_or_default();
            let name = if path == handoff::INIT { "stage0".to_owned() } else { format!("initramfs {path}") };
            parts.insert(name, format!("{}, mode {}{contents}", entry.kind, entry.mode));
        }
        parts
    };
    let follows = |change: &Change| {
        let key = change.what.strip_prefix("os-release ");
        change.what == "description" || key.is_some_and(|key| OF_THE_RELEASE.contains(&key))
    };
    listed::split(listed::named(&parts(old), &parts(new)), follows, str::to_owned)
}

/// SHA-256 over the sections of the stub that a UKI was built on.
fn stub(uki: &[u8]) -> Option<String> {
    let uki = Uki::parse(uki).ok()?;
    let mut hash = Sha256::new();
    for section in uki.sections().iter().filter(|section| !TOLD_SECTIONS.contains(&section.name.as_str())) {
        hash.update(section.name.as_bytes());
        hash.update(uki.section(&section.name).unwrap_or_default());
    }
    Some(format!("sha256:{}", graven_handoff::hex::encode(&hash.finalize())))
}

/// Device trees of a FIT but for the command line in them, and its configurations.
fn fit(bytes: &[u8]) -> Named {
    let mut parts = Named::new();
    let Ok(fit) = Fit::parse(bytes) else { return parts };
    for configuration in fit.configurations() {
        let references = configuration.references.iter();
        let references = references.map(|one| format!("{} {}", one.property, one.image));
        let compatible = fit.compatible_with(configuration).into_iter().map(|name| format!("for {name}"));
        let all: Vec<String> = references.chain(compatible).collect();
        parts.insert(format!("configuration {}", configuration.name), all.join(", "));
        for name in configuration.named_by("fdt") {
            let sum = fit.image(name).and_then(|image| {
                let bytes = image.decompressed(MOST_DEVICE_TREE_BYTES).ok()?;
                let mut tree = fdt::Tree::parse(&bytes).ok()?;
                tree.set_bootargs("").ok()?;
                tree.to_bytes().ok().map(|bytes| sha256_hex(&bytes))
            });
            parts.insert(format!("device tree {name}"), format!("sha256:{}", sum.unwrap_or_default()));
        }
    }
    parts
}

/// The kernel's configuration, as the root keeps it.
pub(super) fn kernel_config(old: &Side<'_>, new: &Side<'_>) -> Vec<Change> {
    let config = |side: &Side<'_>| {
        let path = format!("/usr/lib/modules/{}/config", side.summary.boot.kernel_release);
        let bytes = side.tree.read(&TreePath::parse(path.as_bytes()).ok()?, MOST_CONFIG_BYTES).ok()?;
        let config = Config::parse(std::str::from_utf8(&bytes).ok()?).ok()?;
        let symbols = config.symbols().filter_map(|symbol| {
            let value = match config.get(symbol) {
                Value::Yes => "y".to_owned(),
                Value::Module => "m".to_owned(),
                Value::Text(text) => text.clone(),
                // Not set is as good as not there.
                Value::No => return None,
            };
            Some((symbol.to_owned(), value))
        });
        Some(symbols.collect::<Named>())
    };
    match (config(old), config(new)) {
        (Some(old), Some(new)) => listed::named(&old, &new),
        _ => Vec::new(),
    }
}

/// Lines of the policy, with `ROOTHASH` for the root hash; then its version.
pub(super) fn policy(old: &Side<'_>, new: &Side<'_>) -> (Vec<Change>, Vec<Change>) {
    let lines = |side: &Side<'_>| -> Lines {
        let text = side.summary.policy.replace(&side.summary.root_hash, "ROOTHASH");
        let lines = text.lines().flat_map(|line| match line.split_whitespace().next() {
            None => Vec::new(),
            Some(word) if word.starts_with("policy_") => {
                let words = line.split_whitespace().filter_map(|word| word.split_once('='));
                words.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
            }
            Some("DEFAULT") => vec![("default".to_owned(), line.to_owned())],
            Some(_) => vec![("rule".to_owned(), line.to_owned())],
        });
        lines.collect()
    };
    let version = |change: &Change| change.what == "policy_version";
    listed::split(listed::lines(&lines(old), &lines(new)), version, str::to_owned)
}

/// Words of the command line, without the values that follow from the root.
pub(super) fn command_line(old: &Side<'_>, new: &Side<'_>) -> Vec<Change> {
    let words = |side: &Side<'_>| -> Lines {
        let words = side.summary.command_line.iter().map(|word| match word.split_once('=') {
            Some((key, _)) if FOLLOW_ON_THE_LINE.contains(&key) => (key.to_owned(), "…".to_owned()),
            Some((key, value)) => (key.to_owned(), value.to_owned()),
            None => (word.clone(), "given".to_owned()),
        });
        words.collect()
    };
    listed::lines(&words(old), &words(new))
}

/// Lines of stage0's plan; then those that follow from the root.
pub(super) fn plan(old: &Side<'_>, new: &Side<'_>) -> (Vec<Change>, Vec<Change>) {
    let lines = |side: &Side<'_>| -> Lines {
        let mut plan = side.summary.plan.clone();
        for partition in &side.summary.partitions {
            plan = plan.replace(&partition.uuid, &format!("partition {}", partition.name));
        }
        let lines = plan.lines().map(|line| line.split_once('=').unwrap_or((line, "")));
        let lines = lines.flat_map(|(key, value)| match (key, value.split_once(' ')) {
            // Only the number of roots is somebody's choice.
            ("verity.fec", Some((roots, rest))) => vec![("verity.fec-roots", roots), (key, rest)],
            _ => vec![(key, value)],
        });
        lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    let follows = |change: &Change| {
        FOLLOW_IN_THE_PLAN.contains(&change.what.as_str()) && change.old.is_some() && change.new.is_some()
    };
    listed::split(listed::lines(&lines(old), &lines(new)), follows, |name| format!("plan {name}"))
}

/// Who signed what, as the signatures name them.
pub(super) fn signers(old: &Side<'_>, new: &Side<'_>) -> Vec<Change> {
    let signers = |side: &Side<'_>| {
        let summary = &side.summary;
        let mut named = summary.boot.signatures.iter().map(|signature| {
            let carried = signature.certificates.iter();
            let carried: Vec<String> =
                carried.map(|(subject, sum)| format!("{subject} sha256:{sum}")).collect();
            format!("{}, carries {}", signature.signer, carried.join(", "))
        });
        let boot = match side.boot.chain {
            BootChain::Uki => named.by_ref().collect::<Vec<_>>(),
            BootChain::Fit => fit_signers(&side.boot.bytes),
        };
        Named::from([
            ("boot artefact".to_owned(), boot.join("; ")),
            ("policy".to_owned(), summary.policy_signer.clone()),
            ("root hash".to_owned(), summary.root_signer.clone()),
        ])
    };
    listed::named(&signers(old), &signers(new))
}

/// What the signatures of a FIT's configurations say of their keys.
fn fit_signers(bytes: &[u8]) -> Vec<String> {
    let Ok(fit) = Fit::parse(bytes) else { return Vec::new() };
    let configurations = fit.configurations().iter();
    let all = configurations.flat_map(|configuration| {
        configuration.signatures.iter().map(|signature| {
            let hint = signature.hint.as_deref().unwrap_or("a key without a name");
            format!("{}: {hint}, {}", configuration.name, signature.algorithm)
        })
    });
    all.collect()
}
