//! What is believed: only what the right key signed, in time, for this suite.

use super::archive::{NOW, Signer, paragraph};
use super::server::Answer;
use super::{Bench, kept, published};
use graven_sources::debian::Error;

const IN_RELEASE: &str = "/dists/one/InRelease";

fn sound() -> (Bench, super::Suite) {
    published(&paragraph("aa", "1", "", b"deb"))
}

/// What is said of an archive that must not be believed; nothing of it was kept.
fn refusal(bench: &Bench) -> (Error, String) {
    let error = bench.universe().expect_err("it must be refused");
    let kept = kept(bench.folder.path().join("store").as_path());
    assert!(kept.is_empty(), "{kept:?}");
    let words = error.to_string();
    assert!(!words.contains('\n'), "{words}");
    (error, words.replace(&bench.server.url(), "URL"))
}

#[test]
fn a_sound_archive_is_believed() {
    let (bench, _) = sound();
    let opened = bench.open_at(NOW, Some(NOW - 43_200)).unwrap();
    assert_eq!((opened.release.date, opened.release.priority), (NOW - 43_200, 500));
    assert_eq!(bench.universe().unwrap().names().collect::<Vec<_>>(), ["aa"]);
    assert_eq!(kept(&bench.folder.path().join("store")).len(), 1);
}

#[test]
fn debians_own_signature_is_believed() {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let cache =
        cache.unwrap_or_else(|| std::path::Path::new(&std::env::var_os("HOME").unwrap()).join(".cache"));
    let lists = cache.join("graven/apt/state/lists");
    let is_wanted = |name: &str| name.ends_with("_trixie_InRelease");
    let entries = std::fs::read_dir(&lists)
        .unwrap_or_else(|error| panic!("{}: {error}; run tests/setup.sh", lists.display()));
    let file = entries.flatten().map(|entry| entry.path()).find(|path| is_wanted(&path.to_string_lossy()));
    let bytes = std::fs::read(file.expect("apt has read trixie")).unwrap();

    let mirror = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(mirror.path().join("dists/trixie")).unwrap();
    std::fs::write(mirror.path().join("dists/trixie/InRelease"), &bytes).unwrap();
    let open = |now| {
        graven_sources::debian::Repository {
            url: format!("file://{}", mirror.path().display()),
            suite: "trixie".to_owned(),
            components: vec!["main".to_owned()],
            keyring: graven_sources::debian::Keyring::read(
                "/usr/share/keyrings/debian-archive-keyring.gpg".as_ref(),
            )
            .unwrap(),
        }
        .open(&super::network(), now, None)
    };
    // Its own date is a good "now".
    let date = match open(NOW) {
        Ok(opened) => opened.release.date,
        Err(Error::NotYet { date, .. }) => date,
        Err(Error::Signature { problem, .. }) if problem.contains("future") => 1_795_252_544,
        Err(error) => panic!("{error}"),
    };
    let opened = open(date).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(opened.release.codename.as_deref(), Some("trixie"));
    // One changed byte, and it is no longer.
    let at = bytes.windows(8).position(|window| window == b"Suite: s").unwrap();
    let mut forged = bytes;
    forged[at + 7] = b'S';
    std::fs::write(mirror.path().join("dists/trixie/InRelease"), &forged).unwrap();
    let error = open(date).expect_err("forged").to_string();
    assert!(error.contains("is not one over this text"), "{error}");
}

#[test]
fn an_unsigned_archive_is_refused() {
    let (bench, suite) = sound();
    bench.server.put(IN_RELEASE, Answer::Bytes(suite.release().into_bytes()));
    let (error, words) = refusal(&bench);
    assert!(matches!(error, Error::Signature { .. }));
    assert_eq!(words, "URL/dists/one/InRelease cannot be trusted: it is not signed");
}

#[test]
fn an_archive_signed_by_a_stranger_is_refused() {
    let (bench, suite) = sound();
    suite.publish(&bench.server, &Signer::new(2));
    let (error, words) = refusal(&bench);
    assert!(matches!(error, Error::Signature { .. }));
    assert!(words.contains("which the keyring has not"), "{words}");
}

#[test]
fn a_text_that_was_changed_after_it_was_signed_is_refused() {
    let (bench, suite) = sound();
    let signed = String::from_utf8(bench.signer.sign(&suite.release())).unwrap();
    for (from, to) in
        [("Origin: Test", "Origin: Text"), ("Suite: one", "Suite:  one"), ("Components: main\n", "")]
    {
        bench.server.put(IN_RELEASE, Answer::Bytes(signed.replace(from, to).into_bytes()));
        let (error, words) = refusal(&bench);
        assert!(matches!(error, Error::Signature { .. }), "{words}");
    }
}

#[test]
fn what_stands_around_the_signed_text_is_not_read() {
    let (bench, suite) = sound();
    let signed = String::from_utf8(bench.signer.sign(&suite.release())).unwrap();
    let evil = format!("Suite: two\nDate: {}\n\n", suite.date);
    let (header, rest) = signed.split_once("\n\n").unwrap();
    for forged in [
        format!("{evil}{signed}"),
        format!("{signed}{evil}"),
        format!("{header}\nComment: x\n\n{rest}"),
        signed.replace("-----BEGIN PGP SIGNATURE-----", &format!("{evil}-----BEGIN PGP SIGNATURE-----")),
    ] {
        bench.server.put(IN_RELEASE, Answer::Bytes(forged.into_bytes()));
        let (error, words) = refusal(&bench);
        assert!(matches!(error, Error::Signature { .. }), "{words}");
    }
}

/// GnuPG, with a home and a clock of its own: midnight before [`NOW`].
struct Gnupg(tempfile::TempDir);

impl Gnupg {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        Self(home)
    }

    fn run(&self, day: &str, arguments: &[&str], input: &str) -> Vec<u8> {
        use std::io::Write;
        use std::process::{Command, Stdio};
        let mut child = Command::new("gpg")
            .args(["--batch", "--quiet", "--no-tty", "--passphrase", "", "--pinentry-mode", "loopback"])
            .args([
                "--homedir",
                self.0.path().to_str().unwrap(),
                "--faked-system-time",
                &format!("{day}T000000!"),
            ])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("gpg does not start ({error}); is it installed?"));
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "gpg {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// Puts its keyring and an archive signed by it in place of the bench's.
    fn publish(&self, bench: &Bench, suite: &super::Suite, options: &[&str]) {
        let signed = self.run("20260101", &[&["--clearsign"], options].concat(), &suite.release());
        bench.server.put(IN_RELEASE, Answer::Bytes(signed));
        std::fs::write(bench.folder.path().join("keyring"), self.run("20260101", &["--export"], "")).unwrap();
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let home = self.0.path().to_str().unwrap_or_default();
        let _ = std::process::Command::new("gpgconf").args(["--homedir", home, "--kill", "all"]).status();
    }
}

#[test]
fn what_gnupg_signs_is_judged_as_gnupg_judges_it() {
    let (bench, suite) = sound();
    for (kind, usage) in [("ed25519", "default"), ("rsa2048", "default"), ("nistp256", "default")] {
        let gnupg = Gnupg::new();
        gnupg.run("20251201", &["--quick-gen-key", "a@example.org", kind, usage, "never"], "");
        gnupg.publish(&bench, &suite, &["--digest-algo", "SHA512"]);
        assert!(bench.universe().is_ok(), "{kind}: {:?}", bench.universe().err());
    }

    // A primary key that certifies only, and a subkey that signs.
    let gnupg = Gnupg::new();
    gnupg.run("20251201", &["--quick-gen-key", "a@example.org", "ed25519", "cert", "never"], "");
    let listed = gnupg.run("20251201", &["--with-colons", "--list-keys"], "");
    let listed = String::from_utf8(listed).unwrap();
    let fingerprint =
        listed.lines().find_map(|line| line.strip_prefix("fpr:")).unwrap().trim_matches(':').to_owned();
    gnupg.run("20251201", &["--quick-add-key", &fingerprint, "ed25519", "sign", "never"], "");
    gnupg.publish(&bench, &suite, &[]);
    let opened = bench.open_at(NOW, None).unwrap_or_else(|error| panic!("{error}"));
    assert_ne!(opened.signed_by.to_uppercase(), fingerprint);
}

#[test]
fn keys_that_are_weak_or_expired_are_refused() {
    let (bench, suite) = sound();
    for (kind, created, lasts, options, says) in [
        (
            "rsa1024",
            "20251201",
            "never",
            ["--digest-algo", "SHA256"],
            "is RSA with 1024 bits, which is too weak",
        ),
        ("ed25519", "20251201", "2025-12-15", ["--digest-algo", "SHA256"], "expired on 2025-12-15"),
        (
            "rsa2048",
            "20251201",
            "never",
            ["--digest-algo", "SHA1"],
            "a signature over SHA1, which can be forged",
        ),
    ] {
        let gnupg = Gnupg::new();
        gnupg.run(created, &["--quick-gen-key", "a@example.org", kind, "default", lasts], "");
        let day = if lasts == "never" { "20260101" } else { "20251210" };
        let signed = gnupg.run(day, &[&["--clearsign"], &options[..]].concat(), &suite.release());
        bench.server.put(IN_RELEASE, Answer::Bytes(signed));
        std::fs::write(bench.folder.path().join("keyring"), gnupg.run(day, &["--export"], "")).unwrap();
        let (_, words) = refusal(&bench);
        assert!(words.contains(says), "{kind}: {words}");
    }
}

#[test]
fn an_expired_archive_is_refused() {
    let (bench, mut suite) = sound();
    suite.more = "Valid-Until: Wed, 31 Dec 2025 23:59:59 UTC\n".to_owned();
    suite.publish(&bench.server, &bench.signer);
    let (error, words) = refusal(&bench);
    assert!(matches!(error, Error::Expired { until: 1_767_225_599, now: NOW, .. }));
    assert!(
        words.starts_with("URL/dists/one/InRelease expired on 2025-12-31 23:59:59 UTC, today is 2026-01-01"),
        "{words}"
    );
}

#[test]
fn an_archive_that_went_back_in_time_is_refused() {
    let (bench, suite) = sound();
    let date = bench.open_at(NOW, None).unwrap().release.date;
    let error = bench.open_at(NOW, Some(date + 1)).expect_err("an older one than was seen");
    assert!(matches!(error, Error::RolledBack { .. }), "{error}");
    let mut older = suite;
    older.date = "Tue, 30 Dec 2025 12:00:00 UTC".to_owned();
    older.publish(&bench.server, &bench.signer);
    let error = bench.open_at(NOW, Some(date)).expect_err("a rolled-back one");
    assert!(error.to_string().contains("the mirror went back in time"), "{error}");
}

#[test]
fn an_archive_from_the_future_is_refused() {
    let (bench, mut suite) = sound();
    suite.date = "Sun, 04 Jan 2026 00:00:00 UTC".to_owned();
    suite.publish(&bench.server, &bench.signer);
    let (error, words) = refusal(&bench);
    assert!(matches!(error, Error::NotYet { .. }), "{words}");
    // And a signature that has not been made yet.
    let error = bench.open_at(NOW - 3 * 86_400, None).expect_err("signed in two days");
    assert!(error.to_string().contains("see to this machine's clock"), "{error}");
}

#[test]
fn another_suite_than_was_asked_for_is_refused() {
    let (bench, mut suite) = sound();
    suite.name = "two".to_owned();
    bench.server.put(IN_RELEASE, Answer::Bytes(bench.signer.sign(&suite.release())));
    let (_, words) = refusal(&bench);
    assert_eq!(words, "URL/dists/one/InRelease: it is the suite two or two, `one` was asked for");
}

#[test]
fn a_suite_that_is_not_there_is_named_with_its_mirror() {
    let bench = Bench::new();
    let (error, words) = refusal(&bench);
    assert!(error.is_usage());
    assert!(words.contains("the mirror URL has no suite `one`"), "{words}");
}
