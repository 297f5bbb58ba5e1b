//! sysusers.d(5): users and groups that packages declare.

use super::{Search, User};
use crate::error::Error;
use crate::world::World;

/// Where the files lie; one in an earlier folder takes the place of the same name in a later.
const FOLDERS: [&str; 3] = ["/etc/sysusers.d", "/usr/local/lib/sysusers.d", "/usr/lib/sysusers.d"];

impl World<'_> {
    /// Applies one file by its name.
    pub(crate) fn sysusers(&mut self, file: &str) -> Result<(), Error> {
        for folder in FOLDERS {
            let path = format!("{folder}/{file}");
            if self.link_target(&path).as_deref() == Some("/dev/null") {
                return Ok(());
            }
            if let Some(text) = self.text(&path)? {
                return self.sysusers_lines(&path, &text);
            }
        }
        Ok(())
    }

    /// Applies all files, in the order of their names.
    pub(crate) fn all_sysusers(&mut self) -> Result<(), Error> {
        let mut files: Vec<String> = FOLDERS.iter().flat_map(|folder| self.names(folder)).collect();
        files.retain(|file| file.ends_with(".conf"));
        files.sort();
        files.dedup();
        files.iter().try_for_each(|file| self.sysusers(file))
    }

    fn sysusers_lines(&mut self, path: &str, text: &str) -> Result<(), Error> {
        let mut lines = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let bad = || Error::Line { path: path.to_owned(), line: line.to_owned() };
            let fields = words(line).ok_or_else(bad)?;
            lines.push((line, fields));
        }
        // Groups first: users may name them. Members last.
        for wanted in ["g", "u", "m", "r"] {
            for (line, fields) in &lines {
                let bad = || Error::Line { path: path.to_owned(), line: (*line).to_owned() };
                let field =
                    |index: usize| fields.get(index).map(String::as_str).filter(|field| *field != "-");
                let kind = field(0).unwrap_or_default();
                if kind.trim_end_matches(['!', '?']) != wanted {
                    match kind.trim_end_matches(['!', '?']) {
                        "g" | "u" | "m" | "r" => continue,
                        _ => return Err(bad()),
                    }
                }
                let name = field(1).ok_or_else(bad)?;
                match wanted {
                    "g" => self.declared_group(name, field(2)).map_err(|error| error.unwrap_or_else(bad))?,
                    "u" => {
                        let declared = Declared {
                            name,
                            id: field(2),
                            comment: field(3),
                            home: field(4),
                            shell: field(5),
                            expired: kind.ends_with('!'),
                        };
                        self.declared_user(&declared).map_err(|error| error.unwrap_or_else(bad))?;
                    }
                    "m" => {
                        let group = field(2).ok_or_else(bad)?;
                        self.accounts.add_group(group, None, Search::Down)?;
                        if self.accounts.uid(name).is_none() {
                            let id = None;
                            let declared =
                                Declared { name, id, comment: None, home: None, shell: None, expired: false };
                            self.declared_user(&declared).map_err(|error| error.unwrap_or_else(bad))?;
                        }
                        self.accounts.add_member(name, group);
                    }
                    // A range for numbers that are given out: ours is fixed.
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn declared_group(&mut self, name: &str, id: Option<&str>) -> Result<(), Option<Error>> {
        if self.accounts.gid(name).is_some() {
            return Ok(());
        }
        let gid = self.number_or_owner(id, false)?;
        match gid.filter(|gid| !self.accounts.groups.iter().any(|group| group.gid == *gid)) {
            Some(gid) => self.accounts.add_group(name, Some(gid), Search::Down)?,
            None => {
                let gid = self.accounts.free_for_both(name)?;
                self.accounts.assign_group(name, gid);
                self.accounts.add_group(name, Some(gid), Search::Down)?
            }
        };
        Ok(())
    }

    fn declared_user(&mut self, declared: &Declared<'_>) -> Result<(), Option<Error>> {
        let name = declared.name;
        if self.accounts.uid(name).is_some() {
            return Ok(());
        }
        let (uid, group) = match declared.id.and_then(|id| id.split_once(':')) {
            Some((uid, group)) => (Some(uid).filter(|uid| *uid != "-"), Some(group)),
            None => (declared.id, None),
        };
        let uid = self.number_or_owner(uid, true)?;
        let known_group = self.accounts.gid(name).filter(|_| group.is_none());
        let uid = match uid {
            Some(uid) => uid,
            // The number of the group of this name, where it is free.
            None => {
                let same = known_group.filter(|gid| !self.accounts.users.iter().any(|user| user.uid == *gid));
                let uid = match same {
                    Some(same) => same,
                    None => self.accounts.free_for_both(name)?,
                };
                self.accounts.assign_user(name, uid);
                uid
            }
        };
        let gid = match (group, known_group) {
            (Some(group), _) => match group.parse().ok().or_else(|| self.accounts.gid(group)) {
                Some(gid) => gid,
                None => return Err(None),
            },
            (None, Some(gid)) => gid,
            (None, None) => {
                let taken = self.accounts.groups.iter().any(|group| group.gid == uid);
                if !taken {
                    self.accounts.assign_group(name, uid);
                }
                self.accounts.add_group(name, (!taken).then_some(uid), Search::Down)?
            }
        };
        let day = self.time.div_euclid(86400);
        let shell = declared.shell.unwrap_or(if uid == 0 { "/bin/sh" } else { "/usr/sbin/nologin" });
        let expires = if declared.expired { "1" } else { "" };
        let user = User {
            name: name.to_owned(),
            uid,
            gid,
            comment: declared.comment.unwrap_or_default().to_owned(),
            home: declared.home.unwrap_or(if uid == 0 { "/root" } else { "/" }).to_owned(),
            shell: shell.to_owned(),
            shadow: format!("!*:{day}:::::{expires}:"),
        };
        self.accounts.add_user(user, Some(uid), Search::Down)?;
        Ok(())
    }

    /// A number, or the owner of a file.
    fn number_or_owner(&self, id: Option<&str>, user: bool) -> Result<Option<u32>, Option<Error>> {
        match id {
            None => Ok(None),
            Some(path) if path.starts_with('/') => {
                Ok(self.find(path).map(|inode| if user { inode.metadata.uid } else { inode.metadata.gid }))
            }
            Some(number) => number.parse().map(Some).map_err(|_| None),
        }
    }
}

struct Declared<'a> {
    name: &'a str,
    id: Option<&'a str>,
    comment: Option<&'a str>,
    home: Option<&'a str>,
    shell: Option<&'a str>,
    expired: bool,
}

/// Fields separated by blanks, quoted as a shell would.
pub(crate) fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            quote @ ('"' | '\'') => rest[1..].split_once(quote)?,
            _ => rest.split_once(char::is_whitespace).unwrap_or((rest, "")),
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    Some(words)
}
