//! The way from a server into the store: what comes as it should is kept, everything else is refused by name.

use std::io::Write;
use std::sync::Mutex;

use graven_sources::Sha256;
use graven_sources::network::{Meter, NetworkProblem, Unwatched};
use graven_sources::store::Store;

use super::archive::{paragraph, sha256};
use super::server::{Answer, Server};
use super::{kept, network, published};

const PATH: &str = "/pool/a.deb";

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| u8::try_from(at * 7 % 251).unwrap()).collect()
}

struct Bench {
    server: Server,
    folder: tempfile::TempDir,
    meter: Heights,
}

/// The meter's readings.
#[derive(Default)]
struct Heights(Mutex<Vec<u64>>);

impl Meter for Heights {
    fn at(&self, bytes: u64) {
        self.0.lock().unwrap().push(bytes);
    }
}

impl Bench {
    fn new(answer: Answer) -> Self {
        let bench =
            Self { server: Server::start(), folder: tempfile::tempdir().unwrap(), meter: Heights::default() };
        bench.server.put(PATH, answer);
        bench
    }

    fn fetch(&self, wanted: &[u8]) -> Result<Vec<u8>, NetworkProblem> {
        let digest: Sha256 = sha256(wanted).parse().unwrap();
        let url = format!("{}{PATH}", self.server.url());
        let store = Store::new(self.folder.path());
        match store.fetch(&network(), &url, &digest, wanted.len() as u64, &self.meter) {
            Ok(path) => Ok(std::fs::read(path).unwrap()),
            Err(error) => {
                assert!(error.to_string().starts_with(&url), "{error}");
                assert!(!error.to_string().contains('\n'), "{error}");
                Err(error.problem)
            }
        }
    }

    fn kept(&self) -> Vec<String> {
        kept(self.folder.path())
    }
}

#[test]
fn what_came_once_is_not_fetched_again() {
    let wanted = bytes(300_000);
    let bench = Bench::new(Answer::Bytes(wanted.clone()));
    assert_eq!(bench.fetch(&wanted).unwrap(), wanted);
    assert_eq!(bench.meter.0.lock().unwrap().last(), Some(&300_000));
    bench.server.take(PATH);
    assert_eq!(bench.fetch(&wanted).unwrap(), wanted);
    assert_eq!(bench.server.asked(), [PATH]);
    assert_eq!(bench.kept(), [sha256(&wanted)]);
}

#[test]
fn what_changed_in_the_store_is_fetched_again() {
    let wanted = bytes(5000);
    let bench = Bench::new(Answer::Bytes(wanted.clone()));
    bench.fetch(&wanted).unwrap();
    let store = Store::new(bench.folder.path());
    let path = store.path(&sha256(&wanted).parse().unwrap());
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, b"something else").unwrap();
    assert_eq!(store.find(&sha256(&wanted).parse().unwrap()).unwrap(), None);
    assert_eq!(bench.fetch(&wanted).unwrap(), wanted);
    assert_eq!(bench.server.asked().len(), 2);
}

#[test]
fn a_broken_download_goes_on_where_it_broke() {
    let wanted = bytes(100_000);
    let bench = Bench::new(Answer::Breaks(wanted.clone(), 60_000));
    assert_eq!(bench.fetch(&wanted).unwrap(), wanted);
    assert_eq!(bench.server.asked().len(), 2);

    // Also in another run.
    let bench = Bench::new(Answer::Cut(wanted.clone(), 30_000));
    assert!(matches!(bench.fetch(&wanted), Err(NetworkProblem::Unreachable(_))));
    bench.server.put(PATH, Answer::Bytes(wanted.clone()));
    bench.meter.0.lock().unwrap().clear();
    assert_eq!(bench.fetch(&wanted).unwrap(), wanted);
    assert_eq!(bench.meter.0.lock().unwrap().first(), Some(&30_000));
}

#[test]
fn a_server_that_cannot_resume_begins_again() {
    let wanted = bytes(100_000);
    let bench = Bench::new(Answer::Cut(wanted.clone(), 30_000));
    assert!(bench.fetch(&wanted).is_err());
    bench.server.put(PATH, Answer::Whole(wanted.clone()));
    assert_eq!(bench.fetch(&wanted).unwrap(), wanted);
}

#[test]
fn a_beginning_that_is_not_this_files_is_thrown_away() {
    let wanted = bytes(100_000);
    let bench = Bench::new(Answer::Bytes(wanted.clone()));
    let partial = bench.folder.path().join("partial");
    std::fs::create_dir_all(&partial).unwrap();
    std::fs::File::create(partial.join(sha256(&wanted))).unwrap().write_all(&[b'?'; 40_000]).unwrap();
    assert_eq!(bench.fetch(&wanted).unwrap(), wanted);
}

#[test]
fn other_bytes_are_refused_and_not_kept() {
    let wanted = bytes(100_000);
    let mut other = wanted.clone();
    other[50_000] ^= 1;
    let bench = Bench::new(Answer::Bytes(other));
    assert!(matches!(bench.fetch(&wanted), Err(NetworkProblem::Digest { .. })));
    assert_eq!(bench.kept(), [""; 0]);
}

#[test]
fn another_size_is_refused_and_not_kept() {
    let wanted = bytes(100_000);
    let bench = Bench::new(Answer::Bytes(bytes(100_001)));
    assert!(matches!(bench.fetch(&wanted), Err(NetworkProblem::TooLarge { limit: 100_000 })));
    assert_eq!(bench.kept(), [""; 0]);
    bench.server.put(PATH, Answer::Short(wanted.clone(), 99_999));
    let expected = NetworkProblem::TooShort { expected: 100_000, found: 99_999 };
    assert_eq!(bench.fetch(&wanted).unwrap_err().to_string(), expected.to_string());
    assert_eq!(bench.kept(), [""; 0]);
}

#[test]
fn a_body_without_end_is_cut_off() {
    let wanted = bytes(100_000);
    let bench = Bench::new(Answer::Endless);
    assert!(matches!(bench.fetch(&wanted), Err(NetworkProblem::TooLarge { limit: 100_000 })));
    assert_eq!(bench.kept(), [""; 0]);
    let error = network().document(&format!("{}{PATH}", bench.server.url()), 1 << 20).unwrap_err();
    assert!(matches!(error.problem, NetworkProblem::TooLarge { limit: 0x10_0000 }), "{error}");
}

#[test]
fn a_server_that_drips_is_left() {
    let wanted = bytes(1_000_000);
    for answer in [Answer::Drip, Answer::DripHeaders] {
        let bench = Bench::new(answer.clone());
        let since = std::time::Instant::now();
        let error = bench.fetch(&wanted).unwrap_err();
        assert!(matches!(error, NetworkProblem::TooSlow(_)), "{answer:?}: {error}");
        assert!(since.elapsed().as_secs() < 20, "{answer:?}: {:?}", since.elapsed());
        let whole: Vec<String> = kept(&bench.folder.path().join("sha256"));
        assert_eq!(whole, [""; 0]);
    }
}

#[test]
fn redirects_are_followed_to_an_end() {
    let wanted = bytes(1000);
    let bench = Bench::new(Answer::Redirect("/elsewhere".to_owned()));
    bench.server.put("/elsewhere", Answer::Bytes(wanted.clone()));
    assert_eq!(bench.fetch(&wanted).unwrap(), wanted);

    let bench = Bench::new(Answer::Redirect("/pool/b.deb".to_owned()));
    bench.server.put("/pool/b.deb", Answer::Redirect(PATH.to_owned()));
    assert!(matches!(bench.fetch(&wanted), Err(NetworkProblem::Redirects)));
    assert!(bench.server.asked().len() < 10, "{:?}", bench.server.asked());
    assert_eq!(bench.kept(), [""; 0]);
}

#[test]
fn what_is_gone_and_what_is_broken_are_told_apart() {
    let wanted = bytes(10);
    let bench = Bench::new(Answer::Status(404));
    assert!(matches!(bench.fetch(&wanted), Err(NetworkProblem::Missing)));
    assert_eq!(bench.server.asked().len(), 1);
    let bench = Bench::new(Answer::Status(503));
    assert!(matches!(bench.fetch(&wanted), Err(NetworkProblem::Status(503))));
    assert_eq!(bench.server.asked().len(), 2);
    let url = bench.server.url();
    drop(bench);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let error = network().document(&format!("{url}/x"), 10).unwrap_err();
    assert!(matches!(error.problem, NetworkProblem::Unreachable(_)), "{error}");
    let error = network().document("https://localhost/x", 10).unwrap_err();
    assert!(matches!(error.problem, NetworkProblem::NoAuthorities), "{error}");
    let error = network().document("ftp://localhost/x", 10).unwrap_err();
    assert!(matches!(error.problem, NetworkProblem::Address(_)), "{error}");
}

#[test]
fn two_that_want_the_same_fetch_it_once() {
    let wanted = bytes(2_000_000);
    let bench = Bench::new(Answer::Bytes(wanted.clone()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(bench.fetch(&wanted).unwrap(), wanted));
        }
    });
    assert_eq!(bench.server.asked().len(), 1);
}

#[test]
fn an_index_that_is_not_the_signed_one_is_refused() {
    let packages = paragraph("aa", "1", "", b"deb");
    let (bench, _) = published(&packages);
    let url = format!("/dists/one/main/binary-amd64/by-hash/SHA256/{}", sha256(packages.as_bytes()));
    let other = packages.replace("Version: 1", "Version: 2");
    for answer in [Answer::Bytes(other.into_bytes()), Answer::Endless, Answer::Bytes(packages[1..].into())] {
        bench.server.put(&url, answer.clone());
        let error = bench.universe().expect_err("it is not what was signed");
        assert!(!error.is_environment(), "{error}");
        assert_eq!(kept(&bench.folder.path().join("store")), [""; 0], "{answer:?}");
    }
    // Without its digest in the address, it is looked for by its name.
    bench.server.take(&url);
    bench.server.put("/dists/one/main/binary-amd64/Packages", Answer::Bytes(packages.into_bytes()));
    assert_eq!(bench.universe().unwrap().names().collect::<Vec<_>>(), ["aa"]);
}

#[test]
fn nobody_needs_to_watch() {
    let wanted = bytes(10);
    let bench = Bench::new(Answer::Bytes(wanted.clone()));
    let digest = sha256(&wanted).parse().unwrap();
    let url = format!("{}{PATH}", bench.server.url());
    Store::new(bench.folder.path()).fetch(&network(), &url, &digest, 10, &Unwatched).unwrap();
}
