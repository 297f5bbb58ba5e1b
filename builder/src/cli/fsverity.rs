//! `graven fsverity`: fsverity's offline verbs, with its options, printed lines and exit status.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use graven::signers::file_signer;
use graven_boot::pkcs7::sign_fsverity;
use graven_handoff::hex;
use graven_verity::fsverity::{self, Descriptor, FileDigest, Params, ParamsError, formatted_digest};
use graven_verity::hash::Algorithm;
use graven_verity::io::{ReadAt, WriteAt};
use graven_verity::progress::Progress;
use graven_verity::setup;
use serde_json::json;

use super::progress::Bar;
use super::{Failure, Outcome, Status, print};

/// What fsverity ends with where something failed; wrong usage is 2 there as here.
const FAILED: Status = Status::Other(1);

/// Files that are opened before the first of them is printed.
const BATCH: usize = 4096;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  graven fsverity digest /usr/bin/*\n  \
    graven fsverity sign app app.sig --key=keys/policy.key --cert=keys/policy.crt\n\n\
    In place of fsverity's verbs of the same names. Exit status, as fsverity's: 0 done, 1 failed, 2 wrong usage.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Computes the fs-verity digests of files.
    Digest(DigestArguments),
    /// Signs a file for the kernel's check of built-in signatures.
    Sign(SignArguments),
    /// Shows what a descriptor says.
    Dump(DumpArguments),
    /// Prints a file's Merkle tree or descriptor, computed from its bytes.
    #[command(name = "dump_metadata")]
    DumpMetadata(MetadataArguments),
}

#[derive(Debug, clap::Args)]
struct ParamsArguments {
    /// Hash algorithm: sha256 or sha512 [default: sha256].
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    hash_alg: Option<Algorithm>,
    /// Block size, bytes: a power of two from 1024 to 65536 [default: 4096].
    #[arg(long, value_name = "BYTES", value_parser = setup::number32)]
    block_size: Option<u32>,
    /// Salt in hexadecimal, up to 32 bytes.
    #[arg(long, value_name = "HEX", value_parser = salt)]
    salt: Option<Salt>,
}

#[derive(Debug, Clone)]
struct Salt(Vec<u8>);

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven fsverity digest --compact app\n\n\
    Files are hashed in parallel and printed in order, up to the first that cannot be read.")]
struct DigestArguments {
    /// The files.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    params: ParamsArguments,
    #[command(flatten)]
    metadata: OutArguments,
    /// Print the digest alone.
    #[arg(long)]
    compact: bool,
    /// Print what a built-in signature signs.
    #[arg(long)]
    for_builtin_sig: bool,
    /// Print JSON.
    #[arg(long, conflicts_with_all = ["compact", "for_builtin_sig"])]
    json: bool,
}

#[derive(Debug, clap::Args)]
struct OutArguments {
    /// Write the Merkle tree here.
    #[arg(long, value_name = "FILE")]
    out_merkle_tree: Option<PathBuf>,
    /// Write the descriptor here.
    #[arg(long, value_name = "FILE")]
    out_descriptor: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: graven fsverity sign app app.sig --key=keys/policy.key --cert=keys/policy.crt\n\n\
    The result is what `fsverity enable --signature` takes; the kernel accepts it once the certificate is in its keyring\n\
    .fs-verity."
)]
struct SignArguments {
    /// The file.
    file: PathBuf,
    /// The signature: PKCS#7, DER, detached.
    out_sigfile: PathBuf,
    /// Private key (PEM).
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Its certificate (PEM or DER); where an issuer of it is trusted, with the issuers behind it, in order [default: the key's
    /// file].
    #[arg(long, value_name = "FILE")]
    cert: Option<PathBuf>,
    #[command(flatten)]
    params: ParamsArguments,
    #[command(flatten)]
    metadata: OutArguments,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven fsverity dump app.descriptor\n\n\
    A descriptor is what `--out-descriptor` and `fsverity dump_metadata descriptor` give.")]
struct DumpArguments {
    /// The descriptor.
    descriptor: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Example: graven fsverity dump_metadata merkle_tree app > app.tree\n\n\
    fsverity asks the kernel for what it keeps of a verity file; here it is computed, and the file may be any.")]
struct MetadataArguments {
    /// What to print.
    kind: Metadata,
    /// The file.
    file: PathBuf,
    /// First byte to print.
    #[arg(long, value_name = "BYTES", value_parser = setup::number, requires = "length")]
    offset: Option<u64>,
    /// Bytes to print.
    #[arg(long, value_name = "BYTES", value_parser = setup::number, requires = "offset")]
    length: Option<u64>,
    #[command(flatten)]
    params: ParamsArguments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Metadata {
    #[value(name = "merkle_tree")]
    MerkleTree,
    #[value(name = "descriptor")]
    Descriptor,
}

/// By its name, or its number in the kernel.
fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "sha256" | "1" => Ok(Algorithm::Sha256),
        "sha512" | "2" => Ok(Algorithm::Sha512),
        _ => Err("expected sha256 or sha512".into()),
    }
}

fn salt(text: &str) -> Result<Salt, String> {
    let bytes = hex::decode(&text.to_ascii_lowercase());
    bytes.map(Salt).ok_or_else(|| "expected pairs of hexadecimal digits".into())
}

impl From<ParamsError> for Failure {
    fn from(error: ParamsError) -> Self {
        let status = match error {
            ParamsError::SaltLength { .. } => FAILED,
            ParamsError::Algorithm { .. } | ParamsError::BlockSize { .. } => Status::Usage,
        };
        Self { status, error: error.into() }
    }
}

impl ParamsArguments {
    fn params(&self) -> Result<Params, Failure> {
        let salt = self.salt.as_ref().map_or(&[][..], |salt| &salt.0);
        let algorithm = self.hash_alg.unwrap_or(Algorithm::Sha256);
        Ok(Params::new(algorithm, self.block_size.unwrap_or(4096), salt)?)
    }
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.verb {
        Verb::Digest(arguments) => digest(arguments),
        Verb::Sign(arguments) => sign(arguments),
        Verb::Dump(arguments) => dump(arguments),
        Verb::DumpMetadata(arguments) => dump_metadata(arguments),
    }
}

fn digest(arguments: &DigestArguments) -> Outcome {
    let params = arguments.params.params()?;
    if let ([only], true) = (arguments.files.as_slice(), arguments.metadata.any()) {
        let descriptor = describe_and_write(only, &params, &arguments.metadata)?;
        let digest = FileDigest { data_size: descriptor.data_size(), digest: descriptor.digest() };
        print_digests(arguments, params.algorithm(), &[(only, digest)])?;
        return Ok(Status::Good);
    }
    if arguments.metadata.any() {
        let hint = "--out-merkle-tree and --out-descriptor take the metadata of one file";
        return Err(Status::Usage.because()(anyhow!(hint)));
    }
    let bar = Bar::bytes("hashing");
    let mut all = Vec::new();
    for files in arguments.files.chunks(BATCH) {
        let mut good = Vec::with_capacity(files.len());
        let mut failed = Ok(());
        for (file, digest) in files.iter().zip(fsverity::digest_files(files, &params, &bar)) {
            match digest {
                Ok(digest) => good.push((file, digest)),
                Err(error) => {
                    failed = Err(FAILED.because()(anyhow!(error).context(file.display().to_string())));
                    break;
                }
            }
        }
        match arguments.json {
            true => all.append(&mut good),
            false => print_digests(arguments, params.algorithm(), &good)?,
        }
        failed?;
    }
    if arguments.json {
        print_digests(arguments, params.algorithm(), &all)?;
    }
    Ok(Status::Good)
}

fn print_digests(
    arguments: &DigestArguments,
    algorithm: Algorithm,
    all: &[(&PathBuf, FileDigest)],
) -> Result<(), Failure> {
    if arguments.json {
        let list: Vec<_> = all.iter().map(|(file, digest)| digest_json(file, algorithm, digest)).collect();
        return print(&format!("{:#}\n", serde_json::Value::Array(list)));
    }
    // Names are bytes, and are printed as such.
    let mut text = Vec::new();
    for (file, FileDigest { digest, .. }) in all {
        let signed = arguments.for_builtin_sig.then(|| formatted_digest(algorithm, digest)).flatten();
        match signed {
            Some(signed) => text.extend(hex::encode(&signed).into_bytes()),
            None if arguments.compact => write!(text, "{digest}").map_err(FAILED.because())?,
            None => write!(text, "{algorithm}:{digest}").map_err(FAILED.because())?,
        }
        if !arguments.compact {
            text.push(b' ');
            text.extend_from_slice(file.as_os_str().as_bytes());
        }
        text.push(b'\n');
    }
    write_out(&text)
}

fn digest_json(file: &Path, algorithm: Algorithm, digest: &FileDigest) -> serde_json::Value {
    json!({
        "file": file.display().to_string(),
        "size": digest.data_size,
        "digest": format!("{algorithm}:{}", digest.digest),
    })
}

/// The descriptor of a file as it is.
fn describe(path: &Path, params: &Params, progress: &dyn Progress) -> anyhow::Result<Descriptor> {
    let describe = || fsverity::describe(&File::open(path)?, params, progress);
    describe().with_context(|| path.display().to_string())
}

impl OutArguments {
    fn any(&self) -> bool {
        self.out_merkle_tree.is_some() || self.out_descriptor.is_some()
    }
}

/// The descriptor of a file; it and the tree are written where they are asked for.
fn describe_and_write(path: &Path, params: &Params, out: &OutArguments) -> Result<Descriptor, Failure> {
    let failed =
        |path: &Path, error: io::Error| FAILED.because()(anyhow!(error).context(path.display().to_string()));
    let bar = Bar::bytes("hashing");
    let descriptor = match &out.out_merkle_tree {
        None => describe(path, params, &bar).map_err(FAILED.because())?,
        Some(tree_path) => {
            let file = File::open(path).map_err(|error| failed(path, error))?;
            let tree = File::create(tree_path).map_err(|error| failed(tree_path, error))?;
            let built = fsverity::build(&file, params, &tree, &bar);
            built.map_err(|error| failed(path, error))?
        }
    };
    if let Some(path) = &out.out_descriptor {
        std::fs::write(path, descriptor.to_bytes(0)).map_err(|error| failed(path, error))?;
    }
    Ok(descriptor)
}

fn sign(arguments: &SignArguments) -> Outcome {
    let params = arguments.params.params()?;
    let certificate = arguments.cert.as_ref().unwrap_or(&arguments.key);
    let signer = file_signer(&arguments.key, certificate).map_err(FAILED.because())?;
    let descriptor = describe_and_write(&arguments.file, &params, &arguments.metadata)?;
    let digest = descriptor.digest();
    let signature = sign_fsverity(params.algorithm(), &digest, &*signer).map_err(FAILED.because())?;
    let signature = signature.signed().ok_or_else(|| FAILED.because()(anyhow!("the key did not sign")))?;
    std::fs::write(&arguments.out_sigfile, signature)
        .with_context(|| arguments.out_sigfile.display().to_string())
        .map_err(FAILED.because())?;
    print(&format!("Signed file '{}' ({}:{digest})\n", arguments.file.display(), params.algorithm()))?;
    Ok(Status::Good)
}

fn dump(arguments: &DumpArguments) -> Outcome {
    let name = || arguments.descriptor.display().to_string();
    let mut bytes = [0; Descriptor::SIZE];
    let read = File::open(&arguments.descriptor).and_then(|file| file.read_exact_at(&mut bytes, 0));
    read.with_context(name).map_err(FAILED.because())?;
    let (descriptor, signature) =
        Descriptor::from_bytes(&bytes).with_context(name).map_err(FAILED.because())?;
    let params = descriptor.params();
    let (algorithm, digest) = (params.algorithm(), descriptor.digest());
    let root = descriptor.root_hash().map(|root| root.to_string());
    let salt = hex::encode(params.salt());
    if arguments.json {
        let value = json!({
            "hash-algorithm": algorithm.name(),
            "block-size": params.block_size(),
            "salt": salt,
            "data-size": descriptor.data_size(),
            "root-hash": root,
            "signature-size": signature,
            "digest": format!("{algorithm}:{digest}"),
        });
        print(&format!("{value:#}\n"))?;
    } else {
        let none = || "-".to_owned();
        let salt = if salt.is_empty() { none() } else { salt };
        print(&format!(
            "Hash algorithm:  \t{algorithm}\nBlock size:      \t{} [bytes]\nData size:       \t{} [bytes]\n\
             Salt:            \t{salt}\nRoot hash:       \t{}\nSignature size:  \t{signature} [bytes]\n\
             Digest:          \t{algorithm}:{digest}\n",
            params.block_size(),
            descriptor.data_size(),
            root.unwrap_or_else(none),
        ))?;
    }
    Ok(Status::Good)
}

fn dump_metadata(arguments: &MetadataArguments) -> Outcome {
    let params = arguments.params.params()?;
    let bar = Bar::bytes("hashing");
    // A tree may be large: it is not kept in memory.
    let build = || -> anyhow::Result<File> {
        let out = tempfile::tempfile()?;
        match arguments.kind {
            Metadata::MerkleTree => {
                let file = File::open(&arguments.file)?;
                fsverity::build(&file, &params, &out, &bar)?;
            }
            Metadata::Descriptor => {
                let descriptor = describe(&arguments.file, &params, &bar)?;
                out.write_all_at(&descriptor.to_bytes(0), 0)?;
            }
        }
        Ok(out)
    };
    let whole = build().with_context(|| arguments.file.display().to_string()).map_err(FAILED.because())?;
    let size = ReadAt::size(&whole).map_err(FAILED.because())?;
    let start = arguments.offset.unwrap_or(0).min(size);
    let end = arguments.length.map_or(size, |length| start.saturating_add(length).min(size));
    let mut buffer = vec![0; 1 << 20];
    for at in (start..end).step_by(1 << 20) {
        let piece = &mut buffer[..(end - at).min(1 << 20) as usize];
        whole.read_exact_at(piece, at).map_err(FAILED.because())?;
        write_out(piece)?;
    }
    Ok(Status::Good)
}

/// To standard output; a reader that went away early is no error.
fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    match io::stdout().lock().write_all(bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(FAILED.because()(error)),
        _ => Ok(()),
    }
}
