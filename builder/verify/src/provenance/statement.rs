//! What is stated: an in-toto statement with SLSA's predicate of provenance.
//! <https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>, <https://slsa.dev/spec/v1.0/provenance>

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::manifest::{Input, Manifest};

const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://slsa.dev/provenance/v1";
/// What a build of ours is: docs/provenance.md says what its parameters mean.
const BUILD_TYPE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/provenance.md#build-type-1");

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    /// What it is about.
    pub subject: Vec<Resource>,
    predicate_type: String,
    /// What is said of it.
    pub predicate: Predicate,
}

/// Something that has a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// Its name: a file of the output folder, or `disk.img/PARTITION`.
    pub name: String,
    /// Digests in hexadecimal, by algorithm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// Words about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// SLSA's predicate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicate {
    /// From what.
    pub build_definition: BuildDefinition,
    /// By whom.
    pub run_details: RunDetails,
}

/// From what something was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    build_type: String,
    /// What the builder was asked for.
    pub external_parameters: ExternalParameters,
    /// What follows from it.
    pub internal_parameters: InternalParameters,
    /// Every input.
    pub resolved_dependencies: Vec<Resource>,
}

/// What the builder was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalParameters {
    /// Recipe's `name`.
    pub name: String,
    /// Recipe's `version`.
    pub version: String,
    /// The board.
    pub target: String,
    /// `release` or `development`.
    pub profile: String,
    /// Overrides of the recipe.
    pub sets: Vec<String>,
}

/// What follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InternalParameters {
    /// Seconds since 1970 that stand for "now" in the image.
    pub source_date: i64,
    /// What the image loosens, each with its reason.
    pub accepted: BTreeMap<String, String>,
}

/// By whom something was built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// The builder.
    pub builder: Builder,
}

/// A builder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// A URI that names who built: a firm's build service.
    pub id: String,
    /// Versions of its parts.
    pub version: BTreeMap<String, String>,
}

impl Statement {
    /// What a manifest states of these subjects, in the name of a builder.
    pub(super) fn of(manifest: &Manifest, subject: Vec<Resource>, builder: &str) -> Self {
        let mut dependencies: Vec<Resource> = manifest.inputs.iter().map(input).collect();
        let lock = manifest.lock_sha256.iter();
        dependencies.extend(lock.map(|sum| Resource::new("graven.lock", [("sha256", sum.clone())])));
        let stage0 = [("sha256", manifest.graven.stage0_sha256.clone())];
        dependencies.push(Resource::new("graven-stage0", stage0));
        Self {
            kind: STATEMENT.to_owned(),
            subject,
            predicate_type: PREDICATE.to_owned(),
            predicate: Predicate {
                build_definition: BuildDefinition {
                    build_type: BUILD_TYPE.to_owned(),
                    external_parameters: ExternalParameters {
                        name: manifest.name.clone(),
                        version: manifest.version.clone(),
                        target: manifest.target.clone(),
                        profile: manifest.profile.clone(),
                        sets: manifest.sets.clone(),
                    },
                    internal_parameters: InternalParameters {
                        source_date: manifest.source_date,
                        accepted: manifest.accepted.clone(),
                    },
                    resolved_dependencies: dependencies,
                },
                run_details: RunDetails {
                    builder: Builder {
                        id: builder.to_owned(),
                        version: BTreeMap::from([("graven".to_owned(), manifest.graven.version.clone())]),
                    },
                },
            },
        }
    }

    /// Whether it is of the kind that is read here.
    pub(super) fn is_provenance(&self) -> bool {
        self.kind == STATEMENT && self.predicate_type == PREDICATE
    }
}

impl Resource {
    pub(super) fn new(name: &str, digests: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let digest = digests.into_iter().map(|(algorithm, sum)| (algorithm.to_owned(), sum)).collect();
        Self { name: name.to_owned(), digest, annotations: BTreeMap::new() }
    }
}

fn input(input: &Input) -> Resource {
    let sum = input.sha256.iter().map(|sum| ("sha256", sum.clone()));
    let annotations = BTreeMap::from([("kind".to_owned(), input.kind.clone())]);
    Resource { annotations, ..Resource::new(&input.name, sum) }
}
