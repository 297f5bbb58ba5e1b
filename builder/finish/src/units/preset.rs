//! Presets: systemd.preset(5).

use std::collections::BTreeMap;

use super::Scope;
use crate::error::Error;
use crate::world::World;

/// All presets, the first that matches decides.
#[derive(Debug, Default)]
pub(crate) struct Presets(Vec<(bool, Vec<char>)>);

impl Presets {
    /// Reads those of the tree: in the order of their names, a file of `/etc` in the place of one of `/usr`.
    pub(crate) fn read(world: &World<'_>, scope: Scope) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for folder in scope.folders().iter().rev() {
            let folder = format!("{folder}-preset");
            for name in world.names(&folder).into_iter().filter(|name| name.ends_with(".preset")) {
                files.insert(name.clone(), format!("{folder}/{name}"));
            }
        }
        let mut presets = Self::default();
        for path in files.values() {
            let text = world.text(path)?.unwrap_or_default();
            for line in
                text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(['#', ';']))
            {
                let mut words = line.split_whitespace();
                let enables = match words.next() {
                    Some("enable") => true,
                    Some("disable" | "ignore") => false,
                    _ => return Err(Error::Line { path: path.clone(), line: line.to_owned() }),
                };
                if let Some(pattern) = words.next() {
                    presets.0.push((enables, pattern.chars().collect()));
                }
            }
        }
        Ok(presets)
    }

    /// Whether a unit is to be enabled; one that no preset names is.
    pub(crate) fn enables(&self, unit: &str) -> bool {
        let unit: Vec<char> = unit.chars().collect();
        self.0.iter().find(|(_, pattern)| matches(pattern, &unit)).is_none_or(|(enables, _)| *enables)
    }
}

/// `*`, `?` and the rest as it is.
fn matches(pattern: &[char], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some(('*', rest)) => (0..=text.len()).any(|skip| matches(rest, text.get(skip..).unwrap_or_default())),
        Some((c, rest)) => {
            text.split_first().is_some_and(|(first, after)| (c == first || *c == '?') && matches(rest, after))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_preset_that_matches_decides() {
        let presets = Presets(vec![
            (true, "ssh.*".chars().collect()),
            (false, "s?h.service".chars().collect()),
            (false, "*.timer".chars().collect()),
        ]);
        assert!(presets.enables("ssh.service") && presets.enables("other.service"));
        assert!(!presets.enables("sth.service") && !presets.enables("a.timer"));
    }
}
