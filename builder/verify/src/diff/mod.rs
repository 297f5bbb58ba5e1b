//! What is not the same in two images, told by what it means. Nothing is proved by it.
//!
//! A changed file changes the root hash, and with it the policy's text, the command line, the names of partitions and every
//! signature. What follows so from something else is told apart, in [`Differences::follows`].

mod accounts;
mod boot;
mod disk;
mod files;
mod listed;
mod made_from;
mod packages;
mod security;
mod services;
mod show;
#[cfg(test)]
mod tests;
mod version;

use std::io;
use std::str::FromStr;

use graven_image::tree::{Tree, compare};
use serde::Serialize;

use crate::contents::{Boot, Contents, ContentsError};
use crate::inspect::{self, Summary};
use crate::manifest::Manifest;
use crate::survey::{self, Survey, SurveyError};

pub use files::FileChange;
pub use packages::{PackageChange, PackageFate};
pub use security::{About, Concern};

/// An image to be compared.
#[derive(Clone, Copy)]
pub struct Image<'a> {
    /// Its disk.
    pub contents: &'a Contents,
    /// What its build wrote beside it, where that is at hand.
    pub manifest: Option<&'a Manifest>,
}

/// Which image is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// What it calls itself.
    pub name: String,
    /// `release` or `development`, where it says so.
    pub profile: Option<String>,
    /// What it is for.
    pub arch: String,
    /// dm-verity root hash.
    pub root_hash: String,
}

/// Something that has a name in both images, and what each has there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub what: String,
    /// In the first; `None` where it is new.
    pub old: Option<String>,
    /// In the second; `None` where it is gone.
    pub new: Option<String>,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The second has it alone.
    Added,
    /// The first has it alone.
    Removed,
    /// Both have it, not the same.
    Changed,
}

/// All that is not the same, in the order in which it matters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// The first image.
    pub old: Identity,
    /// The second.
    pub new: Identity,
    /// What an attacker would look for: set-uid programs, capabilities, who listens, who may log in, what runs scripts.
    pub security: Vec<Concern>,
    /// Rules of the policy.
    pub policy: Vec<Change>,
    /// Words of the kernel command line.
    pub command_line: Vec<Change>,
    /// Who signed what.
    pub signers: Vec<Change>,
    /// Kernel, stage0 and other parts of the boot artefact.
    pub boot: Vec<Change>,
    /// Symbols of the kernel's configuration, where both images have one.
    pub kernel_config: Vec<Change>,
    /// What stage0 is to do.
    pub plan: Vec<Change>,
    /// Partitions, and firmware outside of them.
    pub partitions: Vec<Change>,
    /// Files of the EFI system partition besides the boot artefact.
    pub esp: Vec<Change>,
    /// Debian packages, by the roots' own notes.
    pub packages: Vec<PackageChange>,
    /// Files of the root.
    pub files: Vec<FileChange>,
    /// What the images were made from, by the manifests beside them.
    pub made_from: Vec<Change>,
    /// What follows from all that, or from the release being another one: version, root hash, digests, UUIDs, times.
    pub follows: Vec<Change>,
}

macro_rules! sections {
    ($($variant:ident = $field:ident, $name:literal, $title:literal;)+) => {
        /// A part of [`Differences`].
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Section {
            $(#[doc = concat!("[`Differences::", stringify!($field), "`]")] $variant,)+
        }

        impl Section {
            /// All of them, in their order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The name that a user types; with `_` for `-` it is the one in JSON.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// Its heading.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }
        }

        impl Differences {
            /// How many there are in a part.
            #[must_use]
            pub fn count(&self, section: Section) -> usize {
                match section { $(Section::$variant => self.$field.len(),)+ }
            }

            /// Forgets all but these parts.
            pub fn retain(&mut self, sections: &[Section]) {
                $(if !sections.contains(&Section::$variant) { self.$field.clear(); })+
            }
        }
    };
}

sections! {
    Security = security, "security", "What bears on security";
    Policy = policy, "policy", "Policy";
    CommandLine = command_line, "command-line", "Command line";
    Signers = signers, "signers", "Signers";
    Boot = boot, "boot", "Boot artefact";
    KernelConfig = kernel_config, "kernel-config", "Kernel configuration";
    Plan = plan, "plan", "Plan of stage0";
    Partitions = partitions, "partitions", "Partitions";
    Esp = esp, "esp", "EFI system partition";
    Packages = packages, "packages", "Packages";
    Files = files, "files", "Files";
    MadeFrom = made_from, "made-from", "Made from";
    Follows = follows, "follows", "What follows";
}

impl FromStr for Section {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|section| section.name() == text);
        found.copied().ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|section| section.name()).collect();
            format!("expected one of {}", names.join(", "))
        })
    }
}

/// Why two images cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum DiffError {
    /// A part of one of them cannot be read.
    #[error("{which} image: {source}")]
    Contents {
        /// `first` or `second`.
        which: &'static str,
        /// What is wrong.
        source: Box<ContentsError>,
    },
    /// The system does not give the disk's bytes.
    #[error("{which} image: reading the disk: {source}")]
    Disk {
        /// `first` or `second`.
        which: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// A file of one of them cannot be read.
    #[error("{which} image: {source}")]
    Survey {
        /// `first` or `second`.
        which: &'static str,
        /// What is wrong.
        source: SurveyError,
    },
}

/// One image with all of it that is compared.
struct Side<'a> {
    contents: &'a Contents,
    manifest: Option<&'a Manifest>,
    summary: Summary,
    boot: Boot,
    tree: Tree,
    survey: Survey,
}

impl<'a> Side<'a> {
    fn read(which: &'static str, image: Image<'a>) -> Result<Self, DiffError> {
        let Image { contents, manifest } = image;
        let failed = |source: ContentsError| DiffError::Contents { which, source: source.into() };
        let tree = contents.tree().map_err(failed)?;
        Ok(Self {
            contents,
            manifest,
            summary: inspect::inspect(contents).map_err(failed)?,
            boot: contents.boot().map_err(failed)?,
            survey: survey::survey(&tree).map_err(|source| DiffError::Survey { which, source })?,
            tree,
        })
    }

    fn identity(&self) -> Identity {
        let said = |key| self.summary.boot.os_release.get(key).cloned();
        let name = said("PRETTY_NAME").or_else(|| self.summary.boot.description.clone());
        Identity {
            name: name.unwrap_or_else(|| "an image without a name".to_owned()),
            profile: said("VARIANT_ID"),
            arch: self.summary.arch.clone(),
            root_hash: self.summary.root_hash.clone(),
        }
    }
}

/// Compares two images.
///
/// # Errors
/// The first part of either that cannot be read.
pub fn diff(old: Image<'_>, new: Image<'_>) -> Result<Differences, DiffError> {
    let (old, new) = std::thread::scope(|scope| {
        let first = scope.spawn(|| Side::read("first", old));
        let second = Side::read("second", new);
        (first.join(), second)
    });
    let old = match old {
        Ok(side) => side?,
        Err(panic) => std::panic::resume_unwind(panic),
    };
    let new = new?;
    let found = compare(&old.tree, &new.tree);

    let mut follows = boot::identities(&old, &new);
    Ok(Differences {
        old: old.identity(),
        new: new.identity(),
        security: security::concerns(&found, &old, &new),
        policy: apart(boot::policy(&old, &new), &mut follows),
        command_line: boot::command_line(&old, &new),
        signers: boot::signers(&old, &new),
        boot: apart(boot::parts(&old, &new), &mut follows),
        kernel_config: boot::kernel_config(&old, &new),
        plan: apart(boot::plan(&old, &new), &mut follows),
        partitions: apart(disk::partitions(&old, &new)?, &mut follows),
        esp: disk::esp(&old, &new)?,
        packages: packages::changed(&old.tree, &new.tree),
        files: apart(files::changes(&found, &old.tree, &new.tree), &mut follows),
        made_from: apart(made_from::changes(&old, &new), &mut follows),
        follows,
    })
}

/// What is told; what follows goes to the others of its kind.
fn apart<T>((told, follow): (T, Vec<Change>), follows: &mut Vec<Change>) -> T {
    follows.extend(follow);
    told
}

impl Differences {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        Section::ALL.iter().all(|section| self.count(*section) == 0)
    }
}
