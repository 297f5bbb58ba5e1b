//! A guest's services, reached from here through QEMU's user-mode network.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
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
}

fn ask(port: u16, question: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    stream.write_all(question.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
