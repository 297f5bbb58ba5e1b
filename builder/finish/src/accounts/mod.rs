//! Users and groups: `/etc/passwd`, `/etc/group`, `/etc/shadow`, `/etc/gshadow`.

pub(crate) mod adduser;
pub(crate) mod people;
pub(crate) mod sysusers;

use std::collections::BTreeMap;

use graven_image::tree::{Kind, TreePath};

use crate::error::Error;
use crate::world::World;

/// Who may not log in by a password has this in its place: no password's hash is `*`.
const NO_PASSWORD: &str = "*";
/// Highest number of a system's own users and groups.
const SYSTEM_LAST: u32 = 999;
/// Lowest number that `adduser --system` gives.
const SYSTEM_FIRST: u32 = 100;
/// Lowest number of a person.
const PERSON_FIRST: u32 = 1000;
/// Highest number of a person.
const PERSON_LAST: u32 = 59999;

/// Numbers that were given out, by name. Handed to the next build, everybody keeps theirs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids {
    /// Users.
    pub users: BTreeMap<String, u32>,
    /// Groups.
    pub groups: BTreeMap<String, u32>,
}

/// A user as `/etc/passwd` and `/etc/shadow` know it.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) comment: String,
    pub(crate) home: String,
    pub(crate) shell: String,
    /// The fields of `/etc/shadow` after the name.
    pub(crate) shadow: String,
}

/// A group as `/etc/group` and `/etc/gshadow` know it.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) name: String,
    pub(crate) gid: u32,
    pub(crate) members: Vec<String>,
    /// The fields of `/etc/gshadow` after the name.
    pub(crate) shadow: String,
}

/// From which end free numbers are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Search {
    /// From 999 down, as `systemd-sysusers` and `useradd --system` do.
    Down,
    /// From 100 up, as `adduser --system` does.
    Up,
    /// From 1000 up: a person.
    Person,
}

/// All users and groups of an image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Accounts {
    pub(crate) users: Vec<User>,
    pub(crate) groups: Vec<Group>,
    /// Numbers that names had before.
    pinned: Ids,
    /// Numbers given out.
    pub(crate) assigned: Ids,
    /// Whether there is anything to be written.
    changed: bool,
}

impl Accounts {
    /// What the tree has: its files, or where it has none the masters of `base-passwd`, or root alone.
    pub(crate) fn read(world: &World<'_>, pinned: &Ids) -> Result<Self, Error> {
        let mut accounts = Self { pinned: pinned.clone(), ..Self::default() };
        let day = world.time.div_euclid(86400);
        let master = "/usr/share/base-passwd/passwd.master";
        let (passwd, group) = match world.text("/etc/passwd")? {
            Some(passwd) => (passwd, world.text("/etc/group")?.unwrap_or_default()),
            None => {
                let groups = world.text("/usr/share/base-passwd/group.master")?;
                accounts.changed = groups.is_some();
                let root = "root:*:0:0:root:/root:/bin/sh\nnobody:*:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
                (
                    world.text(master)?.unwrap_or_else(|| root.to_owned()),
                    groups.unwrap_or_else(|| "root:*:0:\nnogroup:*:65534:\n".to_owned()),
                )
            }
        };
        let shadow = shadows(world.text("/etc/shadow")?);
        let gshadow = shadows(world.text("/etc/gshadow")?);
        for line in passwd.lines().filter(|line| !line.is_empty()) {
            let bad = || Error::Line { path: "/etc/passwd".into(), line: line.to_owned() };
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, comment, home, shell] = fields.as_slice() else { return Err(bad()) };
            accounts.users.push(User {
                name: (*name).to_owned(),
                uid: uid.parse().map_err(|_| bad())?,
                gid: gid.parse().map_err(|_| bad())?,
                comment: (*comment).to_owned(),
                home: (*home).to_owned(),
                shell: (*shell).to_owned(),
                shadow: shadow
                    .get(*name)
                    .cloned()
                    .unwrap_or_else(|| format!("{NO_PASSWORD}:{day}:0:99999:7:::")),
            });
        }
        for line in group.lines().filter(|line| !line.is_empty()) {
            let bad = || Error::Line { path: "/etc/group".into(), line: line.to_owned() };
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, gid, members] = fields.as_slice() else { return Err(bad()) };
            accounts.groups.push(Group {
                name: (*name).to_owned(),
                gid: gid.parse().map_err(|_| bad())?,
                members: members.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                shadow: gshadow.get(*name).cloned().unwrap_or_else(|| format!("{NO_PASSWORD}::")),
            });
        }
        Ok(accounts)
    }

    pub(crate) fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub(crate) fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    pub(crate) fn uid(&self, name: &str) -> Option<u32> {
        self.user(name).map(|user| user.uid)
    }

    pub(crate) fn gid(&self, name: &str) -> Option<u32> {
        self.group(name).map(|group| group.gid)
    }

    /// Adds a user, or finds it as it is. Its number: as asked, as it was before, else a free one.
    pub(crate) fn add_user(&mut self, user: User, asked: Option<u32>, search: Search) -> Result<u32, Error> {
        if let Some(known) = self.uid(&user.name) {
            return Ok(known);
        }
        let uid = match asked {
            Some(uid) => match self.users.iter().find(|other| other.uid == uid) {
                Some(other) => {
                    return Err(Error::NumberTaken {
                        what: "user",
                        name: user.name,
                        id: uid,
                        other: other.name.clone(),
                    });
                }
                None => uid,
            },
            None => {
                let taken = |uid: u32| self.users.iter().any(|other| other.uid == uid);
                let uid = free(&user.name, &self.pinned.users, taken, search)?;
                self.assigned.users.insert(user.name.clone(), uid);
                uid
            }
        };
        self.users.push(User { uid, ..user });
        self.changed = true;
        Ok(uid)
    }

    /// Adds a group, or finds it as it is.
    pub(crate) fn add_group(&mut self, name: &str, asked: Option<u32>, search: Search) -> Result<u32, Error> {
        if let Some(known) = self.gid(name) {
            return Ok(known);
        }
        let gid = match asked {
            Some(gid) => match self.groups.iter().find(|other| other.gid == gid) {
                Some(other) => {
                    return Err(Error::NumberTaken {
                        what: "group",
                        name: name.to_owned(),
                        id: gid,
                        other: other.name.clone(),
                    });
                }
                None => gid,
            },
            None => {
                let taken = |gid: u32| self.groups.iter().any(|other| other.gid == gid);
                let gid = free(name, &self.pinned.groups, taken, search)?;
                self.assigned.groups.insert(name.to_owned(), gid);
                gid
            }
        };
        let shadow = "!*::".to_owned();
        self.groups.push(Group { name: name.to_owned(), gid, members: Vec::new(), shadow });
        self.changed = true;
        Ok(gid)
    }

    /// Makes a user a member of a group; whether that is there.
    pub(crate) fn add_member(&mut self, user: &str, group: &str) -> bool {
        let Some(group) = self.groups.iter_mut().find(|known| known.name == group) else { return false };
        if !group.members.iter().any(|member| member == user) {
            group.members.push(user.to_owned());
            self.changed = true;
        }
        true
    }

    /// A number that is free for users and groups alike, as `systemd-sysusers` likes them.
    pub(crate) fn free_for_both(&self, name: &str) -> Result<u32, Error> {
        let taken = |id: u32| {
            self.users.iter().any(|user| user.uid == id) || self.groups.iter().any(|group| group.gid == id)
        };
        let mut pinned = self.pinned.groups.clone();
        pinned.extend(self.pinned.users.clone());
        free(name, &pinned, taken, Search::Down)
    }

    /// Tells that a number was given out to a user.
    pub(crate) fn assign_user(&mut self, name: &str, uid: u32) {
        self.assigned.users.insert(name.to_owned(), uid);
    }

    /// Tells that a number was given out to a group.
    pub(crate) fn assign_group(&mut self, name: &str, gid: u32) {
        self.assigned.groups.insert(name.to_owned(), gid);
    }

    /// Changes a user.
    pub(crate) fn edit(&mut self, name: &str, change: impl FnOnce(&mut User)) {
        if let Some(user) = self.users.iter_mut().find(|user| user.name == name) {
            change(user);
            self.changed = true;
        }
    }

    /// Writes the four files, where something has changed.
    pub(crate) fn write(world: &mut World<'_>) -> Result<(), Error> {
        if !world.accounts.changed {
            return Ok(());
        }
        world.accounts.changed = false;
        let (mut passwd, mut shadow) = (String::new(), String::new());
        for user in &world.accounts.users {
            let User { name, uid, gid, comment, home, shell, shadow: secret } = user;
            passwd.push_str(&format!("{name}:x:{uid}:{gid}:{comment}:{home}:{shell}\n"));
            shadow.push_str(&format!("{name}:{secret}\n"));
        }
        let (mut group, mut gshadow) = (String::new(), String::new());
        for Group { name, gid, members, shadow: secret } in &world.accounts.groups {
            let members = members.join(",");
            group.push_str(&format!("{name}:x:{gid}:{members}\n"));
            gshadow.push_str(&format!("{name}:{secret}{members}\n"));
        }
        let secrets = world.accounts.gid("shadow").unwrap_or(0);
        for (path, text, mode, gid) in [
            ("/etc/passwd", passwd, 0o644, 0),
            ("/etc/group", group, 0o644, 0),
            ("/etc/shadow", shadow, 0o640, secrets),
            ("/etc/gshadow", gshadow, 0o640, secrets),
        ] {
            let metadata = graven_image::tree::Metadata { gid, ..world.metadata(mode) };
            let kind = Kind::File(graven_image::tree::Content::from_bytes(text));
            world.put(&TreePath::parse(path.as_bytes())?, kind, metadata)?;
        }
        Ok(())
    }
}

/// Lines by their first field.
fn shadows(text: Option<String>) -> BTreeMap<String, String> {
    let lines = text.unwrap_or_default();
    let fields = lines.lines().filter_map(|line| line.split_once(':'));
    fields
        .map(|(name, rest)| {
            // Members of a group are kept once, in /etc/group.
            let rest = match rest.splitn(3, ':').collect::<Vec<_>>().as_slice() {
                [password, administrators, _] if rest.matches(':').count() == 2 => {
                    format!("{password}:{administrators}:")
                }
                _ => rest.to_owned(),
            };
            (name.to_owned(), rest)
        })
        .collect()
}

/// The number that a name had before, or the next that nobody has or had.
fn free(
    name: &str,
    pinned: &BTreeMap<String, u32>,
    taken: impl Fn(u32) -> bool,
    search: Search,
) -> Result<u32, Error> {
    if let Some(before) = pinned.get(name).filter(|id| !taken(**id)) {
        return Ok(*before);
    }
    let is_free = |id: &u32| !taken(*id) && !pinned.values().any(|kept| kept == id);
    let found = match search {
        Search::Down => (SYSTEM_FIRST..=SYSTEM_LAST).rev().find(is_free),
        Search::Up => (SYSTEM_FIRST..=SYSTEM_LAST).find(is_free),
        Search::Person => (PERSON_FIRST..=PERSON_LAST).find(is_free),
    };
    found.ok_or_else(|| Error::NoNumberLeft { name: name.to_owned() })
}
