//! A build whose keys are elsewhere: it stops, someone signs, it goes on, and the image is the one it would have been.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use graven_boot::pkcs7;
use graven_boot::sign::ProgramSigner;
use graven_tests::archive::Archive;
use graven_tests::guest::Guest;
use graven_tests::oracle::content;
use graven_tests::token::{MODULE, PIN, Token};
use graven_tests::{forge, image, inputs};
use graven_verify::read_certificates;
use serde_json::Value;

/// Where a firm's own signer stands: it knows the list's fields and openssl, and nothing of ours.
struct Desk {
    _scratch: tempfile::TempDir,
    certificates: PathBuf,
    out: PathBuf,
    pending: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let scratch = image::folder();
        let certificates = scratch.path().join("certificates");
        fs::create_dir(&certificates).expect("a folder");
        fs::copy(image::keys().join("db.crt"), certificates.join("db.crt")).expect("the certificate");
        let (out, pending) = (scratch.path().join("out"), scratch.path().join("out.pending"));
        Self { _scratch: scratch, certificates, out, pending }
    }

    /// `graven attach`, with words behind it.
    fn attach(&self, more: &[&Path]) -> Output {
        let words = [Path::new("attach"), &self.pending];
        image::run(words.into_iter().chain(more.iter().copied()))
    }

    /// Attaches what must be refused with exit status 1, and loses nothing; what it said.
    fn refuses(&self, why: &str) -> String {
        let before = image::outputs(&self.pending);
        let output = self.attach(&[]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{why}: {words}");
        assert!(!self.out.exists(), "{why}: nothing lies under the final name");
        assert_eq!(image::outputs(&self.pending), before, "{why}: nothing is lost");
        words
    }

    fn build(&self) -> Output {
        image::try_build(&inputs::project().join("recipes/minimal"), &self.out, &self.certificates, &[])
    }

    /// Builds, which must stop for these signatures and leave nothing that looks like an image.
    fn stops_for(&self, purposes: &[&str]) -> Vec<Value> {
        let output = self.build();
        self.stopped_for(purposes, &output)
    }

    /// The requests of a build that stopped for these signatures.
    fn stopped_for(&self, purposes: &[&str], output: &Output) -> Vec<Value> {
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{words}");
        assert!(words.contains("to-sign.json"), "the user is told what to sign: {words}");
        assert!(!self.out.exists(), "nothing lies under the final name");
        assert!(!self.out.with_file_name(".out.building").exists(), "nothing is left lying about");
        let list = fs::read_to_string(self.pending.join("to-sign.json")).expect("the list of requests");
        let list: Value = serde_json::from_str(&list).expect("it is JSON");
        let requests = list["requests"].as_array().expect("requests").clone();
        let mut asked: Vec<_> = requests.iter().map(|request| field(request, "purpose")).collect();
        asked.sort_unstable();
        assert_eq!(asked, purposes);
        requests
    }

    fn answer(&self, request: &Value) -> PathBuf {
        self.pending.join(format!("{}.sig", field(request, "id")))
    }

    /// Signs the message itself.
    fn sign_message(&self, key: &Path, request: &Value) {
        let (text, message) = (self.pending.join("message.b64"), self.pending.join("message"));
        fs::write(&text, field(request, "to-be-signed")).expect("a file");
        let (text, message, answer) = (path(&text), path(&message), self.answer(request));
        content("openssl", ["base64", "-d", "-A", "-in", text, "-out", message]);
        content("openssl", ["dgst", "-sha256", "-sign", path(key), "-out", path(&answer), message]);
    }

    /// Signs the digest alone, as a hardware key is given it.
    fn sign_digest(&self, key: &Path, request: &Value) {
        let (answer, file) = (self.answer(request), self.pending.join("digest"));
        let digits = field(request, "digest");
        let bytes: Vec<u8> = (0..digits.len() / 2)
            .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).expect("hexadecimal digits"))
            .collect();
        fs::write(&file, bytes).expect("a file");
        let options = ["-pkeyopt", "digest:sha256", "-pkeyopt", "rsa_padding_mode:pkcs1"];
        let files = ["pkeyutl", "-sign", "-inkey", path(key), "-in", path(&file), "-out", path(&answer)];
        content("openssl", files.iter().chain(&options));
    }
}

fn field<'v>(request: &'v Value, name: &str) -> &'v str {
    request[name].as_str().unwrap_or_else(|| panic!("a request has a field {name}: {request}"))
}

fn path(path: &Path) -> &str {
    path.to_str().expect("plain names")
}

#[test]
fn a_build_that_was_signed_elsewhere_equals_the_one_signed_in_place() {
    let desk = Desk::new();
    let key = image::keys().join("db.key");
    for request in desk.stops_for(&["policy", "root"]) {
        assert_eq!(field(&request, "algorithm"), "rsa-pkcs1-sha256");
        desk.sign_message(&key, &request);
    }
    for request in desk.stops_for(&["boot"]) {
        desk.sign_digest(&key, &request);
    }
    let output = desk.build();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    image::assert_same_outputs(image::minimal(), &desk.out);
}

/// Someone with openssl alone, in a folder to which what is to be signed was carried: the messages or their digests.
fn sign_in(safe: &Path, pending: &Path, key: &Path) {
    fs::create_dir(safe).expect("a folder");
    for entry in fs::read_dir(pending).expect("the requests").flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "tbs" || ending == "digest") {
            fs::copy(entry.path(), safe.join(entry.file_name())).expect("it can be carried");
        }
    }
    let sign = "for f in *.tbs; do openssl dgst -sha256 -sign \"$1\" -out ${f%.tbs}.sig $f; done
        for f in *.digest; do
            openssl pkeyutl -sign -inkey \"$1\" -pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pkcs1 -in $f -out again
            cmp again ${f%.digest}.sig
        done";
    let done = std::process::Command::new("sh")
        .args(["-eu", "-c", sign, "sh"])
        .arg(key)
        .current_dir(safe)
        .output()
        .expect("sh can be started");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn answers_that_are_attached_make_the_image_signed_in_place() {
    let desk = Desk::new();
    let (first, second) = (desk.pending.with_file_name("safe-1"), desk.pending.with_file_name("safe-2"));
    desk.stops_for(&["policy", "root"]);
    let list: Vec<String> = image::outputs(&desk.pending).into_keys().collect();
    let travels =
        |name: &String| name == "to-sign.json" || name.ends_with(".tbs") || name.ends_with(".digest");
    assert!(list.iter().all(travels), "requests alone travel: {list:?}");
    let other = "{\"format\": 1, \"build\": [\"/another/recipe\"], \"answered\": []}";
    for name in ["build.json", "out.pending.build.json"] {
        fs::write(desk.pending.join(name), other).expect("a file that came back from there");
    }
    sign_in(&first, &desk.pending, &image::keys().join("db.key"));
    let output = desk.attach(&[Path::new("--answers"), &first]);
    desk.stopped_for(&["boot"], &output);
    sign_in(&second, &desk.pending, &image::keys().join("db.key"));
    let output = desk.attach(&[Path::new("--answers"), &second]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    image::assert_same_outputs(image::minimal(), &desk.out);
    let listed = image::outputs(&desk.pending);
    assert!(!listed.keys().any(|name| name.ends_with(".key")), "no key lies there: {:?}", listed.keys());

    if cfg!(feature = "full") {
        Guest::reach(&image::machine(&desk.out), "minimal: up").0.stop();
    }
}

#[test]
fn answers_that_are_missing_wrong_swapped_or_stale_are_refused_and_named() {
    let desk = Desk::new();
    let requests = desk.stops_for(&["policy", "root"]);
    let (one, other) = (&requests[0], &requests[1]);
    let (db, stranger) = (image::keys().join("db.key"), image::strangers_keys().join("db.key"));
    let named = |words: &str, request: &Value, how: &str| {
        let (id, purpose) = (field(request, "id"), field(request, "purpose"));
        let request = format!("request {id} ({purpose})");
        assert!(words.lines().any(|line| line.contains(&request) && line.contains(how)), "{how}: {words}");
    };

    let words = desk.refuses("nothing is answered");
    named(&words, one, "is missing");
    named(&words, other, "is missing");

    desk.sign_message(&db, one);
    let words = desk.refuses("one answer of two");
    named(&words, other, "is missing");
    assert_eq!(words.lines().count(), 1, "{words}");

    desk.sign_message(&stranger, other);
    named(&desk.refuses("a stranger's key"), other, "is not the one of the RSA-2048");

    desk.sign_message(&db, other);
    let swap = desk.pending.join("swap");
    fs::rename(desk.answer(one), &swap).expect("a file");
    fs::rename(desk.answer(other), desk.answer(one)).expect("a file");
    fs::rename(&swap, desk.answer(other)).expect("a file");
    let words = desk.refuses("each in the other's place");
    named(&words, one, &format!("it is the answer to request {}", field(other, "id")));
    named(&words, other, &format!("it is the answer to request {}", field(one, "id")));

    desk.sign_message(&db, one);
    desk.sign_message(&db, other);
    let stale = desk.pending.join(format!("{}.sig", "5".repeat(64)));
    fs::copy(desk.answer(one), &stale).expect("a file");
    let words = desk.refuses("the answer to an earlier list");
    assert!(words.contains(path(&stale)) && words.contains("answers nothing that is asked for"), "{words}");
    fs::remove_file(&stale).expect("it is there");

    desk.stopped_for(&["boot"], &desk.attach(&[]));
    let words = desk.refuses("the second round is not answered");
    assert!(words.contains("(boot)") && words.lines().count() == 1, "{words}");
}

#[test]
fn a_recipe_that_changed_between_the_rounds_is_refused() {
    let desk = Desk::new();
    let recipe = desk.certificates.with_file_name("recipe");
    fs::create_dir(&recipe).expect("a folder");
    let minimal = inputs::project().join("recipes/minimal/recipe.toml");
    let write = |text: &str| {
        fs::write(recipe.join("recipe.toml"), format!("inherit = [{minimal:?}]\n{text}")).expect("a file");
    };
    write("");
    let asked =
        desk.stopped_for(&["policy", "root"], &image::try_build(&recipe, &desk.out, &desk.certificates, &[]));
    let sign = |requests: &[Value]| {
        requests.iter().for_each(|request| desk.sign_message(&image::keys().join("db.key"), request));
    };
    sign(&asked);
    write("files.\"/etc/new\" = { text = \"new\" }\n");
    let words = desk.refuses("another file in the root");
    assert!(words.contains("has changed since"), "{words}");
    assert!(asked.iter().any(|request| words.contains(field(request, "digest"))), "{words}");

    write("");
    desk.stopped_for(&["boot"], &desk.attach(&[]));
}

/// What is built is recipe, `--set` and `SOURCE_DATE_EPOCH` of the first round, with the lock that was resolved for them.
#[test]
#[cfg_attr(not(feature = "full"), ignore = "six builds: feature `full`")]
fn a_build_goes_on_with_the_packages_and_the_time_that_it_began_with() {
    let desk = Desk::new();
    let recipe = desk.certificates.with_file_name("recipe");
    let mut archive = Archive::new();
    archive.package("hello", "1", "Depends: greet\n", &[("usr/bin/hello", "hello\n")]);
    archive.package("greet", "1", "", &[("usr/lib/greet", "greet\n")]);
    archive.publish("yesterday");
    fs::create_dir(&recipe).expect("a folder");
    fs::write(recipe.join("recipe.toml"), archive.recipe("more", "install = [\"greet\"]\n", ""))
        .expect("a file");
    let build = |keys: &Path, out: &Path| {
        let words =
            ["--set", "packages.install=[\"hello\"]", "--check", "--keys", path(keys), "--out", path(out)];
        let mut command = Command::new(image::graven());
        command.arg("build").arg(&recipe).args(words).env("SOURCE_DATE_EPOCH", "1700000000");
        command.output().expect("graven can be started")
    };
    let twice = |output: &Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8_lossy(&output.stdout).contains("built twice"));
    };
    let in_place = desk.out.with_file_name("in-place");
    twice(&build(image::keys(), &in_place));
    let lock = fs::read_to_string(recipe.join("graven.lock")).expect("it is written");
    assert!(!lock.contains("hello"), "what --set asks is locked for this run alone: {lock}");

    let key = image::keys().join("db.key");
    let sign = |requests: &[Value]| requests.iter().for_each(|request| desk.sign_message(&key, request));
    sign(&desk.stopped_for(&["policy", "root"], &build(&desk.certificates, &desk.out)));
    sign(&desk.stopped_for(&["boot"], &desk.attach(&[])));
    twice(&desk.attach(&[]));
    image::assert_same_outputs(&in_place, &desk.out);
    let manifest = fs::read_to_string(desk.out.join("manifest.json")).expect("a manifest");
    let manifest: Value = serde_json::from_str(&manifest).expect("it is JSON");
    assert_eq!(manifest["source_date"].as_i64(), Some(1_700_000_000));
}

#[test]
fn attach_wants_a_folder_that_a_build_left() {
    let folder = image::folder();
    let output = image::run([Path::new("attach"), folder.path()]);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("build.json") && words.contains("a waiting graven build left"), "{words}");
}

#[test]
fn a_wrong_answer_is_refused_and_named() {
    let desk = Desk::new();
    let requests = desk.stops_for(&["policy", "root"]);
    let refused = |why: &str, wrong: &Value| {
        let output = desk.build();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{why}: {words}");
        let (id, purpose) = (field(wrong, "id"), field(wrong, "purpose"));
        assert_eq!(words.lines().count(), 1, "{why}: one line: {words}");
        assert!(words.contains(id) && words.contains(purpose), "{why}: the answer is named: {words}");
        assert!(!desk.out.exists(), "{why}: nothing lies under the final name");
    };
    let (one, other) = (&requests[0], &requests[1]);

    desk.sign_message(&image::strangers_keys().join("db.key"), one);
    refused("a stranger's key", one);

    desk.sign_message(&image::keys().join("db.key"), one);
    fs::copy(desk.answer(one), desk.answer(other)).expect("a file");
    refused("the answer to another request", other);

    desk.sign_message(&image::keys().join("db.key"), other);
    let whole = fs::read(desk.answer(one)).expect("an answer");
    fs::write(desk.answer(one), &whole[..whole.len() - 1]).expect("a file");
    refused("a truncated answer", one);

    fs::write(desk.answer(one), whole).expect("a file");
    for request in desk.stops_for(&["boot"]) {
        fs::write(desk.answer(&request), []).expect("a file");
        refused("an empty answer", &request);
    }
}

/// The example that lies beside the documentation.
fn example() -> PathBuf {
    inputs::project().join("docs/signers/openssl.sh")
}

#[test]
fn a_program_signs_the_whole_image_and_no_key_lies_in_the_folder() {
    let desk = Desk::new();
    let stated = desk.certificates.join("db.signer");
    let says = |line: &str| fs::write(&stated, line).expect("a file");
    says(&format!("# Who signs.\nexec:{} {}\n", path(&example()), path(&image::keys().join("db.key"))));
    let output = desk.build();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    image::assert_same_outputs(image::minimal(), &desk.out);

    fs::remove_dir_all(&desk.out).expect("it is there");
    for (line, status, words) in [
        (format!("exec:{} /no/such/key", path(&example())), 3, "asked to sign for"),
        (
            format!("exec:{} {}", path(&example()), path(&image::strangers_keys().join("db.key"))),
            3,
            "asked to sign for",
        ),
        ("exec:./absent".to_owned(), 3, "absent"),
        ("exec:".to_owned(), 2, "expected exec:PROGRAM ARGUMENTS or a pkcs11: URI"),
        ("kms:key".to_owned(), 2, "expected exec:PROGRAM ARGUMENTS or a pkcs11: URI"),
        (String::new(), 2, "expected one line"),
    ] {
        says(&line);
        let output = desk.build();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{line}: {said}");
        assert!(said.contains(words), "{line}: {said}");
        assert!(!desk.out.exists(), "{line}: nothing lies under the final name");
    }
    says("exec:true");
    fs::copy(image::keys().join("db.key"), desk.certificates.join("db.key")).expect("a file");
    let output = desk.build();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains("db.key lies beside it"), "{said}");
}

/// Stands for `aws kms sign`: the key's id is a file.
const AWS: &str = r#"#!/bin/sh
set -eu
[ "$1 $2 $3 $5 $7 $8 $9" = "kms sign --key-id --message --message-type DIGEST --signing-algorithm" ]
[ "${11} ${12} ${13} ${14}" = "--query Signature --output text" ]
case ${10} in
  RSASSA_PKCS1_V1_5_SHA_256) how="-pkeyopt digest:sha256 -pkeyopt rsa_padding_mode:pkcs1" ;;
  ECDSA_SHA_256 | ECDSA_SHA_384) how= ;;
esac
openssl pkeyutl -sign -inkey "$4" -in "${6#fileb://}" $how | base64 -w 0
"#;
/// Stands for `gcloud kms asymmetric-sign`, likewise.
const GCLOUD: &str = r#"#!/bin/sh
set -eu
[ "$1 $2 $3 $5 $7 $9" = "kms asymmetric-sign --version --digest-algorithm --input-file --signature-file" ]
openssl dgst "-$6" -sign "$4" -out "${10}" "$8"
"#;

#[test]
fn each_example_of_a_signer_signs_with_rsa_and_ecdsa() {
    let folder = image::folder();
    let program = |name: &str, text: &str| {
        let program = folder.path().join(name);
        fs::write(&program, text).expect("a file");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("it may be run");
        program
    };
    program("aws", AWS);
    program("gcloud", GCLOUD);
    let kinds = ["rsa:2048", "ec -pkeyopt ec_paramgen_curve:P-256", "ec -pkeyopt ec_paramgen_curve:P-384"];
    for kind in kinds {
        let (key, crt) = (folder.path().join("key"), folder.path().join("crt"));
        let made = format!(
            "req -x509 -nodes -subj /CN=kms -newkey {kind} -keyout {} -out {}",
            path(&key),
            path(&crt)
        );
        content("openssl", made.split(' '));
        let certificate = read_certificates(&crt).expect("it is one").remove(0);
        for example in ["aws-kms.sh", "google-kms.sh", "openssl.sh"] {
            let example = inputs::project().join("docs/signers").join(example);
            let asked =
                format!("#!/bin/sh\nPATH={}:$PATH exec {} \"$@\"\n", path(folder.path()), path(&example));
            let signer = ProgramSigner::new(certificate.clone(), program("asked", &asked), [&key]);
            let policy =
                forge::signed(pkcs7::sign_policy(b"policy_name=kms policy_version=1.0.0\n", &signer));
            let trusted = std::slice::from_ref(&certificate);
            assert!(pkcs7::verify_policy(&policy, trusted).is_ok(), "{} with {kind}", example.display());
        }
    }
}

#[test]
fn a_token_signs_the_whole_image_and_it_is_the_one_signed_by_files() {
    let desk = Desk::new();
    let folder = desk.certificates.parent().expect("it lies in one").to_owned();
    let token = Token::new(&folder, &[("db", &image::keys().join("db.key"))]);
    let pin = folder.join("pin");
    fs::write(&pin, format!("{PIN}\n")).expect("a file");
    let build = |uri: &str| {
        fs::write(desk.certificates.join("db.signer"), format!("{uri}\n")).expect("a file");
        let mut command = Command::new(image::graven());
        command.arg("build").arg(inputs::project().join("recipes/minimal"));
        command
            .args(["--target", "qemu-x86_64", "--keys"])
            .arg(&desk.certificates)
            .arg("--out")
            .arg(&desk.out);
        let command = token.known_to(&mut command).env("WRONG_PIN", "0000");
        command.output().expect("graven can be started")
    };
    let module = MODULE;
    let from_file =
        format!("pkcs11:token=acme;object=db?module-path={module}&pin-source=file:{}", pin.display());
    let output = build(&from_file);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    image::assert_same_outputs(image::minimal(), &desk.out);
    fs::remove_dir_all(&desk.out).expect("it is there");

    for (uri, status, words) in [
        (format!("pkcs11:token=acme;id=%01?module-path={module}&pin-source=env:WRONG_PIN"), 3, "logging in"),
        (
            format!("pkcs11:token=acme;object=other?module-path={module}&pin-source=env:ACME_PIN"),
            3,
            "0 private keys",
        ),
        (format!("pkcs11:token=other?module-path={module}&pin-source=env:ACME_PIN"), 3, "0 tokens fit"),
        (format!("pkcs11:token=acme?module-path={module}&pin-source=env:NO_SUCH"), 3, "NO_SUCH"),
        ("pkcs11:token=acme?module-path=/no/such.so".to_owned(), 3, "/no/such.so"),
        (
            format!("pkcs11:token=acme?module-path={module}&pin-value={PIN}"),
            2,
            "would leave the PIN in a file",
        ),
    ] {
        let output = build(&uri);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{uri}: {said}");
        assert!(said.contains(words), "{uri}: {said}");
        assert!(!said.contains(PIN) || status == 2, "{uri}: the PIN is nobody's to read: {said}");
        assert!(!desk.out.exists(), "{uri}: nothing lies under the final name");
    }
    // Another key's certificate.
    fs::copy(image::strangers_keys().join("db.crt"), desk.certificates.join("db.crt")).expect("a file");
    let output = build(&from_file);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(3) && said.contains("its key is not the certificate's"), "{said}");
}
