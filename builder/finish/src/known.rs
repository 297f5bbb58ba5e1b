//! Scripts that are known by their digest: those that do more than is followed, each with what it comes to on a first
//! installation, in the words that are followed.

use sha2::{Digest as _, Sha256};

/// A script of a package, and what is done in its place.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// The package.
    pub package: &'static str,
    /// `preinst` or `postinst`.
    pub script: &'static str,
    /// SHA-256 of the script without the sections that debhelper adds, for each of its versions.
    pub digests: &'static [&'static str],
    /// What it comes to.
    pub instead: &'static str,
    /// What the script does besides, and why that is left out.
    pub because: &'static str,
}

/// The known script of a package that has this text, its added sections left out.
pub(crate) fn script(package: &str, name: &str, own: &str) -> Option<&'static Known> {
    let mut candidates =
        KNOWN.iter().filter(|known| known.package == package && known.script == name).peekable();
    candidates.peek()?;
    let digest = hex(own);
    candidates.find(|known| known.digests.contains(&digest.as_str()))
}

/// The digest by which a script is known: of its text without the sections that debhelper adds.
#[must_use]
pub fn digest(text: &str) -> String {
    hex(&crate::scripts::sections(text).1)
}

fn hex(own: &str) -> String {
    Sha256::digest(own.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

const LIBC: &str = "it looks at the running kernel, and at what runs during an update";

/// All of them, by package.
pub const KNOWN: &[Known] = &[
    Known {
        package: "base-passwd",
        script: "postinst",
        digests: &["1cff0ea9b8dd12bcb4f6da505bdbd225c905df423f89f4a1be871667ab40c7c6"],
        instead: "touch /etc/subuid /etc/subgid",
        because: "its masters become /etc/passwd and /etc/group before any script is followed; the rest is for updates",
    },
    Known {
        package: "ca-certificates",
        script: "postinst",
        digests: &["bbad2df5d3c5e3d787789275830bc5b597fe6e9218a99516947a079dcae9e262"],
        instead: "mkdir -p /usr/local/share/ca-certificates\nupdate-ca-certificates",
        because: "every certificate that it ships is trusted, which is its default; /etc/ca-certificates.conf of the \
                  recipe decides otherwise",
    },
    Known {
        package: "chrony",
        script: "postinst",
        digests: &["a8b7d928a28d64d551b9f1991711c63007a783b523b16b2cadffa8571832fd73"],
        instead: "adduser --system --group --quiet --comment 'Chrony daemon' --home /var/lib/chrony --no-create-home \
                  _chrony\nucf /usr/share/chrony/chrony.conf /etc/chrony/chrony.conf\n\
                  ucf /usr/share/chrony/chrony.keys /etc/chrony/chrony.keys\n\
                  dpkg-statoverride --update --add root _chrony 0640 /etc/chrony/chrony.keys\n\
                  dpkg-statoverride --update --add _chrony _chrony 0750 /var/lib/chrony\n\
                  dpkg-statoverride --update --add _chrony _chrony 0750 /var/log/chrony",
        because: "it asks `chronyd` whether its configuration names another user: the one that the package brings does \
                  not",
    },
    Known {
        package: "iproute2",
        script: "postinst",
        digests: &["5489803bd23e2eff53c05d5e3fec46d40e8c451a2b284aa747a131be6df336db"],
        instead: "",
        because: "its question whether `ip` gets capabilities is answered no, which is its default",
    },
    Known {
        package: "libc6",
        script: "preinst",
        digests: &["964a417b9c330f80213fe8aebb1f44eaea307203962aecb0de493742583bb454"],
        instead: "[ \"$1\" != install ] || dpkg-divert --add --no-rename --divert \
                  /lib64/ld-linux-x86-64.so.2.usr-is-merged /lib64/ld-linux-x86-64.so.2",
        because: LIBC,
    },
    Known {
        package: "libc6",
        script: "preinst",
        digests: &["47f047126448416b1f94d48a9bb9c26d39b7806c3a1aedbd3f24ccbc64b45eb6"],
        instead: "[ \"$1\" != install ] || dpkg-divert --add --no-rename --divert \
                  /lib/ld-linux-aarch64.so.1.usr-is-merged /lib/ld-linux-aarch64.so.1",
        because: LIBC,
    },
    Known {
        package: "lighttpd",
        script: "postinst",
        digests: &["4c75251d6d04234f1fad33e6dacd034b7ad8c476bb6e002cd9ba7839d7ead790"],
        instead: "",
        because: "the page that says that it is not configured is left out: an appliance's pages come from its recipe",
    },
    Known {
        package: "micro-httpd",
        script: "postinst",
        digests: &["dffcee2d05592a3547b58408c39befe1339a99872676293a2eacda4549ea9c0d"],
        instead: "mkdir -p /var/www/html",
        because: "it enters itself into /etc/inetd.conf, where there is an `inetd`: a socket unit of the recipe starts it",
    },
    Known {
        package: "nginx",
        script: "postinst",
        digests: &["00403902bfafffa4114d577c1f2562bae537e12772d33afe49829fb6d07efe6a"],
        instead: "",
        because: "it starts the server, or tells it of a new version",
    },
    Known {
        package: "openssh-server",
        script: "postinst",
        digests: &["78a842ff9f915c24d80e670d0fe4a022e69893dd02bcc614cdb5c11d9508e07c"],
        instead: "[ -e /etc/ssh/sshd_config ] || cp -p /usr/share/openssh/sshd_config /etc/ssh/sshd_config",
        because: "host keys are secrets of one machine, and never in an image: they are made on the first boot",
    },
    Known {
        package: "passwd",
        script: "postinst",
        digests: &["0e66426f923aa1ebd9fa9f629743a6433da1b6d335f5e6316c752dcfd921ec1d"],
        instead: "getent group shadow >/dev/null || groupadd -g 42 shadow\nshadowconfig on",
        because: "passwords are always shadowed here",
    },
    Known {
        package: "systemd",
        script: "postinst",
        digests: &["28d636d54e930c199487cc705a9f1ebdd7db5de6fc37b63e0c33b46d62d36795"],
        instead: "[ \"$1\" = configure ] || exit 0\nsystemctl enable getty@tty1.service\n\
                  systemctl enable remote-fs.target\nsystemctl enable systemd-pstore.service\n\
                  systemd-machine-id-setup\nmkdir -p /var/log/journal",
        because: "the machine's identity is made at boot and not here; the catalogue of messages is an index that \
                  `journalctl -x` alone needs; the rest is for updates and what runs",
    },
    Known {
        package: "tzdata",
        script: "postinst",
        digests: &["555ed6cfc95b70d0e209ffcbfbcef31670cf50bea5e9ff686f6f9c456acb0f46"],
        instead: "[ -L /etc/localtime ] || ln -s /usr/share/zoneinfo/Etc/UTC /etc/localtime",
        because: "the time zone is UTC, which is its default; /etc/localtime of the recipe decides otherwise",
    },
];

/// The rows of the table in `docs/maintainer-scripts.md`.
#[must_use]
pub fn rows() -> String {
    let mut rows = String::new();
    for Known { package, script, instead, because, .. } in KNOWN {
        let lines: Vec<String> =
            instead.lines().map(|line| format!("`{}`", line.replace('|', "\\|"))).collect();
        let lines = if lines.is_empty() { "nothing".to_owned() } else { lines.join("<br>") };
        rows.push_str(&format!("| {package} | {script} | {lines} | {because} |\n"));
    }
    rows
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a panic is how a test reports")]
mod tests {
    use super::*;

    #[test]
    fn the_documents_table_is_this_one() {
        let document = include_str!("../../../docs/maintainer-scripts.md");
        let (_, after) = document.split_once("<!-- known -->\n").unwrap();
        let (table, _) = after.split_once("<!-- /known -->").unwrap();
        assert_eq!(table, rows(), "docs/maintainer-scripts.md is old: copy the rows on the right");
    }

    #[test]
    fn packages_are_in_order_and_digests_are_digests() {
        assert!(KNOWN.is_sorted_by_key(|known| (known.package, known.script)));
        for known in KNOWN {
            assert!(!known.because.is_empty());
            for digest in known.digests {
                assert!(digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit()), "{digest}");
            }
        }
    }
}
