//! Users of the recipe: people who log in.

use graven_image::tree::{Content, Inode, Kind, Metadata, TreePath};

use super::{NO_PASSWORD, Search, User};
use crate::error::{Error, nearest};
use crate::world::World;

/// `[users.NAME]`
#[derive(Debug, Clone, Default)]
pub struct Person {
    /// The name to log in with.
    pub name: String,
    /// Number; one from 1000 on unless said.
    pub uid: Option<u32>,
    /// Number of the group of the same name; a free one unless said.
    pub gid: Option<u32>,
    /// Further groups.
    pub groups: Vec<String>,
    /// Home folder, `/home/NAME` unless said.
    pub home: Option<String>,
    /// Shell, `/bin/bash` or else `/bin/sh` unless said.
    pub shell: Option<String>,
    /// Full name.
    pub comment: Option<String>,
    /// Public SSH keys, one a line as in `authorized_keys`.
    pub ssh_keys: String,
}

/// Where sshd looks for keys of a signed image: in it, and nowhere that a running system can write to.
const KEYS: &str = "/etc/ssh/authorized_keys.d";
/// The setting that says so.
const KEYS_SETTING: &str = "/etc/ssh/sshd_config.d/10-keys-of-the-image.conf";

impl World<'_> {
    /// Makes the recipe's users, their homes and keys.
    pub(crate) fn people(&mut self, people: &[Person]) -> Result<(), Error> {
        for person in people {
            self.person(person)?;
        }
        if people.iter().all(|person| person.ssh_keys.is_empty()) {
            return Ok(());
        }
        // Keys in a home would be writable where the home is; sshd reads these instead, and only these.
        if self.has("/etc/ssh/sshd_config.d") && !self.has(KEYS_SETTING) {
            self.write(KEYS_SETTING, format!("AuthorizedKeysFile {KEYS}/%u\n"), 0o644)?;
        }
        Ok(())
    }

    fn person(&mut self, person: &Person) -> Result<(), Error> {
        let name = &person.name;
        match self.accounts.uid(name) {
            Some(uid) => {
                if person.uid.is_some_and(|asked| asked != uid) {
                    let asked = person.uid.unwrap_or_default();
                    return Err(Error::User {
                        name: name.clone(),
                        what: format!("its number is {uid} already, it cannot be {asked}"),
                    });
                }
                let changed = person.clone();
                self.accounts.edit(name, |user| {
                    user.home = changed.home.unwrap_or_else(|| user.home.clone());
                    user.shell = changed.shell.unwrap_or_else(|| user.shell.clone());
                    user.comment = changed.comment.unwrap_or_else(|| user.comment.clone());
                });
            }
            None => self.new_person(person)?,
        }
        for group in &person.groups {
            if !self.accounts.add_member(name, group) {
                let known: Vec<&str> = self.accounts.groups.iter().map(|group| group.name.as_str()).collect();
                return Err(Error::User {
                    name: name.clone(),
                    what: format!("there is no group `{group}`; {}", nearest(group, &known)),
                });
            }
        }
        let user = self
            .accounts
            .user(name)
            .cloned()
            .ok_or_else(|| Error::User { name: name.clone(), what: "it was not made".into() })?;
        if !self.is_executable(&user.shell) {
            return Err(Error::User {
                name: name.clone(),
                what: format!("its shell {} is not in the image, or not executable", user.shell),
            });
        }
        self.home(&user)?;
        self.keys(&user, &person.ssh_keys)
    }

    fn new_person(&mut self, person: &Person) -> Result<(), Error> {
        let name = &person.name;
        let gid = self.accounts.add_group(name, person.gid.or(person.uid), Search::Person)?;
        let bash = if self.is_executable("/bin/bash") { "/bin/bash" } else { "/bin/sh" };
        let day = self.time.div_euclid(86400);
        let user = User {
            name: name.clone(),
            uid: 0,
            gid,
            comment: person.comment.clone().unwrap_or_default(),
            home: person.home.clone().unwrap_or_else(|| format!("/home/{name}")),
            shell: person.shell.clone().unwrap_or_else(|| bash.to_owned()),
            shadow: format!("{NO_PASSWORD}:{day}:0:99999:7:::"),
        };
        self.accounts.add_user(user, person.uid, Search::Person)?;
        Ok(())
    }

    /// The home folder with what /etc/skel has, where the tree has none.
    fn home(&mut self, user: &User) -> Result<(), Error> {
        let home = TreePath::parse(user.home.as_bytes())?;
        if self.tree.lookup(&home).is_ok() {
            return Ok(());
        }
        let owned = |mode, world: &Self| Metadata { uid: user.uid, gid: user.gid, ..world.metadata(mode) };
        if let Some(parent) = home.parent() {
            let above = self.metadata(0o755);
            self.tree.make_directories(&parent, &above)?;
        }
        let metadata = owned(0o700, self);
        self.tree.insert(&home, Inode::new(metadata, Kind::directory()))?;
        for name in self.names("/etc/skel") {
            let from = TreePath::parse(format!("/etc/skel/{name}").as_bytes())?;
            let inode = self.tree.inode(self.tree.resolve(&from)?).clone();
            if matches!(inode.kind, Kind::File(_)) {
                let metadata = owned(inode.metadata.mode, self);
                self.put(&home.join(name.as_bytes())?, inode.kind, metadata)?;
            }
        }
        Ok(())
    }

    fn keys(&mut self, user: &User, keys: &str) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        if self.has("/etc/ssh/sshd_config.d") {
            return Ok(self.write(&format!("{KEYS}/{}", user.name), keys, 0o644)?);
        }
        // Another SSH server: where they all look.
        let folder = TreePath::parse(format!("{}/.ssh", user.home).as_bytes())?;
        let owned = Metadata { uid: user.uid, gid: user.gid, ..self.metadata(0o700) };
        if self.tree.lookup(&folder).is_err() {
            self.tree.insert(&folder, Inode::new(owned.clone(), Kind::directory()))?;
        }
        let content = Kind::File(Content::from_bytes(keys));
        self.put(&folder.join(b"authorized_keys")?, content, Metadata { mode: 0o600, ..owned })?;
        Ok(())
    }
}
