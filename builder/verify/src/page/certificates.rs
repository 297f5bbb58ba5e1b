//! The certificates, what they may vouch for, and until when.

use graven_boot::x509::{Certificate, PublicKey, Validity};
use maud::{Markup, html};

use super::dossier::{Dossier, Known};
use crate::report::Report;
use crate::trust::Role;

pub(super) fn section(dossier: &Dossier) -> Markup {
    html! {
        p {
            "Whoever holds the private key of one of these can make what a machine that trusts it will take. Neither firmware nor "
            "kernel looks at their dates: a certificate ends when it is taken out of the machine's keyrings."
        }
        @if dossier.certificates.is_empty() {
            p { "None is at hand: none was given, and the image brings none along." }
        }
        ul.cards {
            @for known in &dossier.certificates { (card(known, &dossier.proof)) }
            @for (role, signer) in &dossier.strangers {
                li.unproved {
                    span.mark.unproved { span aria-hidden="true" { "?" } " unknown" } " "
                    b { "The signer of " (role) }
                    dl { dt { "Names itself" } dd { code { (signer) } } dt { "Certificate" } dd { "not at hand" } }
                }
            }
        }
    }
}

fn card(known: &Known, proof: &Report) -> Markup {
    let certificate = &known.certificate;
    let voucher = proof.vouchers.iter().find(|voucher| voucher.certificate == *certificate);
    let vouches = voucher.map_or("nothing".to_owned(), |voucher| voucher.links.join(", "));
    let (class, sign, text) = match (known.trusted_for.is_empty(), &known.below) {
        (false, _) => ("ok", "✓", "trusted"),
        (true, Some(_)) => ("ok", "✓", "below a trusted one"),
        (true, None) => ("unproved", "?", "not trusted"),
    };
    html! {
        li {
            span class={ "mark " (class) } { span aria-hidden="true" { (sign) } " " (text) } " "
            b { (certificate.subject()) }
            @if certificate.is_development() { " " span.mark.unproved { "development" } }
            dl {
                dt { "Trusted for" } dd { (roles(&known.trusted_for, "nothing")) }
                dt { "Vouches for" } dd { (vouches) }
                dt { "Signs here" } dd { (roles(&known.signs, "nothing")) }
                dt { "Issued by" } dd {
                    @if certificate.is_self_signed() { "itself" } @else { (certificate.issuer()) }
                }
                dt { "Valid" } dd { (validity(certificate)) }
                dt { "Key" } dd { (key(certificate.public_key())) }
                dt { "SHA-256" } dd { code { (certificate.fingerprint()) } }
                dt { "Comes from" } dd { (source(known)) }
                @if let Some(above) = &known.below { dt { "Stands behind it" } dd { (above) } }
            }
        }
    }
}

fn source(known: &Known) -> &'static str {
    match (known.trusted_for.is_empty(), &known.below, known.carried) {
        (true, None, _) => "the image, which proves nothing by it",
        (true, Some(_), _) => "the image",
        (false, _, true) => "whoever made this report, and the image",
        (false, _, false) => "whoever made this report",
    }
}

fn roles(roles: &[Role], none: &str) -> String {
    match roles {
        [] => none.to_owned(),
        roles => roles.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn validity(certificate: &Certificate) -> String {
    let always = Validity::ALWAYS;
    let day = |text: String| text.split('T').next().unwrap_or_default().to_owned();
    let ((first, last), (from, until)) = (certificate.validity(), certificate.dates());
    match (first == always.not_before, last == always.not_after) {
        (true, true) => "always".to_owned(),
        (false, true) => format!("from {}, without an end", day(from)),
        (_, false) => format!("from {} until {}", day(from), day(until)),
    }
}

fn key(key: &PublicKey) -> String {
    match key {
        PublicKey::Rsa { bits, .. } => format!("RSA, {bits} bits"),
        PublicKey::P256(_) => "ECDSA on P-256".to_owned(),
        PublicKey::P384(_) => "ECDSA on P-384".to_owned(),
        PublicKey::MlDsa65(_) => "ML-DSA-65".to_owned(),
        PublicKey::Other(algorithm) => format!("algorithm {algorithm}"),
        _ => "of another kind".to_owned(),
    }
}
