//! `dpkg`'s notes of what is installed, so that tools that take inventory find it: `dpkg-query`, scanners.

use graven_sources::deb::Package;

use crate::error::Error;
use crate::world::World;

/// What of a package outlives its unpacking.
#[derive(Debug, Clone)]
pub struct Installed {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) architecture: String,
    /// `PACKAGE` or, where several architectures may be installed side by side, `PACKAGE:ARCHITECTURE`.
    info: String,
    /// Names of packages that it depends on, alternatives among them.
    pub(crate) depends: Vec<String>,
    status: String,
    list: Vec<u8>,
    pub(crate) scripts: Vec<(String, String)>,
    control_files: Vec<(String, Vec<u8>)>,
    conffiles: String,
}

/// Members of a control archive that are kept; scripts are not, since nothing may ever run them.
const KEPT: [&str; 4] = ["md5sums", "shlibs", "symbols", "triggers"];

impl Installed {
    /// Notes what there is to know of a package.
    ///
    /// # Errors
    /// A configuration file that cannot be read.
    pub fn of(package: &Package) -> Result<Self, Error> {
        let control = &package.control;
        let same = control.field("Multi-Arch") == Some("same");
        let name = control.package().to_owned();
        let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
        Ok(Self {
            info: if same { format!("{name}:{}", control.architecture()) } else { name.clone() },
            version: control.version().to_owned(),
            architecture: control.architecture().to_owned(),
            depends: ["Pre-Depends", "Depends"]
                .iter()
                .filter_map(|field| control.field(field))
                .flat_map(|relations| relations.split([',', '|']))
                .filter_map(|relation| relation.split([' ', ':', '(', '\n']).find(|word| !word.is_empty()))
                .map(str::to_owned)
                .collect(),
            status: package.status_paragraph()?,
            list: package.file_list(),
            scripts: package.scripts.iter().map(|(name, script)| (name.clone(), text(script))).collect(),
            control_files: package
                .control_files
                .iter()
                .map(|(name, file)| (name.clone(), file.clone()))
                .collect(),
            conffiles: package.conffiles.iter().map(|path| format!("{path}\n")).collect(),
            name,
        })
    }

    /// A file of the control archive as text.
    pub(crate) fn control_file(&self, name: &str) -> Option<String> {
        let (_, bytes) = self.control_files.iter().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }
}

impl World<'_> {
    /// `/var/lib/dpkg`
    pub(crate) fn write_dpkg(&mut self, installed: &[Installed]) -> Result<(), Error> {
        let mut sorted: Vec<&Installed> = installed.iter().collect();
        sorted.sort_by(|one, other| (&one.name, &one.architecture).cmp(&(&other.name, &other.architecture)));
        let mut status = String::new();
        for package in &sorted {
            status.push_str(&package.status);
            status.push('\n');
            let info = format!("/var/lib/dpkg/info/{}", package.info);
            self.write(&format!("{info}.list"), package.list.clone(), 0o644)?;
            if !package.conffiles.is_empty() {
                self.write(&format!("{info}.conffiles"), package.conffiles.clone(), 0o644)?;
            }
            for (name, bytes) in
                package.control_files.iter().filter(|(name, _)| KEPT.contains(&name.as_str()))
            {
                self.write(&format!("{info}.{name}"), bytes.clone(), 0o644)?;
            }
        }
        self.write("/var/lib/dpkg/status", status, 0o644)?;
        self.write("/var/lib/dpkg/info/format", "1\n", 0o644)?;
        let mut diversions = String::new();
        for diversion in &self.diversions {
            diversions.push_str(&format!("{}\n{}\n{}\n", diversion.from, diversion.to, diversion.package));
        }
        self.write("/var/lib/dpkg/diversions", diversions, 0o644)?;
        let mut overrides = String::new();
        for (path, entry) in &self.overrides {
            overrides.push_str(&format!("{} {} {} {path}\n", entry.user, entry.group, entry.mode));
        }
        Ok(self.write("/var/lib/dpkg/statoverride", overrides, 0o644)?)
    }
}
