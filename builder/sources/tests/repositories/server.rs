//! A web server that keeps to nothing: on the loopback, in a thread, gone with its owner.

#![allow(dead_code, reason = "each test program uses its part")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the server does when it is asked for a path.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The bytes; or a part of them, where a range is asked for.
    Bytes(Vec<u8>),
    /// The bytes, whatever range is asked for.
    Whole(Vec<u8>),
    /// This status and nothing else.
    Status(u16),
    /// To another path.
    Redirect(String),
    /// A byte now and then, for ever.
    Drip,
    /// Headers that never end.
    DripHeaders,
    /// Bytes for ever, without a length.
    Endless,
    /// The right length, but only so many bytes; then the connection ends.
    Cut(Vec<u8>, usize),
    /// Broken off after so many bytes each time it is asked, resumable.
    Breaks(Vec<u8>, usize),
    /// The bytes with a length that is shorter.
    Short(Vec<u8>, usize),
    /// The bytes with further headers, one a line.
    With(&'static str, Vec<u8>),
    /// The answer for whoever sends this `Authorization`; for all others this `WWW-Authenticate`.
    Guarded(&'static str, String, Box<Answer>),
}

/// What was asked: the path, and who said they were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
}

/// The server.
pub(crate) struct Server {
    address: SocketAddr,
    paths: Arc<Mutex<BTreeMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (paths, asked) =
            (Arc::<Mutex<BTreeMap<String, Answer>>>::default(), Arc::<Mutex<Vec<Asked>>>::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (ours, log, end) = (Arc::clone(&paths), Arc::clone(&asked), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let (paths, log, end) = (Arc::clone(&ours), Arc::clone(&log), Arc::clone(&end));
                std::thread::spawn(move || {
                    // A client that goes away in the middle is what some tests are about.
                    let _ = serve(stream, &paths, &log, &end);
                });
            }
        });
        Self { address, paths, asked, stop }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn put(&self, path: &str, answer: Answer) {
        self.paths.lock().unwrap().insert(path.to_owned(), answer);
    }

    pub(crate) fn take(&self, path: &str) {
        self.paths.lock().unwrap().remove(path);
    }

    /// The paths that were asked for, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.path.clone()).collect()
    }

    /// The same, with who asked.
    pub(crate) fn asked_by(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    mut stream: TcpStream,
    paths: &Mutex<BTreeMap<String, Answer>>,
    log: &Mutex<Vec<Asked>>,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let (mut start, mut authorization) = (None, None);
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            if let Some((name, value)) = line.trim_end().split_once(": ")
                && name.eq_ignore_ascii_case("authorization")
            {
                authorization = Some(value.to_owned());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(range) = line.strip_prefix("range: bytes=") {
                start = range.trim_end_matches('-').parse::<usize>().ok();
            }
            if line.is_empty() {
                break;
            }
        }
        let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
        log.lock().unwrap().push(Asked { path: path.clone(), authorization: authorization.clone() });
        let mut answer = paths.lock().unwrap().get(&path).cloned();
        if let Some(Answer::Guarded(wanted, challenge, inner)) = answer {
            answer = Some(*inner);
            if authorization.as_deref() != Some(wanted) {
                write!(
                    stream,
                    "HTTP/1.1 401 No\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n"
                )?;
                continue;
            }
        }
        let from = start.unwrap_or(0);
        let headers = |stream: &mut TcpStream, length: usize, whole: usize| match start {
            Some(from) => write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Length: {length}\r\nContent-Range: bytes {from}-{}/{whole}\r\n\r\n",
                whole - 1
            ),
            None => write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n"),
        };
        match answer.unwrap_or(Answer::Status(404)) {
            Answer::Bytes(bytes) => {
                headers(&mut stream, bytes.len() - from, bytes.len())?;
                stream.write_all(&bytes[from..])?;
            }
            Answer::Whole(bytes) => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", bytes.len())?;
                stream.write_all(&bytes)?;
            }
            Answer::Status(status) => write!(stream, "HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n")?,
            Answer::Redirect(to) => {
                write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")?;
            }
            Answer::Drip => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")?;
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(b"x")?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                return Ok(());
            }
            Answer::DripHeaders => {
                write!(stream, "HTTP/1.1 200 OK\r\n")?;
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(b"X-Slow: loris\r\n")?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                return Ok(());
            }
            Answer::Endless => {
                write!(stream, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                while !stop.load(Ordering::Relaxed) {
                    stream.write_all(b"10000\r\n")?;
                    stream.write_all(&[b'x'; 0x10000])?;
                    stream.write_all(b"\r\n")?;
                }
                return Ok(());
            }
            Answer::Cut(bytes, keep) => {
                headers(&mut stream, bytes.len() - from, bytes.len())?;
                stream.write_all(&bytes[from.min(keep)..keep])?;
                return Ok(());
            }
            Answer::Breaks(bytes, step) => {
                headers(&mut stream, bytes.len() - from, bytes.len())?;
                stream.write_all(&bytes[from..(from + step).min(bytes.len())])?;
                return Ok(());
            }
            Answer::With(more, bytes) => {
                let more = more.replace('\n', "\r\n");
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{more}\r\n\r\n", bytes.len())?;
                stream.write_all(&bytes)?;
            }
            Answer::Guarded(..) => unreachable!("looked into above"),
            Answer::Short(bytes, keep) => {
                write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {keep}\r\n\r\n")?;
                stream.write_all(&bytes[..keep])?;
            }
        }
        stream.flush()?;
    }
}
