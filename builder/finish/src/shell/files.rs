//! Commands that change files: of the tree, in memory.

use graven_image::tree::{self, Content, Inode, Kind, Metadata};

use super::Unknown;
use super::expand::Output;
use super::run::{Flow, Shell};

/// Configuration and what scripts copy is small.
const LARGEST: u64 = 4 << 20;

impl Shell<'_, '_> {
    fn tree<T>(&self, result: Result<T, tree::Error>) -> Result<T, Unknown> {
        result.map_err(|error| Unknown { line: self.line, what: error.to_string() })
    }

    /// `COMMAND > FILE`
    pub(crate) fn writes(&mut self, name: &str, words: &[&str], output: &Output) -> Result<Flow, Unknown> {
        let mut text = match (name, words) {
            (":", _) => String::new(),
            ("echo", words) => format!("{}\n", words.join(" ")),
            ("cat", [] | ["-"]) if output.document.is_some() => output.document.clone().unwrap_or_default(),
            ("touch", _) => String::new(),
            _ => return self.unknown(format!("what `{name}` writes to `{}`", output.path)),
        };
        let path = self.path(&output.path)?;
        if output.path.starts_with("/run/") {
            return Ok(Flow::Next(true));
        }
        if output.append && self.world.find(&output.path).is_some() {
            let before = self.tree(self.world.tree.read(&path, LARGEST))?;
            text = format!("{}{text}", String::from_utf8_lossy(&before));
        }
        let metadata = match self.world.find(&output.path) {
            Some(inode) => inode.metadata.clone(),
            None => self.world.metadata(0o666 & !self.umask),
        };
        let written = self.world.put(&path, Kind::File(Content::from_bytes(text)), metadata);
        self.tree(written)?;
        Ok(Flow::Next(true))
    }

    /// Whether `name` is such a command; what it says is done then.
    pub(crate) fn file_command(&mut self, name: &str, words: &[&str]) -> Result<bool, Unknown> {
        if !matches!(
            name,
            "mkdir" | "install" | "rm" | "rmdir" | "ln" | "cp" | "mv" | "touch" | "chown" | "chgrp" | "chmod"
        ) {
            return Ok(false);
        }
        let mut flags = String::new();
        let (mut mode, mut owner, mut group) = (None, None, None);
        let mut paths: Vec<&str> = Vec::new();
        let mut words = words.iter().copied();
        let takes_mode = matches!(name, "mkdir" | "install");
        while let Some(word) = words.next() {
            match word {
                "-m" | "--mode" if takes_mode => mode = words.next(),
                "-o" | "--owner" if name == "install" => owner = words.next(),
                "-g" | "--group" if name == "install" => group = words.next(),
                "--parents" => flags.push('p'),
                "--force" => flags.push('f'),
                "--" | "--no-dereference" | "--ignore-fail-on-non-empty" | "--preserve" => {}
                "-Z" if name == "mkdir" => {}
                flag if flag.len() > 1 && flag.starts_with('-') && !flag.starts_with("--") => {
                    flags.push_str(&flag[1..]);
                }
                path if !path.starts_with('-') => paths.push(path),
                other => return self.unknown(format!("`{name} {other}`")),
            }
        }
        if flags.contains(|flag| !allowed(name).contains(flag)) {
            return self.unknown(format!("`{name} -{flags}`"));
        }
        match (name, paths.as_slice()) {
            ("mkdir", folders) => {
                for folder in folders {
                    self.make_folder(folder, mode)?;
                }
            }
            ("install", folders) if flags.contains('d') => {
                for folder in folders {
                    self.make_folder(folder, mode)?;
                    self.own(owner, group, folder)?;
                }
            }
            ("install", ["/dev/null", file]) => {
                let path = self.path(file)?;
                let metadata = self.world.metadata(0o755);
                let made = self.world.put(&path, Kind::File(Content::from_bytes(Vec::new())), metadata);
                self.tree(made)?;
                self.change_mode(mode.unwrap_or("755"), file)?;
                self.own(owner, group, file)?;
            }
            ("install", [from, to]) => {
                self.copy(from, to, false)?;
                let to = self.destination(from, to);
                self.change_mode(mode.unwrap_or("755"), &to)?;
                self.own(owner.or(Some("root")), group.or(Some("root")), &to)?;
            }
            ("rm" | "rmdir", all) => {
                for path in all {
                    self.remove(name, path, &flags)?;
                }
            }
            ("ln", [target, link]) if flags.contains('s') => self.link(target, link, &flags)?,
            ("cp", [from, to]) => self.copy(from, to, flags.contains('n'))?,
            ("mv", [from, to]) => {
                self.copy(from, to, flags.contains('n'))?;
                let path = self.path(from)?;
                let removed = self.world.tree.remove(&path);
                self.tree(removed)?;
            }
            ("touch", files) => {
                for file in
                    files.iter().filter(|file| !file.starts_with("/run/") && !file.starts_with("/var/run/"))
                {
                    if self.world.find(file).is_none() {
                        let path = self.path(file)?;
                        let metadata = self.world.metadata(0o666 & !self.umask);
                        let made =
                            self.world.put(&path, Kind::File(Content::from_bytes(Vec::new())), metadata);
                        self.tree(made)?;
                    }
                }
            }
            ("chown", [owner, files @ ..]) => {
                for file in files {
                    self.change_owner(owner, file)?;
                }
            }
            ("chgrp", [group, files @ ..]) => {
                for file in files {
                    self.change_owner(&format!(":{group}"), file)?;
                }
            }
            ("chmod", [mode, files @ ..]) => {
                for file in files {
                    self.change_mode(mode, file)?;
                }
            }
            _ => return self.unknown(format!("`{name}` with these arguments: {}", paths.join(" "))),
        }
        Ok(true)
    }

    fn make_folder(&mut self, folder: &str, mode: Option<&str>) -> Result<(), Unknown> {
        // What lies in /run is made anew at every start, by tmpfiles.d and the units.
        let path = self.path(folder)?;
        if folder.starts_with("/run/") || folder.starts_with("/var/run/") || self.is_directory(folder) {
            return Ok(());
        }
        let metadata = self.world.metadata(0o777 & !self.umask);
        let made = self.world.tree.make_directories(&path, &metadata);
        self.tree(made)?;
        mode.map_or(Ok(()), |mode| self.change_mode(mode, folder))
    }

    fn own(&mut self, owner: Option<&str>, group: Option<&str>, path: &str) -> Result<(), Unknown> {
        match (owner, group) {
            (None, None) => Ok(()),
            (owner, group) => {
                let owner = format!("{}:{}", owner.unwrap_or_default(), group.unwrap_or_default());
                self.change_owner(&owner, path)
            }
        }
    }

    fn remove(&mut self, name: &str, path: &str, flags: &str) -> Result<(), Unknown> {
        let parsed = self.path(path)?;
        let Ok(id) = self.world.tree.lookup(&parsed) else {
            return match name == "rmdir" || flags.contains('f') || path.starts_with("/run/") {
                true => Ok(()),
                false => self.unknown(format!("`{name} {path}`, which is not there")),
            };
        };
        if let Kind::Directory(children) = &self.world.tree.inode(id).kind {
            match (name, children.is_empty()) {
                ("rmdir", false) => return Ok(()),
                ("rmdir", true) => {}
                _ if flags.contains(['r', 'R']) => {}
                _ => return self.unknown(format!("`rm {path}`, a folder")),
            }
        }
        let removed = self.world.tree.remove(&parsed);
        self.tree(removed)
    }

    fn link(&mut self, target: &str, link: &str, flags: &str) -> Result<(), Unknown> {
        let mut link = link.to_owned();
        if self.is_directory(&link) && !flags.contains('n') {
            link = format!("{link}/{}", target.rsplit('/').next().unwrap_or_default());
        }
        let target = match flags.contains('r') {
            true => relative(target, &link),
            false => target.to_owned(),
        };
        let path = self.path(&link)?;
        if let Ok(id) = self.world.tree.lookup(&path) {
            let replaceable =
                flags.contains('f') && !matches!(self.world.tree.inode(id).kind, Kind::Directory(_));
            if !replaceable {
                return self.unknown(format!("`ln -s … {link}`, where something is already"));
            }
        }
        let metadata = self.world.metadata(0o777);
        let made = self.world.put(&path, Kind::Symlink(target.as_bytes().into()), metadata);
        self.tree(made)
    }

    fn destination(&self, from: &str, to: &str) -> String {
        match self.is_directory(to) {
            true => format!("{}/{}", to.trim_end_matches('/'), from.rsplit('/').next().unwrap_or_default()),
            false => to.to_owned(),
        }
    }

    fn copy(&mut self, from: &str, to: &str, keep: bool) -> Result<(), Unknown> {
        let (source, to) = (self.path(from)?, self.destination(from, to));
        let path = self.path(&to)?;
        if keep && self.world.find(&to).is_some() {
            return Ok(());
        }
        let found = self.world.tree.resolve(&source);
        let id = self.tree(found)?;
        let inode = self.world.tree.inode(id).clone();
        if !matches!(inode.kind, Kind::File(_) | Kind::Symlink(_)) {
            return self.unknown(format!("a copy of `{from}`, a {}", inode.kind.noun()));
        }
        let put = self.world.put(&path, inode.kind, inode.metadata);
        self.tree(put)
    }

    /// `chown USER:GROUP`; names or numbers.
    pub(crate) fn change_owner(&mut self, owner: &str, path: &str) -> Result<(), Unknown> {
        let (user, group) = match owner.split_once([':', '.']) {
            Some((user, group)) => (user, Some(group)),
            None => (owner, None),
        };
        let accounts = &self.world.accounts;
        let uid = (!user.is_empty()).then(|| accounts.uid(user).or_else(|| user.parse().ok()));
        let group = group.filter(|group| !group.is_empty());
        let gid = group.map(|group| accounts.gid(group).or_else(|| group.parse().ok()));
        if uid == Some(None) || gid == Some(None) {
            return self
                .unknown(format!("`chown {owner} {path}`, and no such user or group is known by then"));
        }
        self.change(path, |metadata| {
            metadata.uid = uid.flatten().unwrap_or(metadata.uid);
            metadata.gid = gid.flatten().unwrap_or(metadata.gid);
        })
    }

    /// `chmod MODE`: octal, or what adds the right to execute.
    pub(crate) fn change_mode(&mut self, mode: &str, path: &str) -> Result<(), Unknown> {
        let bits = match mode {
            "+x" | "a+x" => None,
            octal => match u16::from_str_radix(octal, 8) {
                Ok(bits) if bits <= 0o7777 => Some(bits),
                _ => return self.unknown(format!("the mode `{mode}`")),
            },
        };
        self.change(path, |metadata| metadata.mode = bits.unwrap_or(metadata.mode | 0o111))
    }

    fn change(&mut self, path: &str, change: impl FnOnce(&mut Metadata)) -> Result<(), Unknown> {
        if path.starts_with("/run/") || path.starts_with("/var/run/") {
            return Ok(());
        }
        let parsed = self.path(path)?;
        let found = self.world.tree.resolve(&parsed);
        let id = self.tree(found)?;
        let Inode { metadata, .. } = self.world.tree.inode_mut(id);
        change(metadata);
        Ok(())
    }
}

/// Flags whose meaning is known.
fn allowed(name: &str) -> &'static str {
    match name {
        "mkdir" => "pZ",
        "install" => "dDZ",
        "rm" => "frRv",
        "rmdir" => "p",
        "ln" => "sfnrTv",
        "cp" | "mv" => "panfdZv",
        "chown" | "chgrp" | "chmod" => "cfh",
        _ => "",
    }
}

/// `target` as seen from the folder of `link`.
fn relative(target: &str, link: &str) -> String {
    let target: Vec<&str> = target.split('/').filter(|part| !part.is_empty()).collect();
    let link: Vec<&str> = link.split('/').filter(|part| !part.is_empty()).collect();
    let folder = link.split_last().map_or(&[][..], |(_, folder)| folder);
    let common = target.iter().zip(folder).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..", folder.len() - common);
    up.chain(target.into_iter().skip(common)).collect::<Vec<_>>().join("/")
}
