//! `graven verity`: veritysetup's offline verbs, and repair.
//!
//! Options, printed fields and exit status are veritysetup's, so that a script may call either. Where they part is told in
//! `docs/verity.md`.

mod devices;
mod dump;
mod format;
mod mend;
mod repair;
mod root_hash;
mod verify;

use std::path::PathBuf;

use anyhow::anyhow;
use graven_verity::dm::{HashType, Salt};
use graven_verity::fec::Roots;
use graven_verity::hash::Algorithm;
use graven_verity::setup::{self, Header, LayoutError};
use serde_json::{Value, json};

use super::{Failure, Outcome, Status, print};

/// veritysetup's «wrong or missing parameters», and whatever else has no number of its own.
const WRONG: Status = Status::Other(1);
/// Its «no permission»: the data is not what the root hash says.
const CORRUPTED: Status = Status::Other(2);
/// Its «wrong device».
const NO_DEVICE: Status = Status::Other(4);

#[derive(Debug, clap::Args)]
#[command(
    disable_help_flag = true,
    after_help = "Examples:\n  graven verity format root.img root.verity --salt=- --root-hash-file=root.hash\n  \
    graven verity verify root.img root.verity --root-hash-file=root.hash\n  \
    graven verity repair root.img root.verity --root-hash-file=root.hash --fec-device=root.fec\n\n\
    In place of veritysetup's verbs of the same names. Exit status, as veritysetup's: 0 good; 1 wrong parameters, wrong\n\
    root hash or a failed system call; 2 the data is not what the root hash says; 4 no such device."
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Writes a hash tree over the data, and parity.
    Format(format::Arguments),
    /// Checks every block, and says which ones are bad.
    Verify(verify::Arguments),
    /// Shows what the superblock says.
    Dump(dump::Arguments),
    /// Mends what the parity can mend, and says what it cannot.
    Repair(repair::Arguments),
}

/// They may stand before the verb or behind it.
#[derive(Debug, clap::Args)]
struct Options {
    /// Show this help.
    #[arg(short = '?', long, action = clap::ArgAction::Help, global = true)]
    help: Option<bool>,
    /// Hash algorithm: sha256, sha512, sha384, sha1 [default: sha256].
    #[arg(short = 'h', long, value_name = "NAME", global = true)]
    hash: Option<String>,
    /// Block size on the data device, bytes [default: 4096].
    #[arg(long, value_name = "BYTES", value_parser = setup::number32, global = true)]
    data_block_size: Option<u32>,
    /// Block size on the hash device, bytes [default: 4096].
    #[arg(long, value_name = "BYTES", value_parser = setup::number32, global = true)]
    hash_block_size: Option<u32>,
    /// Data blocks that count [default: all whole ones of the data device].
    #[arg(long, value_name = "BLOCKS", value_parser = setup::number, global = true)]
    data_blocks: Option<u64>,
    /// Where the superblock lies on the hash device, or without one the tree, bytes [default: 0].
    #[arg(long, value_name = "BYTES", value_parser = setup::number, global = true)]
    hash_offset: Option<u64>,
    /// There is no superblock.
    #[arg(long, global = true)]
    no_superblock: bool,
    /// Hash type: 1 (normal) or 0 (original Chrome OS) [default: 1].
    #[arg(long, value_name = "NUMBER", value_parser = setup::hash_type, global = true)]
    format: Option<HashType>,
    /// Salt in hexadecimal, `-` for none [default: 32 random bytes].
    #[arg(short, long, value_name = "HEX", value_parser = setup::salt, global = true)]
    salt: Option<Salt>,
    /// UUID of the hash device [default: random].
    #[arg(long, value_name = "UUID", global = true)]
    uuid: Option<String>,
    /// Device with the parity; may be the hash device.
    #[arg(long, value_name = "PATH", global = true)]
    fec_device: Option<PathBuf>,
    /// Where the parity starts on it, bytes [default: 0].
    #[arg(long, value_name = "BYTES", value_parser = setup::number, global = true)]
    fec_offset: Option<u64>,
    /// Parity bytes a code word, 2 to 24 [default: 2].
    #[arg(long, value_name = "NUMBER", value_parser = setup::roots, global = true)]
    fec_roots: Option<Roots>,
    /// File with the root hash in hexadecimal; format writes it.
    #[arg(long, value_name = "FILE", global = true)]
    root_hash_file: Option<PathBuf>,
    /// Signature of the root hash (PKCS#7, DER, detached), to be checked first; wants --trust.
    #[arg(long, value_name = "FILE", global = true)]
    root_hash_signature: Option<PathBuf>,
    /// Certificates (PEM or DER), or folders of them, that may have signed the root hash.
    #[arg(long, value_name = "PATH", num_args = 1.., global = true)]
    trust: Vec<PathBuf>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Say so where all went well.
    #[arg(short, long, global = true)]
    verbose: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Outcome {
    let options = &arguments.options;
    let status = match &arguments.verb {
        Verb::Format(arguments) => format::run(arguments, options),
        Verb::Verify(arguments) => verify::run(arguments, options),
        Verb::Dump(arguments) => dump::run(arguments, options),
        Verb::Repair(arguments) => repair::run(arguments, options),
    }?;
    if options.verbose && status == Status::Good && !options.json {
        print("Command successful.\n")?;
    }
    Ok(status)
}

impl From<LayoutError> for Failure {
    fn from(error: LayoutError) -> Self {
        WRONG.because()(error)
    }
}

impl Options {
    /// The options that describe a device without a superblock, or one that is to be made.
    fn layout(&self) -> Result<setup::Options, Failure> {
        let default = setup::Options::default();
        let algorithm = match &self.hash {
            Some(name) => setup::algorithm(name).map_err(WRONG.because())?,
            None => default.algorithm,
        };
        Ok(setup::Options {
            algorithm,
            hash_type: self.format.unwrap_or(default.hash_type),
            data_block_size: self.data_block_size.unwrap_or(default.data_block_size),
            hash_block_size: self.hash_block_size.unwrap_or(default.hash_block_size),
            data_blocks: self.data_blocks,
            hash_offset: self.hash_offset.unwrap_or(0),
            superblock: !self.no_superblock,
            salt: self.salt.clone().unwrap_or_default(),
            fec: self.fec()?,
        })
    }

    /// Roots and offset of the parity, where there is a device for it.
    fn fec(&self) -> Result<Option<(Roots, u64)>, Failure> {
        let roots = match self.fec_roots {
            Some(roots) => roots,
            None => Roots::new(2).map_err(WRONG.because())?,
        };
        Ok(self.fec_device.is_some().then(|| (roots, self.fec_offset.unwrap_or(0))))
    }

    /// Fails where an option is given that a verb has no use for.
    fn refuse(&self, verb: &str, refused: &[(&str, bool)]) -> Result<(), Failure> {
        match refused.iter().find(|(_, given)| *given) {
            Some((option, _)) => {
                Err(WRONG.because()(anyhow!("Option --{option} is not allowed with {verb} action.")))
            }
            None => Ok(()),
        }
    }
}

/// The name by which a hash function was asked for: it is printed as it was given.
fn name_of(algorithm: Algorithm, given: Option<&String>) -> String {
    given.cloned().unwrap_or_else(|| algorithm.to_string())
}

/// What is printed of a device.
fn show(header: &Header, json: bool) -> Result<(), Failure> {
    if json { print(&format!("{:#}\n", header_json(header))) } else { print(&header.to_string()) }
}

fn header_json(header: &Header) -> Value {
    let (layout, params) = (header.layout(), &header.layout().params);
    json!({
        "device": header.device,
        "uuid": (!header.uuid.is_empty()).then_some(&header.uuid),
        "hash-type": params.hash_type().number(),
        "data-blocks": params.data_blocks(),
        "data-block-size": params.data_block_size(),
        "hash-blocks": params.tree_blocks(),
        "hash-block-size": params.hash_block_size(),
        "hash-algorithm": params.algorithm().name(),
        "salt": params.salt().to_string(),
        "root-hash": header.root_hash.map(|root_hash| root_hash.to_string()),
        "hash-start": layout.tree_start / u64::from(params.hash_block_size()),
        "hash-device-size": header.hash_device_bytes,
        "fec": layout.parity.map(|parity| json!({
            "roots": parity.roots.get(),
            "start": parity.start,
            "bytes": parity.bytes,
            "blocks": parity.blocks,
        })),
    })
}
