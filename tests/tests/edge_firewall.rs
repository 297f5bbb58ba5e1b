//! `recipes/edge-firewall` between two networks, for each of its boot chains: the inside gets its addresses and names,
//! reaches the outside under the firewall's address, and is not reached from there.
#![cfg(feature = "full")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::path::Path;

use graven::run::Machine;
use graven_tests::edge::{Edge, Session};
use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;
use graven_tests::network::{Forwarded, cable};
use graven_tests::{fit, image, inputs, plain};

/// Both networks in one machine, which is not ours: it is inside itself, and `outside` runs a line in a namespace that has
/// the other card.
const NEIGHBOURS: &str = r#"
cat >/bin/leased <<'END'
#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr replace "$ip/$mask" dev "$interface"
ip route replace default via "$router"
echo "nameserver $dns" >/etc/resolv.conf
END
printf '#!/bin/sh\nexec nsenter -t $(cat /tmp/outside) -n sh -c "$1"\n' >/bin/outside
printf '#!/bin/sh\nexec nc 192.168.50.1 22\n' >/bin/relay
chmod 755 /bin/leased /bin/outside /bin/relay
ip link set lo up
ip link set eth0 up
ip link set eth1 up
ip addr add 10.0.2.15/24 dev eth0
unshare -n sh -c 'echo $$ >/tmp/outside; exec sleep 1000000' &
sleep 1
ip link set eth2 netns $(cat /tmp/outside)
mkdir -p /www/inside /www/outside /var/lib/misc
echo 'a page of the outside' >/www/outside/index.html
echo 'a page of the inside' >/www/inside/index.html
cat >/etc/udhcpd.conf <<'END'
interface eth2
start 203.0.113.50
end 203.0.113.50
lease_file /tmp/udhcpd.leases
pidfile /tmp/udhcpd.pid
option subnet 255.255.255.0
option router 203.0.113.1
option dns 203.0.113.1
END
touch /tmp/udhcpd.leases
outside 'ip link set lo up; ip link set eth2 up; ip addr add 203.0.113.1/24 dev eth2
  udhcpd -S /etc/udhcpd.conf; ip route add 192.168.50.0/24 via 203.0.113.50
  httpd -f -vv -h /www/outside 2>/tmp/asked &'
httpd -h /www/inside
nc -ll -p 2222 -e /bin/relay &
"#;

fn between_two_networks(target: &str, keys: &Path, machine: impl Fn(&Path) -> Machine) {
    let edge = Edge::firewall();
    let recipe = edge.recipe("edge-firewall");
    let built = image::try_build(&recipe, &edge.out(), keys, &["--target", target]);
    assert!(built.status.success(), "graven build: {}", String::from_utf8_lossy(&built.stderr));

    let [wan, outside] = cable("wan", ["52:54:00:00:00:01", "52:54:00:00:01:01"]);
    let [lan, inside] = cable("lan", ["52:54:00:00:00:02", "52:54:00:00:01:02"]);
    let ports = Forwarded::new([2222]);
    let folder = image::folder();
    let modules = ["failover", "net_failover", "virtio_net"];
    let neighbours = plain::machine(folder.path(), &modules, &modules, NEIGHBOURS)
        .arguments(ports.arguments())
        .arguments(inside)
        .arguments(outside);
    let mut neighbours = Guest::boot(&neighbours, plain::PROMPT);
    let firewall = machine(&edge.medium(256)).writable().arguments(wan).arguments(lan);

    let session = Session::boot(&firewall, ports.host(2222), edge.key());
    neighbours.wait_until("udhcpc -i eth1 -s /bin/leased -n -q -t 3");
    // Everything is up, and says so to the inside, soon after it is so.
    session.is_whole();
    neighbours.wait_until("wget -q -O- http://192.168.50.1/ | grep 'leases: 1'");
    let page = neighbours.succeed("wget -q -O- http://192.168.50.1/");
    assert!(page.contains("203.0.113.50/24") && page.contains("failed units: 0"), "{page}");
    let address = neighbours.succeed("ip -4 -o addr show eth1");
    assert!(address.contains("inet 192.168.50.1"), "{address}");
    let names = neighbours.succeed("nslookup firewall.inside 192.168.50.1");
    assert!(names.contains("192.168.50.1") && names.contains("firewall.inside"), "{names}");

    // A packet of the inside goes out, and its answer comes in: outside, it is the firewall's.
    assert_eq!(neighbours.succeed("wget -q -T 20 -O- http://203.0.113.1/"), "a page of the outside");
    let asked = neighbours.succeed("cat /tmp/asked");
    assert!(asked.contains("203.0.113.50") && !asked.contains("192.168.50."), "{asked}");
    // One of the outside reaches the firewall, but neither what runs there nor what lies behind.
    neighbours.succeed("outside 'ping -c 2 -W 10 203.0.113.50'");
    let own = address.split_whitespace().find(|word| word.starts_with("192.168.50.1")).unwrap();
    let own = own.split('/').next().unwrap();
    assert_eq!(neighbours.succeed(&format!("wget -q -T 20 -O- http://{own}/")), "a page of the inside");
    for closed in
        [format!("{own} 80"), "203.0.113.50 22".into(), "203.0.113.50 80".into(), "203.0.113.50 53".into()]
    {
        let done = neighbours.shell(&format!("outside 'nc -w 5 {closed} </dev/null'"));
        assert_ne!(done.status, 0, "{closed} is open: {}", done.text);
    }
    let pinged = neighbours.shell(&format!("outside 'ping -c 2 -W 5 {own}'"));
    assert!(pinged.text.contains("100% packet loss"), "{}", pinged.text);
    // The same from the inside, so that it is the side that decides.
    neighbours.succeed("nc -w 20 192.168.50.1 53 </dev/null");

    // The power goes; it is the same machine afterwards, and knows to whom it gave an address.
    let id = session.run("cat /etc/machine-id");
    let host_key = session.host_key();
    session.run("sync");
    session.guest.stop();
    let session = Session::boot(&firewall, ports.host(2222), edge.key());
    session.is_whole();
    assert_eq!(session.run("cat /etc/machine-id"), id);
    assert_eq!(session.host_key(), host_key);
    assert!(session.run("cat /var/lib/dnsmasq/leases").contains(own));
    session.guest.stop();
    neighbours.stop();
}

#[test]
fn an_x86_64_machine_stands_between_two_networks() {
    let on = Emulated::X86_64;
    between_two_networks(on.target(), image::keys(), image::machine);
}

#[test]
fn an_arm64_machine_with_uefi_does() {
    let on = Emulated::Arm64;
    between_two_networks(on.target(), image::keys(), |disk| image::machine(disk).platform(on.platform()));
}

#[test]
fn an_arm64_machine_with_u_boot_does() {
    inputs::fit();
    between_two_networks("qemu-arm64-fit", &inputs::arm64_keys(), fit::machine);
}
