//! The image's policy: what the recipe says of it, bound to the root hash and read as the kernel will read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use graven_boot::kernel::Kernel;
use graven_ipe::lint::{Against, Code, Severity, lint};
use graven_ipe::{
    APPLIANCE_OPS, Action, Algorithm, Digest, Facts, Op, Policy, PolicyName, PolicyVersion, Property,
    Providers, Release, Rule,
};
use graven_recipe::{PolicyAction, PolicyOp, PolicyRule, Recipe, Volume};
use graven_verify::manifest::Input;
use graven_verity::fsverity::{Params, digest_files};
use graven_verity::progress::Silent;

use crate::error::{Error, Result};
use crate::inputs::{file_input, matching};

/// A policy that waits for its root hash.
#[derive(Debug)]
pub struct Draft {
    body: Body,
}

#[derive(Debug)]
enum Body {
    /// The recipe's own text, with its place holders.
    Text(String),
    /// The builder's rules for the root, and these before them.
    Rules(Vec<Rule>),
}

/// A policy that the kernel takes and that binds what runs, or says why not.
#[derive(Debug)]
pub struct Bound {
    /// What it says.
    pub policy: Policy,
    /// Its text, as it is to be signed.
    pub text: Vec<u8>,
    /// What was found and is meant, with the recipe's reasons.
    pub accepted: BTreeMap<String, String>,
}

/// What stands for the root hash in a recipe's text, in hexadecimal.
const ROOT_HASH: &str = "{{roothash}}";

/// What a policy is bound to, in hexadecimal.
#[derive(Debug, Clone)]
pub struct RootHashes {
    /// The root's.
    pub root: String,
    /// The volumes', in the recipe's order.
    pub volumes: Vec<String>,
}

/// Reads what the recipe names.
///
/// # Errors
/// Files that are missing or no text, and a text that does not name the root.
pub fn read(recipe: &Recipe) -> Result<(Draft, Vec<Input>)> {
    let mut inputs = Vec::new();
    let body = match &recipe.policy.text {
        Some(file) => {
            inputs.push(file_input("policy", &file.path)?);
            let bytes = std::fs::read(&file.path).map_err(|error| Error::io(&file.path, error))?;
            let text = String::from_utf8(bytes)
                .map_err(|_| Error::Limit(format!("{}: {} is no text", file.place, file.path.display())))?;
            Body::Text(text)
        }
        None => {
            let mut rules = Vec::new();
            for stated in &recipe.policy.rules {
                rules.extend(rules_of(stated, &mut inputs)?);
            }
            Body::Rules(rules)
        }
    };
    Ok((Draft { body }, inputs))
}

/// A stated rule as the policy has it: one for each of its operations, and for each of its files.
fn rules_of(stated: &PolicyRule, inputs: &mut Vec<Input>) -> Result<Vec<Rule>> {
    let given = |text: &graven_recipe::At<String>| {
        let digest = text.split_once(':').and_then(|(name, hex)| {
            let algorithm = Algorithm::from_name(name.as_bytes())?;
            Digest::from_hex(algorithm, hex).ok()
        });
        digest.ok_or_else(|| Error::Limit(format!("{}: {} is no digest", text.place, text.value)))
    };
    let mut common = Vec::new();
    common.extend(stated.boot_verified.map(Property::BootVerified));
    common.extend(stated.dmverity_signature.map(Property::DmveritySignature));
    common.extend(stated.fsverity_signature.map(Property::FsveritySignature));
    if let Some(text) = &stated.dmverity_roothash {
        common.push(Property::DmverityRoothash(given(text)?));
    }
    if let Some(text) = &stated.fsverity_digest {
        common.push(Property::FsverityDigest(given(text)?));
    }
    let mut alternatives = vec![common];
    if !stated.files.is_empty() {
        let files = matching(&stated.files)?;
        let common = alternatives.pop().unwrap_or_default();
        for (path, digest) in files.iter().zip(digests(&files)?) {
            inputs.push(file_input("policy-file", path)?);
            alternatives.push([common.clone(), vec![Property::FsverityDigest(digest)]].concat());
        }
    }
    let action = match stated.action {
        PolicyAction::Allow => Action::Allow,
        PolicyAction::Deny => Action::Deny,
    };
    let rule =
        |op| alternatives.iter().map(move |properties| Rule { op, properties: properties.clone(), action });
    Ok(ops(&stated.ops).flat_map(rule).collect())
}

fn ops(stated: &[PolicyOp]) -> impl Iterator<Item = Op> {
    stated.iter().filter_map(|op| Op::from_name(op.as_str().as_bytes()))
}

fn digest(root_hash: &str) -> Result<Digest> {
    Digest::from_hex(Algorithm::Sha256, root_hash).map_err(|error| Error::Limit(error.to_string()))
}

/// What stands for a volume's root hash in a recipe's text.
fn volume_place_holder(volume: &Volume) -> String {
    format!("{{{{roothash.{}}}}}", volume.name.value)
}

/// What the kernel will measure of these files once fs-verity is enabled on them: SHA-256, blocks of 4096 bytes, no salt.
fn digests(files: &[impl AsRef<Path> + Sync]) -> Result<Vec<Digest>> {
    let measured = digest_files(files, &Params::default(), &Silent);
    let digests = files.iter().zip(measured).map(|(path, measured)| {
        let digest = measured.map_err(|error| Error::io(path, error))?.digest;
        Digest::from_hex(Algorithm::Sha256, &digest.to_string())
            .map_err(|error| Error::Limit(error.to_string()))
    });
    digests.collect()
}

impl Draft {
    /// The policy for these root hashes.
    ///
    /// # Errors
    /// What the kernel would refuse, what it would take though it cannot be meant, and a policy that leaves open what runs;
    /// but for what the recipe accepts with a reason.
    pub fn bind(&self, recipe: &Recipe, kernel: &Kernel, hashes: &RootHashes) -> Result<Bound> {
        let version = recipe.version;
        let version = PolicyVersion::new(version.major, version.minor, version.revision);
        let root = digest(&hashes.root)?;
        let volumes = hashes.volumes.iter().map(|hash| digest(hash)).collect::<Result<Vec<Digest>>>()?;
        let text = match &self.body {
            Body::Rules(rules) => {
                let name = PolicyName::new(&recipe.name).map_err(|error| Error::Limit(error.to_string()))?;
                let own = Policy::appliance(name, version, root.clone(), &APPLIANCE_OPS);
                let of_volumes = recipe.volumes.iter().zip(&volumes);
                let of_volumes = of_volumes.flat_map(|(volume, hash)| {
                    let properties = vec![Property::DmverityRoothash(hash.clone())];
                    let rule = move |op| Rule { op, properties: properties.clone(), action: Action::Allow };
                    ops(&volume.allow).map(rule)
                });
                own.preceded_by(rules.iter().cloned().chain(of_volumes)).render()
            }
            Body::Text(text) => {
                let text = text
                    .replace("{{name}}", &recipe.name)
                    .replace("{{version}}", &recipe.version.to_string())
                    .replace(ROOT_HASH, &hashes.root);
                let named = recipe.volumes.iter().zip(&hashes.volumes);
                let fill = |text: String, (volume, hash): (&Volume, &String)| {
                    text.replace(&volume_place_holder(volume), hash)
                };
                named.fold(text, fill).into_bytes()
            }
        };
        let (policy, accepted) = check(recipe, kernel, &text)?;
        refuse_strangers(recipe, &policy, version, &root)?;
        hold_volumes(recipe, &policy, &volumes)?;
        Ok(Bound { policy, text, accepted })
    }

    /// Whether it would be bound, before there is a root hash.
    ///
    /// # Errors
    /// As for [`bind`](Self::bind).
    pub fn try_out(&self, recipe: &Recipe, kernel: &Kernel) -> Result<()> {
        // Each another one, as they will be.
        let hash = |number: usize| format!("{number:064x}");
        let volumes = (1..=recipe.volumes.len()).map(hash).collect();
        self.bind(recipe, kernel, &RootHashes { root: hash(0), volumes }).map(drop)
    }
}

/// Reads a policy as this kernel does.
fn check(recipe: &Recipe, kernel: &Kernel, text: &[u8]) -> Result<(Policy, BTreeMap<String, String>)> {
    let has = |symbol: &str| kernel.config.is_built_in(symbol);
    let target = graven_ipe::Kernel {
        release: kernel.release.as_str().parse().unwrap_or(Release::FIRST),
        providers: Providers {
            dm_verity: has("IPE_PROP_DM_VERITY"),
            dm_verity_signature: has("IPE_PROP_DM_VERITY_SIGNATURE"),
            fs_verity: has("IPE_PROP_FS_VERITY"),
            fs_verity_builtin_sig: has("IPE_PROP_FS_VERITY_BUILTIN_SIG"),
        },
    };
    let findings = lint(text, &Against { kernel: target, older: None });
    let mut found: Vec<(String, bool, String)> = Vec::new();
    for finding in findings.iter().filter(|finding| finding.severity > Severity::Note) {
        // The kernel's own refusals, and what is no policy at all, are nobody's to accept.
        let final_word = matches!(finding.code, Code::Refused | Code::Nul | Code::TooLarge | Code::Name);
        let (line, column) = (finding.at.line, finding.at.column);
        let words = format!("line {line}, column {column}: {}; {}", finding.message, finding.help);
        found.push((finding.code.name().to_owned(), !final_word, words));
    }
    let policy = Policy::parse(text);
    for op in policy.iter().flat_map(Policy::unbound) {
        let name = format!("unbound-{}", op.name().to_lowercase().replace('_', "-"));
        let words = format!("{op} is allowed of files that nobody vouches for; let rules name what may be");
        found.push((name, true, words));
    }
    let accept = &recipe.policy.accept;
    if let Some((name, reason)) =
        accept.iter().find(|(name, _)| !found.iter().any(|(other, ..)| other == *name))
    {
        return Err(Error::Limit(format!(
            "{}: policy.accept.{name}: the policy gives no occasion for it; take the line out",
            reason.place
        )));
    }
    let mut open = String::new();
    let stated =
        recipe.policy.text.as_ref().map_or_else(String::new, |file| format!(" ({})", file.path.display()));
    for (name, acceptable, words) in &found {
        if !acceptable || !accept.contains_key(name) {
            let _ = write!(open, "\n  {name}: {words}");
        }
    }
    if !open.is_empty() {
        let remedy = "\nto accept one all the same: [policy] accept.NAME = \"reason\"";
        let remedy = if found.iter().any(|(_, acceptable, _)| *acceptable) { remedy } else { "" };
        return Err(Error::Limit(format!("the policy{stated} is not one to ship:{open}{remedy}")));
    }
    let policy = policy.map_err(|error| Error::Limit(format!("the policy{stated}: {error}")))?;
    let names: BTreeSet<&String> = found.iter().map(|(name, ..)| name).collect();
    let accepted = accept.iter().filter(|(name, _)| names.contains(name));
    Ok((policy, accepted.map(|(name, reason)| (name.clone(), reason.value.clone())).collect()))
}

/// It is this image's policy: by its name and version, and since the image's programs may run.
fn refuse_strangers(recipe: &Recipe, policy: &Policy, version: PolicyVersion, root: &Digest) -> Result<()> {
    let place = recipe.policy.text.as_ref().map_or_else(String::new, |file| format!("{}: ", file.place));
    if policy.name().as_bytes() != recipe.name.as_bytes() || policy.version() != version {
        return Err(Error::Limit(format!(
            "{place}the policy is {} {}, the recipe's name and version are {} {version}: write policy_name={{{{name}}}} \
             policy_version={{{{version}}}}",
            policy.name(),
            policy.version(),
            recipe.name
        )));
    }
    if policy.evaluate(Op::Execute, &on_device(root)).action == Action::Deny {
        return Err(Error::Limit(format!(
            "{place}the policy lets no program of the root run, init neither: op=EXECUTE \
             dmverity_roothash=sha256:{ROOT_HASH} action=ALLOW"
        )));
    }
    Ok(())
}

/// What IPE knows of files on a verified device that stage0 opened.
fn on_device(root_hash: &Digest) -> Facts {
    Facts { dmverity_roothash: Some(root_hash.clone()), dmverity_signature: true, ..Facts::default() }
}

/// The policy allows of each volume what the recipe says, no more and no less, wherever its rules come from.
fn hold_volumes(recipe: &Recipe, policy: &Policy, volumes: &[Digest]) -> Result<()> {
    for (volume, hash) in recipe.volumes.iter().zip(volumes) {
        let allowed: Vec<Op> = ops(&volume.allow).collect();
        for op in Op::ALL {
            let (stated, decided) = (allowed.contains(&op), policy.evaluate(op, &on_device(hash)).action);
            let (place, name) = (&volume.name.place, &volume.name.value);
            match (stated, decided) {
                (true, Action::Deny) => {
                    return Err(Error::Limit(format!(
                        "{place}: the policy denies {op} of the volume `{name}`, whose `allow` has it: op={op} \
                         dmverity_roothash=sha256:{} action=ALLOW",
                        volume_place_holder(volume)
                    )));
                }
                (false, Action::Allow) => {
                    return Err(Error::Limit(format!(
                        "{place}: the policy allows {op} of the volume `{name}`, whose `allow` does not have it: add it \
                         there, or narrow the rule"
                    )));
                }
                (true, Action::Allow) | (false, Action::Deny) => {}
            }
        }
    }
    Ok(())
}

/// What a kernel that is built for this image would have compiled in (`CONFIG_IPE_BOOT_POLICY`), its text.
///
/// # Errors
/// Where it is not what the kernel would read it as: a kernel that cannot read its own policy lets everything run.
pub fn compiled_in(recipe: &Recipe) -> Result<Vec<u8>> {
    let name = PolicyName::new(&format!("{}-boot", recipe.name));
    let name = name.map_err(|error| Error::Limit(error.to_string()))?;
    let policy = Policy::compiled_in(name, &APPLIANCE_OPS);
    let text = policy.render();
    // `boot_verified` is what such a policy is for.
    let findings = lint(&text, &Against::default());
    let finding = findings
        .iter()
        .find(|finding| finding.severity > Severity::Note && finding.code != Code::BootVerified);
    match (finding, Policy::parse(&text)) {
        (None, Ok(read)) if read == policy => Ok(text),
        (Some(finding), _) => {
            Err(Error::Limit(format!("the policy to be compiled into a kernel: {finding}")))
        }
        _ => {
            Err(Error::Limit("the policy to be compiled into a kernel is not read as it is meant".to_owned()))
        }
    }
}
