//! Boot artefacts and signatures: everything between a root hash and a disk that firmware will start.
//!
//! Signing is a station ([`sign`]): a [`sign::Request`] goes in, a signature or «pending» comes out. What is signed:
//! policies and root hashes as PKCS#7 ([`pkcs7`]), boot artefacts as PE/Authenticode ([`uki`], [`authenticode`]),
//! Secure Boot variables ([`enrol`]). The same modules read all of it back and prove it offline.
//!
//! ```
//! use graven_boot::{keys, pkcs7, sign::{Answer, FileSigner}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let parent = tempfile::tempdir()?;
//! let dir = parent.path().join("keys");
//! keys::create(&dir, &keys::Options::development("acme"))?;
//!
//! let signer = FileSigner::load(&dir.join("db.key"), &dir.join("db.crt"))?;
//! let policy = b"policy_name=appliance policy_version=1.0.0\nDEFAULT action=DENY\n";
//! let Answer::Signed(p7b) = pkcs7::sign_policy(policy, &signer)? else { unreachable!("a key file answers at once") };
//!
//! let trusted = keys::read_certificates(&dir.join("db.crt"))?;
//! let verified = pkcs7::verify_policy(&p7b, &trusted)?;
//! assert_eq!(verified.content, policy);
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod authenticode;
pub mod cmdline;
pub mod compression;
pub mod enrol;
pub mod fdt;
pub mod fit;
pub mod initramfs;
pub mod kernel;
pub mod keys;
pub mod modules;
pub mod pe;
pub mod pkcs7;
mod randomness;
pub mod refusal;
pub mod sign;
pub mod u_boot;
pub mod uki;
pub mod x509;
