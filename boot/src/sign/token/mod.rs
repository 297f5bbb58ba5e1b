//! A signer whose private key lies in a token: a smart card, a hardware security module, SoftHSM.

mod uri;

use std::ffi::c_ulong;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as Pkcs11Error, RvError};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use der::Encode as _;
use der::asn1::UintRef;

pub use self::uri::{Pin, TokenUri, UriError};
use super::{Algorithm, Answer, BadSignature, Request, SignError, Signer, verify};
use crate::x509::{Certificate, PublicKey};

/// p11-kit's module, which knows every token that the machine has been told of.
const EVERY_TOKEN: &str = "p11-kit-proxy.so";

/// Signs with a key that never leaves its token. What it answers is checked against the certificate.
pub struct TokenSigner {
    certificate: Certificate,
    uri: TokenUri,
    session: Mutex<Session>,
    key: ObjectHandle,
}

/// Why a token did not sign.
#[derive(Debug, thiserror::Error)]
pub enum TokenProblem {
    /// The module is none.
    #[error("the module {} cannot be used: {source}", path.display())]
    Module {
        /// The shared library.
        path: PathBuf,
        /// What it, or who loads it, said.
        source: Pkcs11Error,
    },
    /// Not exactly one token fits.
    #[error("{} tokens fit, expected one{}", fitting.len(), named(fitting))]
    Tokens {
        /// Their labels.
        fitting: Vec<String>,
    },
    /// Not exactly one private key fits.
    #[error("{fitting} private keys on the token fit, expected one; say object=LABEL or id=%XX")]
    Keys {
        /// How many do.
        fitting: usize,
    },
    /// There is no PIN.
    #[error("its PIN cannot be had: {0}")]
    Pin(#[source] io::Error),
    /// The token refuses.
    #[error("{doing}: {source}")]
    Token {
        /// What it was asked.
        doing: &'static str,
        /// What it answered.
        source: Pkcs11Error,
    },
    /// No token is asked so.
    #[error("tokens are not asked for {0} signatures here: sign with a program (exec:) or elsewhere")]
    Algorithm(Algorithm),
    /// What it signed is no signature by the certificate's key.
    #[error("its key is not the certificate's: {0}")]
    BadSignature(#[from] BadSignature),
}

fn named(labels: &[String]) -> String {
    if labels.is_empty() { String::new() } else { format!(": {}", labels.join(", ")) }
}

impl TokenSigner {
    /// Finds the token and the key, and logs in. `ask` is asked for the PIN of the token of this label where the URI names no
    /// source of it.
    ///
    /// # Errors
    /// A module, a token or a key that is not there, more than one that fits, and a PIN that is wrong.
    pub fn open(
        certificate: Certificate,
        uri: TokenUri,
        ask: &dyn Fn(&str) -> io::Result<String>,
    ) -> Result<Self, SignError> {
        let opened = open(&uri, ask);
        let (session, key) = opened
            .map_err(|problem| SignError::Token { uri: uri.to_string(), problem: Box::new(problem) })?;
        Ok(Self { certificate, uri, session: Mutex::new(session), key })
    }

    fn ask(&self, request: &Request) -> Result<Vec<u8>, TokenProblem> {
        let (algorithm, digest) = (request.algorithm(), request.digest());
        let bits = match self.certificate.public_key() {
            PublicKey::Rsa { bits, .. } => *bits,
            _ => 0,
        };
        let (mechanism, data) = how(algorithm, digest, bits).ok_or(TokenProblem::Algorithm(algorithm))?;
        let session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let signed = session.sign(&mechanism, self.key, &data);
        let signature = signed.map_err(|source| TokenProblem::Token { doing: "signing", source })?;
        let signature = match algorithm {
            Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384 => sequence(&signature),
            _ => signature,
        };
        verify(&self.certificate, algorithm, request.to_be_signed(), &signature)?;
        Ok(signature)
    }
}

impl Signer for TokenSigner {
    fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    fn sign(&self, request: &Request) -> Result<Answer, SignError> {
        request.refuse_foreign(&self.certificate)?;
        match self.ask(request) {
            Ok(signature) => Ok(Answer::Signed(signature)),
            Err(problem) => Err(SignError::Token { uri: self.uri.to_string(), problem: Box::new(problem) }),
        }
    }
}

fn open(
    uri: &TokenUri,
    ask: &dyn Fn(&str) -> io::Result<String>,
) -> Result<(Session, ObjectHandle), TokenProblem> {
    let failed = |doing| move |source| TokenProblem::Token { doing, source };
    let path = uri.module_path.as_deref().unwrap_or(Path::new(EVERY_TOKEN));
    let module = load(path).map_err(|source| TokenProblem::Module { path: path.to_owned(), source })?;
    let (slot, label, asks_itself) = token(&module, uri)?;
    let session = module.open_ro_session(slot).map_err(failed("opening a session"))?;
    // A token with a keypad asks by itself.
    let pin = match asks_itself {
        true => None,
        false => Some(AuthPin::new(pin(&uri.pin, &label, ask).map_err(TokenProblem::Pin)?.into())),
    };
    match session.login(UserType::User, pin.as_ref()) {
        // By another signer of this process.
        Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
        Err(source) => return Err(TokenProblem::Token { doing: "logging in", source }),
    }
    let mut wanted = vec![Attribute::Class(ObjectClass::PRIVATE_KEY)];
    wanted.extend(uri.object.iter().map(|label| Attribute::Label(label.clone().into_bytes())));
    wanted.extend(uri.id.iter().map(|id| Attribute::Id(id.clone())));
    let keys = session.find_objects(&wanted).map_err(failed("looking for the key"))?;
    match keys.as_slice() {
        [key] => Ok((session, *key)),
        other => Err(TokenProblem::Keys { fitting: other.len() }),
    }
}

fn load(path: &Path) -> Result<Pkcs11, Pkcs11Error> {
    let module = Pkcs11::new(path)?;
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        // By another signer of this process.
        Ok(()) | Err(Pkcs11Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
        Err(error) => Err(error),
    }
}

/// The one token that fits: its slot, its label, and whether it asks for its PIN by itself.
fn token(module: &Pkcs11, uri: &TokenUri) -> Result<(Slot, String, bool), TokenProblem> {
    let failed = |source| TokenProblem::Token { doing: "listing the tokens", source };
    let mut fitting = Vec::new();
    for slot in module.get_slots_with_initialized_token().map_err(failed)? {
        let info = module.get_token_info(slot).map_err(failed)?;
        let fits = [
            (&uri.token, info.label()),
            (&uri.manufacturer, info.manufacturer_id()),
            (&uri.model, info.model()),
            (&uri.serial, info.serial_number()),
        ];
        if fits
            .iter()
            .all(|(wanted, found)| wanted.as_deref().is_none_or(|wanted| wanted == found.trim_end()))
        {
            fitting.push((slot, info.label().to_owned(), info.protected_authentication_path()));
        }
    }
    match (fitting.len(), fitting.pop()) {
        (1, Some(only)) => Ok(only),
        (_, last) => {
            fitting.extend(last);
            let fitting = fitting.into_iter().map(|(_, label, _)| label).collect();
            Err(TokenProblem::Tokens { fitting })
        }
    }
}

fn pin(source: &Pin, label: &str, ask: &dyn Fn(&str) -> io::Result<String>) -> io::Result<String> {
    match source {
        Pin::Asked => ask(label),
        Pin::File(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))?;
            Ok(text.lines().next().unwrap_or_default().to_owned())
        }
        Pin::Variable(name) => {
            std::env::var(name).map_err(|error| io::Error::other(format!("variable {name}: {error}")))
        }
    }
}

/// By which mechanism a token signs so, and what it is given: all take a digest, since not every token computes one. ML-DSA
/// takes none.
fn how(algorithm: Algorithm, digest: Vec<u8>, modulus_bits: usize) -> Option<(Mechanism<'static>, Vec<u8>)> {
    let pss = |hash_alg, mgf| {
        // The longest salt that the modulus has room for.
        let salt = modulus_bits.div_ceil(8).saturating_sub(digest.len()).saturating_sub(2);
        let s_len = c_ulong::try_from(salt).unwrap_or_default().into();
        Mechanism::RsaPkcsPss(PkcsPssParams { hash_alg, mgf, s_len })
    };
    let mechanism = match algorithm {
        Algorithm::EcdsaP256Sha256 | Algorithm::EcdsaP384Sha384 => Mechanism::Ecdsa,
        Algorithm::RsaPssSha256 => pss(MechanismType::SHA256, PkcsMgfType::MGF1_SHA256),
        Algorithm::RsaPssSha384 => pss(MechanismType::SHA384, PkcsMgfType::MGF1_SHA384),
        Algorithm::RsaPssSha512 => pss(MechanismType::SHA512, PkcsMgfType::MGF1_SHA512),
        Algorithm::RsaPkcs1Sha256 | Algorithm::RsaPkcs1Sha384 | Algorithm::RsaPkcs1Sha512 => {
            return Some((Mechanism::RsaPkcs, [prefix(algorithm), &digest].concat()));
        }
        Algorithm::MlDsa65 => return None,
    };
    Some((mechanism, digest))
}

/// What stands before a digest in a `DigestInfo` (RFC 8017, 9.2).
fn prefix(algorithm: Algorithm) -> &'static [u8] {
    match algorithm {
        Algorithm::RsaPkcs1Sha384 => {
            b"\x30\x41\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x02\x05\x00\x04\x30"
        }
        Algorithm::RsaPkcs1Sha512 => {
            b"\x30\x51\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x03\x05\x00\x04\x40"
        }
        _ => b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20",
    }
}

/// `SEQUENCE { r, s }` of the two numbers that a token answers one after the other; what is none stays as it is, and is
/// refused where it is checked.
fn sequence(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    let made = (|| vec![UintRef::new(r)?, UintRef::new(s)?].to_der())();
    made.unwrap_or_else(|_: der::Error| raw.to_vec())
}
