//! Rebuild: who signs an image that is built again, without any key.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use graven_boot::authenticode;
use graven_boot::fit::Fit;
use graven_boot::pkcs7::SignedData;
use graven_boot::sign::{AttachedSigner, ChainedSigner, Signer};
use graven_boot::x509::Certificate;
use graven_targets::BootChain;
use graven_verify::manifest::Manifest;

use crate::deliver::{self, boot_file};
use crate::error::{Error, Result};
use crate::signers::{Signers, read_chain};

/// Signers that have the signatures of a finished image, from the files beside its disk, and no others.
///
/// # Errors
/// Files that are missing, or are not what their names say.
pub fn signers_of(folder: &Path, manifest: &Manifest, chain: BootChain) -> Result<Signers> {
    let (mut roots, mut policy) = (Made::default(), Made::default());
    policy.add(folder, deliver::SIGNED_POLICY)?;
    roots.add(folder, deliver::ROOT_SIGNATURE)?;
    for volume in &manifest.volumes {
        roots.add(folder, &deliver::volume_signature(&volume.name))?;
    }
    let name = boot_file(&manifest.name, chain);
    let (artefact, mut boot) = (read(folder, &name)?, Made::default());
    match chain {
        BootChain::Uki => {
            let found = authenticode::signatures(&artefact).map_err(|error| bad(folder, &name, &error))?;
            found.iter().for_each(|one| boot.note(one.message()));
        }
        BootChain::Fit => {
            boot.signatures = of_fit(&Fit::parse(&artefact).map_err(|error| bad(folder, &name, &error))?);
        }
    }
    Ok(Signers {
        boot: boot.signer(folder, deliver::BOOT_CERTIFICATE)?,
        policy: policy.signer(folder, deliver::POLICY_CERTIFICATE)?,
        root: roots.signer(folder, deliver::ROOT_CERTIFICATE)?,
    })
}

/// What a signer made.
#[derive(Default)]
struct Made {
    signatures: Vec<Vec<u8>>,
    /// Certificates that travel with them.
    certificates: Vec<Certificate>,
}

impl Made {
    fn add(&mut self, folder: &Path, name: &str) -> Result<()> {
        let message = read(folder, name)?;
        self.note(&SignedData::parse(&message).map_err(|error| bad(folder, name, &error))?);
        Ok(())
    }

    fn note(&mut self, message: &SignedData<'_>) {
        self.signatures.push(message.signature().to_vec());
        self.certificates = message.certificates().to_vec();
    }

    fn signer(self, folder: &Path, certificate: &str) -> Result<Arc<dyn Signer>> {
        let (own, _) = read_chain(&folder.join(certificate))?;
        let fingerprint = own.fingerprint();
        let signer: Arc<dyn Signer> = Arc::new(AttachedSigner::new(own, self.signatures));
        if self.certificates.is_empty() {
            return Ok(signer);
        }
        let issuers = self.certificates.into_iter().filter(|one| one.fingerprint() != fingerprint);
        Ok(Arc::new(ChainedSigner::new(signer, issuers.collect())))
    }
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let path = folder.join(name);
    fs::read(&path).map_err(|error| Error::io(path, error))
}

/// The signatures of all configurations.
fn of_fit(fit: &Fit<'_>) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for configuration in fit.configurations() {
        for node in &configuration.signatures {
            let path = format!("/configurations/{}/{}", configuration.name, node.name);
            let value = fit.tree().node(&path).and_then(|node| node.value("value"));
            found.extend(value.map(<[u8]>::to_vec));
        }
    }
    found
}

fn bad(folder: &Path, name: &str, error: &dyn std::fmt::Display) -> Error {
    Error::Original(format!("{}: {error}", folder.join(name).display()))
}
