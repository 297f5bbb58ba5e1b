//! Everything that a report tells about an image, gathered.

use std::io;

use graven_boot::authenticode;
use graven_boot::pkcs7::{SignedData, SignerId};
use graven_boot::x509::{Certificate, above};
use graven_handoff::hex;
use graven_ipe::lint::{Against, Finding, lint};
use graven_ipe::{Algorithm, Digest, Facts, Kernel, Matched, Op, Place, Policy};

use crate::contents::{Boot, Contents, ContentsError};
use crate::inspect::{Summary, inspect};
use crate::report::{Report, State};
use crate::survey::{Survey, SurveyError, survey};
use crate::trust::{Role, Trust};

/// An image, looked at from all sides.
#[derive(Debug)]
pub struct Dossier {
    /// What is inside.
    pub(super) summary: Summary,
    /// Length of the disk in bytes.
    pub(super) disk_bytes: u64,
    /// What was proved of it.
    pub(super) proof: Report,
    /// Whether it was held against any certificate.
    pub(super) held: bool,
    /// Its policy, or why the kernel refuses it.
    pub(super) policy: Result<Policy, String>,
    /// What the kernel takes of the policy without a word, though it cannot be meant.
    pub(super) policy_findings: Vec<Finding>,
    /// What of the root the kernel may be asked about.
    pub(super) survey: Survey,
    /// The certificates at hand.
    pub(super) certificates: Vec<Known>,
    /// Signatures by somebody whose certificate is not at hand.
    pub(super) strangers: Vec<Stranger>,
    root: Facts,
}

/// Of what there is a signature, and whom it names.
pub(super) type Stranger = (Role, String);

/// A certificate.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) certificate: Certificate,
    /// What it may vouch for.
    pub(super) trusted_for: Vec<Role>,
    /// Whose signature names it.
    pub(super) signs: Vec<Role>,
    /// Whether the image brings it along.
    pub(super) carried: bool,
    /// Whose word stands behind it, where it is not trusted itself.
    pub(super) below: Option<String>,
}

/// Why an image cannot be told about.
#[derive(Debug, thiserror::Error)]
pub enum DossierError {
    /// A part cannot be read.
    #[error(transparent)]
    Contents(#[from] ContentsError),
    /// A file of the root cannot be read.
    #[error(transparent)]
    Survey(#[from] SurveyError),
    /// The system does not say how long the disk is.
    #[error("asking for the disk's length")]
    Disk(#[source] io::Error),
}

impl Dossier {
    /// Gathers it, with what [`prove`](crate::prove()) found by this trust.
    ///
    /// # Errors
    /// Where a part of the image cannot be read.
    pub fn gather(contents: &Contents, mut proof: Report, trust: &Trust) -> Result<Self, DossierError> {
        let boot = contents.boot()?;
        let summary = inspect(contents)?;
        let kernel = Kernel { release: boot.uname.parse().unwrap_or_default(), ..Kernel::default() };
        let policy = Policy::load(&boot.policy).map_err(|error| error.to_string());
        if trust.is_empty() {
            leave_open(&mut proof);
        }
        let (certificates, strangers) = certificates(contents, &boot, trust)?;
        Ok(Self {
            disk_bytes: contents.disk_bytes().map_err(DossierError::Disk)?,
            proof,
            held: !trust.is_empty(),
            policy,
            policy_findings: lint(&boot.policy, &Against { kernel, older: None }),
            survey: survey(&contents.tree()?)?,
            certificates,
            strangers,
            root: Facts {
                dmverity_roothash: root_hash(boot.binding.root_hash.as_bytes()),
                dmverity_signature: true,
                providers: kernel.providers,
                ..Facts::default()
            },
            summary,
        })
    }

    /// What the kernel knows of the root's files there.
    pub(super) fn facts(&self, place: Place) -> Facts {
        place.facts(&self.root)
    }

    /// How many files of the root this decides about, were they there.
    pub(super) fn decides(&self, policy: &Policy, by: Matched, op: Option<Op>, place: Place) -> usize {
        let facts = self.facts(place);
        let of = |op: Op| policy.evaluate(op, &facts).by == by;
        let files = self.survey.files.iter().map(|file| file.nature.op());
        files.filter(|file| op.is_none_or(|op| op == *file) && of(*file)).count()
    }
}

/// Without a certificate nothing can be said of a signature but whom it names.
fn leave_open(proof: &mut Report) {
    for link in &mut proof.links {
        let of_signers = ["boot-signature", "policy-signature", "root-signature", "certificate-roles"];
        if of_signers.contains(&link.kind()) && link.state == State::Bad {
            link.state = State::Unproved;
            link.detail = format!("no certificate was given to hold it against: {}", link.detail);
        }
    }
}

fn root_hash(bytes: &[u8]) -> Option<Digest> {
    let algorithms = [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512];
    let algorithm = algorithms.into_iter().find(|algorithm| algorithm.digest_bytes() == bytes.len())?;
    Digest::from_hex(algorithm, &hex::encode(bytes)).ok()
}

/// Those that are trusted, then those that the boot artefact brings along; and who signs without being among them.
fn certificates(
    contents: &Contents,
    boot: &Boot,
    trust: &Trust,
) -> Result<(Vec<Known>, Vec<Stranger>), ContentsError> {
    let mut all: Vec<Known> = Vec::new();
    for (certificate, roles) in trust.entries() {
        let mut trusted_for = roles.to_vec();
        trusted_for.sort_unstable();
        trusted_for.dedup();
        all.push(Known {
            certificate: certificate.clone(),
            trusted_for,
            signs: Vec::new(),
            carried: false,
            below: None,
        });
    }
    let trusted: Vec<Certificate> = all.iter().map(|known| known.certificate.clone()).collect();
    let mut signers: Vec<(Role, SignerId)> = Vec::new();
    for signature in authenticode::signatures(&boot.bytes).unwrap_or_default() {
        let message = signature.message();
        signers.push((Role::Boot, message.signer().clone()));
        for certificate in message.certificates() {
            match all.iter_mut().find(|known| known.certificate == *certificate) {
                Some(known) => known.carried = true,
                None => all.push(Known {
                    certificate: certificate.clone(),
                    trusted_for: Vec::new(),
                    signs: Vec::new(),
                    carried: true,
                    below: above(certificate, message.certificates(), &trusted)
                        .ok()
                        .map(Certificate::subject),
                }),
            }
        }
    }
    let root = contents.root_signature()?.message;
    for (role, message) in [(Role::Policy, &boot.signed_policy), (Role::Root, &root)] {
        signers.extend(SignedData::parse(message).ok().map(|message| (role, message.signer().clone())));
    }
    let mut strangers = Vec::new();
    for (role, signer) in signers {
        match all.iter_mut().find(|known| signer.names(&known.certificate)) {
            Some(known) if known.signs.contains(&role) => {}
            Some(known) => known.signs.push(role),
            None => strangers.push((role, signer.to_string())),
        }
    }
    Ok((all, strangers))
}
