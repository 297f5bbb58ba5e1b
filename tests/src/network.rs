//! A guest's services, reached from here through QEMU's user-mode network.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::oracle::{self, Verdict};

/// Ports of this machine that lead to ports of a guest.
#[derive(Debug)]
pub struct Forwarded(Vec<(u16, u16)>);

impl Forwarded {
    /// A free port here for each of the guest's.
    pub fn new<const N: usize>(guest: [u16; N]) -> Self {
        // All are held until all are found, so that no two are the same.
        let listeners = guest.map(|port| {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
            (listener.local_addr().expect("it is bound").port(), port, listener)
        });
        Self(listeners.iter().map(|(host, guest, _)| (*host, *guest)).collect())
    }

    /// QEMU's arguments for a card on that network.
    pub fn arguments(&self) -> Vec<String> {
        let forwards: String =
            self.0.iter().map(|(host, guest)| format!(",hostfwd=tcp:127.0.0.1:{host}-:{guest}")).collect();
        [
            "-netdev".into(),
            format!("user,id=outside{forwards}"),
            "-device".into(),
            "virtio-net-pci,netdev=outside".into(),
        ]
        .into()
    }

    /// The port here that leads to one of the guest's.
    pub fn host(&self, guest: u16) -> u16 {
        self.0.iter().find(|(_, port)| *port == guest).map(|(host, _)| *host).expect("it was asked for")
    }

    /// Asks again and again until an answer holds `wanted`.
    pub fn wait_for(&self, guest: u16, question: &str, wanted: &str, within: Duration) -> String {
        let deadline = Instant::now() + within;
        let mut last = String::new();
        while Instant::now() < deadline {
            last = ask(self.host(guest), question).unwrap_or_else(|error| error.to_string());
            if last.contains(wanted) {
                return last;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        panic!("port {guest} never answered `{wanted}`; the last answer: {last}");
    }

    /// Nobody answers behind this port within some seconds.
    pub fn is_silent(&self, guest: u16) {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.host(guest))).expect("QEMU listens here");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("it is a time");
        let mut answer = String::new();
        let _ = stream.take(100).read_to_string(&mut answer);
        assert_eq!(answer, "", "port {guest} answers");
    }
}

fn ask(port: u16, question: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The public key by which an SSH server says that it is itself.
pub fn host_key(port: u16) -> String {
    let said =
        oracle::ask("ssh-keyscan", ["-T", "60", "-t", "ed25519", "-p", &port.to_string(), "127.0.0.1"]);
    let line = said.text.lines().find(|line| line.contains("ssh-ed25519"));
    let key = line.and_then(|line| line.split_whitespace().last());
    key.unwrap_or_else(|| panic!("no key: {}", said.text)).to_owned()
}

/// Runs a command over SSH, with this key and no other means.
pub fn ssh(port: u16, user: &str, key: &Path, command: &str) -> Verdict {
    let port = port.to_string();
    let key = key.display().to_string();
    let destination = format!("{user}@127.0.0.1");
    let options = [
        "-F",
        "none",
        "-p",
        &port,
        "-i",
        &key,
        "-o",
        "IdentitiesOnly=yes",
        "-o",
        "IdentityAgent=none",
        "-o",
        "BatchMode=yes",
        "-o",
        "StrictHostKeyChecking=no",
        "-o",
        "UserKnownHostsFile=/dev/null",
        "-o",
        "LogLevel=ERROR",
        "-o",
        "ConnectTimeout=60",
        "-o",
        "ConnectionAttempts=5",
        &destination,
        command,
    ];
    oracle::ask("ssh", options)
}

/// Two machines on one cable: QEMU's arguments for each one's end, a card with this address.
pub fn cable(name: &str, cards: [&str; 2]) -> [Vec<String>; 2] {
    // Both are held until both are found, so that they are two.
    let sockets = [(); 2].map(|()| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port"));
    let [one, other] = sockets.map(|socket| socket.local_addr().expect("it is bound").port());
    let end = |card: &str, own: u16, far: u16| {
        let address =
            |side: &str, port: u16| format!("{side}.type=inet,{side}.host=127.0.0.1,{side}.port={port}");
        let netdev = format!("dgram,id={name},{},{}", address("local", own), address("remote", far));
        let device = format!("virtio-net-pci,netdev={name},mac={card}");
        ["-netdev".into(), netdev, "-device".into(), device].into()
    };
    [end(cards[0], one, other), end(cards[1], other, one)]
}
