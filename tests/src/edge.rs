//! The recipes that a firmware engineer starts from, built as he builds them: packages from the mirror that this machine's
//! apt names, or `GRAVEN_DEBIAN_MIRROR`; and the one who may log in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use graven::run::Machine;

use crate::guest::{BOOT, Guest};
use crate::network::{host_key, ssh};
use crate::{image, inputs, oracle};

/// A folder with a recipe of ours, its administrator's key, and an image of it.
pub struct Edge {
    folder: tempfile::TempDir,
}

impl Edge {
    /// What `graven init` makes: `recipes/edge-server`.
    pub fn server() -> Self {
        let edge = Self { folder: image::folder() };
        let made = image::run(["init".as_ref(), edge.recipe("server").as_os_str()]);
        assert!(made.status.success(), "graven init: {}", String::from_utf8_lossy(&made.stderr));
        edge.let_in("server");
        edge
    }

    /// `recipes/edge-firewall`, with what it takes from its neighbours.
    pub fn firewall() -> Self {
        let edge = Self { folder: image::folder() };
        let shipped = |name: &str| inputs::project().join("recipes").join(name);
        for name in ["edge-server", "edge-firewall"] {
            oracle::content("cp", ["-r".into(), shipped(name), edge.folder.path().to_owned()]);
        }
        symlink(shipped("minimal"), edge.recipe("minimal")).expect("the folder takes links");
        edge.let_in("edge-firewall");
        edge
    }

    /// A recipe in the folder.
    pub fn recipe(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where an image is built, or was.
    pub fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// The administrator's key.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("admin")
    }

    fn let_in(&self, recipe: &str) {
        new_key(&self.key());
        let public = self.recipe(recipe).join("keys/admin.pub");
        fs::copy(self.key().with_extension("pub"), public).expect("the recipe has a folder for it");
    }

    /// The image's disk, on a medium that is larger by so many MiB.
    pub fn medium(&self, larger: u64) -> PathBuf {
        let disk = self.folder.path().join("medium.img");
        let copied = fs::copy(self.out().join(graven::deliver::DISK), &disk).expect("the folder takes it");
        let file = fs::File::options().write(true).open(&disk).expect("it is there");
        file.set_len(copied + (larger << 20)).expect("it can grow");
        disk
    }
}

/// An SSH key.
pub fn new_key(path: &Path) {
    let path = path.display().to_string();
    oracle::content("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", &path]);
}

/// A booted machine and the administrator's way into it.
pub struct Session {
    /// The machine.
    pub guest: Guest,
    port: u16,
    key: PathBuf,
}

impl Session {
    /// Boots the machine; its SSH server will be found behind this port here.
    pub fn boot(machine: &Machine, port: u16, key: PathBuf) -> Self {
        let (guest, _) = Guest::reach(machine, "graven: stage0: step 8/8 init /usr/lib/systemd/systemd");
        Self { guest, port, key }
    }

    /// What the administrator's command says; it must end well.
    pub fn run(&self, command: &str) -> String {
        let done = ssh(self.port, "admin", &self.key, command);
        assert!(done.good, "`{command}`: {}", done.text);
        done.text.trim().to_owned()
    }

    /// Waits until the server lets him in, then until everything has started: no unit has failed, and nothing was refused
    /// that a unit wanted.
    pub fn is_whole(&self) {
        let deadline = Instant::now() + BOOT;
        while !ssh(self.port, "admin", &self.key, "true").good {
            assert!(Instant::now() < deadline, "nobody is let in:\n{}", self.guest.console.text());
            std::thread::sleep(Duration::from_secs(1));
        }
        let state = ssh(self.port, "admin", &self.key, "systemctl is-system-running --wait");
        let failed = self.run("systemctl --failed --no-legend --plain; journalctl -b -p err --no-pager");
        assert_eq!(state.text.trim(), "running", "{failed}");
        assert_eq!(self.run("systemctl --failed --no-legend --plain"), "");
        let refused = self.run("journalctl -b -k --no-pager --grep 'ipe_op=' || true");
        assert!(!refused.contains("action=DENY"), "{refused}");
    }

    /// The key by which the machine itself is known.
    pub fn host_key(&self) -> String {
        host_key(self.port)
    }

    /// Presses the power button: everything is stopped in order.
    pub fn power_down(mut self) -> String {
        self.guest.press_power_button();
        self.guest.expect_end(BOOT)
    }
}
