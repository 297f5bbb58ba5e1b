//! PKCS#7 against OpenSSL, and signing as a station.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod oracle;

use std::fs;
use std::path::Path;
use std::time::Duration;

use graven_boot::keys::{KeysError, Kind, Options, Role, create};
use graven_boot::pkcs7::{self, Pkcs7Error, SignedData};
use graven_boot::sign::{
    self, Algorithm, Answer, DetachedSigner, FileSigner, ProgramProblem, ProgramSigner, Purpose, Request,
    SignError, Signer, ToSign,
};
use graven_boot::x509::Certificate;
use oracle::{keys, run, text, try_run};
use proptest::prelude::*;

const POLICY: &[u8] =
    b"policy_name=appliance policy_version=1.0.0\nDEFAULT action=ALLOW\nDEFAULT op=EXECUTE action=DENY\n";
const ROOT_HASH: &str = "9c5ef1ac1b2f0a1b8c7d6e5f40313233b4a5968778695a4b3c2d1e0f00112233";

fn signed<T>(answer: Answer<T>) -> T {
    answer.signed().expect("a key file answers at once")
}

fn policy_p7b() -> Vec<u8> {
    signed(pkcs7::sign_policy(POLICY, &keys().signer("db")).unwrap())
}

/// `openssl smime -sign` over `content` with the options the kernel's documentation gives.
fn openssl_smime(content: &[u8], more: &[&str]) -> Vec<u8> {
    let work = tempfile::tempdir().unwrap();
    let input = work.path().join("content");
    fs::write(&input, content).unwrap();
    let (input, key, crt) = (text(&input), keys().text("db.key"), keys().text("db.crt"));
    let mut arguments = vec!["smime", "-sign", "-binary", "-in", &input, "-signer", &crt, "-inkey", &key];
    arguments.extend(["-md", "sha256", "-outform", "der"]);
    arguments.extend(more);
    run("openssl", &arguments)
}

#[test]
fn a_signed_policy_has_the_bytes_that_openssl_writes() {
    let theirs = openssl_smime(POLICY, &["-noattr", "-nocerts", "-nosmimecap", "-nodetach"]);
    assert_eq!(policy_p7b(), theirs);
}

#[test]
fn a_root_hash_signature_has_the_bytes_that_openssl_writes() {
    let ours = signed(pkcs7::sign_root_hash(ROOT_HASH, &keys().signer("db")).unwrap());
    let theirs = openssl_smime(ROOT_HASH.as_bytes(), &["-noattr", "-nocerts", "-nosmimecap"]);
    assert_eq!(ours, theirs);
    let trusted = keys().certificates("db");
    assert_eq!(pkcs7::verify_root_hash(&ours, ROOT_HASH, &trusted).unwrap(), &trusted[0]);
}

#[test]
fn openssl_proves_our_policy_and_returns_its_text() {
    let work = tempfile::tempdir().unwrap();
    let p7b = work.path().join("policy.p7b");
    fs::write(&p7b, policy_p7b()).unwrap();
    let crt = keys().text("db.crt");
    let mut arguments = vec!["smime", "-verify", "-binary", "-inform", "der", "-noverify", "-nointern"];
    let p7b = text(&p7b);
    arguments.extend(["-in", &p7b, "-certfile", &crt]);
    assert_eq!(run("openssl", &arguments), POLICY);
}

#[test]
fn signed_attributes_and_embedded_certificates_of_openssl_verify() {
    let message = openssl_smime(POLICY, &["-nodetach", "-nosmimecap"]);
    let trusted = keys().certificates("db");
    assert_eq!(pkcs7::verify_policy(&message, &trusted).unwrap().content, POLICY);
    let parsed = SignedData::parse(&message).unwrap();
    assert!(parsed.has_signed_attributes());
    assert_eq!(parsed.certificates(), trusted);

    let changed = flip(&message, find(&message, b"policy_name"));
    let error = pkcs7::verify_policy(&changed, &trusted).unwrap_err();
    assert!(matches!(error, Pkcs7Error::Attributes(_)), "{error}");
}

#[test]
fn a_signer_named_by_key_identifier_is_found() {
    let work = tempfile::tempdir().unwrap();
    let input = work.path().join("content");
    fs::write(&input, POLICY).unwrap();
    let (input, key, crt) = (text(&input), keys().text("db.key"), keys().text("db.crt"));
    let mut arguments = vec!["cms", "-sign", "-binary", "-in", &input, "-signer", &crt, "-inkey", &key];
    arguments.extend(["-md", "sha256", "-outform", "der", "-noattr", "-nocerts", "-nodetach", "-keyid"]);
    let message = run("openssl", &arguments);
    assert_eq!(pkcs7::verify_policy(&message, &keys().certificates("db")).unwrap().content, POLICY);
}

#[test]
fn a_leaf_inside_the_message_leads_to_its_trusted_issuer() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| text(&work.path().join(name));
    run(
        "openssl",
        &[
            "req",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-subj",
            "/CN=leaf",
            "-keyout",
            &at("leaf.key"),
            "-out",
            &at("leaf.csr"),
        ],
    );
    let mut issue = vec!["x509", "-req", "-days", "10"];
    let (csr, crt) = (at("leaf.csr"), at("leaf.crt"));
    let (ca, ca_key) = (keys().text("db.crt"), keys().text("db.key"));
    issue.extend(["-in", &csr, "-out", &crt, "-CA", &ca, "-CAkey", &ca_key, "-set_serial", "7"]);
    run("openssl", &issue);
    fs::write(at("content"), POLICY).unwrap();
    let (content, key) = (at("content"), at("leaf.key"));
    let mut sign = vec!["smime", "-sign", "-binary", "-in", &content, "-signer", &crt, "-inkey", &key];
    sign.extend(["-md", "sha256", "-outform", "der", "-nodetach", "-noattr"]);
    let message = run("openssl", &sign);

    let trusted = keys().certificates("db");
    assert_eq!(pkcs7::verify_policy(&message, &trusted).unwrap().certificate, &trusted[0]);
    let strangers = keys().certificates("kek");
    let error = pkcs7::verify_policy(&message, &strangers).unwrap_err();
    assert!(matches!(error, Pkcs7Error::Chain(_)), "{error}");
}

#[test]
fn what_the_kernel_refuses_is_refused() {
    let trusted = keys().certificates("db");
    let p7b = policy_p7b();

    let error = pkcs7::verify_policy(&p7b, &keys().certificates("kek")).unwrap_err();
    assert!(matches!(error, Pkcs7Error::UnknownSigner { .. }), "{error}");

    let error = pkcs7::verify_policy(&flip(&p7b, find(&p7b, b"EXECUTE")), &trusted).unwrap_err();
    assert!(matches!(error, Pkcs7Error::Signature { .. }), "{error}");

    // sha256WithRSAEncryption in place of rsaEncryption: the kernel answers ENOPKG.
    let rsa_encryption = [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    let mut renamed = p7b.clone();
    renamed[find(&p7b, &rsa_encryption) + 8] = 0x0b;
    let error = pkcs7::verify_policy(&renamed, &trusted).unwrap_err();
    assert!(matches!(error, Pkcs7Error::SignatureAlgorithm { .. }), "{error}");

    let detached = openssl_smime(POLICY, &["-noattr", "-nocerts", "-nosmimecap"]);
    assert!(matches!(pkcs7::verify_policy(&detached, &trusted), Err(Pkcs7Error::Detached)));
    assert!(matches!(pkcs7::verify_root_hash(&p7b, ROOT_HASH, &trusted), Err(Pkcs7Error::Attached)));
    let trailing = [p7b.as_slice(), &[0]].concat();
    assert!(matches!(pkcs7::verify_policy(&trailing, &trusted), Err(Pkcs7Error::Der(_))));

    let other = signed(pkcs7::sign_root_hash(ROOT_HASH, &keys().signer("db")).unwrap());
    let error = pkcs7::verify_root_hash(&other, &ROOT_HASH.replace('9', "8"), &trusted).unwrap_err();
    assert!(matches!(error, Pkcs7Error::Signature { .. }), "{error}");

    let long = vec![b'#'; 70_000];
    let error = pkcs7::sign_policy(&long, &keys().signer("db")).unwrap_err();
    assert!(matches!(error, Pkcs7Error::TooLong { .. }), "{error}");
}

#[test]
fn a_detached_build_ends_with_the_bytes_of_one_signed_in_place() {
    let work = tempfile::tempdir().unwrap();
    let certificate = keys().certificates("db").remove(0);
    let signer = DetachedSigner::new(certificate, work.path());
    let Answer::Pending(request) = pkcs7::sign_policy(POLICY, &signer).unwrap() else { panic!() };
    assert_eq!(request.to_be_signed(), POLICY);
    assert_eq!(request.purpose(), Purpose::Policy);

    // The request travels as a file, and any tool answers it.
    let carried = ToSign::new(vec![request.clone()]).to_json().unwrap();
    let carried = ToSign::from_json(&carried).unwrap().requests.remove(0);
    assert_eq!(carried, request);
    answer_with_openssl(&carried, &keys().text("db.key"), &signer.answer_path(&request));
    assert_eq!(signed(pkcs7::sign_policy(POLICY, &signer).unwrap()), policy_p7b());

    // The same message for another purpose is another request.
    let Answer::Pending(_) = pkcs7::sign_root_hash(std::str::from_utf8(POLICY).unwrap(), &signer).unwrap()
    else {
        panic!()
    };
}

#[test]
fn a_wrong_answer_and_a_foreign_request_are_refused() {
    let work = tempfile::tempdir().unwrap();
    let signer = DetachedSigner::new(keys().certificates("db").remove(0), work.path());
    let request = Request::new(Purpose::Root, signer.certificate(), ROOT_HASH.as_bytes()).unwrap();
    answer_with_openssl(&request, &keys().text("kek.key"), &signer.answer_path(&request));
    assert!(matches!(signer.sign(&request), Err(SignError::BadAnswer { .. })));

    let foreign = Request::new(Purpose::Root, &keys().certificates("kek")[0], ROOT_HASH.as_bytes()).unwrap();
    assert!(matches!(signer.sign(&foreign), Err(SignError::ForeignRequest { .. })));
    assert!(matches!(keys().signer("db").sign(&foreign), Err(SignError::ForeignRequest { .. })));
}

/// A program of these lines, asked for one signature by the key of `db`.
fn ask_program(lines: &str, patience: Duration) -> Result<Answer, SignError> {
    let work = tempfile::tempdir().unwrap();
    let program = work.path().join("sign");
    fs::write(&program, lines).unwrap();
    let certificate = keys().certificates("db").remove(0);
    let key = keys().path("db.key");
    let signer =
        ProgramSigner::new(certificate, "sh", [program.as_os_str(), key.as_os_str()]).patience(patience);
    let request = Request::new(Purpose::Policy, signer.certificate(), POLICY).unwrap();
    signer.sign(&request)
}

/// A firm's own signer in a line: it finds the message in the request and signs it with openssl.
fn with_openssl(key: &str) -> String {
    format!(
        "sed 's/.*\"to-be-signed\":\"\\([^\"]*\\)\".*/\\1/' | openssl base64 -d -A | \
         openssl dgst -sha256 -sign {key} | openssl base64\n"
    )
}

#[test]
fn a_program_signs_and_what_it_answers_is_checked() {
    const LONG: Duration = Duration::from_secs(60);
    let Ok(Answer::Signed(signature)) = ask_program(&with_openssl("\"$1\""), LONG) else { panic!() };
    let request = Request::new(Purpose::Policy, &keys().certificates("db")[0], POLICY).unwrap();
    assert_eq!(keys().signer("db").sign(&request).unwrap(), Answer::Signed(signature));

    let problem = |lines: &str, patience| match ask_program(lines, patience) {
        Err(SignError::Program { problem, .. }) => *problem,
        other => panic!("{other:?}"),
    };
    let short = Duration::from_millis(300);
    assert!(matches!(problem("sleep 60", short), ProgramProblem::Late(_)), "it hangs");
    assert!(
        matches!(problem("exec >&-; sleep 60", short), ProgramProblem::Late(_)),
        "it hangs after its answer"
    );
    let crashed = problem("echo the token is not there >&2; exit 7", LONG).to_string();
    assert!(crashed.contains("exit status: 7") && crashed.ends_with("the token is not there"), "{crashed}");
    let killed = problem("kill -9 $$", LONG).to_string();
    assert!(killed.contains("signal: 9"), "{killed}");
    assert!(matches!(problem("echo '-- no signature --'", LONG), ProgramProblem::NoBase64 { .. }));
    assert!(matches!(problem("cat >/dev/null", LONG), ProgramProblem::NoBase64 { .. }), "it says nothing");
    let endless = problem("exec yes", LONG).to_string();
    assert!(endless.contains("signal") || endless.contains("base64"), "it is not read for ever: {endless}");
    assert!(matches!(problem("echo AAAA", LONG), ProgramProblem::BadSignature(_)));
    let other = with_openssl(&keys().text("kek.key"));
    assert!(matches!(problem(&other, LONG), ProgramProblem::BadSignature(_)), "another key");

    let certificate = keys().certificates("db").remove(0);
    let absent = ProgramSigner::new(certificate, "/no/such/program", [""; 0]).sign(&request).unwrap_err();
    assert!(absent.to_string().contains("/no/such/program"), "{absent}");
    let foreign = Request::new(Purpose::Root, &keys().certificates("kek")[0], ROOT_HASH.as_bytes()).unwrap();
    let signer = ProgramSigner::new(keys().certificates("db").remove(0), "true", [""; 0]);
    assert!(matches!(signer.sign(&foreign), Err(SignError::ForeignRequest { .. })));
}

#[test]
fn a_list_of_requests_that_was_changed_on_its_way_is_refused() {
    let request = Request::new(Purpose::Root, &keys().certificates("db")[0], ROOT_HASH.as_bytes()).unwrap();
    let json = ToSign::new(vec![request]).to_json().unwrap();
    assert!(ToSign::from_json(&json.replace("\"root\"", "\"boot\"")).is_err());
    assert!(ToSign::from_json(&json.replace("\"digest\": \"", "\"digest\": \"00")).is_err());
    assert!(ToSign::from_json(&json.replace("\"format\": 1", "\"format\": 2")).is_err());
    assert!(ToSign::from_json(&json.replace("\"subject\"", "\"Subject\"")).is_err());
}

#[test]
fn an_elliptic_curve_key_signs_from_outside() {
    for (curve, algorithm, digest) in [
        ("prime256v1", Algorithm::EcdsaP256Sha256, "-sha256"),
        ("secp384r1", Algorithm::EcdsaP384Sha384, "-sha384"),
    ] {
        let work = tempfile::tempdir().unwrap();
        let at = |name: &str| text(&work.path().join(name));
        let curve = format!("ec_paramgen_curve:{curve}");
        let mut make =
            vec!["req", "-x509", "-newkey", "ec", "-pkeyopt", &curve, "-nodes", "-subj", "/CN=curve"];
        let (key, crt) = (at("key"), at("crt"));
        make.extend([digest, "-keyout", &key, "-out", &crt]);
        run("openssl", &make);
        let trusted = Certificate::read_all(&fs::read(&crt).unwrap()).unwrap();
        assert!(trusted[0].is_self_signed());
        let signer = DetachedSigner::new(trusted[0].clone(), work.path());
        let Answer::Pending(request) = pkcs7::sign_policy(POLICY, &signer).unwrap() else { panic!() };
        assert_eq!(request.algorithm(), algorithm);
        fs::write(at("message"), request.to_be_signed()).unwrap();
        let answer = text(&signer.answer_path(&request));
        run("openssl", &["dgst", digest, "-sign", &key, "-out", &answer, &at("message")]);

        let sec1 = at("sec1");
        run("openssl", &["ec", "-in", &key, "-out", &sec1]);
        let at_hand = |key: &str| FileSigner::load(Path::new(key), Path::new(&crt)).unwrap();
        let signed_by = |signer: &dyn Signer| signed(pkcs7::sign_policy(POLICY, signer).unwrap());
        let ours = signed_by(&at_hand(&key));
        assert_eq!(ours, signed_by(&at_hand(&sec1)), "the same key and text give the same bytes");
        for p7b in [signed_by(&signer), ours] {
            assert_eq!(pkcs7::verify_policy(&p7b, &trusted).unwrap().content, POLICY);
            fs::write(at("p7b"), &p7b).unwrap();
            let file = at("p7b");
            let mut verify = vec!["cms", "-verify", "-binary", "-inform", "der", "-noverify"];
            verify.extend(["-in", &file, "-certfile", &crt]);
            assert_eq!(run("openssl", &verify), POLICY);
        }
    }
}

#[test]
fn new_keys_of_every_kind_are_openssls_too_and_verify_what_they_sign() {
    for (kind, words) in
        [(Kind::Rsa(3072), "Private-Key: (3072 bit"), (Kind::EcdsaP256, "P-256"), (Kind::EcdsaP384, "P-384")]
    {
        let work = tempfile::tempdir().unwrap();
        let options = Options { kinds: [(Role::Policy, kind)].into(), ..Options::release("kinds") };
        let place = work.path().join("keys");
        create(&place, &options).unwrap();
        let (key, crt) = (place.join("policy.key"), place.join("policy.crt"));
        let shown = run("openssl", &["pkey", "-in", &text(&key), "-text", "-noout"]);
        assert!(String::from_utf8_lossy(&shown).contains(words), "{kind}");
        run("openssl", &["verify", "-x509_strict", "-check_ss_sig", "-CAfile", &text(&crt), &text(&crt)]);
        let signer = FileSigner::load(&key, &crt).unwrap();
        let p7b = signed(pkcs7::sign_policy(POLICY, &signer).unwrap());
        let trusted = [signer.certificate().clone()];
        assert_eq!(pkcs7::verify_policy(&p7b, &trusted).unwrap().content, POLICY);
    }
}

#[test]
fn a_kind_of_key_that_a_verifier_does_not_take_is_not_made() {
    for (role, kind, who) in [
        (Role::Db, Kind::EcdsaP256, "UEFI firmware"),
        (Role::Pk, Kind::EcdsaP384, "UEFI firmware"),
        (Role::Kek, Kind::MlDsa65, "UEFI firmware"),
        (Role::Fit, Kind::EcdsaP256, "U-Boot"),
    ] {
        let work = tempfile::tempdir().unwrap();
        let place = work.path().join("keys");
        let options = Options { kinds: [(role, kind)].into(), ..Options::release("kinds") };
        let error = create(&place, &options).unwrap_err();
        assert!(matches!(error, KeysError::Unfit { .. }) && error.to_string().contains(who), "{error}");
        assert!(!place.exists());
    }
}

#[test]
fn a_key_that_is_not_the_certificates_is_refused() {
    let error = FileSigner::load(&keys().path("db.key"), &keys().path("kek.crt")).unwrap_err();
    assert!(matches!(error, SignError::KeyMismatch { .. }), "{error}");
    let error = FileSigner::load(&keys().path("db.crt"), &keys().path("db.crt")).unwrap_err();
    assert!(matches!(error, SignError::KeyPem { .. }), "{error}");
}

#[test]
fn encrypted_and_traditional_key_files_are_told_apart() {
    let work = tempfile::tempdir().unwrap();
    let at = |name: &str| work.path().join(name);
    let key = keys().text("db.key");
    let (encrypted, traditional) = (text(&at("encrypted")), text(&at("traditional")));
    run("openssl", &["pkcs8", "-topk8", "-in", &key, "-out", &encrypted, "-passout", "pass:x"]);
    run("openssl", &["rsa", "-traditional", "-in", &key, "-out", &traditional]);
    let error = FileSigner::load(&at("encrypted"), &keys().path("db.crt")).unwrap_err();
    assert!(matches!(error, SignError::EncryptedKey { .. }), "{error}");
    FileSigner::load(&at("traditional"), &keys().path("db.crt")).unwrap();
}

#[test]
fn private_keys_stay_out_of_debug_output() {
    let shown = format!("{:?}", keys().signer("db"));
    assert!(shown.starts_with("FileSigner(Certificate(") && shown.len() < 250, "{shown}");
}

#[test]
fn a_raw_signature_is_checked_against_key_and_message() {
    let signer = keys().signer("db");
    let certificate = signer.certificate();
    let request = Request::new(Purpose::Boot, certificate, b"message").unwrap();
    let signature = signed(signer.sign(&request).unwrap());
    sign::verify(certificate, Algorithm::RsaPkcs1Sha256, b"message", &signature).unwrap();
    sign::verify(certificate, Algorithm::RsaPkcs1Sha256, b"massage", &signature).unwrap_err();
    sign::verify(certificate, Algorithm::EcdsaP256Sha256, b"message", &signature).unwrap_err();
    sign::verify(&keys().certificates("pk")[0], Algorithm::RsaPkcs1Sha256, b"message", &signature)
        .unwrap_err();
}

proptest! {
    #[test]
    fn no_mutation_of_a_signed_policy_panics_or_verifies(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut changed = policy_p7b();
        let at = at.index(changed.len());
        changed[at] = byte;
        let trusted = keys().certificates("db");
        if let Ok(verified) = pkcs7::verify_policy(&changed, &trusted) {
            // What no signature covers (such as the NULL of an algorithm) may change; the text may not.
            prop_assert_eq!(verified.content, POLICY);
        }
        let _ = SignedData::parse_bare(&changed);
        let _ = Certificate::from_der(&changed);
    }

    #[test]
    fn no_truncation_of_a_certificate_panics(length in 0usize..1000, byte in any::<u8>()) {
        let mut der = keys().certificates("db")[0].der().to_vec();
        der.truncate(length);
        let _ = Certificate::from_der(&der);
        der.push(byte);
        let _ = Certificate::read_all(&der);
    }
}

/// The raw signature of the request's message, by `openssl dgst`.
fn answer_with_openssl(request: &Request, key: &str, answer: &Path) {
    let work = tempfile::tempdir().unwrap();
    let message = work.path().join("message");
    fs::write(&message, request.to_be_signed()).unwrap();
    let made = try_run("openssl", &["dgst", "-sha256", "-sign", key, "-out", &text(answer), &text(&message)]);
    assert!(made.status.success(), "{made:?}");
}

fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).unwrap()
}

fn flip(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    changed[at] ^= 1;
    changed
}
