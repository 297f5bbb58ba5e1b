//! Rebuild: who signs an image that is built again, without any key.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use graven_boot::authenticode;
use graven_boot::fit::Fit;
use graven_boot::pkcs7::SignedData;
use graven_boot::sign::AttachedSigner;
use graven_targets::BootChain;
use graven_verify::manifest::Manifest;

use crate::deliver::{self, boot_file};
use crate::error::{Error, Result};
use crate::signers::{Signers, with_chain};

/// Signers that have the signatures of a finished image, from the files beside its disk, and no others.
///
/// # Errors
/// Files that are missing, or are not what their names say.
pub fn signers_of(folder: &Path, manifest: &Manifest, chain: BootChain) -> Result<Signers> {
    let message = |name: &str| -> Result<Vec<u8>> {
        let message = read(folder, name)?;
        let message = SignedData::parse(&message).map_err(|error| bad(folder, name, &error))?;
        Ok(message.signature().to_vec())
    };
    let mut roots = vec![message(deliver::ROOT_SIGNATURE)?];
    for volume in &manifest.volumes {
        roots.push(message(&deliver::volume_signature(&volume.name))?);
    }
    let name = boot_file(&manifest.name, chain);
    let artefact = read(folder, &name)?;
    let boot = match chain {
        BootChain::Uki => {
            let found = authenticode::signatures(&artefact).map_err(|error| bad(folder, &name, &error))?;
            found.iter().map(|one| one.message().signature().to_vec()).collect()
        }
        BootChain::Fit => of_fit(&Fit::parse(&artefact).map_err(|error| bad(folder, &name, &error))?),
    };
    // With the chain that the first one's signatures carry, where they carry one.
    let signer = |certificate: &str, made: Vec<Vec<u8>>| {
        with_chain(&folder.join(certificate), |own| Ok(Arc::new(AttachedSigner::new(own, made))))
    };
    Ok(Signers {
        boot: signer(deliver::BOOT_CERTIFICATE, boot)?,
        policy: signer(deliver::POLICY_CERTIFICATE, vec![message(deliver::SIGNED_POLICY)?])?,
        root: signer(deliver::ROOT_CERTIFICATE, roots)?,
    })
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
