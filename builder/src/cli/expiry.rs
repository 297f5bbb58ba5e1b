//! Dates of certificates: what is told of them where a clock may be read.

use graven_boot::x509::{Certificate, Standing};
use graven_handoff::hex;
use serde_json::json;

use super::Failure;
use super::supply::now;

/// When a certificate's end is near.
#[derive(Debug, clap::Args)]
pub(super) struct ExpiryArguments {
    /// Warn of certificates that expire within so many days, besides those that are expired or not yet valid. It never changes
    /// what is made or what is proved.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    expiry_warning: u32,
}

impl ExpiryArguments {
    /// The days that were given.
    pub(super) fn days(&self) -> u32 {
        self.expiry_warning
    }

    /// How a certificate stands today.
    pub(super) fn standing(&self, certificate: &Certificate) -> Result<Standing, Failure> {
        let now = u64::try_from(now()?).unwrap_or_default();
        Ok(certificate.standing(now, self.expiry_warning.into()))
    }

    /// Warns of each whose dates are worth a word, once.
    pub(super) fn warn<'c>(
        &self,
        certificates: impl IntoIterator<Item = &'c Certificate>,
    ) -> Result<(), Failure> {
        let mut told: Vec<&Certificate> = Vec::new();
        for certificate in certificates {
            if told.contains(&certificate) {
                continue;
            }
            told.push(certificate);
            let standing = self.standing(certificate)?;
            let (first, last) = certificate.dates();
            let date = match standing {
                Standing::Valid => continue,
                Standing::EndsIn { .. } | Standing::Expired => format!("until {last}"),
                Standing::NotYet => format!("from {first}"),
            };
            eprintln!(
                "graven: the certificate «{}» (sha256:{}) is for the time {date}: {standing}; firmware and kernel look at no clock \
                 and take its signatures all the same, people may not",
                certificate.subject(),
                certificate.fingerprint(),
            );
        }
        Ok(())
    }

    /// A certificate as JSON, with how it stands today.
    pub(super) fn describe(&self, certificate: &Certificate) -> Result<serde_json::Value, Failure> {
        let (first, last) = certificate.dates();
        Ok(json!({
            "subject": certificate.subject(),
            "sha256": certificate.fingerprint().to_string(),
            "key_id": certificate.subject_key_id().as_deref().map(hex::encode),
            "not_before": first,
            "not_after": last,
            "standing": self.standing(certificate)?.word(),
        }))
    }
}
