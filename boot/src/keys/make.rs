//! Making one key.

use p256::pkcs8::EncodePrivateKey as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use rsa::pkcs8::EncodePrivateKey as _;
use zeroize::Zeroizing;

use super::{KeysError, Kind};
use crate::randomness::Randomness;
use crate::sign::{Form, PrivateKey};
use crate::x509::pem_block;

/// A new key: PEM PKCS#8 for the file (wiped when dropped), and ready to sign.
pub(super) fn generate(role: &'static str, kind: Kind) -> Result<(Zeroizing<String>, PrivateKey), KeysError> {
    let failed = |reason: String| KeysError::Generate { role, reason };
    let der = pkcs8(kind).map_err(failed)?;
    let key = PrivateKey::from_der(&der, Form::Pkcs8).map_err(failed)?;
    Ok((Zeroizing::new(pem_block("PRIVATE KEY", &der)), key))
}

fn pkcs8(kind: Kind) -> Result<Zeroizing<Vec<u8>>, String> {
    match kind {
        Kind::Rsa(bits) => {
            let key =
                rsa::PrivateKey::new(&mut Randomness::new(), bits).map_err(|error| error.to_string())?;
            let der = key.to_pkcs8_der().map_err(|error| error.to_string())?;
            Ok(Zeroizing::new(der.as_bytes().to_vec()))
        }
        Kind::EcdsaP256 => loop {
            // All but one in 2³² numbers of this length are keys.
            if let Ok(key) = p256::SecretKey::from_slice(&*random::<32>()?) {
                let der = key.to_pkcs8_der().map_err(|error| error.to_string())?;
                return Ok(Zeroizing::new(der.as_bytes().to_vec()));
            }
        },
        Kind::EcdsaP384 => loop {
            if let Ok(key) = p384::SecretKey::from_slice(&*random::<48>()?) {
                let der = key.to_pkcs8_der().map_err(|error| error.to_string())?;
                return Ok(Zeroizing::new(der.as_bytes().to_vec()));
            }
        },
        Kind::MlDsa65 => {
            let seed = random::<32>()?;
            let key = ml_dsa::SigningKey::<ml_dsa::MlDsa65>::from_seed(&(*seed).into());
            let der =
                ml_dsa::pkcs8::EncodePrivateKey::to_pkcs8_der(&key).map_err(|error| error.to_string())?;
            Ok(Zeroizing::new(der.as_bytes().to_vec()))
        }
    }
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, String> {
    let mut bytes = Zeroizing::new([0; N]);
    let filled = SystemRandom::new().fill(&mut *bytes);
    filled.map_err(|_| "the system gives no random numbers".to_owned())?;
    Ok(bytes)
}
