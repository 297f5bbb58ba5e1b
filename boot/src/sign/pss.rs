//! RSASSA-PSS (RFC 8017 §8.1) as U-Boot has it: the salt fills all the room that the modulus leaves. ring makes and checks
//! only salts as long as the digest, so this is the `rsa` crate's.

use rsa::pkcs1::DecodeRsaPublicKey as _;
use rsa::pss::{Signature, SigningKey, VerifyingKey};
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Verifier as _};
use rsa::traits::PublicKeyParts as _;
use sha2::{Sha256, Sha384, Sha512};

use super::{Algorithm, BadSignature};
use crate::randomness::Randomness;
use crate::x509::PublicKey;

/// Signs `message`; `None` where the algorithm is not PSS, or the key cannot. The private-key operation is blinded.
pub(super) fn sign(key: &rsa::PrivateKey, algorithm: Algorithm, message: &[u8]) -> Option<Vec<u8>> {
    let mut random = Randomness::new();
    let key = key.clone();
    let modulus = key.size();
    let signature = match algorithm {
        Algorithm::RsaPssSha256 => SigningKey::<Sha256>::new_with_salt_len(key, longest_salt(modulus, 32)?)
            .try_sign_with_rng(&mut random, message),
        Algorithm::RsaPssSha384 => SigningKey::<Sha384>::new_with_salt_len(key, longest_salt(modulus, 48)?)
            .try_sign_with_rng(&mut random, message),
        Algorithm::RsaPssSha512 => SigningKey::<Sha512>::new_with_salt_len(key, longest_salt(modulus, 64)?)
            .try_sign_with_rng(&mut random, message),
        _ => return None,
    };
    Some(signature.ok()?.to_vec())
}

/// Checks `signature` over `message`; a shorter salt is as wrong as any other fault, since U-Boot refuses it.
pub(super) fn verify(
    key: &PublicKey,
    algorithm: Algorithm,
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    let unsupported = || BadSignature::Unsupported { key: key.to_string(), algorithm: algorithm.to_string() };
    let mismatch = || BadSignature::Mismatch { key: key.to_string() };
    let PublicKey::Rsa { pkcs1, bits: 2048..=4096 } = key else { return Err(unsupported()) };
    let public = rsa::PublicKey::from_pkcs1_der(pkcs1).map_err(|_| unsupported())?;
    let modulus = public.size();
    let salt = |digest| longest_salt(modulus, digest).ok_or_else(unsupported);
    if signature.len() != modulus {
        return Err(mismatch());
    }
    let signature = Signature::try_from(signature).map_err(|_| mismatch())?;
    let verified = match algorithm {
        Algorithm::RsaPssSha256 => {
            VerifyingKey::<Sha256>::new_with_salt_len(public, salt(32)?).verify(message, &signature)
        }
        Algorithm::RsaPssSha384 => {
            VerifyingKey::<Sha384>::new_with_salt_len(public, salt(48)?).verify(message, &signature)
        }
        Algorithm::RsaPssSha512 => {
            VerifyingKey::<Sha512>::new_with_salt_len(public, salt(64)?).verify(message, &signature)
        }
        _ => return Err(unsupported()),
    };
    verified.map_err(|_| mismatch())
}

/// Bytes of salt for a modulus and a digest of so many bytes (RFC 8017 §9.1.1, emLen − hLen − 2).
fn longest_salt(modulus: usize, digest: usize) -> Option<usize> {
    modulus.checked_sub(digest)?.checked_sub(2)
}
