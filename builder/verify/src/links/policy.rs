//! The IPE policy: signed, and binding what runs to this root.

use graven_boot::initramfs::{Entry, Initramfs, Kind};
use graven_boot::pkcs7::{SignedData, verify_policy};
use graven_boot::x509::Certificate;
use graven_handoff::initramfs::POLICY;
use graven_handoff::{Plan, PolicySource, RootHash, Volume, hex};
use graven_ipe::{Action, Algorithm, Digest, Facts, Op, Policy, Property, Rule};
use sha2::{Digest as _, Sha256};

use super::command_line::Line;
use super::{explain, named, shown};
use crate::report::Report;
use crate::trust::{Role, Trust};

/// The signed policy of the line, or the one in the initramfs that the line names by its digest.
pub(crate) fn signed_policy(line: &Line, archive: Option<&Initramfs>) -> Result<Vec<u8>, String> {
    match &line.binding.policy {
        PolicySource::Inline(message) => Ok(message.clone()),
        PolicySource::Sha256(expected) => match archive.and_then(|archive| archive.get(POLICY)) {
            Some(Entry { kind: Kind::File(message), .. }) => {
                let found: [u8; 32] = Sha256::digest(message).into();
                match found == *expected {
                    true => Ok(message.clone()),
                    false => Err(format!(
                        "{POLICY}: expected SHA-256 {} by the command line, found {}",
                        hex::encode(expected),
                        hex::encode(&found)
                    )),
                }
            }
            _ => Err(format!("{POLICY} is not in the initramfs, and the command line has only its SHA-256")),
        },
    }
}

/// Signed by a trusted certificate, as the kernel would find. Hands on text and signer, the text even if unproved.
pub(crate) fn policy_signature(
    line: &Line,
    archive: Option<&Initramfs>,
    trust: &Trust,
    report: &mut Report,
) -> Option<(Vec<u8>, Option<Certificate>)> {
    const LINK: &str = "policy-signature";
    let message = match signed_policy(line, archive) {
        Ok(message) => message,
        Err(problem) => {
            report.bad(LINK, problem);
            return None;
        }
    };
    let trusted = trust.certificates(Role::Policy);
    match verify_policy(&message, &trusted) {
        Ok(verified) => {
            let (bytes, signer) = (message.len(), named(verified.certificate));
            report.ok(LINK, format!("{bytes} bytes of PKCS#7, signed by {signer}"));
            report.vouch(LINK, verified.certificate);
            Some((verified.content.to_vec(), Some(verified.certificate.clone())))
        }
        Err(error) => {
            report.bad(LINK, explain(&error));
            let message = SignedData::parse(&message).ok()?;
            Some((message.content()?.to_vec(), None))
        }
    }
}

/// Denies by default, lets this root run, and allows nothing else but what a digest or a signature holds.
pub(crate) fn policy(text: &[u8], line: &Line, plan: Option<&Plan>, report: &mut Report) -> Option<Policy> {
    const LINK: &str = "policy";
    let policy = match Policy::parse(text) {
        Ok(policy) => policy,
        Err(error) => {
            report.bad(LINK, error.to_string());
            return None;
        }
    };
    let mut problems = Vec::new();
    if text.contains(&0) {
        problems.push("the text has a NUL byte, behind which the kernel does not look".to_owned());
    }
    let root = digest(&line.binding.root_hash);
    match &root {
        Some(root) => problems.extend(findings(&policy, root)),
        None => problems.push("IPE knows no root hash of this length".to_owned()),
    }
    let (name, version) = (policy.name().to_string(), policy.version().to_string());
    if let Some(plan) = plan {
        let expected = (plan.policy.name.clone(), plan.policy.version.to_string());
        if (name.clone(), version.clone()) != expected {
            problems.push(format!(
                "it is {} {version}, stage0's plan expects {} {}",
                shown(&name),
                expected.0,
                expected.1
            ));
        }
    }
    let allowing: Vec<&Rule> = policy.rules().iter().filter(|rule| rule.action == Action::Allow).collect();
    let own = root.map(Property::DmverityRoothash);
    let ops: Vec<&str> = allowing
        .iter()
        .filter(|rule| own.as_ref().is_some_and(|own| rule.properties.contains(own)))
        .map(|rule| rule.op.name())
        .collect();
    let of_volumes: Vec<(&Volume, Property)> = plan
        .iter()
        .flat_map(|plan| &plan.volumes)
        .filter_map(|volume| Some((volume, Property::DmverityRoothash(digest(&volume.root_hash)?))))
        .collect();
    let known: Vec<&Property> = own.iter().chain(of_volumes.iter().map(|(_, hash)| hash)).collect();
    let others = allowing.iter().filter(|rule| {
        Hold::of(rule) == Hold::Contents && !rule.properties.iter().any(|property| known.contains(&property))
    });
    let others = match others.count() {
        0 => String::new(),
        count => format!(", what {count} more rules name by its digest"),
    };
    let volumes: String = of_volumes
        .iter()
        .map(|(volume, hash)| {
            let rules = allowing.iter().filter(|rule| rule.properties.contains(hash));
            let ops: Vec<&str> = rules.map(|rule| rule.op.name()).collect();
            let ops = if ops.is_empty() { "nothing".to_owned() } else { ops.join(", ") };
            format!(", {ops} from the volume {}", volume.name)
        })
        .collect();
    let said = format!(
        "{} {version}: {} from this root hash{volumes}{others}, DENY for the rest",
        shown(&name),
        ops.join(", ")
    );
    match allowing.iter().find(|rule| Hold::of(rule) == Hold::Signature) {
        Some(rule) if problems.is_empty() => {
            let rule = shown(&rule.to_string());
            report.unproved(LINK, format!("{said}; and whatever a key of the kernel's signed: {rule}"));
        }
        _ => report.judge(LINK, &problems, said),
    }
    Some(policy)
}

/// What holds a file that a rule allows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Hold {
    /// Its contents, or its device's, by a digest.
    Contents,
    /// A signature that the kernel checks, of whatever.
    Signature,
    /// Nothing that anyone vouches for.
    Nothing,
}

impl Hold {
    fn of(rule: &Rule) -> Self {
        let has = |wanted: fn(&Property) -> bool| rule.properties.iter().any(wanted);
        if has(|property| matches!(property, Property::DmverityRoothash(_) | Property::FsverityDigest(_))) {
            return Self::Contents;
        }
        match has(|property| {
            matches!(property, Property::DmveritySignature(true) | Property::FsveritySignature(true))
        }) {
            true => Self::Signature,
            false => Self::Nothing,
        }
    }
}

fn digest(root_hash: &RootHash) -> Option<Digest> {
    let algorithm = match root_hash.as_bytes().len() {
        32 => Algorithm::Sha256,
        48 => Algorithm::Sha384,
        _ => Algorithm::Sha512,
    };
    Digest::from_hex(algorithm, &root_hash.to_string()).ok()
}

/// What the policy lets through that it should not, and what it should and does not.
fn findings(policy: &Policy, root: &Digest) -> Vec<String> {
    let mut problems = Vec::new();
    if policy.evaluate_unmapped().action != Action::Deny {
        problems.push("there is no DEFAULT action=DENY: what no rule names is allowed".to_owned());
    }
    for op in Op::ALL.into_iter().filter(|op| policy.op_default(*op) == Some(Action::Allow)) {
        problems.push(format!("DEFAULT op={op} action=ALLOW"));
    }
    let allowing = policy.rules().iter().filter(|rule| rule.action == Action::Allow);
    for rule in allowing.filter(|rule| Hold::of(rule) == Hold::Nothing) {
        problems.push(format!("a rule allows more than this root: {}", shown(&rule.to_string())));
    }
    let on_the_root =
        Facts { dmverity_roothash: Some(root.clone()), dmverity_signature: true, ..Facts::default() };
    if policy.evaluate(Op::Execute, &on_the_root).action != Action::Allow {
        problems.push("EXECUTE from this root is denied: the image could not run".to_owned());
    }
    problems.extend(policy.unbound().into_iter().map(|op| format!("{op} is allowed from outside the root")));
    problems.dedup();
    problems
}
