//! The commands that a script may use, and what each is known to do.

use super::Unknown;
use super::expand::Output;
use super::run::{Flow, Shell};
use crate::accounts::adduser;
use crate::alternatives::Alternative;
use crate::units::Scope;
use crate::world::{Diversion, Finisher, Override};

/// Commands that change nothing that is kept in an image: they speak to what runs, to a terminal, or to `debconf`.
const WITHOUT_EFFECT: [&str; 39] = [
    ":",
    "true",
    "set",
    "trap",
    "unset",
    "db_version",
    "db_capb",
    "db_input",
    "db_go",
    "db_stop",
    "db_fset",
    "db_set",
    "db_subst",
    "db_settitle",
    "db_title",
    "db_reset",
    "db_register",
    "db_unregister",
    "db_purge",
    "db_metaget",
    "invoke-rc.d",
    "service",
    "deb-systemd-invoke",
    "dpkg-trigger",
    "dpkg-maintscript-helper",
    "ucfr",
    "journalctl",
    "systemd-hwdb",
    "udevadm",
    "restorecon",
    "depmod",
    "update-initramfs",
    "py3compile",
    "py3clean",
    "update-menus",
    "update-icon-caches",
    "update-mime-database",
    "update-desktop-database",
    "glib-compile-schemas",
];

/// Questions about a running system: nothing runs.
const ANSWERED_NO: [&str; 6] =
    ["aa-enabled", "pidof", "selinuxenabled", "runlevel", "false", "systemd-detect-virt"];

impl Shell<'_, '_> {
    /// A command with its arguments.
    pub(crate) fn command(
        &mut self,
        name: &str,
        arguments: &[String],
        output: Option<&Output>,
    ) -> Result<Flow, Unknown> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let done = Ok(Flow::Next(true));
        if let Some(output) = output {
            return self.writes(name, &words, output);
        }
        match (name, words.as_slice()) {
            ("local" | "export", _) => {
                for (name, value) in words.iter().filter_map(|word| word.split_once('=')) {
                    self.variables.insert(name.to_owned(), value.to_owned());
                }
                done
            }
            ("invoke-rc.d", words) if words.contains(&"status") => Ok(Flow::Next(false)),
            (name, _) if WITHOUT_EFFECT.contains(&name) => done,
            (name, _) if ANSWERED_NO.contains(&name) => Ok(Flow::Next(false)),
            ("echo" | "printf" | "cat", _) => done,
            ("." | "source", ["/usr/share/debconf/confmodule" | "/usr/share/dpkg/sh/dpkg-error.sh"]) => done,
            ("umask", [bits]) => match u16::from_str_radix(bits, 8) {
                Ok(bits) if bits <= 0o777 => {
                    self.umask = bits;
                    done
                }
                _ => self.unknown(format!("`umask {bits}`")),
            },
            ("continue", []) => Ok(Flow::Continue),
            ("break", []) => Ok(Flow::Break),
            ("exit", [] | ["0"]) => Ok(Flow::Exit),
            ("return", [] | ["0"]) => Ok(Flow::Return(true)),
            ("return", ["1"]) => Ok(Flow::Return(false)),
            ("exit" | "error", _) => self.unknown("the script would fail here"),
            ("shift", []) => {
                if !self.arguments.is_empty() {
                    self.arguments.remove(0);
                }
                done
            }
            ("[", [inner @ .., "]"]) => self.test(&arguments[..inner.len()]).map(Flow::Next),
            ("test", _) => self.test(arguments).map(Flow::Next),
            ("command", ["-v", program]) | ("which", [program] | ["-s", program]) => {
                Ok(Flow::Next(self.program(program).is_some()))
            }
            ("ischroot", _) => done,
            ("dpkg", ["--compare-versions", left, operator, right]) => {
                self.compare_versions(left, operator, right).map(Flow::Next)
            }
            ("getent", ["passwd", user]) | ("id", [user] | ["-u" | "-g", user]) => {
                Ok(Flow::Next(self.world.accounts.uid(user).is_some()))
            }
            ("getent", ["group", group]) => Ok(Flow::Next(self.world.accounts.gid(group).is_some())),
            ("db_get", [question]) => {
                let answer = self.world.answers.get(*question).cloned().unwrap_or_default();
                self.variables.insert("RET".to_owned(), answer);
                done
            }
            ("adduser" | "addgroup" | "useradd" | "groupadd" | "usermod", _) => {
                match adduser::command(name, &words, self.world) {
                    Ok(()) => done,
                    Err(what) => self.unknown(what),
                }
            }
            // A file that its user may have changed: here, one that is there already.
            ("ucf", words) => {
                let files: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with('-')).collect();
                match files.as_slice() {
                    [from, to] => {
                        self.file_command("cp", &["-n", from, to])?;
                        done
                    }
                    _ => self.unknown(format!("`ucf {}`", words.join(" "))),
                }
            }
            ("shadowconfig", ["on"]) => done,
            ("systemd-sysusers", files) => {
                let files = files.iter().filter(|file| !file.is_empty());
                for file in files {
                    if let Err(error) = self.world.sysusers(file) {
                        return self.unknown(error.to_string());
                    }
                }
                done
            }
            // The whole of tmpfiles.d is applied at the end.
            ("systemd-tmpfiles", ["--create", ..]) => done,
            ("systemctl", words) => self.systemctl(words),
            ("deb-systemd-helper", words) => self.deb_systemd_helper(words),
            ("update-rc.d", [script, "defaults" | "defaults-disabled", ..]) => {
                self.world.init_scripts.push(((*script).to_owned(), self.world.package().to_owned()));
                done
            }
            ("update-rc.d", [_, "remove"]) => done,
            ("update-alternatives", words) => self.update_alternatives(words),
            ("dpkg-divert", words) => self.dpkg_divert(words),
            ("dpkg-statoverride", words) => self.dpkg_statoverride(words),
            ("ldconfig", _) => self.later(Finisher::LinkerCache),
            ("update-ca-certificates", _) => self.later(Finisher::Certificates),
            ("pam-auth-update", _) => self.later(Finisher::PamProfiles),
            ("update-shells", _) => self.later(Finisher::Shells),
            ("systemd-machine-id-setup" | "dbus-uuidgen", _) => self.later(Finisher::MachineId),
            // Another init's supervisor.
            ("/usr/lib/runit-helper/runit-helper", _) => done,
            ("add-shell", shells) => {
                self.world.shells.extend(shells.iter().map(|shell| (*shell).to_owned()));
                self.later(Finisher::Shells)
            }
            (name, _) => match self.file_command(name, &words)? {
                true => done,
                false => {
                    self.unknown(format!("the command `{}`", [&[name], words.as_slice()].concat().join(" ")))
                }
            },
        }
    }

    fn later(&mut self, finisher: Finisher) -> Result<Flow, Unknown> {
        self.world.finishers.insert(finisher);
        Ok(Flow::Next(true))
    }

    fn systemctl(&mut self, words: &[&str]) -> Result<Flow, Unknown> {
        let words: Vec<&str> = words
            .iter()
            .copied()
            .filter(|word| !matches!(*word, "--system" | "--quiet" | "-q" | "" | "--no-reload"))
            .collect();
        match words.as_slice() {
            ["enable", units @ ..] => {
                for unit in units {
                    self.world.units.enabled.push((Scope::System, (*unit).to_owned()));
                }
                Ok(Flow::Next(true))
            }
            ["preset", units @ ..] => {
                for unit in units {
                    self.world.units.preset.push((Scope::System, (*unit).to_owned()));
                }
                Ok(Flow::Next(true))
            }
            ["is-active" | "is-enabled" | "is-system-running", ..] => Ok(Flow::Next(false)),
            [
                "daemon-reload" | "daemon-reexec" | "restart" | "try-restart" | "start" | "stop" | "reload"
                | "kill",
                ..,
            ] => Ok(Flow::Next(true)),
            _ => self.unknown(format!("the command `systemctl {}`", words.join(" "))),
        }
    }

    /// On a first installation `was-enabled` is true and `debian-installed` is not; `enable` asks the presets.
    fn deb_systemd_helper(&mut self, words: &[&str]) -> Result<Flow, Unknown> {
        let scope = if words.contains(&"--user") { Scope::User } else { Scope::System };
        let words: Vec<&str> = words.iter().copied().filter(|word| !word.starts_with("--")).collect();
        match words.as_slice() {
            ["enable", units @ ..] => {
                for unit in units {
                    self.world.units.preset.push((scope, (*unit).to_owned()));
                }
                Ok(Flow::Next(true))
            }
            ["was-enabled", ..] => Ok(Flow::Next(true)),
            ["debian-installed", ..] => Ok(Flow::Next(false)),
            ["unmask" | "update-state", ..] => Ok(Flow::Next(true)),
            _ => self.unknown(format!("the command `deb-systemd-helper {}`", words.join(" "))),
        }
    }

    fn update_alternatives(&mut self, words: &[&str]) -> Result<Flow, Unknown> {
        let words: Vec<&str> =
            words.iter().copied().filter(|word| *word != "--quiet" && *word != "--force").collect();
        match words.as_slice() {
            // Nothing that an earlier version has left.
            ["--remove" | "--remove-all", ..] => Ok(Flow::Next(true)),
            ["--install", rest @ ..] => match Alternative::parse(rest) {
                Some(alternative) => {
                    self.world.alternatives.push(alternative);
                    Ok(Flow::Next(true))
                }
                None => self.unknown(format!("the alternative `{}`", words.join(" "))),
            },
            _ => self.unknown(format!("the command `update-alternatives {}`", words.join(" "))),
        }
    }

    /// Files are named as packages bring them: a diversion that moves something is not known.
    fn dpkg_divert(&mut self, words: &[&str]) -> Result<Flow, Unknown> {
        let (mut package, mut to, mut from) = (self.world.package().to_owned(), None, None);
        let (mut add, mut remove, mut rename) = (false, false, false);
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match *word {
                "--package" => package = (*words.next().unwrap_or(&"")).to_owned(),
                "--divert" => to = words.next().map(|path| (*path).to_owned()),
                "--add" => add = true,
                "--remove" => remove = true,
                "--rename" => rename = true,
                "--no-rename" | "--quiet" => {}
                path if path.starts_with('/') => from = Some(path.to_owned()),
                other => return self.unknown(format!("`dpkg-divert {other}`")),
            }
        }
        match (from, to) {
            (Some(from), _) if remove => {
                self.world.diversions.retain(|diversion| diversion.from != from);
                Ok(Flow::Next(true))
            }
            // What moves nothing: without `--add` it is meant all the same.
            (Some(from), Some(to)) if (add || !remove) && (!rename || self.world.find(&from).is_none()) => {
                let diversion = Diversion { from, to, package };
                if !self.world.diversions.contains(&diversion) {
                    self.world.diversions.push(diversion);
                }
                Ok(Flow::Next(true))
            }
            _ => self.unknown("a diversion that moves a file"),
        }
    }

    fn dpkg_statoverride(&mut self, words: &[&str]) -> Result<Flow, Unknown> {
        match words {
            ["--list", path] => Ok(Flow::Next(self.world.overrides.contains_key(*path))),
            ["--update", "--add", rest @ ..] | ["--add", "--update", rest @ ..] => {
                let (rest, path) = match rest {
                    [user, group, mode, path] => ([*user, *group, *mode], *path),
                    _ => return self.unknown(format!("`dpkg-statoverride {}`", words.join(" "))),
                };
                let [user, group, mode] = rest;
                if self.world.find(path).is_some() {
                    self.change_owner(&format!("{user}:{group}"), path)?;
                    self.change_mode(mode, path)?;
                }
                let entry =
                    Override { user: user.to_owned(), group: group.to_owned(), mode: mode.to_owned() };
                self.world.overrides.insert(path.to_owned(), entry);
                Ok(Flow::Next(true))
            }
            _ => self.unknown(format!("`dpkg-statoverride {}`", words.join(" "))),
        }
    }
}
