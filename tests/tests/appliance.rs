//! A Debian system from its packages, no script of them ever run: it starts without a failed unit, and answers over the
//! network.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::path::Path;

use graven_tests::edge::new_key;
use graven_tests::guest::{BOOT, Guest};
use graven_tests::network::{Forwarded, ssh};
use graven_tests::{image, inputs};

#[test]
fn it_starts_whole_and_lets_its_administrator_in() {
    let folder = image::folder();
    let key = folder.path().join("key");
    new_key(&key);
    let out = folder.path().join("out");
    let keys = format!("users.admin.ssh-keys=[\"{}\"]", key.with_extension("pub").display());
    image::build(&inputs::project().join("tests/recipes/appliance"), &out, &["--set", &keys]);

    let ports = Forwarded::new([22, 80]);
    let machine = image::machine(&out).arguments(ports.arguments());
    let (guest, _) = Guest::reach(&machine, "step 8/8 init /usr/lib/systemd/systemd");

    let answer = ports.wait_for(80, "GET / HTTP/1.0\r\n\r\n", "edge-server is up", BOOT);
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
    let run = |command: &str| ssh(ports.host(22), "admin", &key, command);
    let state = run("systemctl is-system-running --wait");
    let failed = run("systemctl --failed --no-legend --plain; journalctl -b -p err --no-pager");
    assert_eq!(state.text.trim(), "running", "{}", failed.text);
    assert_eq!(
        run("systemctl is-active nftables ssh lighttpd systemd-networkd").text.trim(),
        "active\nactive\nactive\nactive"
    );
    assert!(
        run("id").text.contains("uid=1000(admin) gid=1000(admin) groups=1000(admin),4(adm)"),
        "{}",
        run("id").text
    );
    assert!(run("cat /etc/machine-id").text.trim().len() == 32);

    // Nobody else: not root with the same key, not the administrator with another.
    assert!(!ssh(ports.host(22), "root", &key, "true").good);
    let other = folder.path().join("other");
    new_key(&other);
    assert!(!ssh(ports.host(22), "admin", &other, "true").good);
    assert!(Path::new(&other).exists());
    guest.stop();
}
