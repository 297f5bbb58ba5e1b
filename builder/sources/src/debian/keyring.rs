//! Who may sign an index: a keyring, and OpenPGP signatures in clear text (RFC 9580, section 7) held against it.
//!
//! What counts: a signature over SHA-256 or longer, by a key of the keyring that may sign, is not revoked and has not
//! expired; RSA from 2048 bits on. One such signature is enough: archives sign with several keys while they change them.

use std::path::{Path, PathBuf};

use pgp::composed::{CleartextSignedMessage, Deserializable, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{Signature, SignatureType};
use pgp::ser::Serialize as _;
use pgp::types::{KeyDetails, PublicParams, Tag, VerifyingKey};

use super::Error;
use super::date::show;
use crate::Sha256;
use crate::network::digest;

/// Keyrings are files of a few hundred kilobytes.
const LARGEST: u64 = 16 << 20;
/// Clocks differ.
const TOLERANCE: i64 = 24 * 3600;

/// The keys of one file.
#[derive(Debug)]
pub struct Keyring {
    path: PathBuf,
    sha256: Sha256,
    keys: Vec<SignedPublicKey>,
}

/// A text, and who signed it.
#[derive(Debug)]
pub(super) struct Signed {
    /// The signed text, and nothing but it.
    pub(super) text: String,
    /// The signing key's fingerprint.
    pub(super) by: String,
}

impl Keyring {
    /// Reads a keyring as `gpg --export` writes it, with or without armour. Keys of unknown kinds are passed over.
    ///
    /// # Errors
    /// [`Error::Keyring`]: no such file, or no key in it.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bad = |problem: String| Error::Keyring { path: path.to_owned(), problem };
        let length = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
        if length > LARGEST {
            return Err(bad(format!("{length} bytes are no keyring")));
        }
        let bytes = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let armoured = bytes.trim_ascii_start().starts_with(b"-----BEGIN PGP PUBLIC KEY BLOCK-----");
        let unreadable = |error: pgp::errors::Error| bad(format!("it is no OpenPGP keyring: {error}"));
        let all: Vec<_> = match armoured {
            true => SignedPublicKey::from_armor_many(&*bytes).map_err(unreadable)?.0.collect(),
            false => SignedPublicKey::from_bytes_many(&*bytes).map_err(unreadable)?.collect(),
        };
        let keys: Vec<SignedPublicKey> = all.into_iter().filter_map(Result::ok).collect();
        if keys.is_empty() {
            return Err(bad("it holds no OpenPGP public key".to_owned()));
        }
        Ok(Self { path: path.to_owned(), sha256: digest(&bytes), keys })
    }

    /// Its file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file hashes to.
    #[must_use]
    pub fn sha256(&self) -> Sha256 {
        self.sha256
    }

    /// Takes the text out of a message signed in clear, where one of these keys signed it. `now` is in seconds since 1970.
    pub(super) fn open(&self, message: &[u8], now: i64) -> Result<Signed, String> {
        let keyring = self.path.display();
        let message = std::str::from_utf8(message).map_err(|_| "it is not UTF-8".to_owned())?;
        if !message.starts_with("-----BEGIN PGP SIGNED MESSAGE-----") {
            return Err("it is not signed".to_owned());
        }
        let (message, _) = CleartextSignedMessage::from_string(message)
            .map_err(|error| format!("its OpenPGP signature cannot be read: {error}"))?;
        let text = message.signed_text();
        let mut objections = Vec::new();
        for signature in message.signatures() {
            match self.signer(signature, text.as_bytes(), now) {
                Ok(by) => return Ok(Signed { text: text.replace("\r\n", "\n"), by }),
                Err(objection) => objections.push(objection),
            }
        }
        match objections.is_empty() {
            true => Err("it has no signature".to_owned()),
            false => Err(format!("{}; the keyring is {keyring}", objections.join("; "))),
        }
    }

    /// The fingerprint of the key that made a signature, or what is wrong with it.
    fn signer(&self, signature: &Signature, text: &[u8], now: i64) -> Result<String, String> {
        let hash = signature.hash_alg();
        if !matches!(hash, Some(HashAlgorithm::Sha256 | HashAlgorithm::Sha384 | HashAlgorithm::Sha512)) {
            return Err(format!(
                "a signature over {}, which can be forged",
                hash.map_or("an unknown hash".into(), |hash| hash.to_string())
            ));
        }
        if !matches!(signature.typ(), Some(SignatureType::Binary | SignatureType::Text)) {
            return Err("a signature that is not one over a text".to_owned());
        }
        let created = signature.created().map(|time| i64::from(time.as_secs()));
        let Some(created) = created.filter(|created| *created <= now.saturating_add(TOLERANCE)) else {
            return Err("a signature from the future: see to this machine's clock".to_owned());
        };
        let lasts = signature.signature_expiration_time().map_or(0, |time| i64::from(time.as_secs()));
        if lasts > 0 && created.saturating_add(lasts) < now {
            return Err(format!("a signature that expired on {}", show(created.saturating_add(lasts))));
        }
        for key in &self.keys {
            if signature.verify(&key.primary_key, text).is_ok() {
                return primary_may_sign(key, now).map(|()| key.primary_key.fingerprint().to_string());
            }
            for subkey in &key.public_subkeys {
                if signature.verify(&subkey.key, text).is_ok() {
                    return subkey_may_sign(key, subkey, now).map(|()| subkey.key.fingerprint().to_string());
                }
            }
        }
        let issuers = signature.issuer_fingerprint();
        let issuer = issuers
            .first()
            .map(ToString::to_string)
            .or_else(|| signature.issuer_key_id().first().map(ToString::to_string));
        let issuer = issuer.unwrap_or_else(|| "an unnamed key".to_owned());
        let is_known = self.keys.iter().any(|key| {
            let subkeys = key.public_subkeys.iter().map(|subkey| subkey.key.fingerprint().to_string());
            subkeys.chain([key.primary_key.fingerprint().to_string()]).any(|known| known.ends_with(&issuer))
        });
        Err(match is_known {
            true => format!("the signature of key {issuer} is not one over this text"),
            false => format!("it is signed by key {issuer}, which the keyring has not"),
        })
    }
}

fn primary_may_sign(key: &SignedPublicKey, now: i64) -> Result<(), String> {
    let primary = &key.primary_key;
    let name = format!("key {}", primary.fingerprint());
    strong(primary.public_params(), &name)?;
    if key.details.revocation_signatures.iter().any(|signature| signature.verify_key(primary).is_ok()) {
        return Err(format!("{name} is revoked"));
    }
    let of_users = key.details.users.iter().flat_map(|user| {
        user.signatures.iter().filter(|signature| {
            signature.typ() != Some(SignatureType::CertRevocation)
                && signature.verify_certification(primary, Tag::UserId, &user.id).is_ok()
        })
    });
    let direct =
        key.details.direct_signatures.iter().filter(|signature| signature.verify_key(primary).is_ok());
    let newest =
        of_users.chain(direct).max_by_key(|signature| signature.created().map(|time| time.as_secs()));
    let Some(newest) = newest else { return Err(format!("{name} has no signature of its own")) };
    current(primary, newest, now, &name)?;
    // Keys without flags are older than flags.
    let flags = newest.key_flags();
    let says = flags.sign()
        || flags.certify()
        || flags.encrypt_comms()
        || flags.encrypt_storage()
        || flags.authentication();
    if says && !flags.sign() {
        return Err(format!("{name} is not one to sign with"));
    }
    Ok(())
}

fn subkey_may_sign(key: &SignedPublicKey, subkey: &SignedPublicSubKey, now: i64) -> Result<(), String> {
    let primary = &key.primary_key;
    let name = format!("key {}", subkey.key.fingerprint());
    strong(subkey.key.public_params(), &name)?;
    if key.details.revocation_signatures.iter().any(|signature| signature.verify_key(primary).is_ok()) {
        return Err(format!("key {}, which {name} belongs to, is revoked", primary.fingerprint()));
    }
    let ours = || {
        subkey
            .signatures
            .iter()
            .filter(|signature| signature.verify_subkey_binding(primary, &subkey.key).is_ok())
    };
    if ours().any(|signature| signature.typ() == Some(SignatureType::SubkeyRevocation)) {
        return Err(format!("{name} is revoked"));
    }
    let bindings = ours().filter(|signature| signature.typ() == Some(SignatureType::SubkeyBinding));
    let newest = bindings.max_by_key(|signature| signature.created().map(|time| time.as_secs()));
    let Some(newest) = newest else { return Err(format!("{name} is bound to no key of the keyring")) };
    // The subkey must have agreed, or anyone could claim another's signatures.
    let agreed = newest.embedded_signature();
    let agreed =
        agreed.is_some_and(|signature| signature.verify_primary_key_binding(&subkey.key, primary).is_ok());
    if !newest.key_flags().sign() || !agreed {
        return Err(format!("{name} is not one to sign with"));
    }
    current(&subkey.key, newest, now, &name)
}

/// Not expired, by the newest word of its owner.
fn current(key: &impl VerifyingKey, newest: &Signature, now: i64, name: &str) -> Result<(), String> {
    let lasts = newest.key_expiration_time().map_or(0, |time| i64::from(time.as_secs()));
    let until = i64::from(key.created_at().as_secs()).saturating_add(lasts);
    match lasts > 0 && until < now {
        true => Err(format!("{name} expired on {}: install a newer keyring", show(until))),
        false => Ok(()),
    }
}

/// A key that cannot be computed by others.
fn strong(parameters: &PublicParams, name: &str) -> Result<(), String> {
    match parameters {
        PublicParams::RSA(rsa) => {
            // A multiprecision integer begins with its length in bits (RFC 9580, section 3.2): the modulus is the first.
            let bits = match rsa.to_bytes().as_deref() {
                Ok([high, low, ..]) => u16::from_be_bytes([*high, *low]),
                _ => 0,
            };
            if bits < 2048 {
                Err(format!("{name} is RSA with {bits} bits, which is too weak"))
            } else {
                Ok(())
            }
        }
        PublicParams::DSA(_) => Err(format!("{name} is DSA, which is too weak")),
        _ => Ok(()),
    }
}
