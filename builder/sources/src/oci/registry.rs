//! A repository of a registry (OCI distribution specification 1.1): documents and blobs by digest, into the store.
//!
//! Credentials go to the registry that they are for and to the token server that it names, and nowhere else: a redirect to
//! another host is followed without them. From https to http nothing is followed.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::io::Read;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use graven_verity::io::ReadAt;
use serde::Deserialize;
use ureq::Body;
use ureq::http::{Response, StatusCode, Uri, header};

use super::auth::{Challenge, Credentials, Secret, challenges};
use super::document::{DOCUMENTS, MAX_DOCUMENT, digest as parse_digest};
use super::{Blob, Blobs, Error};
use crate::file::OpenFile;
use crate::network::{Network, NetworkError, NetworkProblem, REDIRECTS, Source, Watch, digest};
use crate::store::Store;
use crate::{Problem, Sha256};

/// What a token server may send.
const MAX_TOKEN: u64 = 1 << 20;

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// Open to everybody on the way; digests are held all the same, names of what they belong to are not.
    Http,
}

/// Which image of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Version {
    /// Whichever has this tag now.
    Tag(String),
    /// The index or manifest of this digest.
    Digest(Sha256),
}

/// A repository of a registry, and where what comes from it is kept.
pub struct Registry<'a> {
    network: &'a Network,
    store: &'a Store,
    watch: &'a dyn Watch,
    /// As its user names it, for messages.
    name: String,
    /// `https://registry.example/v2/ns/name`
    base: String,
    scheme: Scheme,
    repository: String,
    secret: Option<Secret>,
    /// The `Authorization` header by which we were last let in.
    granted: Mutex<Option<String>>,
}

impl Scheme {
    /// http for this machine itself, https for all others.
    #[must_use]
    pub fn usual(registry: &str) -> Self {
        if is_loopback(registry) { Self::Http } else { Self::Https }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Https => "https://",
            Self::Http => "http://",
        }
    }
}

impl<'a> Registry<'a> {
    /// Opens no connection yet. `registry` is host and port, `repository` all between it and the tag.
    #[must_use]
    pub fn new(
        (registry, repository): (&str, &str),
        scheme: Scheme,
        credentials: &Credentials,
        network: &'a Network,
        store: &'a Store,
        watch: &'a dyn Watch,
    ) -> Self {
        // Docker's hub answers under another name than its images have.
        let host = if registry == "docker.io" { "registry-1.docker.io" } else { registry };
        Self {
            network,
            store,
            watch,
            name: format!("{registry}/{repository}"),
            base: format!("{}{host}/v2/{repository}", scheme.prefix()),
            scheme,
            repository: repository.to_owned(),
            secret: credentials.find(registry, repository).cloned(),
            granted: Mutex::new(None),
        }
    }

    /// What a tag means now, or that a digest is there: the index or manifest and its media type. It is in the store then.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Missing`] where there is none.
    pub fn resolve(&self, version: &Version) -> Result<(Blob, Option<String>), Error> {
        let (name, wanted) = match version {
            Version::Tag(tag) => (tag.clone(), None),
            Version::Digest(sha256) => (format!("sha256:{sha256}"), Some(*sha256)),
        };
        let url = format!("{}/manifests/{name}", self.base);
        let failed = |problem| NetworkError { url: url.clone(), problem };
        let answer = self.network.patiently(&url, || {
            let response = self.open(&url, 0, true)?;
            let word = |name| {
                response.headers().get(name).and_then(|value: &header::HeaderValue| value.to_str().ok())
            };
            let media_type = word(header::CONTENT_TYPE)
                .and_then(|kind| kind.split(';').next())
                .map(|kind| kind.trim().to_owned());
            let said = word(header::HeaderName::from_static("docker-content-digest"))
                .and_then(|said| parse_digest(said).ok());
            let mut source = Source::of(response, 0)?;
            let bytes = self.network.whole(&mut *source.bytes, MAX_DOCUMENT)?;
            Ok((bytes, media_type, said))
        });
        let (bytes, media_type, said) = match answer {
            Ok(answer) => answer,
            Err(NetworkError { problem: NetworkProblem::Missing, .. }) => {
                let mark = if wanted.is_some() { '@' } else { ':' };
                return Err(Error::Missing(format!("{}{mark}{name}", self.name)));
            }
            Err(error) => return Err(error.into()),
        };
        let found = digest(&bytes);
        if let Some(expected) = wanted.or(said).filter(|expected| *expected != found) {
            return Err(failed(NetworkProblem::Digest { expected, found }).into());
        }
        self.store.keep(&found, &bytes).map_err(|error| failed(NetworkProblem::Io(error)))?;
        Ok((Blob { sha256: found, size: bytes.len() as u64, is_document: true }, media_type))
    }

    /// A blob in the store, fetched where the store has it not, and then of this digest and size.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn fetch(&self, blob: &Blob) -> Result<PathBuf, NetworkError> {
        let kind = if blob.is_document { "manifests" } else { "blobs" };
        let url = format!("{}/{kind}/sha256:{}", self.base, blob.sha256);
        let open = |start| {
            let response = self.open(&url, start, blob.is_document)?;
            match response.status() {
                // What is there from an earlier time cannot be its beginning.
                StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => {
                    Source::of(self.open(&url, 0, blob.is_document)?, 0)
                }
                _ => Source::of(response, start),
            }
        };
        let meter = self.watch.begin(&self.name, blob.size);
        self.store.bring(&url, &blob.sha256, |partial| {
            self.network.file_from(&url, &open, &blob.sha256, blob.size, partial, &*meter)
        })
    }

    /// Asks, and once more with what the registry wants to see.
    fn open(&self, url: &str, start: u64, document: bool) -> Result<Response<Body>, NetworkProblem> {
        let shown = self.granted.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (response, home) = self.follow(url, start, document, shown.as_deref())?;
        // What another host wants to see is not for it.
        if !home {
            return Ok(response);
        }
        let response = match response.status() {
            StatusCode::UNAUTHORIZED => {
                let authorization = self.authorize(&response, shown.as_ref())?;
                self.follow(url, start, document, Some(&authorization))?.0
            }
            _ => response,
        };
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(NetworkProblem::Denied(match &self.secret {
                    Some(Secret::Known(_)) => {
                        "the credentials do not allow it to be read; see which the file has".to_owned()
                    }
                    other => self.who(other.as_ref()),
                }))
            }
            _ => Ok(response),
        }
    }

    /// Asks, from one address to the next; whether the last was still the registry's own.
    fn follow(
        &self,
        url: &str,
        start: u64,
        document: bool,
        authorization: Option<&str>,
    ) -> Result<(Response<Body>, bool), NetworkProblem> {
        let accept = DOCUMENTS.join(", ");
        let (mut at, mut home) = (url.to_owned(), true);
        for _ in 0..=REDIRECTS {
            let mut headers = Vec::new();
            if document {
                headers.push((header::ACCEPT, accept.as_str()));
            }
            if let Some(authorization) = authorization.filter(|_| home) {
                headers.push((header::AUTHORIZATION, authorization));
            }
            let response = self.network.once(&at, start, &headers)?;
            if !response.status().is_redirection() {
                return Ok((response, home));
            }
            let location = response.headers().get(header::LOCATION).and_then(|to| to.to_str().ok());
            at = next(&at, location.ok_or(NetworkProblem::Status(response.status().as_u16()))?)?;
            // Who has left does not come back as the one that they were.
            home = home && origin(&at).is_some_and(|there| Some(there) == origin(url));
        }
        Err(NetworkProblem::Redirects)
    }

    /// What to show for a challenge: a token, or the credentials themselves.
    fn authorize(&self, response: &Response<Body>, shown: Option<&String>) -> Result<String, NetworkProblem> {
        let mut granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(newer) = granted.as_ref().filter(|granted| Some(*granted) != shown) {
            return Ok(newer.clone());
        }
        let wanted: Vec<Challenge> = response
            .headers()
            .get_all(header::WWW_AUTHENTICATE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(challenges)
            .collect();
        let of = |scheme: &str| wanted.iter().find(|challenge| challenge.scheme == scheme);
        let authorization = if let Some(bearer) = of("bearer") {
            format!("Bearer {}", self.token(bearer)?)
        } else if of("basic").is_some() {
            self.basic()?.ok_or_else(|| NetworkProblem::Denied(self.who(self.secret.as_ref())))?
        } else {
            let schemes: Vec<String> =
                wanted.iter().map(|one| one.scheme.escape_debug().to_string()).collect();
            let message = format!("it asks in a way that is not understood ({})", schemes.join(", "));
            return Err(NetworkProblem::Denied(message));
        };
        *granted = Some(authorization.clone());
        Ok(authorization)
    }

    fn token(&self, bearer: &Challenge) -> Result<String, NetworkProblem> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            token: Option<String>,
            #[serde(default)]
            access_token: Option<String>,
        }
        let denied = |message: String| NetworkProblem::Denied(message);
        let of = |name: &str| bearer.parameters.get(name).map(String::as_str);
        let realm = of("realm").ok_or_else(|| denied("its challenge names no token server".to_owned()))?;
        if self.scheme == Scheme::Https && !realm.starts_with("https://") {
            return Err(NetworkProblem::Downgrade(realm.to_owned()));
        }
        let pull = format!("repository:{}:pull", self.repository);
        let mut url = format!("{realm}{}", if realm.contains('?') { '&' } else { '?' });
        if let Some(service) = of("service") {
            url.push_str(&format!("service={}&", encoded(service)));
        }
        url.push_str(&format!("scope={}", encoded(of("scope").unwrap_or(&pull))));
        let basic = self.basic_for(realm)?;
        let headers: Vec<_> = basic.iter().map(|basic| (header::AUTHORIZATION, basic.as_str())).collect();
        let response = self.network.once(&url, 0, &headers)?;
        match response.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(denied(match basic {
                    Some(_) => format!("its token server {realm} does not accept the credentials"),
                    None => self.who(self.secret.as_ref()),
                }));
            }
            other => return Err(denied(format!("its token server {realm} answers {}", other.as_u16()))),
        }
        let mut source = Source::of(response, 0)?;
        let mut reader: &mut dyn Read = &mut *source.bytes;
        let bytes = self.network.whole(&mut reader, MAX_TOKEN)?;
        let answer: Option<Answer> = serde_json::from_slice(&bytes).ok();
        let token = answer.and_then(|answer| answer.token.or(answer.access_token));
        let sound = |token: &String| !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic());
        token.filter(sound).ok_or_else(|| denied(format!("its token server {realm} sends no token")))
    }

    /// The credentials for the registry itself.
    fn basic(&self) -> Result<Option<String>, NetworkProblem> {
        self.basic_for(&self.base)
    }

    fn basic_for(&self, url: &str) -> Result<Option<String>, NetworkProblem> {
        let Some(Secret::Known(credential)) = &self.secret else { return Ok(None) };
        let local = origin(url).is_some_and(|origin| is_loopback(&origin.host));
        if !url.starts_with("https://") && !local {
            let message =
                "credentials are not sent over plain http, where everybody on the way can read them";
            return Err(NetworkProblem::Denied(message.to_owned()));
        }
        Ok(Some(credential.basic()))
    }

    fn who(&self, secret: Option<&Secret>) -> String {
        match secret {
            Some(Secret::Elsewhere(why)) => why.clone(),
            _ => format!(
                "it wants to know who asks for {}: name a file of credentials with --registry-auth FILE, or in \
                 REGISTRY_AUTH_FILE",
                self.name
            ),
        }
    }
}

impl Blobs for Registry<'_> {
    fn open(&self, blob: &Blob) -> Result<Option<Arc<dyn ReadAt>>, Error> {
        let path = self.fetch(blob)?;
        let failed = |error| crate::Error::new(&path, Problem::Io { doing: "opening", error });
        Ok(Some(Arc::new(OpenFile::open(&path).map_err(failed)?)))
    }
}

/// Who stands behind an address.
#[derive(Debug, PartialEq, Eq)]
struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

fn origin(url: &str) -> Option<Origin> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some(Origin { scheme, host: uri.host()?.to_ascii_lowercase(), port })
}

/// The address that `location` names, seen from `at` (RFC 3986, section 5.2, as far as servers use it).
fn next(at: &str, location: &str) -> Result<String, NetworkProblem> {
    let location = location.split('#').next().unwrap_or_default();
    let bad = || NetworkProblem::Address(location.escape_debug().to_string());
    let scheme = at.split("://").next().ok_or_else(bad)?;
    let whole = if location.contains("://") && !location.starts_with('/') {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        let authority = at.get(scheme.len().saturating_add(3)..).ok_or_else(bad)?;
        let authority = authority.split(['/', '?']).next().ok_or_else(bad)?;
        format!("{scheme}://{authority}{location}")
    } else {
        return Err(bad());
    };
    let there = origin(&whole).ok_or_else(bad)?;
    match (scheme, there.scheme.as_str()) {
        ("https", "http") => Err(NetworkProblem::Downgrade(whole)),
        (_, "http" | "https") => Ok(whole),
        _ => Err(bad()),
    }
}

/// Whether a host, with or without a port, is this machine itself.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Percent-encoded for a query.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/,".contains(&b);
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_they_say_but_never_from_https_to_http() {
        let at = "https://r.example:5000/v2/a/blobs/x?y=z";
        for (location, expected) in [
            ("https://cdn.example/b?sig=1#part", Some("https://cdn.example/b?sig=1")),
            ("/other", Some("https://r.example:5000/other")),
            ("//cdn.example/b", Some("https://cdn.example/b")),
            ("http://cdn.example/b", None),
            ("http://127.0.0.1/b", None),
            ("HTTP://cdn.example/b", None),
            ("file:///etc/passwd", None),
            ("ftp://cdn.example/b", None),
            ("relative", None),
            ("", None),
        ] {
            assert_eq!(next(at, location).ok().as_deref(), expected, "{location}");
        }
        assert!(matches!(next(at, "http://cdn.example/b"), Err(NetworkProblem::Downgrade(_))));
        assert_eq!(next("http://r.example/v2/", "https://r.example/v2/").unwrap(), "https://r.example/v2/");
    }

    #[test]
    fn another_port_or_scheme_is_another_host() {
        let home = origin("https://r.example/v2/");
        assert_eq!(home, origin("https://R.example:443/other"));
        for other in ["https://r.example:444/", "http://r.example/", "https://r.example.evil/"] {
            assert_ne!(home, origin(other), "{other}");
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_open() {
        for here in ["localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000", "LOCALHOST"] {
            assert_eq!(Scheme::usual(here), Scheme::Http, "{here}");
        }
        for there in ["localhost.example", "127.0.0.1.example", "10.0.0.1:5000", "r.example", "[::2]:80"] {
            assert_eq!(Scheme::usual(there), Scheme::Https, "{there}");
        }
    }

    #[test]
    fn credentials_are_not_sent_where_everybody_can_read_them() {
        let network = Network::new(&crate::network::Access::default()).unwrap();
        let store = Store::new(std::path::Path::new("nowhere"));
        let file = br#"{"auths": {"r.example": {"auth": "bWU6aHVudGVyMg=="}, "localhost:5000": {"auth": "bWU6aHVudGVyMg=="}}}"#;
        let credentials = Credentials::parse(file).unwrap();
        let basic = |registry: &str, scheme| {
            let place = (registry, "team/app");
            Registry::new(place, scheme, &credentials, &network, &store, &crate::network::Unwatched).basic()
        };
        let shown = Some("Basic bWU6aHVudGVyMg==".to_owned());
        assert_eq!(basic("r.example", Scheme::Https).unwrap(), shown);
        assert_eq!(basic("localhost:5000", Scheme::Http).unwrap(), shown);
        assert!(matches!(basic("r.example", Scheme::Http), Err(NetworkProblem::Denied(_))));
    }
}
