//! The certificates compiled into a kernel: what its keyring `.builtin_trusted_keys` holds after boot.
//!
//! `certs/system_certificates.S` writes them as one run of DER, first those of the key that signs modules, then those of
//! `CONFIG_SYSTEM_TRUSTED_KEYS`, and behind it two 64-bit numbers: the bytes of the whole run, and the bytes of the
//! modules' part. Kernels hold other certificates too: revoked ones, those of wireless regulations and of self-tests, and
//! those in the image's own PE signature. None of these is trusted, and only the two numbers tell the list from them.

use std::iter::successors;

use graven_targets::Arch;

use super::config::Config;
use crate::x509::Certificate;

/// Why it is not known what a kernel trusts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificatesError {
    /// The kernel proper cannot be read.
    #[error("the kernel inside the image cannot be read: {0}")]
    Payload(String),
    /// No such list, though the configuration promises one.
    #[error(
        "the list of certificates that CONFIG_SYSTEM_TRUSTED_KEYRING puts into a kernel is not found in it"
    )]
    NotFound,
    /// More than one run of bytes could be the list.
    #[error("what could be the kernel's list of certificates is there {0} times")]
    Ambiguous(usize),
}

/// Reads the certificates that the decompressed kernel trusts from the first moment on, in the kernel's order.
///
/// What [`Certificate`] cannot parse is left out: nothing that Graven signs can be signed by it.
pub(super) fn built_in(
    kernel: &[u8],
    arch: Arch,
    config: &Config,
) -> Result<Vec<Certificate>, CertificatesError> {
    let signs_modules = config.is_built_in("MODULE_SIG");
    let holds_module_key =
        signs_modules || (config.is_built_in("IMA_APPRAISE_MODSIG") && config.is_built_in("MODULES"));
    let keyring = config.is_built_in("SYSTEM_TRUSTED_KEYRING");
    let extra = config.text("SYSTEM_EXTRA_CERTIFICATE_SIZE").parse().unwrap_or(0);
    let promised = holds_module_key || !config.text("SYSTEM_TRUSTED_KEYS").is_empty();
    if !keyring || !(promised || extra > 0) {
        return Ok(Vec::new());
    }
    let layout = Layout { align: Align::of(arch), extra };
    let mut lists = layout.lists(kernel).filter(|list| (list.modules_end > 0) == holds_module_key);
    let list = match lists.next() {
        Some(list) => list,
        None if promised => return Err(CertificatesError::NotFound),
        None => return Ok(Vec::new()),
    };
    let others = lists.count();
    if others > 0 {
        return Err(CertificatesError::Ambiguous(others.saturating_add(1)));
    }
    // Without CONFIG_MODULE_SIG the kernel passes over the modules' part (`load_system_certificate_list`).
    let first = if signs_modules { 0 } else { list.modules_end };
    let trusted = list.elements.into_iter().filter(|(start, _)| *start >= first);
    Ok(trusted.filter_map(|(_, der)| Certificate::from_der(der).ok()).collect())
}

/// Whether the kernel finds the key of this signer in the list. In a message that carries no certificate
/// the kernel looks for the signer's own, by issuer and serial number (`pkcs7_validate_trust_one`): that its issuer is in
/// the list does not help.
pub(super) fn knows(list: &[Certificate], signer: &Certificate) -> bool {
    list.iter().any(|known| {
        known.issuer_der() == signer.issuer_der()
            && known.serial() == signer.serial()
            && known.spki() == signer.spki()
    })
}

/// What GNU as makes of `.align 8` and `.align 4`: bytes on x86, a power of two on ARM.
#[derive(Clone, Copy)]
struct Align {
    eight: usize,
    four: usize,
}

impl Align {
    const fn of(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self { eight: 8, four: 4 },
            Arch::Aarch64 | Arch::Arm => Self { eight: 1 << 8, four: 1 << 4 },
        }
    }
}

/// How `system_certificates.S` lays the list out in one kernel.
struct Layout {
    align: Align,
    /// `CONFIG_SYSTEM_EXTRA_CERTIFICATE_SIZE`: bytes kept free behind the list for `scripts/insert-sys-cert`.
    extra: usize,
}

/// One run of certificates with the numbers of a list behind it.
struct List<'a> {
    /// Each certificate with its offset in the run.
    elements: Vec<(usize, &'a [u8])>,
    /// Bytes of the run that are certificates of the modules' key.
    modules_end: usize,
}

impl Layout {
    fn lists<'a>(&self, kernel: &'a [u8]) -> impl Iterator<Item = List<'a>> {
        let starts = (0..kernel.len()).step_by(self.align.eight);
        starts.filter_map(|start| self.list_at(kernel, start))
    }

    /// The list that begins here. Whatever follows it may look like one more certificate, so every length is tried.
    fn list_at<'a>(&self, kernel: &'a [u8], start: usize) -> Option<List<'a>> {
        let run = kernel.get(start..)?;
        let ends = successors(element(run), |&end| end.checked_add(element(run.get(end..)?)?));
        let mut elements = Vec::new();
        let mut before = 0;
        for end in ends {
            elements.push((before, run.get(before..end)?));
            // Whoever inserted a certificate put it into the kept bytes and raised the length by it.
            let inserted = (self.extra > 0).then_some((before, end.checked_sub(before)?));
            let as_built = std::iter::once((end, 0)).chain(inserted);
            let modules_end = as_built
                .filter_map(|(built, used)| self.numbers(kernel, start, built, used))
                .find(|&(size, modules)| {
                    size == end && (modules == end || elements.iter().any(|(at, _)| *at == modules))
                });
            if let Some((_, modules_end)) = modules_end {
                return Some(List { elements, modules_end });
            }
            before = end;
        }
        None
    }

    /// Length of the run and of its modules' part, as they stand behind a list that the build left `built` bytes long
    /// and into whose extra bytes `used` were inserted.
    fn numbers(&self, kernel: &[u8], start: usize, built: usize, used: usize) -> Option<(usize, usize)> {
        let mut at = start.checked_add(built)?;
        if self.extra > 0 {
            at = at.checked_add(self.extra)?.checked_next_multiple_of(self.align.four)?;
            let found = u32::from_le_bytes(*kernel.get(at..)?.first_chunk()?);
            if usize::try_from(found).ok()? != used {
                return None;
            }
            at = at.checked_add(4)?;
        }
        let size_at = at.checked_next_multiple_of(self.align.eight)?;
        let modules_at = size_at.checked_add(8)?.checked_next_multiple_of(self.align.eight)?;
        let number = |at: usize| usize::try_from(u64::from_le_bytes(*kernel.get(at..)?.first_chunk()?)).ok();
        Some((number(size_at)?, number(modules_at)?))
    }
}

/// Bytes of the certificate at the front, as the kernel counts them (`x509_load_certificate_list`): a SEQUENCE with a
/// length of two bytes, and a SEQUENCE in it.
fn element(run: &[u8]) -> Option<usize> {
    let &[0x30, 0x82, high, low, 0x30, ..] = run else { return None };
    Some(usize::from(u16::from_be_bytes([high, low])).saturating_add(4)).filter(|&end| end <= run.len())
}
