//! The root hash that a verb is given: as an argument or in a file, its signature checked where there is one.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow};
use graven_boot::pkcs7::verify_root_hash;
use graven_verify::read_certificates;
use graven_verity::dm::{Params, RootHash};

use super::{Failure, Options, WRONG};

/// Bytes that a file with a root hash or its signature may have.
const MOST_BYTES: u64 = 64 * 1024;

/// The root hash of a tree of `params`.
pub(super) fn given(
    argument: Option<&String>,
    options: &Options,
    params: &Params,
) -> Result<RootHash, Failure> {
    let digits = 2 * params.algorithm().digest_size();
    let text = match (argument, &options.root_hash_file) {
        (_, Some(path)) => from_file(path, digits)?,
        (Some(text), None) => text.clone(),
        (None, None) => {
            let hint = "Command requires <root_hash> or --root-hash-file option as argument.";
            return Err(WRONG.because()(anyhow!(hint)));
        }
    };
    let root_hash: Option<RootHash> = text.parse().ok().filter(|_| text.len() == digits);
    let root_hash = root_hash.ok_or_else(|| {
        let algorithm = params.algorithm();
        WRONG.because()(anyhow!(
            "Invalid root hash string specified: {text:?} is not {digits} hexadecimal digits, as {algorithm} has"
        ))
    })?;
    if let Some(path) = &options.root_hash_signature {
        signed(&root_hash, path, options)?;
    } else if !options.trust.is_empty() {
        return Err(WRONG.because()(anyhow!("--trust says who may have signed: give --root-hash-signature")));
    }
    Ok(root_hash)
}

/// What follows the digits in the file does not count, as veritysetup has it.
fn from_file(path: &Path, digits: usize) -> Result<String, Failure> {
    let bytes = read(path).with_context(|| format!("Cannot read root hash file {}", path.display()));
    let bytes = bytes.map_err(WRONG.because())?;
    let text = bytes.get(..digits).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.map(str::to_owned).ok_or_else(|| {
        let path = path.display();
        WRONG.because()(anyhow!("Invalid root hash file {path}: expected {digits} hexadecimal digits"))
    })
}

fn signed(root_hash: &RootHash, path: &Path, options: &Options) -> Result<(), Failure> {
    let mut trusted = Vec::new();
    for path in &options.trust {
        trusted.extend(read_certificates(path).map_err(WRONG.because())?);
    }
    if trusted.is_empty() {
        let hint = "a signature proves nothing without a certificate: give --trust PATH";
        return Err(WRONG.because()(anyhow!(hint)));
    }
    let signature = read(path).with_context(|| format!("Invalid signature file {}", path.display()));
    let signature = signature.map_err(WRONG.because())?;
    let signer = verify_root_hash(&signature, &root_hash.to_string(), &trusted);
    let refused = || format!("{} does not sign root hash {root_hash}", path.display());
    signer.map(|_| ()).with_context(refused).map_err(super::CORRUPTED.because())
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let bytes = fs::metadata(path)?.len();
    if bytes > MOST_BYTES {
        return Err(anyhow!("it has {bytes} bytes"));
    }
    Ok(fs::read(path)?)
}
