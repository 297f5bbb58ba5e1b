//! One policy, signed or not: what the kernel answers, and what is found besides.

use graven_boot::kernel::Config;
use graven_boot::pkcs7::{LONGEST_POLICY, Pkcs7Error, SignedData, verify_policy};
use graven_boot::x509::Certificate;
use graven_ipe::lint::{Against, Code, Finding, Severity, lint};
use graven_ipe::{Errno, Policy, Span};

/// A policy and the verdict over it.
pub(super) struct Judged {
    /// The policy's text; empty where a signed message gives none.
    pub(super) text: Vec<u8>,
    /// What is known of its signature.
    pub(super) signature: Signature,
    /// What a write to `new_policy` does, once a plain text is signed.
    pub(super) verdict: Result<Policy, Errno>,
    /// In the order of the text.
    pub(super) findings: Vec<Finding>,
}

/// What is known of a policy's signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signature {
    /// There is none: it is a plain text.
    None,
    /// There is one, and nobody said what the kernel trusts.
    Unchecked,
    /// There is one, held against what the kernel trusts.
    Checked,
}

impl Signature {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Unchecked => "unchecked",
            Self::Checked => "checked",
        }
    }
}

/// Judges the bytes of a file: a signed policy (PKCS#7, DER) or the text of one.
pub(super) fn judge(bytes: &[u8], against: &Against<'_>, trusted: &[Certificate]) -> Judged {
    // A message that is too long for the kernel may still be read here.
    let message = bytes.starts_with(&[0x30]).then(|| SignedData::parse(bytes)).and_then(Result::ok);
    let Some(message) = message else { return judge_text(bytes, against) };
    let mut judged = judge_text(message.content().unwrap_or_default(), against);
    judged.signature = if trusted.is_empty() { Signature::Unchecked } else { Signature::Checked };
    let refusal = match trusted {
        [] => signed_shape(bytes, &message),
        trusted => verify_policy(bytes, trusted).err().map(|error| (refusal(&error), error.to_string())),
    };
    if let Some((errno, message)) = refusal {
        let code = if errno == Errno::Emsgsize { Code::TooLarge } else { Code::Untrusted };
        let help = "sign the text with a key whose certificate is in a keyring of the kernel".to_owned();
        judged.verdict = Err(errno);
        judged.findings.insert(0, finding(code, message, help));
    }
    judged
}

/// What refuses a message whoever signed it.
fn signed_shape(bytes: &[u8], message: &SignedData<'_>) -> Option<(Errno, String)> {
    if bytes.len() > LONGEST_POLICY {
        let length = bytes.len();
        return Some((Errno::Emsgsize, Pkcs7Error::TooLong { length }.to_string()));
    }
    message.content().is_none().then(|| (Errno::Ebadmsg, Pkcs7Error::Detached.to_string()))
}

/// The errno by which the kernel says it.
fn refusal(error: &Pkcs7Error) -> Errno {
    match error {
        Pkcs7Error::TooLong { .. } => Errno::Emsgsize,
        Pkcs7Error::UnknownSigner { .. } | Pkcs7Error::Chain(_) => Errno::Enokey,
        Pkcs7Error::Signature { .. } => Errno::Ekeyrejected,
        Pkcs7Error::Digest { .. } | Pkcs7Error::SignatureAlgorithm { .. } => Errno::Enopkg,
        _ => Errno::Ebadmsg,
    }
}

fn judge_text(text: &[u8], against: &Against<'_>) -> Judged {
    let verdict = Policy::load(text).map_err(|error| error.errno);
    Judged { text: text.to_vec(), signature: Signature::None, verdict, findings: lint(text, against) }
}

/// A kernel in whose keyrings no key for a policy can be.
pub(super) fn lint_keyrings(config: &Config) -> Option<Finding> {
    let platform = config.is_built_in("IPE_POLICY_SIG_PLATFORM_KEYRING")
        && config.is_built_in("INTEGRITY_PLATFORM_KEYRING");
    let secondary = config.is_built_in("IPE_POLICY_SIG_SECONDARY_KEYRING")
        && config.is_built_in("SECONDARY_TRUSTED_KEYRING");
    if platform || secondary || !config.text("SYSTEM_TRUSTED_KEYS").is_empty() {
        return None;
    }
    let message = "no keyring of this kernel can hold a key of yours: there is no platform keyring and no secondary \
                   one for policies, and no certificate is built in";
    let help = "set CONFIG_IPE_POLICY_SIG_PLATFORM_KEYRING=y, or name your certificate in CONFIG_SYSTEM_TRUSTED_KEYS";
    Some(finding(Code::Untrusted, message.to_owned(), help.to_owned()))
}

fn finding(code: Code, message: String, help: String) -> Finding {
    let at = Span { line: 1, column: 1, length: 0 };
    Finding { code, severity: code.severity(), at, message, help }
}

impl Judged {
    /// Whether something is found that may not be.
    pub(super) fn is_bad(&self, strict: bool) -> bool {
        let least = if strict { Severity::Warning } else { Severity::Error };
        self.verdict.is_err() || self.findings.iter().any(|finding| finding.severity >= least)
    }

    /// Number of findings of this severity.
    pub(super) fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }
}
