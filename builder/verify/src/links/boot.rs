//! The boot artefact: its signature, and what it is made of.

use graven_boot::authenticode;
use graven_boot::pe::Image;
use graven_boot::uki::Uki;
use graven_boot::x509::Certificate;
use graven_handoff::hex;

use super::{explain, named, shown};
use crate::artefact::Artefact;
use crate::layout::Layout;
use crate::report::Report;
use crate::trust::{Role, Trust};

/// Every signature is about these bytes and made by a trusted certificate. Hands on the first one's.
pub(crate) fn boot_signature(bytes: &[u8], trust: &Trust, report: &mut Report) -> Option<Certificate> {
    const LINK: &str = "boot-signature";
    let found = match Image::parse(bytes) {
        Ok(image) => authenticode::digest(&image),
        Err(error) => {
            report.bad(LINK, explain(&error));
            return None;
        }
    };
    let signatures = match authenticode::signatures(bytes) {
        Ok(signatures) => signatures,
        Err(error) => {
            report.bad(LINK, explain(&error));
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
    let by: Vec<String> = signers.iter().map(|certificate| named(certificate)).collect();
    report.judge(
        LINK,
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

/// A systemd-stub with exactly five sections more; anything that the stub would take besides is named.
pub(crate) fn boot_artefact<'a>(
    bytes: &'a [u8],
    layout: Option<&Layout>,
    report: &mut Report,
) -> Option<Artefact<'a>> {
    const LINK: &str = "boot-artefact";
    let uki = match Uki::parse(bytes) {
        Ok(uki) => uki,
        Err(error) => {
            report.bad(LINK, explain(&error));
            return None;
        }
    };
    let mut problems = Vec::new();
    for name in OURS.iter().filter(|name| uki.section(name).is_none()) {
        problems.push(format!("section {name} is missing"));
    }
    for section in uki.sections() {
        let name = section.name.as_str();
        if !OURS.contains(&name) && !STUB.contains(&name) {
            let what = match name {
                ".dtb" | ".dtbauto" => "a devicetree for the kernel",
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
    report.judge(LINK, &problems, format!("{stub} with the five sections of ours, {sections} in all"));
    Some(Artefact::from(&uki))
}
