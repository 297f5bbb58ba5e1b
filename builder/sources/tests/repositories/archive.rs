//! A Debian archive of the tests' own: keys, indexes, signatures.

use pgp::composed::{
    ArmorOptions, CleartextSignedMessage, KeyType, SecretKeyParamsBuilder, SignedPublicKey, SignedSecretKey,
};
use pgp::types::{Password, Timestamp};
use rand::SeedableRng;
use rand::rngs::StdRng;
use sha2::Digest as _;

use super::server::{Answer, Server};

/// 2026-01-01 00:00:00 UTC: when everything here happens.
pub(crate) const NOW: i64 = 1_767_225_600;

/// A key that signs archives.
pub(crate) struct Signer(SignedSecretKey);

impl Signer {
    /// The same seed, the same key.
    pub(crate) fn new(seed: u64) -> Self {
        let parameters = SecretKeyParamsBuilder::default()
            .key_type(KeyType::Ed25519Legacy)
            .can_sign(true)
            .can_certify(true)
            .created_at(Timestamp::from_secs(u32::try_from(NOW).unwrap() - 86_400))
            .primary_user_id(format!("Archive {seed} <archive@example.org>"))
            .build()
            .unwrap();
        Self(parameters.generate(StdRng::seed_from_u64(seed)).unwrap())
    }

    /// Its keyring file.
    pub(crate) fn keyring(&self) -> Vec<u8> {
        SignedPublicKey::from(self.0.clone()).to_armored_bytes(ArmorOptions::default()).unwrap()
    }

    /// `InRelease` of a `Release`.
    pub(crate) fn sign(&self, text: &str) -> Vec<u8> {
        use pgp::packet::{SignatureConfig, SignatureType, Subpacket, SubpacketData};
        use pgp::types::KeyDetails;
        let key = &self.0.primary_key;
        let mut config =
            SignatureConfig::from_key(StdRng::seed_from_u64(7), key, SignatureType::Text).unwrap();
        config.hashed_subpackets = vec![
            Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::from_secs(
                u32::try_from(NOW).unwrap(),
            )))
            .unwrap(),
            Subpacket::regular(SubpacketData::IssuerFingerprint(key.fingerprint())).unwrap(),
        ];
        config.unhashed_subpackets =
            vec![Subpacket::regular(SubpacketData::IssuerKeyId(key.legacy_key_id())).unwrap()];
        let message = CleartextSignedMessage::new(text, config, key, &Password::empty()).unwrap();
        message.to_armored_bytes(ArmorOptions::default()).unwrap()
    }
}

/// A suite with one component, `main`, for amd64.
#[derive(Clone)]
pub(crate) struct Suite {
    pub(crate) name: String,
    pub(crate) packages: String,
    pub(crate) date: String,
    pub(crate) more: String,
}

impl Suite {
    pub(crate) fn new(packages: &str) -> Self {
        Self {
            name: "one".to_owned(),
            packages: packages.to_owned(),
            date: "Wed, 31 Dec 2025 12:00:00 UTC".to_owned(),
            more: "Acquire-By-Hash: yes\n".to_owned(),
        }
    }

    /// The signed part of `InRelease`.
    pub(crate) fn release(&self) -> String {
        format!(
            "Origin: Test\nSuite: {}\nCodename: {}\nDate: {}\n{}Architectures: amd64 all\nComponents: main\n\
             No-Support-for-Architecture-all: Packages\nSHA256:\n {} {} main/binary-amd64/Packages\n",
            self.name,
            self.name,
            self.date,
            self.more,
            sha256(self.packages.as_bytes()),
            self.packages.len()
        )
    }

    /// Puts it on a server, signed.
    pub(crate) fn publish(&self, server: &Server, signer: &Signer) {
        let dists = format!("/dists/{}", self.name);
        server.put(&format!("{dists}/InRelease"), Answer::Bytes(signer.sign(&self.release())));
        let index = Answer::Bytes(self.packages.clone().into_bytes());
        let digest = sha256(self.packages.as_bytes());
        server.put(&format!("{dists}/main/binary-amd64/by-hash/SHA256/{digest}"), index);
    }
}

/// A paragraph of `Packages`; `more` are further fields, a line each.
pub(crate) fn paragraph(name: &str, version: &str, more: &str, bytes: &[u8]) -> String {
    format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\n{more}Filename: pool/{name}_{version}.deb\nSize: {}\n\
         SHA256: {}\n\n",
        bytes.len(),
        sha256(bytes)
    )
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
