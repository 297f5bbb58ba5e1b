//! Secure Boot variables: signature lists (`.esl`) and authenticated updates (`.auth`).
//!
//! UEFI specification 2.10, §8.2.2 (`EFI_VARIABLE_AUTHENTICATION_2`) and §32.4.1 (`EFI_SIGNATURE_LIST`).

#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

mod auth;
mod list;

pub use auth::{EfiTime, Variable, Write, authenticated_update};
pub use list::{Entry, SignatureList, certificate_list, parse_lists};

use thiserror::Error;

use crate::pkcs7::Pkcs7Error;
use crate::x509::CertificateError;

/// Why an enrolment file was not made or cannot be read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EnrolError {
    /// The update could not be signed.
    #[error("the update of {variable}: {source}")]
    Sign {
        /// The variable's name.
        variable: &'static str,
        /// What went wrong.
        source: Pkcs7Error,
    },
    /// A signature list's sizes do not fit the bytes.
    #[error("signature list at byte {offset}: {field} is {found}, expected {expected}")]
    Layout {
        /// Where the list starts.
        offset: usize,
        /// The field that is wrong.
        field: &'static str,
        /// What it holds.
        found: u64,
        /// What would fit.
        expected: String,
    },
    /// An entry of type X.509 holds no certificate.
    #[error("signature list at byte {offset}: {source}")]
    Certificate {
        /// Where the list starts.
        offset: usize,
        /// What is wrong with it.
        source: CertificateError,
    },
    /// A date that `EFI_TIME` or the calendar cannot hold.
    #[error(
        "time {unix} (seconds since 1970) cannot be written as an EFI_TIME; expected a date before the year 10000"
    )]
    Time {
        /// The value given.
        unix: u64,
    },
    /// More data than a size field can say.
    #[error("{what} of {length} bytes is too long for its size field")]
    TooLong {
        /// What was to be written.
        what: &'static str,
        /// Its length.
        length: usize,
    },
}
