//! `graven keys`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven::error::Error;
use graven::signers::signer;
use graven_boot::enrol::{EfiTime, Variable, Write, authenticated_update, certificate_list};
use graven_boot::keys::{self, KeysError, Kind, Options, Role};
use graven_boot::sign::Answer;
use graven_boot::x509::{Certificate, PublicKey};
use graven_handoff::hex;
use graven_verify::read_certificates;
use uuid::Uuid;

use super::build::{ask, sibling};
use super::expiry::ExpiryArguments;
use super::{Failure, Outcome, Status, print, write_whole};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Makes a set of keys, certificates and enrolment files; refuses to overwrite anything.
    #[command(
        after_help = "Example: graven keys new keys/ --name \"Acme Firewalls\" --algorithm policy=ecdsa-p384\n\n\
        The .key files are private: whoever has db.key can sign an image that your machines boot."
    )]
    New {
        /// The folder to make.
        dir: PathBuf,
        /// Whose keys they are; goes into the certificates' subjects.
        #[arg(long, default_value = "Graven")]
        name: String,
        /// Mark them as development keys, which `verify` reports and release processes can tell.
        #[arg(long)]
        development: bool,
        /// What kind of key a role (pk, kek, db, fit, policy, provenance) gets, or all of them: rsa-2048, rsa-3072, rsa-4096,
        /// ecdsa-p256, ecdsa-p384, ml-dsa-65; may be given more than once [default: rsa-2048, and ecdsa-p256 for provenance]. A
        /// kind that the role's verifier does not take is refused.
        #[arg(long = "algorithm", value_name = "[ROLE=]KIND", value_parser = algorithm)]
        algorithms: Vec<(Option<Role>, Kind)>,
    },
    /// Makes an update that adds certificates to db (or dbx) of machines in the field; KEK signs it.
    #[command(after_help = "Example: graven keys append new/db.crt --keys keys/ --to db-append.auth\n\n\
        The firmware's set-up takes it as an addition; docs/guide/src/keys.md says how the running system writes it.")]
    Append {
        /// The certificates, or folders of them.
        #[arg(required = true)]
        certificates: Vec<PathBuf>,
        /// The folder with kek.crt, and with its key or who has it.
        #[arg(long, value_name = "DIR")]
        keys: PathBuf,
        /// What they are added to: db, to trust them; dbx, to refuse whatever they vouch for.
        #[arg(long, default_value = "db", value_parser = variable)]
        variable: Variable,
        /// Folder of answers to signing requests [default: TO.pending].
        #[arg(long, value_name = "DIR")]
        answers: Option<PathBuf>,
        /// The update; an older file of that name is replaced.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
    },
    /// Shows certificates: whose they are, what they may sign, until when, and who has the key.
    #[command(after_help = "Example: graven keys show keys/\n         graven keys show vendor.crt --json")]
    Show {
        /// Certificates (PEM or DER), or folders of them.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        #[command(flatten)]
        expiry: ExpiryArguments,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

fn algorithm(word: &str) -> Result<(Option<Role>, Kind), String> {
    let names = |all: &[String]| format!("expected one of {}", all.join(", "));
    let (role, kind) = match word.split_once('=') {
        Some((role, kind)) => {
            let role = Role::named(role).ok_or_else(|| names(&Role::ALL.map(|role| role.to_string())))?;
            (Some(role), kind)
        }
        None => (None, word),
    };
    let kind = Kind::named(kind).ok_or_else(|| names(&Kind::ALL.map(|kind| kind.to_string())))?;
    Ok((role, kind))
}

fn variable(word: &str) -> Result<Variable, String> {
    let all = [Variable::Db, Variable::Dbx];
    all.into_iter().find(|one| one.name() == word).ok_or_else(|| "expected db or dbx".to_owned())
}

impl From<KeysError> for Failure {
    fn from(error: KeysError) -> Self {
        let status = match error {
            KeysError::Name { .. } | KeysError::Unfit { .. } => Status::Usage,
            _ => Status::Environment,
        };
        Self { status, error: error.into() }
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::New { dir, name, development, algorithms } => {
            let kinds = kinds(algorithms);
            let options = match development {
                true => Options { kinds, ..Options::development(name) },
                false => Options { kinds, ..Options::release(name) },
            };
            new(dir, &options)
        }
        Verb::Append { certificates, keys, variable, answers, to } => {
            append(certificates, keys, *variable, answers.as_deref(), to)
        }
        Verb::Show { paths, expiry, json } => show(paths, expiry, *json),
    }
}

/// The kind of each role of which something is said; what is said of one goes over what is said of all.
fn kinds(stated: &[(Option<Role>, Kind)]) -> BTreeMap<Role, Kind> {
    let of_all = stated.iter().filter(|(role, _)| role.is_none());
    let mut kinds: BTreeMap<Role, Kind> =
        of_all.flat_map(|(_, kind)| Role::ALL.map(|role| (role, *kind))).collect();
    kinds.extend(stated.iter().filter_map(|(role, kind)| Some(((*role)?, *kind))));
    kinds
}

fn new(dir: &Path, options: &Options) -> Outcome {
    keys::create(dir, options).map_err(|error| {
        let Failure { status, error } = error.into();
        Failure { status, error: error.context(format!("making keys in {}", dir.display())) }
    })?;
    print(&format!(
        "{0}: PK, KEK and db with their enrolment files; fit and policy keys for U-Boot boards; provenance\n\
         enrol PK.auth, KEK.auth and db.auth in the machine's firmware, with nothing else in db\n",
        dir.display()
    ))?;
    Ok(Status::Good)
}

fn append(paths: &[PathBuf], keys: &Path, variable: Variable, answers: Option<&Path>, to: &Path) -> Outcome {
    let owner = owner(&keys.join("owner.guid"))?;
    let mut data = Vec::new();
    for path in paths {
        let certificates = read_certificates(path)?;
        if variable == Variable::Dbx && path.is_file() && certificates.len() > 1 {
            return Err(Status::Usage.because()(anyhow!(
                "{}: {} certificates are in it, and whatever any of them vouches for would be refused for ever: give the one that \
                 is meant in a file of its own",
                path.display(),
                certificates.len()
            )));
        }
        for certificate in certificates {
            data.extend(certificate_list(owner, &certificate).map_err(Status::Usage.because())?);
        }
    }
    let pending = answers.map_or_else(|| sibling(to, ".pending"), Path::to_owned);
    let kek = signer(keys, "kek", Some(&pending)).map_err(Error::from)?;
    // An addition is taken whatever its time; one that is fixed makes the same bytes every time.
    let time =
        EfiTime::from_unix(Options::release("").enrolment_time).map_err(Status::Environment.because())?;
    let update = authenticated_update(variable, Write::Append, time, &data, &*kek);
    match update.map_err(Status::Environment.because())? {
        Answer::Pending(request) => ask(&pending, &[request], "as ID.sig, and run this again"),
        Answer::Signed(update) => {
            write_whole(to, &update)?;
            Ok(Status::Good)
        }
    }
}

/// Who owns the entries: what the file says, and nobody where there is none.
fn owner(path: &Path) -> Result<Uuid, Failure> {
    let named = || path.display().to_string();
    match fs::read_to_string(path) {
        Ok(text) => text.trim().parse().with_context(named).map_err(Status::Usage.because()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Uuid::nil()),
        Err(error) => Err(error).with_context(named).map_err(Status::Environment.because()),
    }
}

fn show(paths: &[PathBuf], expiry: &ExpiryArguments, as_json: bool) -> Outcome {
    let mut all = Vec::new();
    for path in paths {
        for file in files(path)? {
            let certificates = read_certificates(&file)?;
            all.extend(certificates.into_iter().map(|certificate| (file.clone(), certificate)));
        }
    }
    expiry.warn(all.iter().map(|(_, certificate)| certificate))?;
    let mut text = String::new();
    let mut list = Vec::new();
    for (file, certificate) in &all {
        let issuer = match certificate.is_self_signed() {
            true => "itself".to_owned(),
            false => certificate.issuer(),
        };
        let (signs, held) = (signs(file, certificate), held(file));
        let (first, last) = certificate.dates();
        let key_id = certificate.subject_key_id().as_deref().map_or("none".to_owned(), hex::encode);
        text.push_str(&format!("{}\n", file.display()));
        for (name, value) in [
            ("subject", certificate.subject()),
            ("issuer", issuer.clone()),
            ("key", certificate.public_key().to_string()),
            ("key id", key_id),
            ("sha256", certificate.fingerprint().to_string()),
            ("valid", format!("{first} to {last} ({})", expiry.standing(certificate)?)),
            ("signs", signs.clone()),
            ("key is", held.clone()),
        ] {
            text.push_str(&format!("  {name:<8} {value}\n"));
        }
        let mut entry = expiry.describe(certificate)?;
        entry["file"] = file.display().to_string().into();
        entry["issuer"] = certificate.issuer().into();
        entry["key"] = certificate.public_key().to_string().into();
        entry["development"] = certificate.is_development().into();
        entry["signs"] = signs.into();
        entry["key_is"] = held.into();
        list.push(entry);
    }
    print(&if as_json { format!("{:#}\n", serde_json::Value::Array(list)) } else { text })?;
    Ok(Status::Good)
}

/// A file, or those of a folder that are named like certificates.
fn files(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let list = || -> io::Result<Vec<PathBuf>> {
        let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        let mut files: Vec<PathBuf> = entries
            .into_iter()
            .filter(|file| file.extension().is_some_and(|ending| ending == "crt"))
            .collect();
        files.sort();
        Ok(files)
    };
    let files = list().with_context(|| path.display().to_string()).map_err(Status::Environment.because())?;
    match files.is_empty() {
        true => Err(Status::Usage.because()(anyhow!("{}: no *.crt in this folder", path.display()))),
        false => Ok(files),
    }
}

/// What a key may sign: by its file's name where that is a role's, and by who takes such a key.
fn signs(file: &Path, certificate: &Certificate) -> String {
    let stem = file.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(role) = Role::named(stem) {
        return role.signs().to_owned();
    }
    match certificate.public_key() {
        PublicKey::Rsa { bits: 2048..=4096, .. } => {
            "whatever its place lets it: UEFI firmware, U-Boot and kernel take such a key"
        }
        PublicKey::P256(_) | PublicKey::P384(_) => {
            "policy and root hash, for a kernel with CONFIG_CRYPTO_ECDSA: neither UEFI firmware nor U-Boot takes such a key"
        }
        PublicKey::MlDsa65(_) => {
            "policy and root hash, for a kernel with CONFIG_CRYPTO_MLDSA (Linux 7.0): neither UEFI firmware nor U-Boot takes such \
             a key"
        }
        _ => "nothing: no link of the chain takes such a key",
    }
    .to_owned()
}

/// Who has the private key, as far as the folder tells.
fn held(file: &Path) -> String {
    let key = file.with_extension("key");
    let stated = file.with_extension("signer");
    match (key.is_file(), fs::read_to_string(&stated)) {
        (true, _) => format!("in {}", key.display()),
        (false, Ok(text)) => {
            let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
            format!("asked by {}", line.unwrap_or("nothing: the file is empty"))
        }
        (false, Err(_)) => "elsewhere".to_owned(),
    }
}
