//! The `[Install]` section of a unit, systemd.unit(5).

use super::Scope;
use crate::error::Error;
use crate::world::World;

/// What enabling a unit means.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Install {
    pub(crate) alias: Vec<String>,
    pub(crate) wanted_by: Vec<String>,
    pub(crate) required_by: Vec<String>,
    pub(crate) upheld_by: Vec<String>,
    pub(crate) also: Vec<String>,
    pub(crate) default_instance: Option<String>,
}

impl Install {
    /// Reads a unit file and what drop-ins add to it.
    pub(crate) fn read(world: &World<'_>, scope: Scope, path: &str, unit: &str) -> Result<Self, Error> {
        let mut install = Self::default();
        install.add(&world.text(path)?.unwrap_or_default(), unit);
        for folder in scope.folders().iter().rev() {
            let drop_ins = format!("{folder}/{unit}.d");
            for name in world.names(&drop_ins).iter().filter(|name| name.ends_with(".conf")) {
                install.add(&world.text(&format!("{drop_ins}/{name}"))?.unwrap_or_default(), unit);
            }
        }
        Ok(install)
    }

    /// Whether enabling it would do nothing.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self { default_instance: self.default_instance.clone(), ..Self::default() }
    }

    fn add(&mut self, text: &str, unit: &str) {
        let mut here = false;
        // A backslash joins a line with the next.
        for line in text.replace("\\\n", " ").lines().map(str::trim) {
            if line.starts_with('[') {
                here = line == "[Install]";
            }
            let Some((key, value)) = line.split_once('=').filter(|_| here && !line.starts_with(['#', ';']))
            else {
                continue;
            };
            let value = value.trim();
            let list = match key.trim() {
                "Alias" => &mut self.alias,
                "WantedBy" => &mut self.wanted_by,
                "RequiredBy" => &mut self.required_by,
                "UpheldBy" => &mut self.upheld_by,
                "Also" => &mut self.also,
                "DefaultInstance" => {
                    self.default_instance = (!value.is_empty()).then(|| specifiers(value, unit));
                    continue;
                }
                _ => continue,
            };
            if value.is_empty() {
                list.clear();
            }
            list.extend(value.split_whitespace().map(|word| specifiers(word, unit)));
        }
    }
}

/// `%n`, `%N`, `%p`, `%i`, `%%`.
fn specifiers(text: &str, unit: &str) -> String {
    let stem = unit.rsplit_once('.').map_or(unit, |(stem, _)| stem);
    let (prefix, instance) = stem.split_once('@').unwrap_or((stem, ""));
    let mut out = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '%' => match characters.next() {
                Some('n') => out.push_str(unit),
                Some('N') => out.push_str(stem),
                Some('p') => out.push_str(prefix),
                Some('i' | 'I') => out.push_str(instance),
                Some('%') => out.push('%'),
                other => {
                    out.push('%');
                    out.extend(other);
                }
            },
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_joined_lines_resets_and_specifiers() {
        let mut install = Install::default();
        install.add(
            "[Unit]\nWantedBy=no.target\n[Install]\n# WantedBy=no.target\nWantedBy=a.target \\\n  b.target\n\
             Alias=%p-old@%i.service\nAlso=x.socket\nRequiredBy=gone.target\nRequiredBy=\nRequiredBy=c.target\n",
            "web@1.service",
        );
        let wanted = Install {
            alias: vec!["web-old@1.service".into()],
            wanted_by: vec!["a.target".into(), "b.target".into()],
            required_by: vec!["c.target".into()],
            also: vec!["x.socket".into()],
            ..Install::default()
        };
        assert_eq!(install, wanted);
    }
}
