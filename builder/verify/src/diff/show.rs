//! Differences in words.

use std::fmt::{self, Formatter};

use super::{Change, Differences, Fate, FileChange, PackageFate, Section};

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return Ok(());
        }
        writeln!(f, "old  {}\nnew  {}", self.old, self.new)?;
        for section in Section::ALL.iter().filter(|section| self.count(**section) > 0) {
            writeln!(f, "\n{}", section.title())?;
            match section {
                Section::Security => self.write_concerns(f)?,
                Section::Packages => self.write_packages(f)?,
                Section::Files => self.write_files(f)?,
                section => self.changes(*section).iter().try_for_each(|change| line(f, change))?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for super::Identity {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, profile, arch, root_hash } = self;
        let profile = profile.as_deref().unwrap_or("unknown profile");
        write!(f, "{}", short(&format!("{name}, {profile}, {arch}, root hash {root_hash}")))
    }
}

impl Differences {
    /// The changes of a section that has nothing but those.
    pub(crate) fn changes(&self, section: Section) -> &[Change] {
        match section {
            Section::Policy => &self.policy,
            Section::CommandLine => &self.command_line,
            Section::Signers => &self.signers,
            Section::Boot => &self.boot,
            Section::KernelConfig => &self.kernel_config,
            Section::Plan => &self.plan,
            Section::Partitions => &self.partitions,
            Section::Esp => &self.esp,
            Section::MadeFrom => &self.made_from,
            Section::Follows => &self.follows,
            Section::Security | Section::Packages | Section::Files => &[],
        }
    }

    /// The changed files by the package that they are of, those of none last.
    pub(crate) fn files_by_package(&self) -> Vec<(Option<&str>, Vec<&FileChange>)> {
        let mut groups = std::collections::BTreeMap::<(bool, &str), Vec<&FileChange>>::new();
        for file in &self.files {
            let package = file.package.as_deref();
            groups.entry((package.is_none(), package.unwrap_or_default())).or_default().push(file);
        }
        let groups = groups.into_iter();
        groups.map(|((none, package), files)| ((!none).then_some(package), files)).collect()
    }

    fn write_concerns(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for concern in &self.security {
            let (about, sign) = (concern.about.name(), sign(concern.fate));
            writeln!(f, "  {sign} {about:<11} {}: {}", visible(&concern.what), visible(&concern.says))?;
        }
        Ok(())
    }

    fn write_packages(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for package in &self.packages {
            let name = visible(&format!("{}:{}", package.name, package.architecture));
            let (old, new) = (package.old.as_deref(), package.new.as_deref());
            let (old, new) = (visible(old.unwrap_or_default()), visible(new.unwrap_or_default()));
            match package.fate {
                PackageFate::Added => writeln!(f, "  + {name} {new}")?,
                PackageFate::Removed => writeln!(f, "  - {name} {old}")?,
                PackageFate::Upgraded => writeln!(f, "  ~ {name} {old} → {new}")?,
                PackageFate::Downgraded => writeln!(f, "  ~ {name} {old} → {new}, which is older")?,
                PackageFate::Changed => writeln!(f, "  ~ {name} {new}, described otherwise")?,
            }
        }
        Ok(())
    }

    fn write_files(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (package, files) in self.files_by_package() {
            writeln!(
                f,
                "  {}",
                package.map_or("of no package".to_owned(), |name| visible(&format!("of {name}")))
            )?;
            for file in files {
                let changes: Vec<String> = file.changes.iter().map(told).collect();
                let (sign, path) = (sign(file.fate), visible(&file.path));
                writeln!(f, "    {sign} {path}: {}", short(&visible(&changes.join("; "))))?;
                for line in file.lines.iter().flat_map(|lines| lines.lines()) {
                    writeln!(f, "        {}", visible(line))?;
                }
            }
        }
        Ok(())
    }
}

/// What of a file is not the same: of two values both, of one what it is.
pub(crate) fn told(change: &Change) -> String {
    match (change.what.as_str(), &change.old, &change.new) {
        ("file", old, new) => old.iter().chain(new).map(String::as_str).collect(),
        (what, Some(old), Some(new)) => format!("{what} {old} → {new}"),
        (what, None, Some(new)) => format!("{what} {new}, before none"),
        (what, Some(old), None) => format!("{what} none, before {old}"),
        (what, None, None) => what.to_owned(),
    }
}

fn sign(fate: Fate) -> char {
    match fate {
        Fate::Added => '+',
        Fate::Removed => '-',
        Fate::Changed => '~',
    }
}

fn line(f: &mut Formatter<'_>, change: &Change) -> fmt::Result {
    let what = visible(&change.what);
    let value = |text: &str| short(&visible(text));
    match (&change.old, &change.new) {
        (None, None) => Ok(()),
        (None, Some(new)) => writeln!(f, "  + {what}: {}", value(new)),
        (Some(old), None) => writeln!(f, "  - {what}: {}", value(old)),
        (Some(old), Some(new)) => writeln!(f, "  ~ {what}: {} → {}", value(old), value(new)),
    }
}

/// Without what a terminal would obey.
fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// With long digests cut: JSON and the page have them whole.
pub(crate) fn short(text: &str) -> String {
    const MOST: usize = 40;
    const KEPT: usize = 16;
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        match word.len() > MOST {
            true => out.extend([&word[..KEPT], "…"]),
            false => out.push_str(word),
        }
        let other = after.find(|c: char| c.is_ascii_hexdigit()).unwrap_or(after.len());
        out.push_str(&after[..other]);
        rest = &after[other..];
    }
    out
}
