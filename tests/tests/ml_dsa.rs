//! ML-DSA-65 for the policy: our keys, certificates and signatures against openssl's, and by the kernel.

use std::fs;
use std::path::Path;

use graven_boot::pkcs7;
use graven_boot::sign::{Answer, DetachedSigner, Purpose, Request, Signer};
use graven_tests::judge::{Judged, judge, judge_ml_dsa};
use graven_tests::{forge, image, inputs, oracle};

const POLICY: &[u8] = b"policy_name=quantum policy_version=1.0.0\nDEFAULT action=DENY\n";

fn openssl(words: &[&str]) -> String {
    let verdict = oracle::trixie("openssl", words);
    assert!(verdict.good, "openssl {words:?}: {}", verdict.text);
    verdict.text
}

fn text(path: &Path) -> &str {
    path.to_str().expect("plain names")
}

#[test]
fn keys_certificates_and_signatures_are_openssls_too() {
    let folder = image::folder();
    let at = |name: &str| folder.path().join(name);
    let keys = at("keys");
    let words = ["keys", "new", text(&keys), "--algorithm", "policy=ml-dsa-65"];
    let made = image::run(words);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (key, crt) = (keys.join("policy.key"), keys.join("policy.crt"));
    openssl(&["verify", "-check_ss_sig", "-CAfile", text(&crt), text(&crt)]);

    let signer = forge::signer_of(&keys, "policy");
    let request = Request::new(Purpose::Policy, signer.certificate(), POLICY).expect("the key can sign");
    let Answer::Signed(ours) = signer.sign(&request).expect("it signs") else { panic!("at once") };
    let (message, theirs) = (at("message"), at("signature"));
    fs::write(&message, POLICY).expect("a file");
    let sign =
        ["pkeyutl", "-sign", "-rawin", "-inkey", text(&key), "-in", text(&message), "-out", text(&theirs)];
    openssl(&[&sign[..], &["-pkeyopt", "deterministic:1"]].concat());
    assert!(fs::read(&theirs).expect("a signature") == ours, "both are the deterministic variant's");

    // As a firm's signer does it, with a random number in each signature.
    let elsewhere = DetachedSigner::new(signer.certificate().clone(), folder.path());
    let Answer::Pending(asked) = pkcs7::sign_policy(POLICY, &elsewhere).expect("it asks") else {
        panic!("no answer")
    };
    assert_eq!(asked.to_be_signed(), POLICY, "the text itself is signed");
    openssl(&sign);
    fs::copy(&theirs, elsewhere.answer_path(&asked)).expect("a file");
    let signed = forge::signed(pkcs7::sign_policy(POLICY, &elsewhere));
    let trusted = [signer.certificate().clone()];
    assert_eq!(pkcs7::verify_policy(&signed, &trusted).expect("it holds").content, POLICY);

    let mut wrong = fs::read(&theirs).expect("a signature");
    wrong[100] ^= 1;
    fs::write(elsewhere.answer_path(&asked), &wrong).expect("a file");
    assert!(pkcs7::sign_policy(POLICY, &elsewhere).is_err(), "a changed signature is refused");
    wrong.pop();
    fs::write(elsewhere.answer_path(&asked), &wrong).expect("a file");
    assert!(pkcs7::sign_policy(POLICY, &elsewhere).is_err(), "a short one, too");
}

/// A kernel with CRYPTO_MLDSA takes a policy that was signed so, and nothing else; one without says why not.
#[test]
#[cfg_attr(not(feature = "full"), ignore = "builds a kernel: feature `full`")]
fn the_kernel_takes_a_policy_that_was_signed_with_ml_dsa() {
    inputs::ml_dsa_kernel();
    let signer = forge::signer_of(&inputs::ml_dsa_keys(), "policy");
    let good = forge::signed(pkcs7::sign_policy(POLICY, &signer));
    let changed = |at: usize| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    };
    let in_text = good.windows(7).position(|window| window == b"quantum").expect("the text is inside");
    let by_rsa = forge::signed(pkcs7::sign_policy(POLICY, &forge::signer(image::keys())));
    let policies = [good.clone(), changed(in_text), changed(good.len() - 100), by_rsa];
    let refused = |errno: &str| Judged::Refused(errno.to_owned());
    let taken = Judged::Accepted { name: "quantum".to_owned(), version: "1.0.0".to_owned() };
    assert_eq!(
        judge_ml_dsa(&policies),
        [taken, refused("EKEYREJECTED"), refused("EKEYREJECTED"), refused("ENOKEY")]
    );
    // Debian's kernel, without CRYPTO_MLDSA.
    assert_eq!(judge(&[good]), [refused("ENOKEY")]);
}
