//! What maintainer scripts would have done, in memory and without running them.
//!
//! A Debian package is more than its files: its scripts make users, links, lists, caches. Here they are read, and what
//! they say is done to a [`Tree`], for any architecture, without a chroot and without starting a program. It is a
//! function: the same packages and settings give the same tree, on every machine.
//!
//! Two steps, since what a recipe lays over its packages comes between them:
//!
//! 1. [`configure`] follows `preinst install`, `postinst configure` and the triggers of every package, as `dpkg` would on
//!    a first installation. A script that does something whose effect is not known is an error that shows it.
//! 2. [`Configured::complete`] makes, of the tree as it is by then, what is made of everything together: users,
//!    enabled units, the linker's cache, the bundle of certificates, `dpkg`'s notes.
//!
//! What is covered is listed in `docs/maintainer-scripts.md`.
#![forbid(unsafe_code)]

mod accounts;
mod alternatives;
mod certificates;
mod dpkg;
mod error;
pub mod known;
mod linker_cache;
mod pam;
mod scripts;
mod shell;
mod shells;
mod tmpfiles;
mod units;
mod world;

use std::collections::BTreeSet;

use graven_image::tree::Tree;

pub use accounts::Ids;
pub use accounts::people::Person;
pub use dpkg::Installed;
pub use error::{Error, Uncovered};
pub use units::Services;

use accounts::Accounts;
use world::{Finisher, World};

/// What a recipe says that concerns all packages.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Packages whose scripts are passed over.
    pub accepted: BTreeSet<String>,
    /// Numbers that users and groups had in an earlier build.
    pub ids: Ids,
    /// Seconds since 1970 that stand for "now".
    pub time: i64,
}

/// A tree whose packages are configured, and what is still to be made of it.
#[derive(Debug)]
pub struct Configured {
    settings: Settings,
    installed: Vec<Installed>,
    units: units::Wishes,
    alternatives: Vec<alternatives::Alternative>,
    diversions: Vec<world::Diversion>,
    overrides: std::collections::BTreeMap<String, world::Override>,
    shells: Vec<String>,
    finishers: BTreeSet<Finisher>,
    assigned: Ids,
}

/// Does what the scripts of these packages, unpacked in `tree`, would have done one by one.
///
/// # Errors
/// [`Error::Scripts`] for what is not known, all of it at once; [`Error::NotNeeded`]; places in the tree.
pub fn configure(
    tree: &mut Tree,
    installed: Vec<Installed>,
    settings: Settings,
) -> Result<Configured, Error> {
    let mut world = World::new(tree, Accounts::default(), settings.time);
    if !installed.is_empty() {
        world.accounts = Accounts::read(&world, &settings.ids)?;
    }
    scripts::follow(&mut world, &installed, &settings.accepted)?;
    Accounts::write(&mut world)?;
    let World { units, alternatives, diversions, overrides, shells, finishers, accounts, .. } = world;
    let assigned = accounts.assigned;
    Ok(Configured {
        settings,
        installed,
        units,
        alternatives,
        diversions,
        overrides,
        shells,
        finishers,
        assigned,
    })
}

impl Configured {
    /// Makes what is made of the whole. Answers with the numbers that users and groups were given: to be kept, and
    /// handed to the next build.
    ///
    /// # Errors
    /// Users and services that cannot be, and places in the tree.
    pub fn complete(self, tree: &mut Tree, people: &[Person], services: &Services) -> Result<Ids, Error> {
        let Self { settings, installed, assigned, .. } = self;
        let mut world = World::new(tree, Accounts::default(), settings.time);
        world.units = self.units;
        world.alternatives = self.alternatives;
        world.diversions = self.diversions;
        world.overrides = self.overrides;
        world.shells = self.shells;

        if !installed.is_empty() || !people.is_empty() {
            world.accounts = Accounts::read(&world, &settings.ids)?;
            world.accounts.assigned = assigned;
        }
        if !installed.is_empty() {
            world.all_sysusers()?;
        }
        world.people(people)?;
        Accounts::write(&mut world)?;
        if !installed.is_empty() {
            world.apply_tmpfiles()?;
        }
        world.enable_wishes()?;
        world.services(services)?;
        world.install_alternatives()?;
        for finisher in &self.finishers {
            match finisher {
                Finisher::PamProfiles => world.write_pam_profiles()?,
                Finisher::Shells => world.write_shells()?,
                Finisher::Certificates => world.write_certificates()?,
                // Empty: systemd makes an identity at boot. None of a build's may be in an image.
                Finisher::MachineId => world.write("/etc/machine-id", "", 0o444)?,
                Finisher::LinkerCache => world.write_linker_cache()?,
            }
        }
        if !installed.is_empty() {
            world.write_dpkg(&installed)?;
        }
        Ok(world.accounts.assigned)
    }
}
