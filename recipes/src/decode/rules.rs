//! What single texts must look like. Each rule answers with what would be right.

use crate::recipe::{ImageReference, PackageRequest, Version};
use toml::value::{Datetime, Offset};

/// The kernel's `PATH_MAX` less NUL.
const MAX_PATH: usize = 4095;

pub(crate) fn name(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    let fits = (1..=64).contains(&text.len()) && text.bytes().all(plain);
    if fits && !text.bytes().all(|b| b == b'.') {
        return Ok(());
    }
    Err("1 to 64 of A-Z a-z 0-9 . _ -, for it names the IPE policy and files".to_owned())
}

pub(crate) fn version(text: &str) -> Result<Version, String> {
    let numbers: Option<Vec<u16>> = text.split('.').map(number).collect();
    match numbers.as_deref() {
        Some([major, minor, revision]) => Ok(Version { major: *major, minor: *minor, revision: *revision }),
        Some([major, minor]) => Err(format!("write {major}.{minor}.0")),
        Some([major]) => Err(format!("write {major}.0.0")),
        _ => Err("three numbers from 0 to 65535 with dots between, as IPE counts: 1.0.0".to_owned()),
    }
}

fn number(text: &str) -> Option<u16> {
    let canonical = text == "0" || !text.starts_with(['0', '+']);
    canonical.then(|| text.parse().ok()).flatten()
}

/// A volume's name, to which its partitions' names add an ending.
pub(crate) fn volume_name(text: &str) -> Result<(), String> {
    const OTHERS: [&str; 3] = ["esp", "root", "state"];
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if !(1..=24).contains(&text.len()) || !text.bytes().all(plain) {
        return Err("1 to 24 of a-z 0-9 -, for it names partitions".to_owned());
    }
    let taken = OTHERS.contains(&text) || text.starts_with("graven");
    match taken || text.ends_with("-verity") || text.ends_with("-verity-sig") {
        true => Err("another name: this one is for other partitions".to_owned()),
        false => Ok(()),
    }
}

pub(crate) fn hostname(text: &str) -> Result<(), String> {
    let label = |label: &str| {
        let plain = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&label.len()) && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    if text.len() <= 64 && text.split('.').all(label) {
        return Ok(());
    }
    Err("labels of a-z 0-9 - with dots between, 64 characters at most".to_owned())
}

/// A name that `useradd` takes.
pub(crate) fn user_name(text: &str) -> Result<(), String> {
    let first = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let rest = |b: u8| first(b) || b.is_ascii_digit() || b == b'-';
    match text.bytes().next().is_some_and(first) && text.bytes().all(rest) && text.len() <= 32 {
        true => Ok(()),
        false => Err("1 to 32 of a-z 0-9 _ -, beginning with a letter or _".to_owned()),
    }
}

/// A field of `/etc/passwd`.
pub(crate) fn account_comment(text: &str) -> Result<(), String> {
    match text.contains([':', '\n', '\0']) {
        true => Err("one line without a colon".to_owned()),
        false => Ok(()),
    }
}

/// A unit's name, with or without `.service`.
pub(crate) fn unit_name(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    match (1..=255).contains(&text.len()) && text.bytes().all(plain) {
        true => Ok(()),
        false => {
            Err("the name of a unit, such as `ssh`, `nftables.service` or `getty@tty1.service`".to_owned())
        }
    }
}

/// An absolute path inside the image, in its shortest form.
pub(crate) fn image_path(text: &str) -> Result<(), String> {
    if text == "/" {
        return Ok(());
    }
    let Some(rest) = text.strip_prefix('/') else {
        return Err("an absolute path inside the image, beginning with /".to_owned());
    };
    if text.len() > MAX_PATH || text.contains('\0') {
        return Err(format!("a path has at most {MAX_PATH} bytes, none of them NUL"));
    }
    let name = |part: &str| !matches!(part, "" | "." | "..") && part.len() <= 255;
    if rest.split('/').all(name) {
        return Ok(());
    }
    Err("no empty part, no . or .., no slash at the end, no part over 255 bytes".to_owned())
}

/// The name of a Debian package (Debian Policy 5.6.7).
pub(crate) fn package_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    match name.len() >= 2 && begins && name.bytes().all(plain) {
        true => Ok(()),
        false => Err("the name of a Debian package, such as `busybox-static`".to_owned()),
    }
}

/// `name[:architecture][=version][/suite]`.
pub(crate) fn package(text: &str) -> Result<PackageRequest, String> {
    let request = request(text);
    package_name(&request.name).map_err(|_| PACKAGE.to_owned())?;
    parts(request)
}

/// The same, `*` in the name standing for anything.
pub(crate) fn package_pattern(text: &str) -> Result<PackageRequest, String> {
    let request = request(text);
    package_name(&request.name.replace('*', "x")).map_err(|_| PACKAGE.to_owned())?;
    parts(request)
}

const PACKAGE: &str =
    "a Debian package, such as `nftables`, `nftables=1.1*`, `libc6:i386` or `nftables/trixie-backports`";

fn request(text: &str) -> PackageRequest {
    let (text, suite) = split(text, '/');
    let (text, version) = split(text, '=');
    let (name, architecture) = split(text, ':');
    PackageRequest { name: name.to_owned(), architecture, version, suite }
}

fn split(text: &str, mark: char) -> (&str, Option<String>) {
    match text.split_once(mark) {
        Some((before, after)) => (before, Some(after.to_owned())),
        None => (text, None),
    }
}

fn parts(request: PackageRequest) -> Result<PackageRequest, String> {
    let version = |b: u8| b.is_ascii_alphanumeric() || b".+-:~*".contains(&b);
    let fits = request.architecture.as_deref().is_none_or(|name| repository_word(name).is_ok())
        && request.version.as_deref().is_none_or(|text| !text.is_empty() && text.bytes().all(version))
        && request.suite.as_deref().is_none_or(|name| suite(name).is_ok());
    if fits { Ok(request) } else { Err(PACKAGE.to_owned()) }
}

/// A folder below `dists/`.
pub(crate) fn suite(text: &str) -> Result<(), String> {
    let part = |part: &str| !matches!(part, "." | "..") && repository_word(part).is_ok();
    match text.split('/').all(part) {
        true => Ok(()),
        false => {
            Err("the folder of a suite below `dists/`, such as `trixie` or `trixie-backports`".to_owned())
        }
    }
}

/// A component or an architecture.
pub(crate) fn repository_word(text: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"+-._".contains(&b);
    match !text.is_empty() && text.len() <= 100 && text.bytes().all(plain) {
        true => Ok(()),
        false => Err("letters, digits, + - . _".to_owned()),
    }
}

/// `registry/repository[:tag][@sha256:…]` (OCI distribution specification 1.1, "Pulling manifests").
pub(crate) fn image(text: &str) -> Result<ImageReference, String> {
    let expected = || IMAGE.to_owned();
    if text.contains("://") {
        return Err(format!("{IMAGE}, without a scheme before it"));
    }
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(image_digest(digest)?)),
        None => (text, None),
    };
    let (registry, rest) = rest.split_once('/').ok_or_else(expected)?;
    if !registry.contains(['.', ':']) && registry != "localhost" {
        return Err(format!(
            "{IMAGE}; images of Docker's hub are docker.io/library/NAME or docker.io/USER/NAME"
        ));
    }
    let (repository, tag) = match rest.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (rest, None),
    };
    if registry == "docker.io" && !repository.contains('/') {
        return Err(format!("docker.io/library/{repository}, as Docker's hub calls it"));
    }
    if !is_registry(registry) || !is_image_name(repository) || !tag.is_none_or(is_tag) {
        return Err(expected());
    }
    if tag.is_none() && digest.is_none() {
        return Err(format!("a tag or a digest, such as {registry}/{repository}:1.0"));
    }
    Ok(ImageReference {
        text: text.to_owned(),
        registry: registry.to_owned(),
        repository: repository.to_owned(),
        tag: tag.map(str::to_owned),
        digest,
    })
}

const IMAGE: &str = "an image with its registry, such as `registry.example/ns/name:1.0` or \
                     `registry.example/ns/name@sha256:…`";

/// `sha256:` and 64 digits.
pub(crate) fn image_digest(text: &str) -> Result<[u8; 32], String> {
    let digits =
        text.strip_prefix("sha256:").filter(|digits| !digits.bytes().any(|b| b.is_ascii_uppercase()));
    let bytes = digits.and_then(|digits| <[u8; 32]>::try_from(hex(digits).ok()?).ok());
    bytes.ok_or_else(|| "a digest is sha256: and 64 hexadecimal digits in lower case".to_owned())
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() || !(port.is_empty() || port.starts_with(':')) {
                return false;
            }
            ("ipv6", port.strip_prefix(':'))
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let number = |port: &str| {
        port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0)
    };
    host.len() <= 253 && host.split('.').all(label) && port.is_none_or(number)
}

fn is_image_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let part = |part: &str| {
        let ends = part.bytes().next().is_some_and(plain) && part.bytes().next_back().is_some_and(plain);
        let dots = part.contains("..") || part.contains("___") || part.contains("._") || part.contains("_.");
        ends && !dots && part.bytes().all(|b| plain(b) || b"._-".contains(&b))
    };
    text.len() <= 255 && text.split('/').all(part)
}

fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|b| word(b) || b == b'.' || b == b'-')
}

/// The name of an image in a layout: what `org.opencontainers.image.ref.name` may hold.
pub(crate) fn layout_name(text: &str) -> Result<(), String> {
    match !text.is_empty() && text.len() <= 255 && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(()),
        false => Err("the name that the image has in the layout's index.json".to_owned()),
    }
}

pub(crate) fn repository_url(text: &str) -> Result<(), String> {
    let known = ["http://", "https://", "file:///"].iter().any(|scheme| text.starts_with(scheme));
    match known && text.bytes().all(|b| b.is_ascii_graphic()) {
        true => Ok(()),
        false => {
            Err("the address of a mirror, http:// or https:// or file:///, such as https://MIRROR/debian"
                .to_owned())
        }
    }
}

/// Whether an address looks like a mirror of Debian's own, which Debian's keyring is for.
pub(crate) fn is_debians(url: &str) -> bool {
    let path = url.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    matches!(path, "debian" | "debian-security" | "debian-ports") || url.contains("/archive/debian")
}

pub(crate) fn hex(text: &str) -> Result<Vec<u8>, String> {
    let expected = || "hexadecimal digits, two a byte, at most 256 bytes".to_owned();
    if !text.len().is_multiple_of(2) || text.len() > 512 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(expected());
    }
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| expected());
    (0..text.len()).step_by(2).map(byte).collect()
}

/// A digest as IPE's rules write it.
pub(crate) fn digest(text: &str) -> Result<(), String> {
    let known = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
    let digits = |hex: &str, length| hex.len() == length && hex.bytes().all(|b| b.is_ascii_hexdigit());
    let fits = text.split_once(':').is_some_and(|(algorithm, hex)| {
        known.iter().any(|(name, length)| algorithm == *name && digits(hex, *length))
    });
    match fits {
        true => Ok(()),
        false => Err("sha256:, sha384: or sha512: and the whole digest in hexadecimal digits".to_owned()),
    }
}

/// A word of the kernel command line that the user adds.
pub(crate) fn command_line_word(word: &str) -> Result<(), String> {
    if word.is_empty() || !word.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        return Err(
            "one word of printable ASCII without blanks and quotes; several words are several strings"
                .to_owned(),
        );
    }
    // The kernel takes `-` for `_` in names.
    let name = word.split('=').next().unwrap_or_default().replace('-', "_");
    for (theirs, instead) in WRITTEN_BY_THE_BUILDER {
        let same = match theirs.strip_suffix('*') {
            Some(family) => name.starts_with(family),
            None => name == theirs,
        };
        if same {
            return Err(format!("the builder or stage0 decides this; {instead}"));
        }
    }
    Ok(())
}

/// Names that decide what the image proves, and where the recipe decides them.
const WRITTEN_BY_THE_BUILDER: [(&str, &str); 19] = [
    ("roothash", "it follows from the root"),
    ("root", "it follows from the root"),
    ("rootfstype", "it follows from the root"),
    ("rootflags", "it follows from the root"),
    ("ro", "the root is always read-only"),
    ("rw", "the root is always read-only"),
    ("init", "say it with the recipe's `init`"),
    ("rdinit", "the initramfs starts stage0"),
    ("initrd", "the boot artefact holds the initramfs"),
    ("noinitrd", "the boot artefact holds the initramfs"),
    ("ipe.*", "say it with `policy.mode`"),
    ("lsm", "the kernel's own list is checked"),
    ("security", "the kernel's own list is checked"),
    ("lockdown", "say it with `lockdown.relax.kernel-lockdown`"),
    ("proc_mem.*", "say it with `lockdown.relax.proc-mem`"),
    ("nohibernate", "say it with `lockdown.relax.hibernation`"),
    ("graven.*", "these are the builder's words to stage0"),
    ("dm_mod.*", "stage0 sets up device-mapper"),
    ("__", "what follows it would not be the kernel's"),
];

/// Seconds since 1970 of a TOML date with time and zone.
pub(crate) fn unix_seconds(datetime: &Datetime) -> Result<u64, String> {
    let (Some(date), Some(time), Some(offset)) = (datetime.date, datetime.time, datetime.offset) else {
        return Err("give date, time and zone, such as 2026-01-31T12:00:00Z".to_owned());
    };
    if time.nanosecond.is_some_and(|nanoseconds| nanoseconds != 0) {
        return Err("whole seconds only".to_owned());
    }
    let minutes_east = match offset {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let day = days_since_1970(i64::from(date.year), i64::from(date.month), i64::from(date.day));
    let second = i64::from(time.second.unwrap_or(0));
    let of_day = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + second;
    u64::try_from(day * 86400 + of_day - minutes_east * 60).map_err(|_| "it lies before 1970".to_owned())
}

/// Days from 1970-01-01 in the Gregorian calendar; the year is counted from March, so that a leap day ends it.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year;
    // 0000-03-01 to 1970-01-01.
    days - 719_468
}

#[cfg(test)]
mod tests {
    use super::{command_line_word, image_path, package, package_pattern, unix_seconds, version};

    #[test]
    fn dates_are_what_date_says() {
        // `date -u -d … +%s`
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:34:56Z", 951_827_696),
            ("2026-11-22T10:00:00+01:00", 1_795_338_000),
            ("2100-03-01T00:00:00Z", 4_107_542_400),
        ] {
            assert_eq!(unix_seconds(&text.parse().unwrap()), Ok(seconds), "{text}");
        }
        for text in ["1969-12-31T23:59:59Z", "2026-11-22", "2026-11-22T10:00:00", "2026-11-22T10:00:00.5Z"] {
            assert!(unix_seconds(&text.parse().unwrap()).is_err(), "{text}");
        }
    }

    #[test]
    fn words_that_decide_what_the_image_proves_stay_the_builders() {
        for word in
            ["ipe.enforce=0", "root=/dev/sda", "rdinit=/x", "lsm=", "dm-mod.create=x", "graven.x", "--", "rw"]
        {
            assert!(command_line_word(word).is_err(), "{word}");
        }
        for word in ["quiet", "rootwait", "console=tty1", "sysctl.kernel.panic=10", "rootdelay=3", "panic=-1"]
        {
            assert_eq!(command_line_word(word), Ok(()), "{word}");
        }
    }

    #[test]
    fn a_package_is_asked_for_by_name_architecture_version_and_suite() {
        for text in
            ["nftables", "nftables=1.1*", "libc6:i386", "g++", "foo/trixie-backports", "foo:i386=1:2~b/a/b"]
        {
            assert_eq!(package(text).unwrap().to_string(), text);
        }
        for text in
            ["", "a", "Nft", "a b", "linux-*", "foo=", "foo:", "foo/", "foo/..", "foo=1 2", "../x.deb"]
        {
            assert!(package(text).is_err(), "{text}");
        }
        assert_eq!(package_pattern("linux-binary-7.3*-arm64").unwrap().name, "linux-binary-7.3*-arm64");
    }

    #[test]
    fn a_version_is_the_one_way_to_write_it() {
        assert_eq!(version("2.4.65535").unwrap().to_string(), "2.4.65535");
        for text in ["", "1", "1.2", "1.2.3.4", "1.2.65536", "01.2.3", "1.+2.3", "1.2.", "1.2.x"] {
            assert!(version(text).is_err(), "{text}");
        }
    }

    #[test]
    fn paths_in_the_image_have_one_form() {
        for path in ["/", "/sbin/init", "/a b"] {
            assert_eq!(image_path(path), Ok(()), "{path}");
        }
        for path in ["", "sbin", "//a", "/a/", "/a//b", "/a/../b", "/./a"] {
            assert!(image_path(path).is_err(), "{path}");
        }
    }
}
