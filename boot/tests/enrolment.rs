//! Keys, certificates and enrolment files against OpenSSL, efitools and virt-firmware.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod oracle;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use graven_boot::enrol::{self, EfiTime, Entry, Variable};
use graven_boot::keys::{self, KeysError, Options, Role};
use graven_boot::pkcs7::SignedData;
use graven_boot::x509::{Certificate, DEVELOPMENT_MARK};
use oracle::{keys, run, text};
use proptest::prelude::*;
use uuid::Uuid;

fn owner() -> String {
    fs::read_to_string(keys().path("owner.guid")).unwrap().trim().to_owned()
}

#[test]
fn a_signature_list_has_the_bytes_that_efitools_write() {
    let work = tempfile::tempdir().unwrap();
    for (role, list) in [("pk", "PK.esl"), ("kek", "KEK.esl"), ("db", "db.esl")] {
        let theirs = text(&work.path().join(list));
        run("cert-to-efi-sig-list", &["-g", &owner(), &keys().text(&format!("{role}.crt")), &theirs]);
        assert_eq!(fs::read(keys().path(list)).unwrap(), fs::read(&theirs).unwrap());
    }
}

#[test]
fn an_update_is_laid_out_as_efitools_do_it_and_openssl_proves_its_signature() {
    let work = tempfile::tempdir().unwrap();
    for (variable, esl, signer, vendor) in [
        ("PK", "PK.esl", "pk", "8be4df61-93ca-11d2-aa0d-00e098032b8c"),
        ("KEK", "KEK.esl", "pk", "8be4df61-93ca-11d2-aa0d-00e098032b8c"),
        ("db", "db.esl", "kek", "d719b2cb-3d3a-4596-a3bc-dad00e67656f"),
    ] {
        let ours = fs::read(keys().path(&format!("{variable}.auth"))).unwrap();
        let esl_bytes = fs::read(keys().path(esl)).unwrap();

        // efitools make the bytes to be signed («-o») and the whole update; theirs has signed attributes with a time, so
        // only the parts around the signature can be the same.
        let message = work.path().join("message");
        let (key, crt) = (keys().text(&format!("{signer}.key")), keys().text(&format!("{signer}.crt")));
        let (list, out) = (keys().text(esl), text(&message));
        let guid = ["-g", vendor, "-t", "2020-01-01 00:00:00", "-k", &key, "-c", &crt];
        run("sign-efi-sig-list", &[&guid[..], &["-o", variable, &list, &out]].concat());
        let update = text(&work.path().join("update"));
        run("sign-efi-sig-list", &[&guid[..], &[variable, &list, &update]].concat());
        let theirs = fs::read(&update).unwrap();
        assert_eq!(ours[..16], theirs[..16], "time");
        assert_eq!(ours[20..40], theirs[20..40], "certificate type");
        assert!(ours.ends_with(&esl_bytes) && theirs.ends_with(&esl_bytes));

        let length = u32::from_le_bytes(ours[16..20].try_into().unwrap()) as usize;
        let signed_data = &ours[40..16 + length];
        assert_eq!(&ours[16 + length..], esl_bytes, "dwLength ends where the data starts");
        let trusted = keys().certificates(signer);
        let message_bytes = fs::read(&message).unwrap();
        let parsed = SignedData::parse_bare(signed_data).unwrap();
        assert_eq!(parsed.verify(&message_bytes, &trusted).unwrap(), &trusted[0]);
        assert_eq!(parsed.certificates(), trusted, "firmware needs the signer's certificate");

        let p7 = work.path().join("p7");
        fs::write(&p7, with_content_info(signed_data)).unwrap();
        let p7 = text(&p7);
        let mut verify = vec!["smime", "-verify", "-binary", "-inform", "der", "-noverify"];
        verify.extend(["-in", &p7, "-content", &out, "-out", "/dev/null"]);
        run("openssl", &verify);
    }
}

/// The ContentInfo that the specification leaves out and openssl wants.
fn with_content_info(signed_data: &[u8]) -> Vec<u8> {
    let oid = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    let long = |tag: u8, length: usize| {
        let length = u16::try_from(length).unwrap().to_be_bytes();
        vec![tag, 0x82, length[0], length[1]]
    };
    let explicit = [long(0xa0, signed_data.len()), signed_data.to_vec()].concat();
    [long(0x30, oid.len() + explicit.len()), oid.to_vec(), explicit].concat()
}

#[test]
fn virt_firmware_reads_back_what_our_lists_hold() {
    let work = tempfile::tempdir().unwrap();
    let json = work.path().join("vars.json");
    let data = fs::read(keys().path("db.esl")).unwrap();
    let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let variable = format!(
        "{{\"version\": 2, \"variables\": [{{\"name\": \"db\", \"guid\": \"{}\", \"attr\": 39, \"data\": \"{hex}\"}}]}}",
        Variable::Db.vendor()
    );
    fs::write(&json, variable).unwrap();
    let store = text(&work.path().join("vars.fd"));
    run(
        "virt-fw-vars",
        &["--input", "/usr/share/OVMF/OVMF_VARS_4M.fd", "--output", &store, "--set-json", &text(&json)],
    );
    let printed =
        String::from_utf8(run("virt-fw-vars", &["--input", &store, "--print", "--verbose"])).unwrap();
    assert!(printed.contains("guid:EfiCertX509 count=1") && printed.contains("CN=test db"), "{printed}");
}

#[test]
fn a_signature_list_gives_back_its_certificate_and_owner() {
    let bytes = fs::read(keys().path("db.esl")).unwrap();
    let twice = [bytes.as_slice(), &bytes].concat();
    let lists = enrol::parse_lists(&twice).unwrap();
    assert_eq!(lists.len(), 2);
    let (found_owner, entry) = &lists[0].entries[0];
    assert_eq!(*found_owner, owner().parse::<Uuid>().unwrap());
    assert_eq!(*entry, Entry::Certificate(Box::new(keys().certificates("db").remove(0))));
    assert!(enrol::parse_lists(&bytes[..bytes.len() - 1]).is_err());
}

#[test]
fn openssl_finds_keys_and_certificates_in_order() {
    for role in Role::ALL {
        let (key, crt) = (keys().text(&format!("{role}.key")), keys().text(&format!("{role}.crt")));
        run("openssl", &["pkey", "-in", &key, "-check", "-noout"]);
        let mode = fs::metadata(&key).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
        let verified = run("openssl", &["verify", "-x509_strict", "-check_ss_sig", "-CAfile", &crt, &crt]);
        assert!(String::from_utf8_lossy(&verified).trim().ends_with("OK"));
        let shown = run(
            "openssl",
            &["x509", "-in", &crt, "-noout", "-subject", "-dates", "-ext", "basicConstraints"],
        );
        let shown = String::from_utf8(shown).unwrap();
        assert!(shown.contains(&format!("OU = {DEVELOPMENT_MARK}, CN = test {role}")), "{shown}");
        assert!(shown.contains("notBefore=Jan  1 00:00:00 1970 GMT"), "{shown}");
        assert!(shown.contains("notAfter=Dec 31 23:59:59 9999 GMT"), "{shown}");
        assert!(shown.contains("CA:TRUE"), "{shown}");

        let certificate = &keys().certificates(role.name())[0];
        let fingerprint = run("openssl", &["x509", "-in", &crt, "-noout", "-fingerprint", "-sha256"]);
        let fingerprint = String::from_utf8(fingerprint).unwrap().replace(':', "").to_lowercase();
        assert!(fingerprint.contains(&certificate.fingerprint().to_string()));
        let serial = String::from_utf8(run("openssl", &["x509", "-in", &crt, "-noout", "-serial"])).unwrap();
        let own: String = certificate.serial().iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(serial.trim(), format!("serial={own}"));
        assert!(certificate.is_development() && certificate.is_self_signed() && certificate.is_ca());
        assert_eq!(certificate.to_pem(), fs::read_to_string(&crt).unwrap());
    }
    let der = run("openssl", &["x509", "-in", &keys().text("db.crt"), "-outform", "der"]);
    assert_eq!(der, fs::read(keys().path("db.der")).unwrap());
}

#[test]
fn release_keys_carry_no_mark() {
    let parent = tempfile::tempdir().unwrap();
    let set = keys::create(&parent.path().join("deep/keys"), &Options::release("acme")).unwrap();
    assert!(set.certificates.iter().all(|certificate| !certificate.is_development()));
    assert!(set.files.iter().all(|file| file.is_file()));
    assert_eq!(set.certificates[2].subject(), "CN=acme db");
    // Nothing of the making is left beside it.
    assert_eq!(fs::read_dir(parent.path().join("deep")).unwrap().count(), 1);
}

#[test]
fn nothing_is_ever_overwritten() {
    let parent = tempfile::tempdir().unwrap();
    let place = parent.path().join("keys");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("policy.key"), "precious").unwrap();
    let error = keys::create(&place, &Options::development("x")).unwrap_err();
    assert!(matches!(&error, KeysError::Exists { path } if path.ends_with("policy.key")), "{error}");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 1);
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    let error = keys::create(&place.join("policy.key"), &Options::development("x")).unwrap_err();
    assert!(matches!(error, KeysError::Exists { .. }), "{error}");
    let error = keys::create(&parent.path().join("new"), &Options::development("a\nb")).unwrap_err();
    assert!(matches!(error, KeysError::Name { .. }), "{error}");
}

#[test]
fn an_efi_time_is_the_calendar_date_with_zeros() {
    use zerocopy::IntoBytes as _;
    // 2026-02-28 23:59:58 UTC, by date(1).
    let time = EfiTime::from_unix(1_772_323_198).unwrap();
    let mut expected = [0; 16];
    expected[..7].copy_from_slice(&[0xea, 0x07, 2, 28, 23, 59, 58]);
    assert_eq!(time.as_bytes(), expected);
    assert!(EfiTime::from_unix(u64::MAX).is_err());
}

proptest! {
    #[test]
    fn no_mutation_of_a_signature_list_panics(
        at in any::<proptest::sample::Index>(), byte in any::<u8>(), head in any::<bool>()
    ) {
        let mut bytes = fs::read(keys().path("db.esl")).unwrap();
        let at = at.index(if head { 44 } else { bytes.len() });
        bytes[at] = byte;
        let _ = enrol::parse_lists(&bytes);
        let _ = enrol::parse_lists(&bytes[..at]);
        let _ = Certificate::read_all(&bytes[at..]);
    }
}
