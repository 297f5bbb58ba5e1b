//! Making one RSA-2048 key.

use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::RsaKeyPair;
use rsa::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

use super::KeysError;

/// A new key: PEM PKCS#8 for the file (wiped when dropped), and ready to sign. `rsa` makes the key and never uses it: its
/// private-key operations are not constant-time, ring's are.
pub(super) fn generate(role: &'static str) -> Result<(Zeroizing<String>, RsaKeyPair), KeysError> {
    let failed = |reason: String| KeysError::Generate { role, reason };
    let key = rsa::PrivateKey::new(&mut Randomness(SystemRandom::new()), BITS)
        .map_err(|error| failed(error.to_string()))?;
    let der = key.to_pkcs8_der().map_err(|error| failed(error.to_string()))?;
    let pem = der.to_pem("PRIVATE KEY", LineEnding::LF).map_err(|error| failed(error.to_string()))?;
    let pair = RsaKeyPair::from_pkcs8(der.as_bytes()).map_err(|error| failed(error.to_string()))?;
    Ok((pem, pair))
}

/// 2048: what every firmware takes.
const BITS: usize = 2048;

/// ring's source of random numbers for `rsa`.
struct Randomness(SystemRandom);

/// The system gave no random numbers.
#[derive(Debug, thiserror::Error)]
#[error("the system gives no random numbers")]
struct NoRandomness;

impl TryRng for Randomness {
    type Error = NoRandomness;

    fn try_next_u32(&mut self) -> Result<u32, NoRandomness> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, NoRandomness> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), NoRandomness> {
        self.0.fill(bytes).map_err(|_| NoRandomness)
    }
}

impl TryCryptoRng for Randomness {}
