//! An image whose signer nobody trusts by itself: firmware and kernel know a root alone, and the signatures bring the way to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use graven_boot::pkcs7::{self, SignedData};
use graven_boot::sign::{ChainedSigner, FileSigner, Signer};
use graven_boot::x509::Certificate;
use graven_tests::guest::Guest;
use graven_tests::judge::{Judged, judge_trusting};
use graven_tests::oracle::content;
use graven_tests::{forge, image, inputs};

/// A firm's root, an intermediate by it, and a signer's by that, made by openssl.
struct Firm {
    folder: tempfile::TempDir,
}

impl Firm {
    fn new() -> Self {
        let firm = Self { folder: image::folder() };
        let issuer = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign";
        firm.issue("root", None, issuer);
        firm.issue("issuing", Some("root"), issuer);
        firm.issue("db", Some("issuing"), "keyUsage=critical,digitalSignature\nextendedKeyUsage=codeSigning");
        firm
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn issue(&self, name: &str, by: Option<&str>, extensions: &str) {
        let file = |name: &str| self.path(name).display().to_string();
        let [key, crt, csr, ext] =
            ["key", "crt", "csr", "ext"].map(|ending| file(&format!("{name}.{ending}")));
        let identifiers = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid";
        fs::write(&ext, format!("{extensions}\n{identifiers}\n")).expect("a file");
        let subject = format!("/CN=Firm {name}");
        content(
            "openssl",
            ["req", "-newkey", "rsa:2048", "-nodes", "-subj", &subject, "-keyout", &key, "-out", &csr],
        );
        let words = ["x509", "-req", "-in", &csr, "-days", "3650", "-out", &crt, "-extfile", &ext];
        match by.map(|by| [format!("{by}.crt"), format!("{by}.key")].map(|name| file(&name))) {
            Some([issuer, key]) => {
                content(
                    "openssl",
                    words.iter().copied().chain(["-CA", &issuer, "-CAkey", &key, "-CAcreateserial"]),
                );
            }
            None => {
                content("openssl", words.iter().copied().chain(["-signkey", &key]));
            }
        }
    }

    fn certificate(&self, name: &str) -> Certificate {
        let pem = fs::read(self.path(&format!("{name}.crt"))).expect("a certificate");
        Certificate::read_all(&pem).expect("it is one").remove(0)
    }

    /// A folder of keys for `graven build`: the signer's key, and its certificate with the issuers behind it.
    fn keys(&self) -> PathBuf {
        let keys = self.path("keys");
        fs::create_dir(&keys).expect("a folder");
        fs::copy(self.path("db.key"), keys.join("db.key")).expect("a key");
        let chain = ["db", "issuing", "root"].map(|name| self.certificate(name).to_pem()).concat();
        fs::write(keys.join("db.crt"), chain).expect("a file");
        keys
    }

    /// What a machine is told to trust: a folder whose db.crt is the root.
    fn anchors(&self) -> PathBuf {
        let anchors = self.path("anchors");
        fs::create_dir(&anchors).expect("a folder");
        fs::copy(self.path("root.crt"), anchors.join("db.crt")).expect("a file");
        anchors
    }
}

#[test]
fn an_image_signed_by_way_of_an_intermediate_is_proved_and_booted_with_the_root_alone() {
    let firm = Firm::new();
    let (keys, anchors) = (firm.keys(), firm.anchors());
    let out = firm.path("out");
    let built = image::try_build(&inputs::project().join("recipes/minimal"), &out, &keys, &[]);
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let verify = |trust: &Path| image::run([Path::new("verify"), &out, Path::new("--trust"), trust]);
    let proved = verify(&anchors.join("db.crt"));
    let said = String::from_utf8_lossy(&proved.stdout).into_owned();
    assert!(proved.status.success(), "{said}");
    assert!(said.contains("signer    «CN=Firm root»"), "{said}");
    assert!(verify(&firm.path("issuing.crt")).status.success(), "the intermediate can be trusted, too");
    let refused = verify(&image::keys().join("db.crt"));
    assert_eq!(refused.status.code(), Some(1));

    // Whoever gets the output has the chain with it.
    let chain = fs::read_to_string(keys.join("db.crt")).expect("the chain");
    for name in ["boot.crt", "policy.crt", "root.crt"] {
        assert_eq!(fs::read_to_string(out.join(name)).expect("a certificate"), chain, "{name}");
    }
    let recipe = inputs::project().join("recipes/minimal");
    let again = image::run([Path::new("rebuild"), &out, Path::new("--recipe"), &recipe]);
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    let page = firm.path("report.html");
    let root = anchors.join("db.crt");
    let told =
        image::run([Path::new("inspect"), &out, Path::new("--html"), &page, Path::new("--trust"), &root]);
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let page = fs::read_to_string(&page).expect("the report");
    let all = "<dt>Vouches for</dt><dd>boot-signature, policy-signature, root-signature</dd>";
    assert!(
        page.contains(all) && page.matches("<dt>Stands behind it</dt><dd>CN=Firm root</dd>").count() == 2
    );
    assert!(!page.contains("which proves nothing by it"), "every certificate in it leads to the root");

    // Firmware takes the UKI, the kernel the policy and the root hash.
    if cfg!(feature = "full") {
        Guest::reach(&image::machine_trusting(&out, &anchors), "minimal: up").0.stop();
    }
}

#[test]
fn the_verbs_that_sign_one_thing_take_a_chain_as_a_build_does() {
    let firm = Firm::new();
    let keys = firm.keys();
    let (key, chain) = (keys.join("db.key"), keys.join("db.crt"));
    let sign = |words: [&str; 2], from: &Path, to: &Path, certificate: &Path| {
        let words = words.map(Path::new).into_iter().chain([from, to]);
        let done = image::run(words.chain([Path::new("--key"), &key, Path::new("--cert"), certificate]));
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::read(to).expect("what was signed")
    };
    let root = [firm.certificate("root")];
    let (text, signed) = (firm.path("text"), firm.path("signed"));
    let policy = "policy_name=chain policy_version=1.0.0\nDEFAULT action=DENY\n";
    fs::write(&text, policy).expect("a file");
    let message = sign(["policy", "sign"], &text, &signed, &chain);
    assert_eq!(
        pkcs7::verify_policy(&message, &root).expect("it leads to the root").content,
        policy.as_bytes()
    );
    let message = sign(["fsverity", "sign"], &text, &signed, &chain);
    let inside = SignedData::parse(&message).expect("of ours").certificates().to_vec();
    assert_eq!(inside, ["db", "issuing"].map(|name| firm.certificate(name)));

    // stage0 knows the signer's certificate itself: nothing else is in a seed.
    let archive = firm.path("seed.tar");
    let words = ["--format=ustar", "--owner=0", "--group=0", "--numeric-owner", "-C"];
    let folder = firm.path("unit");
    fs::create_dir_all(folder.join("etc")).expect("a folder");
    let archive_name = archive.display().to_string();
    content("tar", words.into_iter().chain([&*folder.display().to_string(), "-cf", &archive_name, "."]));
    let seed = sign(["provision", "sign"], &archive, &signed, &chain);
    assert_eq!(seed, sign(["provision", "sign"], &archive, &firm.path("alone"), &firm.path("db.crt")));
}

/// What the kernel needs inside a message to find a root that it trusts; and that it takes ECDSA.
#[test]
#[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
fn the_kernel_follows_the_certificates_inside_and_nothing_else() {
    let text = b"policy_name=chain policy_version=1.0.0\nDEFAULT action=DENY\n";
    let firm = Firm::new();
    let signer = || FileSigner::load(&firm.path("db.key"), &firm.path("db.crt")).expect("a pair");
    let sign = |signer: &dyn Signer| forge::signed(pkcs7::sign_policy(text, signer));
    let chained = |issuers| sign(&ChainedSigner::new(Arc::new(signer()), issuers));

    let curves = firm.path("curves");
    let made = image::run([
        Path::new("keys"),
        Path::new("new"),
        &curves,
        Path::new("--algorithm"),
        Path::new("policy=ecdsa-p256"),
    ]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let p384 = firm.path("p384");
    let made = image::run([
        Path::new("keys"),
        Path::new("new"),
        &p384,
        Path::new("--algorithm"),
        Path::new("policy=ecdsa-p384"),
    ]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (p256, p384) = (forge::signer_of(&curves, "policy"), forge::signer_of(&p384, "policy"));

    let trusted = [firm.certificate("root"), p256.certificate().clone(), p384.certificate().clone()];
    let whole = chained(vec![firm.certificate("issuing")]);
    let policies = [whole, chained(Vec::new()), sign(&signer()), sign(&p256), sign(&p384)];
    let taken = || Judged::Accepted { name: "chain".to_owned(), version: "1.0.0".to_owned() };
    let unknown = || Judged::Refused("ENOKEY".to_owned());
    assert_eq!(judge_trusting(&policies, &trusted), [taken(), unknown(), unknown(), taken(), taken()]);
}
