//! Chains of certificates: what travels in a message, and what is held against an issuer.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod oracle;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_boot::pkcs7::{self, SignedData};
use graven_boot::sign::{ChainedSigner, FileSigner};
use graven_boot::x509::{Certificate, check_issuers};
use oracle::{run, text};

const POLICY: &[u8] = b"policy_name=chain policy_version=1.0.0\nDEFAULT action=DENY\n";
const ISSUER: &str = "basicConstraints=critical,CA:TRUE";
const SIGNER: &str =
    "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning";

/// A firm's certificates, made by openssl.
struct Firm {
    folder: tempfile::TempDir,
}

impl Firm {
    /// A root, an intermediate with these extensions, a signer with those.
    fn new(intermediate: &str, signer: &str) -> Self {
        let firm = Self { folder: tempfile::tempdir().unwrap() };
        firm.issue("root", None, ISSUER);
        firm.issue("issuing", Some("root"), intermediate);
        firm.issue("signer", Some("issuing"), signer);
        firm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn issue(&self, name: &str, by: Option<&str>, extensions: &str) {
        let file = |ending: &str| text(&self.path(&format!("{name}.{ending}")));
        let (key, crt, csr, ext) = (file("key"), file("crt"), file("csr"), file("ext"));
        let identifiers = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid";
        fs::write(&ext, format!("{extensions}\n{identifiers}\n")).unwrap();
        let subject = format!("/CN={name}");
        run(
            "openssl",
            &["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &csr],
        );
        let mut words = vec!["x509", "-req", "-in", &csr, "-days", "1000", "-out", &crt, "-extfile", &ext];
        let issuer = by.map(|by| [".crt", ".key"].map(|ending| text(&self.path(&format!("{by}{ending}")))));
        match &issuer {
            Some([crt, key]) => words.extend(["-CA", crt, "-CAkey", key, "-CAcreateserial"]),
            None => words.extend(["-signkey", &key]),
        }
        run("openssl", &words);
    }

    fn certificate(&self, name: &str) -> Certificate {
        read(&self.path(&format!("{name}.crt")))
    }

    /// A policy by the signer, with the issuers between it and the root inside.
    fn signed(&self) -> Vec<u8> {
        let files = ["key", "crt"].map(|ending| self.path(&format!("signer.{ending}")));
        let signer = FileSigner::load(&files[0], &files[1]).unwrap();
        let signer = ChainedSigner::new(
            Arc::new(signer),
            ["issuing", "root"].map(|name| self.certificate(name)).to_vec(),
        );
        pkcs7::sign_policy(POLICY, &signer).unwrap().signed().unwrap()
    }
}

fn read(path: &Path) -> Certificate {
    Certificate::read_all(&fs::read(path).unwrap()).unwrap().remove(0)
}

#[test]
fn a_chain_leads_to_a_trusted_root_for_us_and_for_openssl() {
    let firm = Firm::new(&format!("{ISSUER},pathlen:0\nkeyUsage=critical,keyCertSign"), SIGNER);
    let [root, issuing, signer] = ["root", "issuing", "signer"].map(|name| firm.certificate(name));
    check_issuers(&signer, &[issuing.clone(), root.clone()]).unwrap();
    let p7b = firm.signed();
    let inside = SignedData::parse(&p7b).unwrap().certificates().to_vec();
    assert_eq!(inside, [signer.clone(), issuing.clone()], "the root proves nothing in a message");
    for anchor in [&root, &issuing, &signer] {
        let trusted = [anchor.clone()];
        assert_eq!(pkcs7::verify_policy(&p7b, &trusted).unwrap().certificate, anchor);
    }
    let stranger = Firm::new(ISSUER, SIGNER).certificate("root");
    assert!(pkcs7::verify_policy(&p7b, &[stranger]).is_err(), "another root of the same name");

    let file = firm.path("p7b");
    fs::write(&file, &p7b).unwrap();
    let words = ["cms", "-verify", "-binary", "-inform", "der", "-purpose", "any", "-in"];
    let root = text(&firm.path("root.crt"));
    let verified = run("openssl", &[&words[..], &[&text(&file), "-CAfile", &root]].concat());
    assert_eq!(verified, POLICY);
}

#[test]
fn what_a_certificate_may_not_do_breaks_the_chain() {
    for (issuing, signer, why) in [
        ("basicConstraints=critical,CA:FALSE", SIGNER, "basic constraints"),
        (&*format!("{ISSUER}\nkeyUsage=critical,cRLSign"), SIGNER, "may not sign certificates (key usage)"),
        (ISSUER, "keyUsage=critical,keyAgreement", "may not sign (key usage)"),
        (ISSUER, "extendedKeyUsage=serverAuth", "may not sign code (extended key usage)"),
    ] {
        let firm = Firm::new(issuing, signer);
        let error = pkcs7::verify_policy(&firm.signed(), &[firm.certificate("root")]).unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
    // Too long for the root.
    let firm = Firm::new(ISSUER, SIGNER);
    let short = Firm { folder: tempfile::tempdir().unwrap() };
    short.issue("root", None, &format!("{ISSUER},pathlen:0"));
    short.issue("issuing", Some("root"), ISSUER);
    short.issue("signer", Some("issuing"), SIGNER);
    assert!(pkcs7::verify_policy(&firm.signed(), &[firm.certificate("root")]).is_ok());
    let error = pkcs7::verify_policy(&short.signed(), &[short.certificate("root")]).unwrap_err();
    assert!(error.to_string().contains("path length"), "{error}");
}

#[test]
fn certificates_that_are_no_chain_are_named() {
    let firm = Firm::new(ISSUER, SIGNER);
    let [root, issuing, signer] = ["root", "issuing", "signer"].map(|name| firm.certificate(name));
    let error = check_issuers(&signer, &[root, issuing]).unwrap_err();
    assert!(
        error.to_string().contains("«CN=signer» is not issued by the certificate after it, «CN=root»"),
        "{error}"
    );
}
