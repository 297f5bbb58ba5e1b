//! `graven init`'s server from its packages: it starts without a failed unit, answers, lets its administrator in and nobody
//! else, and is the same machine after a reboot and after its power was cut.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;

use graven_tests::edge::{Edge, Session, new_key};
use graven_tests::guest::BOOT;
use graven_tests::image;
use graven_tests::network::{Forwarded, ssh};

#[test]
fn it_serves_and_stays_itself() {
    let edge = Edge::server();
    image::build(&edge.recipe("server"), &edge.out(), &[]);
    // The second build goes by the lock that the first one wrote.
    let again = edge.recipe("again");
    image::build(&edge.recipe("server"), &again, &["--locked", "--offline"]);
    image::assert_same_outputs(&edge.out(), &again);
    fs::remove_dir_all(again).unwrap();

    let ports = Forwarded::new([22, 80, 8888]);
    let machine = image::machine(&edge.medium(512)).writable().arguments(ports.arguments());
    let boot = || {
        let session = Session::boot(&machine, ports.host(22), edge.key());
        let answer = ports.wait_for(80, "GET / HTTP/1.0\r\n\r\n", "edge-server is up", BOOT);
        assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
        session.is_whole();
        session
    };

    let server = boot();
    let (id, host_key) = (server.run("cat /etc/machine-id"), server.host_key());
    assert_eq!(id.len(), 32, "{id}");
    let active =
        "systemctl is-active nftables ssh lighttpd systemd-networkd systemd-resolved systemd-timesyncd";
    assert_eq!(server.run(active), ["active"; 6].join("\n"));
    assert!(
        server.run("id").starts_with("uid=1000(admin) gid=1000(admin) groups=1000(admin),4(adm)"),
        "{}",
        server.run("id")
    );
    nobody_else_gets_in(&edge, &ports);
    // What else listens, the firewall keeps everyone from.
    server
        .run("nohup systemd-socket-activate -l 8888 --accept --inetd echo open >/dev/null 2>&1 </dev/null &");
    assert_eq!(
        server.run("until exec 3<>/dev/tcp/127.0.0.1/8888; do sleep 1; done 2>/dev/null; cat <&3"),
        "open"
    );
    ports.is_silent(8888);

    // The journal is on the disk, and knows how much of it it may take.
    assert!(server.run(&format!("ls /var/log/journal/{id}")).contains("system.journal"));
    let state: u64 = server.run("df --output=size -B1 /var/log/journal | tail -n 1").parse().unwrap();
    assert!(state > 500 << 20, "grown to the medium: {state}");
    let limit = server.run("journalctl -b --no-pager -u systemd-journald -o cat --grep 'System Journal'");
    assert!(limit.contains("max 5"), "a tenth of the state: {limit}");
    let manifest = fs::read(edge.out().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
    let source_date = manifest["source_date"].as_i64().unwrap();
    assert!(server.run("date +%s").parse::<i64>().unwrap() >= source_date);
    server.run("systemd-cat -t kept echo by-the-journal; sync");
    let log = server.power_down();
    assert!(log.contains("All filesystems unmounted") && !log.contains("Failed unmounting"), "{log}");

    // The power goes while it runs, after a reboot in order.
    let server = boot();
    let same = |server: &Session| {
        assert_eq!(server.run("cat /etc/machine-id"), id);
        assert_eq!(server.host_key(), host_key);
        assert!(server.run("journalctl --no-pager -o cat -t kept").contains("by-the-journal"));
        let warnings = server.run("journalctl -b -k --no-pager --grep 'stage0: warning' || true");
        assert!(!warnings.contains("S0-"), "{warnings}");
    };
    same(&server);
    assert_eq!(server.run("journalctl --list-boots --no-pager -q | wc -l"), "2");
    server.guest.stop();
    let server = boot();
    same(&server);
    server.guest.stop();
}

/// Not root with the administrator's key, not the administrator with another, nobody with a password.
fn nobody_else_gets_in(edge: &Edge, ports: &Forwarded) {
    let port = ports.host(22);
    assert!(ssh(port, "admin", &edge.key(), "true").good, "the control");
    let other = edge.recipe("other");
    new_key(&other);
    for (user, key) in [("root", edge.key()), ("admin", other), ("www-data", edge.key())] {
        let refused = ssh(port, user, &key, "true");
        assert!(
            !refused.good && refused.text.contains("Permission denied (publickey)"),
            "{user}: {}",
            refused.text
        );
    }
}
