//! `/etc/shells`: the programs that a user may log in with.

use crate::error::Error;
use crate::world::World;

impl World<'_> {
    /// The list that `debianutils` brings, what packages add to it, and where each leads in a merged `/usr`.
    pub(crate) fn write_shells(&mut self) -> Result<(), Error> {
        let template = "/usr/share/debianutils/shells";
        let mut text = match self.text("/etc/shells")? {
            Some(text) => text,
            None => self.text(template)?.unwrap_or_default(),
        };
        let folder = "/usr/share/debianutils/shells.d";
        let mut lists = vec![self.text(template)?.unwrap_or_default()];
        for name in self.names(folder) {
            lists.push(self.text(&format!("{folder}/{name}"))?.unwrap_or_default());
        }
        lists.push(self.shells.join("\n"));
        for line in lists.iter().flat_map(|list| list.lines()) {
            let shell = line.split('#').next().unwrap_or_default().trim();
            if shell.is_empty() {
                continue;
            }
            let (folder, name) = shell.rsplit_once('/').unwrap_or_default();
            let folder = graven_image::tree::TreePath::parse(folder.as_bytes())?;
            let merged = self.tree.canonical(&folder).map(|folder| format!("{folder}/{name}"));
            for shell in [Some(shell.to_owned()), merged.ok()].into_iter().flatten() {
                if !text.lines().any(|line| line == shell) {
                    text.push_str(&format!("{shell}\n"));
                }
            }
        }
        Ok(self.write("/etc/shells", text, 0o644)?)
    }
}
