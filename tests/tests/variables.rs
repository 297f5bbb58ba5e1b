//! Our EDK2 variable store against virt-firmware's.

use graven::run::{Enrolment, blank, enrol};
use graven_tests::oracle;

const TEMPLATE: &str = "/usr/share/OVMF/OVMF_VARS_4M.fd";
const OWNER: &str = "11111111-2222-3333-4444-123456789abc";

/// Certificates valid from 2010 on: virt-fw-vars takes the variables' times from there.
const CERTIFICATES: &str = r#"
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
for name in ("pk", "kek", "db"):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    cn = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "test " + name)])
    cert = (x509.CertificateBuilder().subject_name(cn).issuer_name(cn).public_key(key.public_key()).serial_number(1)
        .not_valid_before(datetime.datetime(2010, 1, 1)).not_valid_after(datetime.datetime(2040, 1, 1))
        .sign(key, hashes.SHA256()))
    open(f"{sys.argv[1]}/{name}.crt", "wb").write(cert.public_bytes(serialization.Encoding.PEM))
    open(f"{sys.argv[1]}/{name}.der", "wb").write(cert.public_bytes(serialization.Encoding.DER))
"#;

/// EFI_SIGNATURE_LIST of one X.509 certificate.
fn list(der: &[u8]) -> Vec<u8> {
    const X509: [u8; 16] = *b"\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72";
    const OWNER_BYTES: [u8; 16] = *b"\x11\x11\x11\x11\x22\x22\x33\x33\x44\x44\x12\x34\x56\x78\x9a\xbc";
    let entry = (der.len() + 16) as u32;
    let sizes = [entry + 28, 0, entry].map(u32::to_le_bytes).concat();
    [X509.as_slice(), &sizes, &OWNER_BYTES, der].concat()
}

#[test]
fn the_variable_store_is_virt_fw_vars_own_to_the_byte() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    oracle::content(oracle::python("python3"), ["-c", CERTIFICATES, &path("")]);
    let [pk, kek, db, empty, out] = ["pk.crt", "kek.crt", "db.crt", "empty.fd", "vars.fd"].map(path);
    let der = |name: &str| list(&std::fs::read(path(name)).unwrap());
    let enrolment = Enrolment { pk: der("pk.der"), kek: der("kek.der"), db: der("db.der") };
    for template in [std::fs::read(TEMPLATE).unwrap(), blank()] {
        std::fs::write(&empty, &template).unwrap();
        let arguments =
            ["--input", &empty, "--output", &out, "--set-pk", OWNER, &pk, "--add-kek", OWNER, &kek];
        oracle::content(
            oracle::python("virt-fw-vars"),
            arguments.iter().chain(&["--add-db", OWNER, &db, "--sb"]),
        );
        let ours = enrol(&template, &enrolment).unwrap();
        let theirs = std::fs::read(&out).unwrap();
        assert!(
            ours == theirs,
            "first difference at byte {:?}",
            ours.iter().zip(&theirs).position(|(a, b)| a != b)
        );
    }
}
