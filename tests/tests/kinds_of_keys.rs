//! Images whose policy and root hash are signed in ECDSA: proved, built again without a key, booted and enforced by a kernel that
//! has the certificate; and stopped where a signature is another. Slow the first time: kernels are built.
#![cfg(feature = "full")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use graven::deliver::DISK;
use graven_boot::keys::Kind;
use graven_boot::pkcs7::SignedData;
use graven_boot::sign::Signer;
use graven_handoff::Code;
use graven_tests::forge::{Forgery, signer_of};
use graven_tests::oracle::ask;
use graven_tests::refusal::{Stop, assert_stopped};
use graven_tests::tampering::broken_links;
use graven_tests::token::Token;
use graven_tests::{fit, image, inputs};
use serde_json::Value;

/// `recipes/minimal` as a FIT, and who signed it.
struct Signed {
    folder: tempfile::TempDir,
    kind: Kind,
    keys: PathBuf,
}

impl Signed {
    fn new(kind: Kind) -> Self {
        let folder = image::folder();
        let keys = new_keys(kind, &folder.path().join("keys"));
        Self { folder, kind, keys }
    }

    fn by(kind: Kind) -> Self {
        let signed = Self::new(kind);
        fit::build_with(&signed.keys, &signed.out(), &signed.kernel());
        signed
    }

    /// The kernel with this very certificate.
    fn kernel(&self) -> [String; 3] {
        fit::base_trusting(&fit::certificate(&self.keys, "policy"), self.folder.path())
    }

    /// The same, with every key in a token.
    fn by_token(kind: Kind) -> Self {
        let signed = Self::new(kind);
        inputs::fit();
        let keys = signed.folder.path().join("elsewhere");
        fs::create_dir(&keys).expect("a folder");
        let [fit, policy] = ["fit", "policy"].map(|role| {
            fs::copy(signed.keys.join(format!("{role}.crt")), keys.join(format!("{role}.crt")))
                .expect("a file");
            fs::write(keys.join(format!("{role}.signer")), Token::uri(role)).expect("a file");
            signed.keys.join(format!("{role}.key"))
        });
        let token = Token::new(signed.folder.path(), &[("fit", &fit), ("policy", &policy)]);
        let mut command = Command::new(image::graven());
        command
            .arg("build")
            .arg(inputs::project().join("recipes/minimal"))
            .args(["--target", "qemu-arm64-fit"]);
        command.args(signed.kernel().iter().flat_map(|set| ["--set", set]));
        command.arg("--keys").arg(&keys).arg("--out").arg(signed.out());
        let built = token.known_to(&mut command).output().expect("graven can be started");
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        signed
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    fn trust(&self) -> Vec<String> {
        fit::trust(&self.keys)
    }

    /// Every link holds but the U-Boot's, which is not on the disk.
    fn is_proved(&self) {
        let out = self.out().display().to_string();
        let trust = self.trust();
        let words = ["verify", &out, "--json"].into_iter().chain(trust.iter().map(String::as_str));
        let output = image::run(words);
        let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
        let links = report["links"].as_array().expect("the report lists links");
        let open: Vec<&Value> = links.iter().filter(|link| link["state"] != "ok").collect();
        assert!(links.len() > 20, "{report:#}");
        assert!(
            open.len() == 1 && open[0]["name"] == "u-boot" && open[0]["state"] == "unproved",
            "{open:#?}"
        );
    }

    /// No key, only the signatures that are there.
    fn is_built_again(&self) {
        let recipe = inputs::project().join("recipes/minimal").display().to_string();
        let again = ask(image::graven(), ["rebuild", &self.out().display().to_string(), "--recipe", &recipe]);
        assert!(again.good && again.text.contains("the same byte for byte"), "{}", again.text);
    }

    fn boots(&self) {
        fit::boots_enforced(&fit::machine_trusting(&self.out().join(DISK), &self.keys));
    }

    /// A change under a good signature of the FIT: stage0 says why the kernel takes it not, and the proof which link it breaks.
    fn is_stopped(&self, by: Code, errno: &str, link: &str, change: impl FnOnce(&Forgery)) {
        let image = Forgery::of(&self.out());
        change(&image);
        let log = assert_stopped(&fit::machine_trusting(image.path(), &self.keys), Stop::Stage0(by));
        assert!(log.contains(errno), "{}: the console says {errno}:\n{log}", self.kind);
        let trust = self.trust();
        let trust: Vec<&str> = trust.iter().map(String::as_str).collect();
        assert_eq!(broken_links(image.path(), &trust), (vec![link.to_owned()], Some(1)));
    }

    /// Keys of somebody else, of the same kind.
    fn strangers_keys(&self) -> PathBuf {
        new_keys(self.kind, &self.folder.path().join("stranger"))
    }
}

fn new_keys(kind: Kind, keys: &Path) -> PathBuf {
    let algorithm = format!("policy={kind}");
    let words = [Path::new("keys"), Path::new("new"), keys, Path::new("--algorithm"), Path::new(&algorithm)];
    let made = image::run(words);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    keys.to_owned()
}

/// A message with one bit of its signature changed.
fn flipped(message: &[u8]) -> Vec<u8> {
    let signature = SignedData::parse(message).expect("of ours").signature().to_vec();
    let at = message.windows(signature.len()).position(|window| window == signature).expect("it is inside");
    let mut message = message.to_vec();
    message[at + signature.len() / 4] ^= 1;
    message
}

fn root_hash_of(image: &Forgery) -> String {
    image.boot_parts().binding().root_hash.to_string()
}

fn holds_from_end_to_end(kind: Kind) {
    let signed = Signed::by(kind);
    signed.is_proved();
    signed.is_built_again();
    signed.boots();

    let fit_key = signer_of(&signed.keys, "fit");
    let stranger = signer_of(&signed.strangers_keys(), "policy");
    let policy = fs::read_to_string(signed.out().join("policy.pol")).expect("the policy");
    signed.is_stopped(Code::PolicyRefused, "EKEYREJECTED", "policy-signature", |image| {
        image.sign_boot_again(&fit_key, |boot| boot.set_policy(flipped(&boot.policy())));
    });
    signed.is_stopped(Code::PolicyRefused, "ENOKEY", "policy-signature", |image| {
        image.sign_boot_again(&fit_key, |boot| boot.sign_policy(&policy, &stranger));
    });
    signed.is_stopped(Code::RootSignatureRefused, "EKEYREJECTED", "root-signature", |image| {
        let own: &dyn Signer = &signer_of(&signed.keys, "policy");
        image.put_signature(&root_hash_of(image), &flipped(&image.signature()), own);
    });
    signed.is_stopped(Code::RootSignatureRefused, "ENOKEY", "root-signature", |image| {
        image.sign_root_hash(&root_hash_of(image), &stranger);
    });
}

#[test]
fn ecdsa_on_p256_holds_from_end_to_end() {
    holds_from_end_to_end(Kind::EcdsaP256);
}

#[test]
fn ecdsa_on_p384_holds_from_end_to_end() {
    holds_from_end_to_end(Kind::EcdsaP384);
}

/// A token draws a random number for each signature: no two are the same, and an image is built again with those that it has.
#[test]
fn ecdsa_in_a_token_is_another_each_time_and_holds() {
    let [one, other] = [Signed::by_token(Kind::EcdsaP256), Signed::by_token(Kind::EcdsaP256)];
    one.is_proved();
    one.is_built_again();
    one.boots();
    let [ones, others] = [&one, &other].map(|signed| image::outputs(&signed.out()));
    assert_eq!(ones["policy.pol"], others["policy.pol"]);
    assert_ne!(ones["policy.p7b"], others["policy.p7b"]);
    assert_ne!(ones["root.p7s"], others["root.p7s"]);
}
