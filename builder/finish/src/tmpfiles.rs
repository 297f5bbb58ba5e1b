//! tmpfiles.d(5) at rest: what a root that is read-only when it starts must already have.
//!
//! Below `/run`, `/tmp`, `/dev`, `/proc` and `/sys` everything is made at boot, by systemd itself. Lines that clean up,
//! that set what a file system has only while it is mounted (access lists, attributes), or that speak of this very
//! machine (`%m`) have no meaning at rest.

use std::collections::BTreeMap;

use graven_image::tree::{Content, Kind, Metadata, TreePath};

use crate::accounts::sysusers::words;
use crate::error::Error;
use crate::world::World;

/// Where the files lie; an earlier folder wins.
const FOLDERS: [&str; 3] = ["/etc/tmpfiles.d", "/usr/local/lib/tmpfiles.d", "/usr/lib/tmpfiles.d"];
/// What systemd makes at every start.
const AT_RUN_TIME: [&str; 6] = ["/run", "/tmp", "/dev", "/proc", "/sys", "/var/run"];

/// A line that makes or changes something.
struct Entry {
    kind: char,
    modifiers: String,
    path: String,
    mode: Option<u16>,
    mode_only_when_new: bool,
    user: Option<String>,
    group: Option<String>,
    argument: String,
}

impl World<'_> {
    /// Applies all of tmpfiles.d that an image at rest needs.
    pub(crate) fn apply_tmpfiles(&mut self) -> Result<(), Error> {
        let mut files = BTreeMap::new();
        for folder in FOLDERS.iter().rev() {
            for name in self.names(folder).into_iter().filter(|name| name.ends_with(".conf")) {
                files.insert(name.clone(), format!("{folder}/{name}"));
            }
        }
        // Of several lines for one path the first counts, and folders come before what is in them.
        let mut entries: BTreeMap<(String, bool), Entry> = BTreeMap::new();
        for path in files.values() {
            let text = self.text(path)?.unwrap_or_default();
            for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
            {
                let entry =
                    parse(line).ok_or_else(|| Error::Line { path: path.clone(), line: line.to_owned() })?;
                if let Some(entry) = entry {
                    let adjusts = matches!(entry.kind, 'z' | 'Z' | 'm');
                    entries.entry((entry.path.clone(), adjusts)).or_insert(entry);
                }
            }
        }
        entries.values().try_for_each(|entry| self.apply(entry))
    }

    fn apply(&mut self, entry: &Entry) -> Result<(), Error> {
        let path = TreePath::parse(entry.path.as_bytes())?;
        let id = |name: &Option<String>, known: &dyn Fn(&str) -> Option<u32>| match name {
            None => Some(None),
            Some(name) => name.parse().ok().or_else(|| known(name)).map(Some),
        };
        let uid = id(&entry.user, &|name| self.accounts.uid(name));
        let gid = id(&entry.group, &|name| self.accounts.gid(name));
        // Nobody of that name: systemd passes over the line as well.
        let (Some(uid), Some(gid)) = (uid, gid) else { return Ok(()) };
        let new = |world: &Self, mode: u16| Metadata {
            uid: uid.unwrap_or(0),
            gid: gid.unwrap_or(0),
            ..world.metadata(entry.mode.unwrap_or(mode))
        };
        let present = self.tree.resolve(&path).ok();
        match (entry.kind, present) {
            ('d' | 'D' | 'v' | 'q' | 'Q' | 'e' | 'z' | 'Z' | 'm', Some(present)) => {
                let metadata = &mut self.tree.inode_mut(present).metadata;
                if !entry.mode_only_when_new {
                    metadata.mode = entry.mode.unwrap_or(metadata.mode);
                }
                metadata.uid = uid.unwrap_or(metadata.uid);
                metadata.gid = gid.unwrap_or(metadata.gid);
            }
            ('d' | 'D' | 'v' | 'q' | 'Q', None) if !self.has(&entry.path) => {
                let metadata = new(self, 0o755);
                self.put(&path, Kind::directory(), metadata)?;
            }
            ('f', present) if present.is_none() || entry.modifiers.contains('+') => {
                let metadata = new(self, 0o644);
                self.put(&path, Kind::File(Content::from_bytes(entry.argument.clone())), metadata)?;
            }
            ('L', _) => {
                let target = match entry.argument.as_str() {
                    "" => format!("/usr/share/factory{}", entry.path),
                    target => target.to_owned(),
                };
                let absolute = if target.starts_with('/') {
                    target.clone()
                } else {
                    format!("{}/{target}", path.parent().map(|parent| parent.to_string()).unwrap_or_default())
                };
                let optional = entry.modifiers.contains('?') || entry.argument.is_empty();
                let replace = entry.modifiers.contains('+');
                let file = present.is_some_and(|id| matches!(self.tree.inode(id).kind, Kind::Directory(_)));
                if (optional && self.find(&absolute).is_none()) || (self.has(&entry.path) && !replace) || file
                {
                    return Ok(());
                }
                self.link(&entry.path, &target)?;
            }
            ('C', None) => {
                let from = match entry.argument.as_str() {
                    "" => format!("/usr/share/factory{}", entry.path),
                    from => from.to_owned(),
                };
                self.copy_all(&from, &path)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn copy_all(&mut self, from: &str, to: &TreePath) -> Result<(), Error> {
        let Some(inode) = self.find(from).cloned() else { return Ok(()) };
        match inode.kind {
            Kind::Directory(_) => {
                self.put(to, Kind::directory(), inode.metadata)?;
                for name in self.names(from) {
                    self.copy_all(&format!("{from}/{name}"), &to.join(name.as_bytes())?)?;
                }
                Ok(())
            }
            kind => Ok(self.put(to, kind, inode.metadata)?),
        }
    }
}

/// A line: nothing of ours (`Some(None)`), or one that is not understood (`None`).
fn parse(line: &str) -> Option<Option<Entry>> {
    let fields = words(line)?;
    let field =
        |at: usize| fields.get(at).map(String::as_str).filter(|field| *field != "-").unwrap_or_default();
    let mut letters = field(0).chars();
    let (kind, modifiers) = (letters.next()?, letters.as_str().to_owned());
    if !modifiers.chars().all(|c| "!-=~^$+?".contains(c)) {
        return None;
    }
    let argument = fields.get(6..).unwrap_or_default().join(" ");
    let (Some(path), Some(argument)) = (specifiers(field(1)), specifiers(argument.trim_start_matches("- ")))
    else {
        return Some(None);
    };
    let at_run_time = AT_RUN_TIME
        .iter()
        .any(|top| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
    if !path.starts_with('/') || at_run_time || path.contains(['*', '?', '[']) || modifiers.contains('^') {
        return Some(None);
    }
    let mode = field(2);
    let octal = mode.trim_start_matches([':', '~']);
    let mode_bits = match octal {
        "" => None,
        octal => Some(u16::from_str_radix(octal, 8).ok().filter(|bits| *bits <= 0o7777)?),
    };
    let name = |at: usize| {
        let name = field(at).trim_start_matches(':');
        (!name.is_empty()).then(|| name.to_owned())
    };
    let argument = if argument == "-" { String::new() } else { argument };
    Some(Some(Entry {
        kind,
        modifiers,
        path,
        mode: mode_bits,
        mode_only_when_new: mode.starts_with(':'),
        user: name(3),
        group: name(4),
        argument,
    }))
}

/// The folders that specifiers stand for; none where one is known only on a running machine.
fn specifiers(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '%' => match characters.next()? {
                'S' => out.push_str("/var/lib"),
                'C' => out.push_str("/var/cache"),
                'L' => out.push_str("/var/log"),
                't' => out.push_str("/run"),
                'V' => out.push_str("/var/tmp"),
                'T' => out.push_str("/tmp"),
                'h' => out.push_str("/root"),
                '%' => out.push('%'),
                _ => return None,
            },
            c => out.push(c),
        }
    }
    Some(out)
}
