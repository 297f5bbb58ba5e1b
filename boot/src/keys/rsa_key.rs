//! Making one RSA-2048 key.

use ring::signature::RsaKeyPair;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use zeroize::Zeroizing;

use super::KeysError;
use crate::randomness::Randomness;
use crate::sign::PrivateKey;

/// A new key: PEM PKCS#8 for the file (wiped when dropped), and ready to sign.
pub(super) fn generate(role: &'static str) -> Result<(Zeroizing<String>, PrivateKey), KeysError> {
    let failed = |reason: String| KeysError::Generate { role, reason };
    let key =
        rsa::PrivateKey::new(&mut Randomness::new(), BITS).map_err(|error| failed(error.to_string()))?;
    let der = key.to_pkcs8_der().map_err(|error| failed(error.to_string()))?;
    let pem = der.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|error| failed(error.to_string()))?;
    let ring = RsaKeyPair::from_pkcs8(der.as_bytes()).map_err(|error| failed(error.to_string()))?;
    Ok((pem, PrivateKey { ring, rsa: key }))
}

/// 2048: what every firmware takes.
const BITS: usize = 2048;
