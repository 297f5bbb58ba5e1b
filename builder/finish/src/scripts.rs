//! The scripts of packages and what they wait for: each followed by [`shell`](crate::shell), or known by its digest.

use std::collections::{BTreeMap, BTreeSet};

use crate::Installed;
use crate::error::{Error, Uncovered};
use crate::known;
use crate::shell::{self, Unknown};
use crate::world::{Finisher, World};

/// Follows all scripts of a first installation.
pub(crate) fn follow(
    world: &mut World<'_>,
    installed: &[Installed],
    accepted: &BTreeSet<String>,
) -> Result<(), Error> {
    let mut sorted = in_order(installed);
    for package in accepted {
        let why = match sorted.iter().find(|installed| installed.name == *package) {
            None => "no package of this name is installed",
            Some(installed) => {
                let mut tree = world.tree.clone();
                let mut trial = World::new(&mut tree, world.accounts.clone(), world.time);
                match follow_one(&mut trial, installed, "preinst", "install")
                    .and_then(|()| follow_one(&mut trial, installed, "postinst", "configure"))
                    .and_then(|()| triggers(&mut trial, &[installed]).into_iter().next().map_or(Ok(()), Err))
                {
                    Ok(()) => "what its scripts would have done is done anyway",
                    Err(_) => continue,
                }
            }
        };
        return Err(Error::NotNeeded { package: package.clone(), why });
    }
    sorted.retain(|package| !accepted.contains(&package.name));
    let mut uncovered = Vec::new();
    for (script, argument) in [("preinst", "install"), ("postinst", "configure")] {
        for package in &sorted {
            uncovered.extend(follow_one(world, package, script, argument).err());
        }
    }
    uncovered.extend(triggers(world, &sorted));
    uncovered.extend(init_scripts(world, &sorted));
    world.leave();
    match uncovered.is_empty() {
        true => Ok(()),
        false => Err(Error::Scripts(uncovered)),
    }
}

/// Packages after those that they depend on, by name where that leaves a choice: the order in which `dpkg` may
/// configure them.
fn in_order(installed: &[Installed]) -> Vec<&Installed> {
    let mut waiting: Vec<&Installed> = installed.iter().collect();
    waiting.sort_by(|one, other| one.name.cmp(&other.name));
    let mut ordered: Vec<&Installed> = Vec::new();
    while !waiting.is_empty() {
        let is_waiting = |name: &String| waiting.iter().any(|other| other.name == *name);
        let free = waiting.iter().position(|package| {
            !package.depends.iter().any(|name| *name != package.name && is_waiting(name))
        });
        // Where packages depend on each other, the first by name.
        ordered.push(waiting.remove(free.unwrap_or(0)));
    }
    ordered
}

fn follow_one(
    world: &mut World<'_>,
    package: &Installed,
    script: &str,
    argument: &str,
) -> Result<(), Uncovered> {
    start(world, package, script, &[argument])
}

/// Starts one script of a package with these arguments, where the package has it.
fn start(
    world: &mut World<'_>,
    package: &Installed,
    name: &str,
    arguments: &[&str],
) -> Result<(), Uncovered> {
    let Some((_, text)) = package.scripts.iter().find(|(script, _)| script == name) else { return Ok(()) };
    let unknown = |Unknown { line, what }: Unknown| Uncovered {
        package: package.name.clone(),
        script: name.to_owned(),
        line,
        what,
        text: text.clone(),
    };
    world.enter(package);
    world.answers = answers(package.control_file("templates").as_deref().unwrap_or_default());
    let (sections, own) = sections(text);
    match known::script(&package.name, name, &own) {
        Some(known) => {
            for part in sections.iter().map(String::as_str).chain([known.instead]) {
                shell::run(part, arguments, world).map_err(unknown)?;
            }
            Ok(())
        }
        None => shell::run(text, arguments, world).map_err(unknown),
    }
}

/// A script's sections that debhelper has added, and the rest of it.
pub(crate) fn sections(text: &str) -> (Vec<String>, String) {
    let (mut sections, mut own) = (Vec::new(), String::new());
    let mut current: Option<String> = None;
    for line in text.lines() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("# Automatically added by ") {
            current = Some(String::new());
        } else if trimmed.starts_with("# End automatically added section") {
            sections.extend(current.take());
        } else {
            let part = current.as_mut().unwrap_or(&mut own);
            part.push_str(line);
            part.push('\n');
        }
    }
    (sections, own)
}

/// Each package that waits for something that happens hears of it once, as from `dpkg`.
fn triggers(world: &mut World<'_>, packages: &[&Installed]) -> Vec<Uncovered> {
    let mut activated = BTreeSet::new();
    let mut interested: BTreeMap<&str, (Vec<String>, &Installed)> = BTreeMap::new();
    let mut uncovered = Vec::new();
    for package in packages {
        let text = package.control_file("triggers").unwrap_or_default();
        for (number, line) in (1..).zip(text.lines()) {
            let line = line.split('#').next().unwrap_or_default();
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (None, _) => {}
                (Some("interest" | "interest-noawait" | "interest-await"), Some(name)) => {
                    let entry = interested.entry(&package.name).or_insert_with(|| (Vec::new(), package));
                    entry.0.push(name.to_owned());
                }
                (Some("activate" | "activate-noawait" | "activate-await"), Some(name)) => {
                    activated.insert(name.to_owned());
                }
                _ => uncovered.push(Uncovered {
                    package: package.name.clone(),
                    script: "triggers".into(),
                    line: number,
                    what: "no trigger".into(),
                    text: text.clone(),
                }),
            }
        }
    }
    // The linker's cache is made whether or not libc-bin, whose trigger it is, has come along.
    if activated.contains("ldconfig") {
        world.finishers.insert(Finisher::LinkerCache);
    }
    for (names, package) in interested.into_values() {
        let happens = |name: &String| activated.contains(name) || (name.starts_with('/') && world.has(name));
        let names: Vec<String> = names.into_iter().filter(happens).collect();
        if !names.is_empty() {
            uncovered.extend(start(world, package, "postinst", &["triggered", &names.join(" ")]).err());
        }
    }
    uncovered
}

/// With systemd, an init script starts nothing without a unit of its name.
fn init_scripts(world: &mut World<'_>, packages: &[&Installed]) -> Vec<Uncovered> {
    if world.find("/usr/lib/systemd/systemd").is_none() {
        return Vec::new();
    }
    let scripts = std::mem::take(&mut world.init_scripts);
    let without_unit = scripts.into_iter().filter(|(script, _)| {
        world.has(&format!("/etc/init.d/{script}")) && !world.has_unit(&format!("{script}.service"))
    });
    without_unit
        .map(|(script, package)| {
            let text = packages.iter().find(|one| one.name == package).map(|package| {
                let scripts = package.scripts.iter().filter(|(name, _)| name == "postinst");
                scripts.map(|(_, text)| text.as_str()).collect::<String>()
            });
            Uncovered {
                package,
                script: "postinst".into(),
                line: 1,
                what: format!("it has /etc/init.d/{script} started, and there is no unit {script}.service"),
                text: text.unwrap_or_default(),
            }
        })
        .collect()
}

/// Defaults of debconf's questions.
fn answers(templates: &str) -> BTreeMap<String, String> {
    let mut answers = BTreeMap::new();
    let mut template = String::new();
    for line in templates.lines() {
        if let Some(name) = line.strip_prefix("Template:") {
            template = name.trim().to_owned();
        } else if let Some(value) = line.strip_prefix("Default:") {
            answers.insert(template.clone(), value.trim().to_owned());
        }
    }
    answers
}
