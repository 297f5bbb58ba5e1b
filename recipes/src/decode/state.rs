//! `[state]`: what may outlive a boot, and what may not because it would be a way in.

use std::collections::BTreeMap;

use super::rules;
use crate::fields::{Fields, one_of};
use crate::place::At;
use crate::recipe::{Mount, Provision, State, StateSize};
use crate::value::Kind;
use crate::words::{IfDamaged, SeedTime, StateFs};

/// Least bytes of a state of fixed size: the smallest ext4 with a journal that is worth having.
const LEAST: u64 = 16 << 20;

/// Seconds that a first boot waits for a seed: a USB stick takes two or three.
const DEFAULT_WAIT: u32 = 5;

/// Whether a path that decides what runs, or who gets in, can be persisted for a reason.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Grade {
    Never,
    WithReason,
}

use Grade::{Never, WithReason};

/// What state would turn into a way in: the path (`*` at its end for every name that begins so), and why. It stands for
/// everything below as well, and for what lies above: whoever writes a folder decides what is in it.
///
/// `docs/state.md` is for readers what this is for the builder; a test holds them together.
const WAYS_IN: &[(&str, Grade, &str)] = &[
    ("/usr", Never, "programs and what they load come from the verified root"),
    ("/bin", Never, "programs come from the verified root"),
    ("/sbin", Never, "programs come from the verified root"),
    ("/lib*", Never, "libraries, modules and units come from the verified root"),
    ("/boot", Never, "the boot artefact is signed"),
    ("/efi", Never, "the boot artefact is signed"),
    ("/dev", Never, "it is the kernel's"),
    ("/proc", Never, "it is the kernel's"),
    ("/sys", Never, "it is the kernel's"),
    ("/run", Never, "it is of one boot; its unit and generator folders decide what runs"),
    ("/tmp", Never, "it is of one boot"),
    ("/etc/systemd", Never, "units decide what runs"),
    ("/etc/init*", Never, "init's own files decide what runs"),
    ("/etc/rc?.d", Never, "start scripts decide what runs"),
    ("/etc/rc.*", Never, "start scripts decide what runs"),
    ("/etc/default", Never, "it sets the arguments and the environment of services"),
    ("/etc/conf.d", Never, "it sets the arguments and the environment of services"),
    ("/etc/environment*", Never, "it sets the environment of everything, LD_PRELOAD among it"),
    ("/etc/pam.*", Never, "PAM decides who gets in, and loads modules"),
    ("/etc/security", Never, "PAM's modules take their orders from it"),
    ("/etc/ld.so.*", Never, "it decides which libraries every program loads"),
    ("/etc/cron*", Never, "cron runs what is written there"),
    ("/etc/anacrontab", Never, "anacron runs what is written there"),
    ("/etc/at.*", Never, "it decides who may have at run things"),
    ("/var/spool/cron", Never, "cron runs what is written there"),
    ("/var/spool/at", Never, "at runs what is written there"),
    ("/var/spool/anacron", Never, "anacron goes by it"),
    ("/etc/sudo*", Never, "it decides who is root"),
    ("/etc/doas.conf", Never, "it decides who is root"),
    ("/etc/polkit-1", Never, "it decides who may do what, by scripts"),
    ("/var/lib/polkit-1", Never, "it decides who may do what"),
    ("/etc/profile*", Never, "every login shell runs it"),
    ("/etc/bash*", Never, "every shell runs it"),
    ("/etc/csh*", Never, "every shell runs it"),
    ("/etc/zsh*", Never, "every shell runs it"),
    ("/etc/inputrc", Never, "every shell reads it"),
    ("/etc/skel", Never, "it becomes the home of new users"),
    ("/etc/update-motd.d", Never, "every login runs it"),
    ("/etc/udev", Never, "udev's rules run programs"),
    ("/etc/modprobe.*", Never, "modprobe runs commands from it"),
    ("/etc/modules*", Never, "it decides which modules are loaded"),
    ("/etc/sysctl.*", Never, "it sets the kernel's switches, core_pattern among them"),
    ("/etc/tmpfiles.d", Never, "it makes files and links as root at every boot"),
    ("/etc/sysusers.d", Never, "it makes users"),
    ("/etc/binfmt.d", Never, "it decides what runs what"),
    ("/etc/passwd*", Never, "it decides who there is; users come with the image"),
    ("/etc/group", Never, "it decides who there is; users come with the image"),
    ("/etc/group-", Never, "it decides who there is; users come with the image"),
    ("/etc/shadow*", Never, "it decides who gets in; users come with the image"),
    ("/etc/gshadow*", Never, "it decides who gets in; users come with the image"),
    ("/etc/sub?id*", Never, "it decides who may be whom"),
    ("/etc/nsswitch.conf", Never, "it decides which libraries look up users"),
    ("/etc/login.defs", Never, "it decides how users get in"),
    ("/etc/securetty", Never, "it decides where root gets in"),
    ("/etc/shells", Never, "it decides what is a shell"),
    ("/etc/krb5*", Never, "it decides who gets in"),
    ("/etc/ssh/sshd_config*", Never, "it decides who gets in; only `/etc/ssh/hostkeys` is for state"),
    ("/etc/ssh/ssh_config*", Never, "it runs commands (ProxyCommand)"),
    ("/etc/ssh/authorized_*", Never, "it decides who gets in; users come with the image"),
    ("/etc/ssh/sshrc", Never, "every SSH login runs it"),
    ("/etc/ssh/moduli", Never, "it is part of every key exchange"),
    ("/etc/apt", Never, "apt runs commands from it"),
    ("/etc/dpkg", Never, "dpkg runs commands from it"),
    ("/var/lib/dpkg", Never, "dpkg's scripts lie there, and what the image says is installed"),
    ("/etc/alternatives", Never, "it decides which program a name is"),
    ("/etc/kernel*", Never, "its hooks run as root"),
    ("/etc/initramfs-tools", Never, "its hooks run as root"),
    ("/etc/network", Never, "its hooks run as root"),
    ("/etc/networkd-dispatcher", Never, "its hooks run as root"),
    ("/etc/NetworkManager", Never, "its dispatcher runs scripts as root"),
    ("/etc/dhcp*", Never, "its hooks run as root"),
    ("/etc/ppp", Never, "its hooks run as root"),
    ("/etc/acpi", Never, "acpid runs what is written there"),
    ("/etc/logrotate.*", Never, "logrotate runs commands from it as root"),
    ("/etc/dbus-1", Never, "it decides which services are started, and who may call them"),
    ("/etc/xdg", Never, "it starts programs at login"),
    ("/etc/X11", Never, "it starts programs at login"),
    ("/etc/fstab", Never, "it mounts file systems, without noexec"),
    ("/etc/mtab", Never, "it is the kernel's"),
    ("/etc/crypttab", Never, "it opens devices"),
    ("/etc/veritytab", Never, "it opens devices"),
    ("/etc/integritytab", Never, "it opens devices"),
    ("/etc/inittab", Never, "init runs what is written there"),
    ("/etc/os-release", Never, "it says which image this is"),
    ("/var/lib/systemd/linger", Never, "it starts users' services without them"),
    (
        "/var/lib/systemd/credential.secret",
        Never,
        "it opens services' credentials: with the disk in hand, anyone could",
    ),
    ("/var/lib/extensions*", Never, "system extensions are put over /usr"),
    ("/var/lib/confexts", Never, "configuration extensions are put over /etc"),
    ("/var/lib/portables", Never, "portable services are units"),
    ("/var/lib/machines", Never, "containers are started from it"),
    (
        "/root",
        WithReason,
        "root's keys and shell files lie there: they decide who gets in and what his shell runs",
    ),
    ("/home", WithReason, "keys and shell files lie there: they decide who gets in and what a login runs"),
    ("/etc/ssl", WithReason, "it decides whom programs trust"),
    ("/etc/ca-certificates*", WithReason, "it decides whom programs trust"),
    ("/etc/nftables*", WithReason, "it decides what the firewall lets in"),
    ("/etc/iptables*", WithReason, "it decides what the firewall lets in"),
    ("/etc/hosts.allow", WithReason, "it decides who gets in"),
    ("/etc/hosts.deny", WithReason, "it decides who gets in"),
];

pub(crate) fn state(mut fields: Fields<'_>, is_there: bool, mounts: &[Mount]) -> Option<State> {
    let fs = fields.word::<StateFs>("fs");
    let size = size(&mut fields);
    let if_damaged = fields.word::<IfDamaged>("if-damaged");
    let persist = fields.texts("persist");
    let accept = fields.reasons("accept", |path| match persist.iter().any(|one| one.value == path) {
        true => Ok(path.to_owned()),
        false => {
            let known: Vec<&str> = persist.iter().map(|one| one.value.as_str()).collect();
            Err(one_of(path, &known))
        }
    });
    let exec = fields.reasons("exec", |path| rules::image_path(path).map(|()| path.to_owned()));
    let has_provision = fields.has("provision");
    let provision = provision(fields.table("provision"), is_there && has_provision);
    let mut earlier: Vec<&At<String>> = Vec::new();
    for path in &persist {
        let message = |what: &str| format!("`{}` cannot be persisted: {what}", path.escape_debug());
        match lint(path, &accept) {
            Err((what, help)) => fields.report_with_help(&path.place, message(&what), help),
            Ok(()) => {
                if let Some(other) = earlier.iter().find(|other| nested(other, path).is_some()) {
                    let what =
                        format!("`{}` is persisted already, one of them lies in the other", other.value);
                    fields.report_with_help(&path.place, message(&what), format!("first at {}", other.place));
                }
                // A mount may lie above, and is filled first; below, it would be bound over.
                if let Some(mount) =
                    mounts.iter().find(|mount| path.as_str() == "/" || within(&mount.target.value, path))
                {
                    let what = format!("`{}` is mounted", mount.target.value);
                    fields.report(&path.place, message(&what));
                }
            }
        }
        earlier.push(path);
    }
    fields.finish();
    is_there.then(|| State {
        fs: fs.map(|word| word.value).unwrap_or_default(),
        size: size.unwrap_or(StateSize::Grow),
        if_damaged: if_damaged.map(|word| word.value).unwrap_or_default(),
        persist,
        exec,
        accept,
        provision,
    })
}

/// What programs may be started from is persisted, or it would be no state.
pub(crate) fn exec_is_persisted(top: &Fields<'_>, state: Option<&State>) {
    let Some(state) = state else { return };
    let strangers =
        state.exec.iter().filter(|(path, _)| !state.persist.iter().any(|one| one.value == **path));
    for (path, reason) in strangers {
        let message = format!("`{}` is not persisted", path.escape_debug());
        top.report_with_help(&reason.place, message, format!("[state] persist = [\"{path}\"]"));
    }
}

/// `[state.provision]`
fn provision(mut fields: Fields<'_>, is_there: bool) -> Option<Provision> {
    let certificate = fields.local_path("certificate");
    let when = fields.word::<SeedTime>("when");
    let wait = fields.integer("wait", &(0..=300));
    if !fields.has("certificate") && is_there {
        let help = "the certificate of the key that `graven provision sign` signs with";
        fields.report_with_help(fields.place(), "`state.provision.certificate` is missing", help);
    }
    fields.finish();
    Some(Provision {
        certificate: certificate?,
        when: when.map(|word| word.value).unwrap_or_default(),
        wait_seconds: wait.and_then(|seconds| u32::try_from(seconds.value).ok()).unwrap_or(DEFAULT_WAIT),
    })
}

/// `"grow"`, or bytes.
fn size(fields: &mut Fields<'_>) -> Option<StateSize> {
    if let Some(value) = fields.value("size")
        && matches!(&value.kind, Kind::Text(text) if text == "grow")
    {
        return Some(StateSize::Grow);
    }
    let size = fields.size("size")?;
    if size.value < LEAST || size.value % (1 << 20) != 0 {
        let help = "\"grow\" for all of the disk that the image does not take, or a size such as \"256M\"";
        fields.report_with_help(&size.place, "a state has at least 16M, in whole M", help);
        return None;
    }
    Some(StateSize::Fixed(size.value))
}

/// What is wrong with persisting a path, and what helps.
fn lint(path: &str, accept: &BTreeMap<String, At<String>>) -> Result<(), (String, String)> {
    rules::image_path(path).map_err(|expected| ("it is no path inside the image".to_owned(), expected))?;
    if path == "/" {
        let help = "name the exact paths that outlive a boot; everything else is read-only";
        return Err(("it is the whole root".to_owned(), help.to_owned()));
    }
    if path.len() > 255 || path.contains(|c: char| c == ':' || c.is_whitespace() || c.is_control()) {
        let help = "no blanks, no colons, at most 255 bytes";
        return Err(("its name is none for state".to_owned(), help.to_owned()));
    }
    let Some((way, grade, why)) = WAYS_IN.iter().find(|(way, ..)| touches(way, path)) else { return Ok(()) };
    if *grade == WithReason && accept.contains_key(path) {
        return Ok(());
    }
    let shown = way.trim_end_matches('*');
    let above = within(shown, path) && shown != path && !way.ends_with('*');
    let what = match above {
        true => format!("`{shown}` lies in it, and {why}"),
        false => why.to_string(),
    };
    let help = match grade {
        WithReason => format!("where that is meant: [state] accept.\"{path}\" = \"why\""),
        Never => "name something deeper, or put it into the image".to_owned(),
    };
    Err((what, help))
}

/// Whether persisting `path` would give away what `way` stands for: it is that, lies in it, or holds it.
fn touches(way: &str, path: &str) -> bool {
    let matches_start = |way: &str, path: &str| {
        let parts = |text: &'_ str| text.split('/').map(str::to_owned).collect::<Vec<_>>();
        let (way, path) = (parts(way), parts(path));
        let depth = way.len().min(path.len());
        way.iter().zip(&path).take(depth).all(|(pattern, name)| name_matches(pattern, name))
    };
    matches_start(way, path)
}

/// `*` at the end stands for any rest, `?` for one character.
fn name_matches(pattern: &str, name: &str) -> bool {
    let (fixed, open) = match pattern.strip_suffix('*') {
        Some(fixed) => (fixed, true),
        None => (pattern, false),
    };
    let mut rest = name.chars();
    let same = fixed.chars().all(|wanted| rest.next().is_some_and(|found| wanted == '?' || wanted == found));
    same && (open || rest.next().is_none())
}

/// Whether `inner` is `outer` or lies in it.
pub(super) fn within(inner: &str, outer: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether one lies in the other.
pub(super) fn nested(one: &str, other: &str) -> Option<()> {
    (within(one, other) || within(other, one)).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &str) -> bool {
        lint(path, &BTreeMap::new()).is_err()
    }

    #[test]
    fn ways_in_are_refused_with_what_is_above_and_below_them() {
        for path in [
            "/",
            "/etc",
            "/var",
            "/var/lib",
            "/var/spool",
            "/usr/local",
            "/lib64/x",
            "/etc/systemd/system",
            "/etc/systemd/system/x.service.d",
            "/etc/pam.d",
            "/etc/pam.conf",
            "/etc/ld.so.preload",
            "/etc/ld.so.cache",
            "/etc/ld.so.conf.d/x",
            "/etc/cron.d",
            "/etc/crontab",
            "/etc/cron.daily/x",
            "/etc/sudoers",
            "/etc/sudoers.d/x",
            "/etc/profile.d",
            "/etc/udev/rules.d",
            "/etc/modprobe.d",
            "/etc/sysctl.d",
            "/etc/passwd",
            "/etc/passwd-",
            "/etc/shadow",
            "/etc/subuid",
            "/etc/ssh",
            "/etc/ssh/sshd_config",
            "/etc/ssh/sshd_config.d/x.conf",
            "/root",
            "/root/.ssh",
            "/home/admin/.ssh",
            "/var/lib/systemd",
            "/var/lib/systemd/linger/x",
            "/etc/environment.d",
            "/etc/rc.local",
            "/etc/a b",
            "/etc/a:b",
            "relative",
            "/etc/../x",
        ] {
            assert!(refused(path), "{path}");
        }
    }

    #[test]
    fn what_services_keep_is_not() {
        for path in [
            "/etc/machine-id",
            "/etc/ssh/hostkeys",
            "/var/log",
            "/var/lib/acme",
            "/srv",
            "/etc/hostname",
            "/etc/resolv.conf",
            "/var/lib/systemd/timesync",
            "/var/lib/systemd/random-seed",
            "/var/cache",
            "/var/lib/misc/dnsmasq.leases",
            "/etc/acme/settings",
            "/data",
        ] {
            assert_eq!(lint(path, &BTreeMap::new()), Ok(()), "{path}");
        }
    }

    #[test]
    fn every_way_in_is_in_the_documentation() {
        let page = include_str!("../../../docs/state.md");
        for (way, grade, why) in WAYS_IN {
            let grade = if *grade == Never { "never" } else { "with a reason" };
            assert!(page.contains(&format!("| `{way}` | {grade} | {why} |")), "{way} | {grade} | {why}");
        }
    }
}
