//! PAM profiles: what `pam-auth-update` makes of `/usr/share/pam-configs`.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::world::World;

/// Files below `/etc/pam.d`, each with the field of a profile that goes into it.
const FILES: [(&str, &str, &str); 5] = [
    ("auth", "Auth", "auth"),
    ("account", "Account", "account"),
    ("password", "Password", "password"),
    ("session", "Session", "session"),
    ("session-noninteractive", "Session", "session"),
];

/// A file of `/usr/share/pam-configs`.
#[derive(Debug, Default)]
struct Profile {
    fields: BTreeMap<String, String>,
}

impl Profile {
    fn parse(text: &str) -> Self {
        let mut fields: BTreeMap<String, String> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines() {
            let field = line
                .split_once(':')
                .filter(|(name, _)| !name.is_empty() && !name.contains(char::is_whitespace));
            match field {
                Some((name, value)) => {
                    current = name.trim_end_matches("-Final").to_owned();
                    fields.insert(current.clone(), value.trim().to_owned());
                }
                None if !line.trim().is_empty() => {
                    let value = fields.entry(current.clone()).or_default();
                    if !value.is_empty() {
                        value.push('\n');
                    }
                    value.push_str(line.trim());
                }
                None => {}
            }
        }
        Self { fields }
    }

    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }

    fn priority(&self) -> i64 {
        self.field("Priority").parse().unwrap_or(0)
    }

    /// Its lines in a stack, where it stands in it.
    fn lines(&self, kind: &str, position: usize) -> Vec<&str> {
        let initial = self.field(&format!("{kind}-Initial"));
        let lines = if position == 0 && !initial.is_empty() { initial } else { self.field(kind) };
        lines.lines().collect()
    }
}

impl World<'_> {
    /// Writes the `common-*` files, unless they are there.
    pub(crate) fn write_pam_profiles(&mut self) -> Result<(), Error> {
        let mut profiles = Vec::new();
        for name in self.names("/usr/share/pam-configs") {
            let text = self.text(&format!("/usr/share/pam-configs/{name}"))?.unwrap_or_default();
            let profile = Profile::parse(&text);
            if profile.field("Default") == "yes" {
                profiles.push((name, profile));
            }
        }
        profiles.sort_by(|(one_name, one), (other_name, other)| {
            other.priority().cmp(&one.priority()).then_with(|| one_name.cmp(other_name))
        });
        if let Some((one, other)) = conflict(&profiles) {
            return Err(Error::Pam {
                path: format!("/usr/share/pam-configs/{one}"),
                what: format!(
                    "it conflicts with `{other}`, and both are on by default; leave one package out"
                ),
            });
        }
        for (file, kind, service) in FILES {
            let path = format!("/etc/pam.d/common-{file}");
            let template_path = format!("/usr/share/pam/common-{file}");
            let Some(template) = self.text(&template_path)?.filter(|_| !self.has(&path)) else { continue };
            let noninteractive = file == "session-noninteractive";
            let enabled: Vec<&Profile> = profiles
                .iter()
                .map(|(_, profile)| profile)
                .filter(|profile| !(noninteractive && profile.field("Session-Interactive-Only") == "yes"))
                .collect();
            let mut text = String::new();
            for line in template.lines() {
                let placeholder = line.trim();
                if placeholder.starts_with('$') && placeholder.ends_with("_primary") {
                    text.push_str(&block(&enabled, kind, service, "Primary"));
                } else if placeholder.starts_with('$') && placeholder.ends_with("_additional") {
                    text.push_str(&block(&enabled, kind, service, "Additional"));
                } else {
                    text.push_str(&format!("{line}\n"));
                }
            }
            self.write(&path, text, 0o644)?;
        }
        Ok(())
    }
}

fn conflict(profiles: &[(String, Profile)]) -> Option<(&str, &str)> {
    profiles.iter().find_map(|(one, profile)| {
        let against: Vec<&str> = profile.field("Conflicts").split(", ").collect();
        let other = profiles.iter().map(|(name, _)| name.as_str()).find(|name| against.contains(name))?;
        Some((one.as_str(), other))
    })
}

/// The lines of one block of a stack; `end` in a control becomes the number of lines to jump over.
fn block(profiles: &[&Profile], kind: &str, service: &str, block: &str) -> String {
    let type_field = format!("{kind}-Type");
    let members = profiles.iter().filter(|profile| profile.field(&type_field) == block);
    let lines: Vec<&str> = members.enumerate().flat_map(|(at, profile)| profile.lines(kind, at)).collect();
    if lines.is_empty() && block == "Primary" {
        return format!("{service}\t[default=1]\t\t\tpam_permit.so\n");
    }
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        // A jump never leaves the stack: the last block has nothing after it.
        let left = lines.len() - at - usize::from(block == "Additional");
        let (control, rest) = control(line);
        let mut words = rest.split_whitespace();
        let module = words.next().unwrap_or_default();
        let gap = &rest[..rest.len() - rest.trim_start().len()];
        let arguments = words.collect::<Vec<_>>().join(" ");
        let control = control.replace("end", &left.to_string());
        text.push_str(&format!("{service}\t{control}{gap}{module} {arguments}\n"));
    }
    text
}

/// `[…]` or a word, and what follows.
fn control(line: &str) -> (&str, &str) {
    match line.starts_with('[') {
        true => line.split_at(line.find(']').map_or(line.len(), |at| at + 1)),
        false => line.split_at(line.find(char::is_whitespace).unwrap_or(line.len())),
    }
}
