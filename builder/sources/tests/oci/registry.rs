//! A registry that keeps to nothing: what comes as its digest says is kept, and who asks is told to nobody else.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_sources::Limits;
use graven_sources::network::{Access, Network, NetworkProblem, Patience, Unwatched};
use graven_sources::oci::{Blob, Credentials, Error, Platform, Registry, Scheme, Version, choose};
use graven_sources::store::Store;
use serde_json::json;

use super::maker::{Directory, File, INDEX, Maker, sha256};
use super::server::{Answer, Server};

const NAME: &str = "team/app";

struct Bench {
    server: Server,
    folder: tempfile::TempDir,
    credentials: Credentials,
}

impl Bench {
    fn new() -> Self {
        let (server, folder) = (Server::start(), tempfile::tempdir().unwrap());
        Self { server, folder, credentials: Credentials::default() }
    }

    fn host(&self) -> String {
        self.server.url().strip_prefix("http://").unwrap().to_owned()
    }

    fn log_in(&mut self, user_and_password: &str) {
        let file = json!({"auths": {self.host(): {"auth": STANDARD.encode(user_and_password)}}});
        self.credentials = Credentials::parse(file.to_string().as_bytes()).unwrap();
    }

    /// What the server has below the repository.
    fn put(&self, path: &str, answer: Answer) {
        self.server.put(&format!("/v2/{NAME}/{path}"), answer);
    }

    /// An image of one layer under this tag; the layer's digest and bytes.
    fn publish(&self, tag: &str) -> (String, Vec<u8>) {
        let mut maker = Maker::default();
        let layer = maker.layer(&[Directory("etc", 0o755), File("etc/motd", "hi")], "gzip");
        let digest = layer.0["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().to_owned();
        let mut image = maker.image(vec![layer], "amd64");
        image["platform"] = json!({"architecture": "amd64", "os": "linux"});
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image.clone()]});
        let index = index.to_string().into_bytes();
        self.put(
            &format!("manifests/{tag}"),
            Answer::With("Content-Type: application/vnd.oci.image.index.v1+json", index),
        );
        for (digest, bytes) in &maker.blobs {
            let is_manifest = image["digest"] == format!("sha256:{digest}");
            let kind = if is_manifest { "manifests" } else { "blobs" };
            self.put(&format!("{kind}/sha256:{digest}"), Answer::Bytes(bytes.clone()));
        }
        let bytes = maker.blobs.get(&digest).unwrap().clone();
        (digest, bytes)
    }

    fn with<T>(&self, work: impl FnOnce(&Registry<'_>) -> T) -> T {
        let patience = Patience {
            connect: Duration::from_secs(5),
            silence: Duration::from_millis(400),
            slowest: 10_000,
            tries: 2,
            pause: Duration::from_millis(10),
        };
        let network = Network::new(&Access { patience, ..Access::default() }).unwrap();
        let store = Store::new(&self.folder.path().join("store"));
        let host = self.host();
        let place = (host.as_str(), NAME);
        work(&Registry::new(place, Scheme::Http, &self.credentials, &network, &store, &Unwatched))
    }

    fn resolve(&self, tag: &str) -> Result<Blob, Error> {
        self.with(|registry| registry.resolve(&Version::Tag(tag.to_owned()))).map(|(blob, _)| blob)
    }

    /// A blob with these bytes, or why it does not come.
    fn fetch(&self, wanted: &[u8]) -> Result<Vec<u8>, NetworkProblem> {
        let blob =
            Blob { sha256: sha256(wanted).parse().unwrap(), size: wanted.len() as u64, is_document: false };
        let fetched = self.with(|registry| registry.fetch(&blob));
        fetched.map(|path| std::fs::read(path).unwrap()).map_err(|error| error.problem)
    }

    /// Whole blobs in the store.
    fn kept(&self) -> usize {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
            entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
        }
        count(&self.folder.path().join("store/sha256"))
    }

    /// Answers a blob's address; the bytes that it should have had.
    fn bad(answer: impl Fn(&[u8]) -> Answer) -> NetworkProblem {
        let bench = Self::new();
        let bytes = b"the bytes that are meant".as_slice();
        bench.put(&format!("blobs/sha256:{}", sha256(bytes)), answer(bytes));
        let problem = bench.fetch(bytes).unwrap_err();
        assert_eq!(bench.kept(), 0, "{problem}");
        problem
    }
}

#[test]
fn a_tag_leads_to_the_layers_of_one_platform() {
    let bench = Bench::new();
    let (layer, bytes) = bench.publish("1.0");
    let chain = bench.with(|registry| {
        let (top, said) = registry.resolve(&Version::Tag("1.0".to_owned())).unwrap();
        choose("image", registry, &top, said.as_deref(), &Platform::linux("amd64"), &Limits::default())
            .unwrap()
    });
    assert_eq!(chain.indexes.len(), 1);
    assert_eq!(chain.layers.iter().map(|layer| layer.sha256.to_string()).collect::<Vec<_>>(), [layer]);
    // Index, manifest and configuration; the layer was not needed.
    assert_eq!(bench.kept(), 3);
    assert_eq!(bench.fetch(&bytes).unwrap(), bytes);
    let asked = bench.server.asked().len();
    assert_eq!(bench.fetch(&bytes).unwrap(), bytes);
    assert_eq!(bench.server.asked().len(), asked, "what the store has is not fetched again");
    let by_digest = bench.with(|registry| registry.resolve(&Version::Digest(chain.manifest.sha256)).unwrap());
    assert_eq!(by_digest.0, chain.manifest);
}

#[test]
fn documents_that_are_not_what_their_digest_says_are_refused() {
    let bench = Bench::new();
    let other = "0".repeat(64);
    bench.put(&format!("manifests/sha256:{other}"), Answer::Bytes(b"{}".to_vec()));
    let error =
        bench.with(|registry| registry.resolve(&Version::Digest(other.parse().unwrap()))).unwrap_err();
    assert!(error.to_string().contains("its SHA-256 is"), "{error}");
    assert!(!error.is_environment() && !error.is_usage(), "{error}");
    let header = "Content-Type: application/vnd.oci.image.index.v1+json\nDocker-Content-Digest: \
                  sha256:0000000000000000000000000000000000000000000000000000000000000000";
    bench.put("manifests/lies", Answer::With(header, b"{}".to_vec()));
    assert!(bench.resolve("lies").unwrap_err().to_string().contains("its SHA-256 is"));
    bench.put("manifests/endless", Answer::Endless);
    assert!(bench.resolve("endless").unwrap_err().to_string().contains("more than 4194304 bytes"));
    let missing = bench.resolve("none").unwrap_err();
    assert!(missing.is_usage(), "{missing}");
    assert!(missing.to_string().contains("/team/app:none: the registry has no such image"), "{missing}");
    assert_eq!(bench.kept(), 0);
}

#[test]
fn blobs_that_are_not_what_their_descriptor_says_are_refused() {
    use NetworkProblem as P;
    assert!(matches!(Bench::bad(|_| Answer::Bytes(b"the bytes that are Meant".to_vec())), P::Digest { .. }));
    assert!(matches!(
        Bench::bad(|bytes| Answer::Bytes(bytes[1..].to_vec())),
        P::TooShort { expected: 24, found: 23 }
    ));
    assert!(matches!(Bench::bad(|bytes| Answer::Bytes([bytes, b"!"].concat())), P::TooLarge { limit: 24 }));
    assert!(matches!(Bench::bad(|_| Answer::Endless), P::TooLarge { limit: 24 }));
    assert!(matches!(Bench::bad(|_| Answer::Drip), P::TooLarge { .. } | P::TooSlow(_)));
    assert!(matches!(
        Bench::bad(|bytes| Answer::Cut(bytes.to_vec(), 10)),
        P::Unreachable(_) | P::TooShort { .. }
    ));
    assert!(matches!(Bench::bad(|_| Answer::Status(404)), P::Missing));
    assert!(matches!(Bench::bad(|_| Answer::Status(500)), P::Status(500)));
    assert!(matches!(Bench::bad(|_| Answer::Status(403)), P::Denied(_)));
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let bench = Bench::new();
    let bytes: Vec<u8> = (0..200_u8).collect();
    bench.put(&format!("blobs/sha256:{}", sha256(&bytes)), Answer::Breaks(bytes.clone(), 120));
    assert_eq!(bench.fetch(&bytes).unwrap(), bytes);
}

#[test]
fn redirects_are_followed_so_often_and_to_web_servers_alone() {
    let bench = Bench::new();
    let elsewhere = Server::start();
    let bytes = b"layer".as_slice();
    let blob = format!("blobs/sha256:{}", sha256(bytes));
    elsewhere.put("/there", Answer::Bytes(bytes.to_vec()));
    bench.put(&blob, Answer::Redirect(format!("{}/there", elsewhere.url())));
    assert_eq!(bench.fetch(bytes).unwrap(), bytes);
    let round = |to: String| {
        let bench = Bench::new();
        bench.put(&blob, Answer::Redirect(to));
        bench.fetch(bytes).unwrap_err()
    };
    assert!(matches!(round(format!("/v2/{NAME}/{blob}")), NetworkProblem::Redirects));
    assert!(matches!(round("file:///etc/passwd".to_owned()), NetworkProblem::Address(_)));
    assert!(matches!(round("elsewhere".to_owned()), NetworkProblem::Address(_)));
}

const BASIC: &str = "Basic bWU6aHVudGVyMg==";

#[test]
fn basic_credentials_are_shown_when_asked_for_and_to_nobody_else() {
    let mut bench = Bench::new();
    let elsewhere = Server::start();
    let bytes = b"layer".as_slice();
    let blob = format!("blobs/sha256:{}", sha256(bytes));
    let away = Answer::Redirect(format!("{}/there", elsewhere.url()));
    let challenge = "Basic realm=\"registry\"".to_owned();
    bench.put(&blob, Answer::Guarded(BASIC, challenge, Box::new(away)));
    elsewhere.put("/there", Answer::Bytes(bytes.to_vec()));

    let nobody = bench.fetch(bytes).unwrap_err().to_string();
    assert!(nobody.contains("it wants to know who asks") && nobody.contains("--registry-auth"), "{nobody}");
    bench.log_in("me:wrong");
    let wrong = bench.fetch(bytes).unwrap_err().to_string();
    assert!(wrong.contains("the credentials do not allow it"), "{wrong}");
    assert!(elsewhere.asked().is_empty());

    bench.log_in("me:hunter2");
    let before = bench.server.asked().len();
    assert_eq!(bench.fetch(bytes).unwrap(), bytes);
    let shown: Vec<Option<String>> =
        bench.server.asked_by().into_iter().skip(before).map(|asked| asked.authorization).collect();
    assert_eq!(shown, [None, Some(BASIC.to_owned())], "asked first, shown then");
    let there = elsewhere.asked_by();
    assert!(!there.is_empty() && there.iter().all(|asked| asked.authorization.is_none()), "{there:?}");

    // Another host that wants to know who asks is not told, nor where its token server is.
    let mut bench = Bench::new();
    bench.log_in("me:hunter2");
    let trap = Server::start();
    let challenge = format!("Bearer realm=\"{}/token\"", trap.url());
    trap.put("/there", Answer::Guarded(BASIC, challenge, Box::new(Answer::Bytes(bytes.to_vec()))));
    bench.put(&blob, Answer::Redirect(format!("{}/there", trap.url())));
    assert!(matches!(bench.fetch(bytes).unwrap_err(), NetworkProblem::Status(401)));
    assert!(trap.asked_by().iter().all(|asked| asked.path == "/there" && asked.authorization.is_none()));
}

#[test]
fn who_comes_back_from_another_host_is_nobody() {
    let mut bench = Bench::new();
    bench.log_in("me:hunter2");
    let elsewhere = Server::start();
    let bytes = b"layer".as_slice();
    let blob = format!("blobs/sha256:{}", sha256(bytes));
    let away = Answer::Redirect(format!("{}/there", elsewhere.url()));
    bench.put(&blob, Answer::Guarded(BASIC, "Basic".to_owned(), Box::new(away)));
    elsewhere.put("/there", Answer::Redirect(format!("{}/other", bench.server.url())));
    bench.server.put("/other", Answer::Bytes(bytes.to_vec()));
    assert_eq!(bench.fetch(bytes).unwrap(), bytes);
    let other = bench.server.asked_by().into_iter().find(|asked| asked.path == "/other").unwrap();
    assert_eq!(other.authorization, None);
}

#[test]
fn tokens_are_asked_for_with_and_without_credentials() {
    const TOKEN: &str = "Bearer t0ken";
    for user in [None, Some("me:hunter2")] {
        let mut bench = Bench::new();
        if let Some(user) = user {
            bench.log_in(user);
        }
        let tokens = Server::start();
        let (_, layer) = bench.publish("1.0");
        let challenge = format!(
            "Bearer realm=\"{}/token\",service=\"a registry\",scope=\"repository:{NAME}:pull\"",
            tokens.url()
        );
        for path in ["manifests/1.0".to_owned(), format!("blobs/sha256:{}", sha256(&layer))] {
            let index = json!({"schemaVersion": 2, "manifests": []}).to_string().into_bytes();
            let inner = match path.starts_with("blobs") {
                true => Answer::Bytes(layer.clone()),
                false => Answer::With("Content-Type: application/vnd.oci.image.index.v1+json", index),
            };
            bench.put(&path, Answer::Guarded(TOKEN, challenge.clone(), Box::new(inner)));
        }
        let asked = format!("/token?service=a%20registry&scope=repository:{NAME}:pull");
        let token = Answer::Bytes(br#"{"access_token": "t0ken", "expires_in": 60}"#.to_vec());
        tokens.put(
            &asked,
            match user {
                Some(_) => Answer::Guarded(BASIC, "Basic".to_owned(), Box::new(token)),
                None => token,
            },
        );
        let blob =
            Blob { sha256: sha256(&layer).parse().unwrap(), size: layer.len() as u64, is_document: false };
        bench.with(|registry| {
            registry.resolve(&Version::Tag("1.0".to_owned())).unwrap();
            registry.fetch(&blob).unwrap();
        });
        let shown: Vec<_> = bench.server.asked_by().into_iter().map(|asked| asked.authorization).collect();
        assert_eq!(shown, [None, Some(TOKEN.to_owned()), Some(TOKEN.to_owned())], "one token does for both");
        let expected = user.map(|_| BASIC.to_owned());
        assert_eq!(
            tokens.asked_by().into_iter().map(|asked| asked.authorization).collect::<Vec<_>>(),
            [expected]
        );
    }
}

#[test]
fn token_servers_that_answer_nonsense_are_told_of() {
    let with = |answer: Answer| {
        let bench = Bench::new();
        let challenge = format!("Bearer realm=\"{}/token\"", bench.server.url());
        bench.put("manifests/1", Answer::Guarded("Bearer x", challenge, Box::new(Answer::Status(200))));
        bench.server.put(&format!("/token?scope=repository:{NAME}:pull"), answer);
        let error = bench.resolve("1").unwrap_err();
        assert!(error.is_environment(), "{error}");
        error.to_string()
    };
    assert!(with(Answer::Status(401)).contains("it wants to know who asks"));
    assert!(with(Answer::Status(500)).contains("answers 500"));
    for nonsense in ["", "{}", r#"{"token": ""}"#, r#"{"token": "a\r\nX-Evil: b"}"#, r#"{"token": 1}"#] {
        assert!(with(Answer::Bytes(nonsense.as_bytes().to_vec())).contains("sends no token"), "{nonsense}");
    }
    assert!(with(Answer::Bytes(br#"{"token": "y"}"#.to_vec())).contains("it wants to know who asks"));
    let bench = Bench::new();
    bench.put("manifests/1", Answer::Guarded("x", "Negotiate".to_owned(), Box::new(Answer::Status(200))));
    assert!(
        bench.resolve("1").unwrap_err().to_string().contains("in a way that is not understood (negotiate)")
    );
}
