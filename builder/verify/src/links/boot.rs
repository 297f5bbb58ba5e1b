//! The boot artefact: its signature, and what it is made of.

use graven_boot::authenticode;
use graven_boot::fit::{self, Fit};
use graven_boot::pe::Image;
use graven_boot::uki::Uki;
use graven_boot::x509::Certificate;
use graven_handoff::hex;
use graven_targets::BootChain;

use super::{explain, named, shown};
use crate::artefact::{Artefact, chain_of};
use crate::layout::Layout;
use crate::report::Report;
use crate::trust::{Role, Trust};

const SIGNATURE: &str = "boot-signature";
const ARTEFACT: &str = "boot-artefact";

/// Every signature is about these bytes and made by a trusted certificate. Hands on the first one's.
pub(crate) fn boot_signature(bytes: &[u8], trust: &Trust, report: &mut Report) -> Option<Certificate> {
    match chain_of(bytes) {
        BootChain::Uki => uki_signature(bytes, trust, report),
        BootChain::Fit => fit_signature(bytes, trust, report),
    }
}

/// What is in the boot artefact, and that nothing is which no other link judges.
pub(crate) fn boot_artefact<'a>(
    bytes: &'a [u8],
    layout: Option<&Layout>,
    report: &mut Report,
) -> Option<Artefact<'a>> {
    match chain_of(bytes) {
        BootChain::Uki => uki_artefact(bytes, layout, report),
        BootChain::Fit => fit_artefact(bytes, layout, report),
    }
}

/// Every configuration is signed by one trusted certificate, over all that U-Boot hashes. Hands it on.
fn fit_signature(bytes: &[u8], trust: &Trust, report: &mut Report) -> Option<Certificate> {
    let trusted = trust.certificates(Role::Boot);
    let key = |certificate: &Certificate| fit::TrustedKey {
        name: certificate.fingerprint().to_string(),
        ..fit::TrustedKey::of(certificate)
    };
    let found = match fit::verify(bytes, &trusted.iter().map(key).collect::<Vec<_>>()) {
        Ok(found) => found,
        Err(error) => {
            report.bad(SIGNATURE, explain(&error));
            return None;
        }
    };
    let mut problems = found.problems.clone();
    for image in &found.images {
        let name = shown(&image.name);
        problems.extend(image.problems.iter().map(|problem| format!("image {name}: {problem}")));
    }
    let mut signers: Vec<&Certificate> = Vec::new();
    for configuration in &found.configurations {
        let name = shown(&configuration.name);
        problems
            .extend(configuration.problems.iter().map(|problem| format!("configuration {name}: {problem}")));
        let signer = configuration.signer().unwrap_or_default();
        match trusted.iter().find(|certificate| certificate.fingerprint().to_string() == signer) {
            Some(certificate) if !signers.contains(&certificate) => signers.push(certificate),
            Some(_) => {}
            None if configuration.problems.is_empty() => {
                problems.push(format!("configuration {name} is signed by no trusted certificate"));
            }
            None => {}
        }
    }
    vouch(&problems, &signers, report);
    let by: Vec<String> = signers.iter().map(|certificate| named(certificate)).collect();
    let count = found.configurations.len();
    report.judge(
        SIGNATURE,
        &problems,
        format!("{count} of {count} configurations signed by {}", by.join(", ")),
    );
    signers.first().map(|certificate| (*certificate).clone())
}

/// Each of them stands behind the boot artefact, where nothing is wrong with its signatures.
fn vouch(problems: &[String], signers: &[&Certificate], report: &mut Report) {
    if problems.is_empty() {
        signers.iter().for_each(|signer| report.vouch(SIGNATURE, signer));
    }
}

/// One kernel, one initramfs, a device tree for each configuration and the overlays that go over it; nothing else.
fn fit_artefact<'a>(bytes: &'a [u8], layout: Option<&Layout>, report: &mut Report) -> Option<Artefact<'a>> {
    let fit = match Fit::parse(bytes) {
        Ok(fit) => fit,
        Err(error) => {
            report.bad(ARTEFACT, explain(&error));
            return None;
        }
    };
    let mut problems = Vec::new();
    for configuration in fit.configurations() {
        for reference in &configuration.references {
            if !["kernel", "ramdisk", "fdt"].contains(&reference.property.as_str()) {
                problems.push(format!(
                    "configuration {}: {} names {}; expected kernel, ramdisk and fdt alone",
                    shown(&configuration.name),
                    shown(&reference.property),
                    shown(&reference.image)
                ));
            }
        }
    }
    for image in fit.images() {
        let named = |configuration: &fit::Configuration| {
            configuration.references.iter().any(|reference| reference.image == image.name)
        };
        if !fit.configurations().iter().any(named) {
            problems.push(format!("image {}: no configuration names it", shown(&image.name)));
        }
        let expected = layout.map(|layout| fit::arch_name(layout.arch));
        if let Some(expected) = expected.filter(|expected| image.arch.as_deref() != Some(expected)) {
            let (name, found) = (shown(&image.name), shown(image.arch.as_deref().unwrap_or("nothing")));
            problems.push(format!("image {name} is for {found}, expected {expected}"));
        }
    }
    let (images, configurations) = (fit.images().len(), fit.configurations().len());
    report.judge(ARTEFACT, &problems, format!("a FIT of {images} images in {configurations} configurations"));
    Some(Artefact::from(&fit))
}

/// As [`boot_signature`], of a UKI.
fn uki_signature(bytes: &[u8], trust: &Trust, report: &mut Report) -> Option<Certificate> {
    let found = match Image::parse(bytes) {
        Ok(image) => authenticode::digest(&image),
        Err(error) => {
            report.bad(SIGNATURE, explain(&error));
            return None;
        }
    };
    let signatures = match authenticode::signatures(bytes) {
        Ok(signatures) => signatures,
        Err(error) => {
            report.bad(SIGNATURE, explain(&error));
            return None;
        }
    };
    let trusted = trust.certificates(Role::Boot);
    let (mut problems, mut signers): (Vec<String>, Vec<&Certificate>) = (Vec::new(), Vec::new());
    if signatures.is_empty() {
        problems.push("the boot artefact carries no signature".to_owned());
    }
    for signature in &signatures {
        match signature.digest() {
            Ok(signed) if signed != found => problems.push(format!(
                "signature {} is for an image with digest {}, this one has {}: it was changed after signing",
                signature.number,
                hex::encode(&signed),
                hex::encode(&found)
            )),
            Ok(_) => {}
            Err(error) => problems.push(explain(&error)),
        }
        match signature.verify(&trusted) {
            Ok(certificate) => signers.push(certificate),
            Err(error) => problems.push(explain(&error)),
        }
    }
    vouch(&problems, &signers, report);
    let by: Vec<String> = signers.iter().map(|certificate| named(certificate)).collect();
    report.judge(
        SIGNATURE,
        &problems,
        format!("Authenticode digest {} signed by {}", hex::encode(&found), by.join(", ")),
    );
    signers.first().map(|certificate| (*certificate).clone())
}

/// The sections that a UKI of ours adds to the stub's.
const OURS: [&str; 5] = [".osrel", ".cmdline", ".uname", ".initrd", ".linux"];
/// Sections of systemd-stub itself, code and data.
const STUB: [&str; 16] = [
    ".text",
    ".rodata",
    ".rdata",
    ".data",
    ".bss",
    ".reloc",
    ".sdmagic",
    ".sbat",
    ".dynamic",
    ".dynsym",
    ".dynstr",
    ".rela",
    ".eh_frame",
    ".areloc",
    ".init",
    ".rel",
];

/// Sections that a UKI of ours has where its board wants them.
const DEVICE_TREES: [&str; 2] = [".dtb", ".dtbauto"];

/// A systemd-stub with exactly five sections more, and the board's device trees where they are whole; anything that the
/// stub would take besides is named.
fn uki_artefact<'a>(bytes: &'a [u8], layout: Option<&Layout>, report: &mut Report) -> Option<Artefact<'a>> {
    let uki = match Uki::parse(bytes) {
        Ok(uki) => uki,
        Err(error) => {
            report.bad(ARTEFACT, explain(&error));
            return None;
        }
    };
    let mut problems = Vec::new();
    for name in OURS.iter().filter(|name| uki.section(name).is_none()) {
        problems.push(format!("section {name} is missing"));
    }
    let mut trees = 0usize;
    for (section, _, checked) in uki.device_trees() {
        trees = trees.saturating_add(1);
        if let Err(problem) = checked {
            problems.push(format!("section {section}: a devicetree for the kernel: {}", explain(&problem)));
        }
    }
    for section in uki.sections() {
        let name = section.name.as_str();
        if !OURS.contains(&name) && !STUB.contains(&name) && !DEVICE_TREES.contains(&name) {
            let what = match name {
                ".ucode" => "an archive that goes before the initramfs",
                ".efifw" | ".hwids" => "firmware that the stub picks by hardware",
                ".pcrsig" | ".pcrpkey" => "signed measurements",
                _ => "nothing explains it",
            };
            problems.push(format!("section {}: {what}; expected none", shown(name)));
        }
    }
    let magic = uki.section(".sdmagic").unwrap_or_default();
    let magic: String = String::from_utf8_lossy(magic).chars().take_while(|c| *c != '\0').collect();
    let stub = magic.strip_prefix("#### LoaderInfo: ").and_then(|text| text.strip_suffix(" ####"));
    let stub = stub.filter(|stub| stub.starts_with("systemd-stub "));
    if stub.is_none() {
        problems.push("its section .sdmagic does not say systemd-stub".to_owned());
    }
    let machine = uki.image().coff.machine.get();
    if let Some(arch) = layout.map(|layout| layout.arch).filter(|arch| arch.pe_machine() != machine) {
        let expected = arch.pe_machine();
        problems
            .push(format!("it is for machine {machine:#06x}, the partitions are {arch}'s ({expected:#06x})"));
    }
    let sections = uki.sections().len();
    let stub = shown(stub.unwrap_or_default());
    let trees = match trees {
        0 => String::new(),
        1 => ", a device tree".to_owned(),
        several => format!(", {several} device trees"),
    };
    let said = format!("{stub} with the five sections of ours{trees}, {sections} in all");
    report.judge(ARTEFACT, &problems, said);
    Some(Artefact::from(&uki))
}
