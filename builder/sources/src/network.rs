//! Bytes from servers that may be slow, dead or hostile: every wait has an end, every answer a largest size.
//!
//! Nothing here decides what may be trusted: whoever asks knows a digest, or checks a signature.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sha2::Digest as _;
use ureq::http::{self, StatusCode, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder};

use crate::Sha256;

/// Redirects that are followed for one address.
pub(crate) const REDIRECTS: u32 = 5;
/// Read from a connection at once.
const STEP: usize = 1 << 17;

/// How long a server is waited for, and how often it is asked.
#[derive(Debug, Clone)]
pub struct Patience {
    /// For name, connection and TLS together.
    pub connect: Duration,
    /// For the answer's first line and headers; and the longest time in which fewer than `slowest` bytes a second come.
    pub silence: Duration,
    /// Bytes a second below which a server counts as stalled.
    pub slowest: u64,
    /// Times that something is asked for before it is given up.
    pub tries: u32,
    /// Between the first and the second time; doubled from one to the next.
    pub pause: Duration,
}

impl Default for Patience {
    /// 15 s, 30 s, 2 KiB a second, four times, half a second.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            silence: Duration::from_secs(30),
            slowest: 2048,
            tries: 4,
            pause: Duration::from_millis(500),
        }
    }
}

/// How this machine reaches others.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// Certificates (PEM) of the authorities that `https` servers are held against; none, and `https` cannot be used.
    pub authorities: Option<Vec<u8>>,
    /// The proxy, as in `http://proxy:3128`.
    pub proxy: Option<String>,
    /// Hosts that are reached without it, separated by commas.
    pub no_proxy: Option<String>,
    /// How long is waited.
    pub patience: Patience,
}

/// What the caller sees of downloads: a bar each on a terminal, nothing elsewhere.
pub trait Watch: Sync {
    /// A download begins; `size` is 0 where it is not known.
    fn begin(&self, name: &str, size: u64) -> Box<dyn Meter + '_>;
}

/// One download; it has ended, well or not, when this is dropped.
pub trait Meter: Send {
    /// Bytes that are there by now.
    fn at(&self, bytes: u64);
}

/// Nobody watches.
#[derive(Debug, Clone, Copy)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn begin(&self, _: &str, _: u64) -> Box<dyn Meter + '_> {
        Box::new(Self)
    }
}

impl Meter for Unwatched {
    fn at(&self, _: u64) {}
}

/// Why bytes did not come from an address.
#[derive(Debug, thiserror::Error)]
#[error("{url}: {problem}")]
pub struct NetworkError {
    /// The address.
    pub url: String,
    /// What went wrong.
    pub problem: NetworkProblem,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum NetworkProblem {
    /// No server, a broken connection, a name that does not exist.
    #[error("cannot be reached: {0}; see that this machine is online, or name another mirror")]
    Unreachable(String),
    /// Slower than any working server.
    #[error("the server is too slow: {0}; name another mirror")]
    TooSlow(String),
    /// Sent from one address to the next.
    #[error("it redirects more than {REDIRECTS} times; name the mirror's final address")]
    Redirects,
    /// The server answered, with something else.
    #[error("the server answers {0}")]
    Status(u16),
    /// It is not there.
    #[error("it is not there (the server answers 404)")]
    Missing,
    /// More bytes than it may have.
    #[error("it has more than {limit} bytes, which it may not have; nothing was kept")]
    TooLarge {
        /// The most that is taken.
        limit: u64,
    },
    /// Fewer bytes than it has.
    #[error("it ends after {found} bytes, expected are {expected}; nothing was kept")]
    TooShort {
        /// By the index or the lock.
        expected: u64,
        /// Those that came.
        found: u64,
    },
    /// Not the bytes that were meant.
    #[error(
        "its SHA-256 is {found}, expected is {expected}; nothing was kept. The mirror is damaged or hostile: name another"
    )]
    Digest {
        /// From the index or the lock.
        expected: Sha256,
        /// Of what came.
        found: Sha256,
    },
    /// A registry that wants to know who asks, or does not let them.
    #[error("the registry refuses: {0}")]
    Denied(String),
    /// From a connection that nobody can listen to or change to one that everybody can.
    #[error("it redirects from https to {0}, which is not followed")]
    Downgrade(String),
    /// `https` without authorities to hold a server against.
    #[error("https needs this machine's certificate authorities: install the package ca-certificates")]
    NoAuthorities,
    /// An address that is none, or of another kind.
    #[error("no http, https or file address: {0}")]
    Address(String),
    /// This machine's disk.
    #[error("writing it to the store failed: {0}")]
    Io(io::Error),
}

impl NetworkProblem {
    /// Whether asking once more can help.
    fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::TooSlow(_) => true,
            Self::Status(status) => *status == 408 || *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// Whether what came is bad, rather than that nothing came.
    #[must_use]
    pub fn is_bad_content(&self) -> bool {
        matches!(self, Self::TooLarge { .. } | Self::TooShort { .. } | Self::Digest { .. })
    }
}

/// The way to other machines.
#[derive(Debug)]
pub struct Network {
    agent: Agent,
    patience: Patience,
    has_authorities: bool,
}

impl Network {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// A proxy or certificates that cannot be used, in words.
    pub fn new(access: &Access) -> Result<Self, String> {
        let mut authorities: Vec<Certificate<'static>> = Vec::new();
        for item in parse_pem(access.authorities.as_deref().unwrap_or_default()) {
            if let PemItem::Certificate(certificate) =
                item.map_err(|error| format!("the certificate authorities: {error}"))?
            {
                authorities.push(certificate);
            }
        }
        let has_authorities = !authorities.is_empty();
        let proxy =
            access.proxy.as_deref().map(|proxy| proxy_of(proxy, access.no_proxy.as_deref())).transpose()?;
        let patience = access.patience.clone();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(authorities)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let agent = Agent::config_builder()
            .tls_config(tls)
            .proxy(proxy)
            .user_agent(concat!("graven/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .http_status_as_error(false)
            .max_redirects(REDIRECTS)
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .timeout_per_write(Some(patience.silence))
            .build()
            .new_agent();
        Ok(Self { agent, patience, has_authorities })
    }

    /// A document whose size nobody has said; at most `limit` bytes.
    ///
    /// # Errors
    /// [`NetworkError`]; [`NetworkProblem::Missing`] where the server has none.
    pub fn document(&self, url: &str, limit: u64) -> Result<Vec<u8>, NetworkError> {
        self.patiently(url, || self.whole(&mut *self.open(url, 0)?.bytes, limit))
    }

    /// All that comes, at most `limit` bytes.
    pub(crate) fn whole(&self, bytes: &mut dyn Read, limit: u64) -> Result<Vec<u8>, NetworkProblem> {
        let mut whole = Vec::new();
        self.copy(bytes, limit, |bytes| {
            whole.extend_from_slice(bytes);
            Ok(())
        })?;
        Ok(whole)
    }

    /// A file of known size and digest, into `partial`, which may hold its beginning from an earlier time. Where this
    /// fails, what `partial` holds is worth going on with only if [`NetworkProblem::is_bad_content`] says no.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn file(
        &self,
        url: &str,
        sha256: &Sha256,
        size: u64,
        partial: &mut File,
        meter: &dyn Meter,
    ) -> Result<(), NetworkError> {
        self.file_from(url, &|start| self.open(url, start), sha256, size, partial, meter)
    }

    /// The same, from whoever opens it at a byte.
    pub(crate) fn file_from(
        &self,
        url: &str,
        open: &dyn Fn(u64) -> Result<Source, NetworkProblem>,
        sha256: &Sha256,
        size: u64,
        partial: &mut File,
        meter: &dyn Meter,
    ) -> Result<(), NetworkError> {
        let failed = |problem| NetworkError { url: url.to_owned(), problem };
        self.patiently(url, || self.rest_of_file(open, size, partial, meter))?;
        let found = Sha256::of(partial).map_err(|error| failed(NetworkProblem::Io(error)))?;
        if found != *sha256 {
            return Err(failed(NetworkProblem::Digest { expected: *sha256, found }));
        }
        Ok(())
    }

    /// Asks for what `partial` lacks.
    fn rest_of_file(
        &self,
        open: &dyn Fn(u64) -> Result<Source, NetworkProblem>,
        size: u64,
        partial: &mut File,
        meter: &dyn Meter,
    ) -> Result<(), NetworkProblem> {
        let io = NetworkProblem::Io;
        let mut have = partial.seek(SeekFrom::End(0)).map_err(io)?;
        if have > size {
            partial.set_len(0).map_err(io)?;
            have = 0;
        }
        if have == size {
            return Ok(());
        }
        let mut source = open(have)?;
        if source.start != have {
            // The server gives it whole or not at all.
            partial.set_len(0).map_err(io)?;
            have = 0;
        }
        partial.seek(SeekFrom::Start(have)).map_err(io)?;
        let whole = source.length.map(|length| have.saturating_add(length));
        if let Some(found) = whole.filter(|whole| *whole < size) {
            return Err(NetworkProblem::TooShort { expected: size, found });
        }
        if whole.is_some_and(|whole| whole > size) {
            return Err(NetworkProblem::TooLarge { limit: size });
        }
        meter.at(have);
        let mut there = have;
        let copied = self.copy(&mut source.bytes, size.saturating_sub(have), |bytes| {
            partial.write_all(bytes).map_err(NetworkProblem::Io)?;
            there = there.saturating_add(bytes.len() as u64);
            meter.at(there);
            Ok(())
        });
        match copied {
            // `copy` knows the rest only.
            Err(NetworkProblem::TooLarge { .. }) => Err(NetworkProblem::TooLarge { limit: size }),
            Err(other) => Err(other),
            // A body that ends early without the connection having broken: nothing more will come.
            Ok(()) if there < size => Err(NetworkProblem::TooShort { expected: size, found: there }),
            Ok(()) => Ok(()),
        }
    }

    /// Tries again, with longer and longer pauses, what may pass.
    pub(crate) fn patiently<T>(
        &self,
        url: &str,
        mut attempt: impl FnMut() -> Result<T, NetworkProblem>,
    ) -> Result<T, NetworkError> {
        let mut pause = self.patience.pause;
        for left in (0..self.patience.tries.max(1)).rev() {
            match attempt() {
                Ok(done) => return Ok(done),
                Err(problem) if left > 0 && problem.is_passing() => {
                    std::thread::sleep(pause);
                    pause = pause.saturating_mul(2);
                }
                Err(problem) => return Err(NetworkError { url: url.to_owned(), problem }),
            }
        }
        unreachable!("the last attempt returns")
    }

    /// The bytes behind an address, from `start` on where the server can do that.
    fn open(&self, url: &str, start: u64) -> Result<Source, NetworkProblem> {
        if let Some(path) = url.strip_prefix("file://") {
            return local(path, start);
        }
        let response = self.get(url, start)?.call().map_err(problem)?;
        match response.status() {
            // What is there from an earlier time cannot be its beginning.
            StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => self.open(url, 0),
            _ => Source::of(response, start),
        }
    }

    /// One request with further headers, and its answer, whatever that is; redirects are the caller's business.
    pub(crate) fn once(
        &self,
        url: &str,
        start: u64,
        headers: &[(header::HeaderName, &str)],
    ) -> Result<http::Response<Body>, NetworkProblem> {
        let mut request = self.get(url, start)?;
        for (name, value) in headers {
            request = request.header(name, *value);
        }
        request.config().max_redirects(0).build().call().map_err(problem)
    }

    fn get(&self, url: &str, start: u64) -> Result<RequestBuilder<WithoutBody>, NetworkProblem> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(NetworkProblem::Address(url.to_owned()));
        }
        if url.starts_with("https://") && !self.has_authorities {
            return Err(NetworkProblem::NoAuthorities);
        }
        let request = self.agent.get(url);
        Ok(match start {
            0 => request,
            start => request.header(header::RANGE, format!("bytes={start}-")),
        })
    }

    /// Reads to the end, `limit` bytes at most, and not slower than patience allows.
    fn copy(
        &self,
        from: &mut dyn Read,
        limit: u64,
        mut take: impl FnMut(&[u8]) -> Result<(), NetworkProblem>,
    ) -> Result<(), NetworkProblem> {
        let window = self.patience.silence;
        let mut buffer = vec![0; STEP];
        let mut left = limit;
        let (mut since, mut in_window) = (Instant::now(), 0u64);
        loop {
            let read = match from.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(read_problem(error)),
            };
            left = left.checked_sub(read as u64).ok_or(NetworkProblem::TooLarge { limit })?;
            take(buffer.get(..read).unwrap_or_default())?;
            in_window = in_window.saturating_add(read as u64);
            let took = since.elapsed();
            if took >= window {
                let least =
                    self.patience.slowest.saturating_mul(took.as_millis().try_into().unwrap_or(u64::MAX))
                        / 1000;
                if in_window < least {
                    let words = format!("{in_window} bytes came in {:.1} s", took.as_secs_f64());
                    return Err(NetworkProblem::TooSlow(words));
                }
                (since, in_window) = (Instant::now(), 0);
            }
        }
    }
}

/// Bytes on their way.
pub(crate) struct Source {
    /// The first one's place in the whole.
    start: u64,
    /// How many are announced.
    length: Option<u64>,
    pub(crate) bytes: Box<dyn Read>,
}

impl Source {
    /// The body of an answer to who asked for the bytes from `start` on.
    pub(crate) fn of(response: http::Response<Body>, start: u64) -> Result<Self, NetworkProblem> {
        let begins = match response.status() {
            StatusCode::OK => 0,
            StatusCode::PARTIAL_CONTENT => range_start(&response).filter(|begins| *begins == start).ok_or(
                NetworkProblem::Unreachable("the server sends another part than it was asked for".to_owned()),
            )?,
            StatusCode::NOT_FOUND | StatusCode::GONE => return Err(NetworkProblem::Missing),
            other => return Err(NetworkProblem::Status(other.as_u16())),
        };
        let body = response.into_body();
        let length = body.content_length();
        // The limit is `copy`'s; the library has one of its own.
        let bytes = body.into_with_config().limit(u64::MAX).reader();
        Ok(Self { start: begins, length, bytes: Box::new(bytes) })
    }
}

fn local(path: &str, start: u64) -> Result<Source, NetworkProblem> {
    let mut file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => NetworkProblem::Missing,
        _ => NetworkProblem::Unreachable(error.to_string()),
    })?;
    let length = file.metadata().map(|metadata| metadata.len().saturating_sub(start)).ok();
    file.seek(SeekFrom::Start(start)).map_err(|error| NetworkProblem::Unreachable(error.to_string()))?;
    Ok(Source { start, length, bytes: Box::new(file) })
}

fn proxy_of(address: &str, except: Option<&str>) -> Result<ureq::Proxy, String> {
    let bad = |error: ureq::Error| format!("the proxy {address}: {error}");
    let plain = ureq::Proxy::new(address).map_err(bad)?;
    let Some(except) = except else { return Ok(plain) };
    let mut builder = ureq::Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    if let Some(user) = plain.username() {
        builder = builder.username(user);
    }
    if let Some(password) = plain.password() {
        builder = builder.password(password);
    }
    for host in except.split(',').map(str::trim).filter(|host| !host.is_empty()) {
        builder = builder.no_proxy(host);
    }
    builder.build().map_err(bad)
}

/// `Content-Range: bytes START-…`
fn range_start(response: &http::Response<Body>) -> Option<u64> {
    let range = response.headers().get(header::CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

fn problem(error: ureq::Error) -> NetworkProblem {
    match error {
        ureq::Error::TooManyRedirects | ureq::Error::RedirectFailed => NetworkProblem::Redirects,
        ureq::Error::Timeout(what) => NetworkProblem::TooSlow(format!("no answer in time ({what})")),
        ureq::Error::BadUri(why) => NetworkProblem::Address(why),
        ureq::Error::HostNotFound => NetworkProblem::Unreachable("there is no host of this name".to_owned()),
        ureq::Error::Io(error) => NetworkProblem::Unreachable(error.to_string()),
        other => NetworkProblem::Unreachable(other.to_string()),
    }
}

fn read_problem(error: io::Error) -> NetworkProblem {
    match error.downcast::<ureq::Error>() {
        Ok(inner) => problem(inner),
        Err(plain) if plain.kind() == io::ErrorKind::TimedOut => NetworkProblem::TooSlow(plain.to_string()),
        Err(plain) => NetworkProblem::Unreachable(plain.to_string()),
    }
}

/// SHA-256 of bytes in memory.
pub(crate) fn digest(bytes: &[u8]) -> Sha256 {
    Sha256::from(<[u8; 32]>::from(sha2::Sha256::digest(bytes)))
}
