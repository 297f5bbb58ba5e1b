//! Units of systemd: what is started at boot.

mod install;
mod preset;

use std::collections::BTreeSet;

use graven_image::tree::{Kind, TreePath};

use crate::error::{Error, nearest};
use crate::world::World;
use install::Install;
use preset::Presets;

/// Whose manager a unit belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// The system's.
    System,
    /// Every user's.
    User,
}

/// What scripts wish of units.
#[derive(Debug, Default)]
pub(crate) struct Wishes {
    /// Enabled unless a preset says otherwise.
    pub(crate) preset: Vec<(Scope, String)>,
    /// Enabled.
    pub(crate) enabled: Vec<(Scope, String)>,
}

/// `[services]`
#[derive(Debug, Clone, Default)]
pub struct Services {
    /// Units to enable; `ssh` stands for `ssh.service`.
    pub enable: Vec<String>,
    /// Units to disable, whatever packages say.
    pub disable: Vec<String>,
    /// Units that nothing may start.
    pub mask: Vec<String>,
    /// What the system boots into.
    pub default_target: Option<String>,
    /// Whether every unit is enabled or disabled as presets say, before all else.
    pub presets: bool,
}

/// Ends of unit names.
const SUFFIXES: [&str; 11] = [
    ".service",
    ".socket",
    ".timer",
    ".target",
    ".path",
    ".mount",
    ".automount",
    ".swap",
    ".slice",
    ".scope",
    ".device",
];
/// Kinds of units that generators make while the system starts.
const GENERATED: [&str; 6] = [".mount", ".automount", ".swap", ".slice", ".scope", ".device"];

impl Scope {
    fn folders(self) -> [&'static str; 3] {
        match self {
            Self::System => {
                ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"]
            }
            Self::User => ["/etc/systemd/user", "/usr/local/lib/systemd/user", "/usr/lib/systemd/user"],
        }
    }

    /// Where links lie.
    fn configuration(self) -> &'static str {
        self.folders()[0]
    }
}

/// A unit file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Found {
    /// Where it lies, and its own name where it was asked for by an alias.
    File { path: String, name: String },
    /// A link to `/dev/null`.
    Masked,
}

impl World<'_> {
    /// What scripts wished.
    pub(crate) fn enable_wishes(&mut self) -> Result<(), Error> {
        let wishes = std::mem::take(&mut self.units);
        for (scope, unit) in wishes.enabled {
            self.enable_if_there(scope, &unit)?;
        }
        for (scope, unit) in wishes.preset {
            if Presets::read(self, scope)?.enables(&unit) {
                self.enable_if_there(scope, &unit)?;
            }
        }
        Ok(())
    }

    /// What the recipe says of services.
    pub(crate) fn services(&mut self, services: &Services) -> Result<(), Error> {
        if services.presets {
            self.preset_all()?;
        }
        for unit in &services.disable {
            let unit = full_name(unit);
            if self.find_unit(Scope::System, &unit)?.is_none() {
                return Err(self.no_such_unit("disable", &unit));
            }
            self.disable(Scope::System, &unit)?;
        }
        for unit in &services.enable {
            self.enable_asked(&full_name(unit))?;
        }
        for unit in &services.mask {
            let unit = full_name(unit);
            let generated = GENERATED.iter().any(|suffix| unit.ends_with(suffix));
            if self.find_unit(Scope::System, &unit)?.is_none() && !generated {
                return Err(self.no_such_unit("mask", &unit));
            }
            let link = format!("{}/{unit}", Scope::System.configuration());
            if self.has(&link) && self.link_target(&link).is_none() {
                return Err(Error::Unit(format!(
                    "services.mask: {link} is a file of the image; leave it out instead"
                )));
            }
            self.link(&link, "/dev/null")?;
        }
        if let Some(target) = &services.default_target {
            let target =
                if target.ends_with(".target") { target.clone() } else { format!("{target}.target") };
            match self.find_unit(Scope::System, &target)? {
                Some(Found::File { path, .. }) => self.link("/etc/systemd/system/default.target", &path)?,
                _ => return Err(self.no_such_unit("default-target", &target)),
            }
        }
        Ok(())
    }

    /// Whether systemd would find a unit of this name, a masked one included.
    pub(crate) fn has_unit(&self, unit: &str) -> bool {
        self.find_unit(Scope::System, unit).is_ok_and(|found| found.is_some())
    }

    fn preset_all(&mut self) -> Result<(), Error> {
        let presets = Presets::read(self, Scope::System)?;
        let all: BTreeSet<String> =
            Scope::System.folders().iter().flat_map(|folder| self.names(folder)).collect();
        for unit in all.iter().filter(|unit| SUFFIXES.iter().any(|suffix| unit.ends_with(suffix))) {
            let Some(Found::File { path, name }) = self.find_unit(Scope::System, unit)? else { continue };
            let install = Install::read(self, Scope::System, &path, &name)?;
            if name != *unit
                || install.is_empty()
                || (name.contains("@.") && install.default_instance.is_none())
            {
                continue;
            }
            match presets.enables(unit) {
                true => self.enable_if_there(Scope::System, unit)?,
                false => self.disable(Scope::System, unit)?,
            }
        }
        Ok(())
    }

    fn enable_asked(&mut self, unit: &str) -> Result<(), Error> {
        match self.find_unit(Scope::System, unit)? {
            None => return Err(self.no_such_unit("enable", unit)),
            Some(Found::Masked) => {
                return Err(Error::Unit(format!(
                    "services.enable: {unit} is masked; it cannot be enabled as well"
                )));
            }
            Some(Found::File { path, name }) => {
                if Install::read(self, Scope::System, &path, &name)?.is_empty() {
                    return Err(Error::Unit(format!(
                        "services.enable: {path} has no [Install] section, so that nothing says what starts it; it \
                         may be started by other units already"
                    )));
                }
            }
        }
        self.enable_if_there(Scope::System, unit)
    }

    /// Enables a unit with all that it names in `Also=`.
    fn enable_if_there(&mut self, scope: Scope, unit: &str) -> Result<(), Error> {
        let mut ahead = vec![unit.to_owned()];
        let mut seen = BTreeSet::new();
        while let Some(unit) = ahead.pop() {
            if !seen.insert(unit.clone()) {
                continue;
            }
            let Some(Found::File { path, name }) = self.find_unit(scope, &unit)? else { continue };
            // An alias stands for its unit, an instance for itself.
            let unit = if name.contains("@.") && !unit.contains("@.") { unit } else { name };
            let install = Install::read(self, scope, &path, &unit)?;
            ahead.extend(install.also.iter().cloned());
            let top = scope.configuration();
            for alias in &install.alias {
                let link = format!("{top}/{alias}");
                if *alias != unit {
                    self.link(&link, &path)?;
                }
            }
            let linked = match &install.default_instance {
                Some(instance) if unit.contains("@.") => unit.replacen("@.", &format!("@{instance}."), 1),
                _ => unit.clone(),
            };
            for (kind, targets) in [
                ("wants", &install.wanted_by),
                ("requires", &install.required_by),
                ("upholds", &install.upheld_by),
            ] {
                for target in targets {
                    if linked.contains("@.") && !target.contains("@.") {
                        return Err(Error::Unit(format!(
                            "{path} is a template without a DefaultInstance=; name an instance, such as {}",
                            unit.replacen("@.", "@NAME.", 1)
                        )));
                    }
                    self.link(&format!("{top}/{target}.{kind}/{linked}"), &path)?;
                }
            }
        }
        Ok(())
    }

    /// Takes all links of a unit away.
    fn disable(&mut self, scope: Scope, unit: &str) -> Result<(), Error> {
        let top = scope.configuration();
        let mut links = Vec::new();
        for name in self.names(top) {
            let path = format!("{top}/{name}");
            if self.link_target(&path).is_some() {
                links.push(path);
            } else if [".wants", ".requires", ".upholds"].iter().any(|kind| name.ends_with(kind)) {
                links.extend(self.names(&path).into_iter().map(|link| format!("{path}/{link}")));
            }
        }
        for link in links {
            let target = self.link_target(&link).unwrap_or_default();
            let is_alias = target.rsplit('/').next() == Some(unit);
            let is_itself = link.rsplit('/').next() == Some(unit)
                && link.matches('/').count() > top.matches('/').count() + 1;
            if target != "/dev/null" && (is_alias || is_itself) {
                self.tree.remove(&TreePath::parse(link.as_bytes())?)?;
            }
        }
        Ok(())
    }

    /// The file of a unit: its own, or for an instance the template's.
    fn find_unit(&self, scope: Scope, unit: &str) -> Result<Option<Found>, Error> {
        let template = unit.split_once('@').and_then(|(prefix, rest)| {
            let (_, suffix) = rest.rsplit_once('.')?;
            Some(format!("{prefix}@.{suffix}"))
        });
        for name in [Some(unit.to_owned()), template].into_iter().flatten() {
            for folder in scope.folders() {
                let path = format!("{folder}/{name}");
                if self.link_target(&path).as_deref() == Some("/dev/null") {
                    return Ok(Some(Found::Masked));
                }
                let Ok(canonical) = self.tree.canonical(&TreePath::parse(path.as_bytes())?) else { continue };
                let id = self.tree.resolve(&canonical)?;
                if matches!(self.tree.inode(id).kind, Kind::File(_)) {
                    let path = canonical.to_string();
                    let name = path.rsplit('/').next().unwrap_or_default().to_owned();
                    return Ok(Some(Found::File { path, name }));
                }
            }
        }
        Ok(None)
    }

    fn no_such_unit(&self, key: &str, unit: &str) -> Error {
        let known: BTreeSet<String> =
            Scope::System.folders().iter().flat_map(|folder| self.names(folder)).collect();
        let known: Vec<&str> =
            known.iter().map(String::as_str).filter(|name| !name.contains(".wants")).collect();
        let near = nearest(unit, &known);
        let near = if near.starts_with("did") { near } else { "is its package installed?".to_owned() };
        Error::Unit(format!("services.{key}: the image has no unit {unit}; {near}"))
    }
}

/// `ssh` stands for `ssh.service`.
fn full_name(unit: &str) -> String {
    match SUFFIXES.iter().any(|suffix| unit.ends_with(suffix)) {
        true => unit.to_owned(),
        false => format!("{unit}.service"),
    }
}
