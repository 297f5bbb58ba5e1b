//! From spanned values to a [`Recipe`].
//!
//! Every file and every section is taken apart once by itself, so that a mistake shows whatever target is built, and
//! once more laid over each other for the target and profile in hand; only then must anything be there.

mod content;
mod machine;
mod people;
mod policy;
mod root;
mod rules;
mod scripts;
mod state;
mod volume;

use crate::error::Problem;
use crate::fields::{Decoder, Fields};
use crate::place::At;
use crate::recipe::{Boot, Disk, Init, Kernel, KernelSource, Packages, Recipe, Stub, Verity, Version};
use crate::value::{Kind, Table, Value};
use crate::words::Profile;
use graven_targets::{BootChain, Target};

/// What part of a recipe is looked at.
pub(crate) enum Scope<'a> {
    /// One file, or what it says outside its sections: anything may be missing.
    File,
    /// A `[target.T]` or `[profile.P]` section: anything may be missing, some keys may not be there.
    Section,
    /// The whole, for one target and profile.
    Whole(&'a Choice),
}

/// For what the whole is decoded.
pub(crate) struct Choice {
    pub(crate) target: Target,
    pub(crate) targets: Vec<String>,
    pub(crate) profile: Profile,
}

/// Decodes `tree`. There is a recipe only for [`Scope::Whole`], and only where there are no problems.
pub(crate) fn recipe(tree: &Value, scope: &Scope<'_>) -> (Option<Recipe>, Vec<Problem>) {
    let choice = match scope {
        Scope::Whole(choice) => Some(*choice),
        _ => None,
    };
    let decoder = Decoder::new(choice.map(|choice| choice.target.arch));
    let recipe = decode(&decoder, tree, scope, choice);
    let problems = decoder.into_problems();
    (recipe.filter(|_| problems.is_empty()), problems)
}

fn decode(decoder: &Decoder, tree: &Value, scope: &Scope<'_>, choice: Option<&Choice>) -> Option<Recipe> {
    let no_table = Table::new();
    let table = match &tree.kind {
        Kind::Table(table) => table,
        _ => {
            decoder
                .report(Problem::new(&tree.place, format!("a table is expected, not {}", tree.kind_name())));
            &no_table
        }
    };
    let mut top = decoder.root(table, &tree.place);
    not_here(&mut top, scope);

    let name = top.text_like("name", rules::name);
    let version = top.text_like("version", |text| rules::version(text).map(|_| ()));
    let init = top.text_like("init", rules::image_path);
    let init_args: Vec<String> = top.texts("init-args").into_iter().map(|arg| arg.value).collect();
    let source_date = top.value("source-date").and_then(|value| source_date(&top, value));
    let hostname = top.text_like("hostname", rules::hostname);
    let packages = content::packages(top.table("packages"));
    let sources = top.tables("source").into_iter().filter_map(content::source).collect();
    let files = content::files(&mut top);
    let users = people::users(&mut top);
    let services = people::services(top.table("services"));
    let kernel = machine::kernel(top.table("kernel"), choice);
    let mut boot = machine::boot(top.table("boot"));
    let firmware = machine::firmware(top.table("firmware"), choice);
    let (root, places_of) = root::root(top.table("root"), choice);
    let verity = verity(top.table("verity"));
    let policy = policy::policy(top.table("policy"), choice);
    let mounts = machine::mounts(&mut top);
    let state = state::state(top.table("state"), table.contains_key("state"), &mounts);
    let scripts = scripts::scripts(top.table("scripts"));
    let lockdown = machine::lockdown(top.table("lockdown"));
    let disk = disk(top.table("disk"), choice);
    let volumes = volume::volumes(&mut top, choice);

    if let Some(choice) = choice {
        for (key, missing) in
            [("name", name.is_none()), ("version", version.is_none()), ("init", init.is_none())]
        {
            if missing && !table.contains_key(key) {
                top.report(top.place(), format!("`{key}` is missing"));
            }
        }
        let is_uki = choice.target.boot_chain == BootChain::Uki;
        if let (true, None, Some(repository)) = (is_uki, &boot.stub, packages.repositories.first()) {
            let request = rules::package(STUB).ok();
            boot.stub =
                request.map(|request| Stub::Package(At { value: request, place: repository.place.clone() }));
        }
        needs_repositories(&top, &packages, kernel.as_ref(), &boot);
        state::exec_is_persisted(&top, state.as_ref());
        policy::lies_on_the_state(&top, &policy, state.as_ref());
        volume::find_room(&top, &volumes, &mounts, state.as_ref(), disk.slots);
        if boot.stub.is_none() && is_uki {
            let message = format!("`boot.stub` is missing, which `{}` needs", choice.target.name);
            let stub = choice.target.arch.efi_stub_file();
            let help = format!(
                "it comes with [[packages.repo]]; or the file {stub}, or a Debian package systemd-boot-efi that holds it"
            );
            top.report_with_help(top.place(), message, help);
        }
    }
    top.finish();

    let choice = choice?;
    let init = init.map(|path| Init { path, args: init_args });
    Some(Recipe {
        name: name?.value,
        version: rules::version(&version?).ok()?,
        targets: choice.targets.clone(),
        target: choice.target.clone(),
        profile: choice.profile,
        init: init?,
        source_date,
        hostname: hostname.map(|text| text.value),
        packages,
        sources,
        files,
        users,
        services,
        kernel: kernel?,
        boot,
        firmware,
        root,
        places_of,
        verity,
        policy,
        volumes,
        mounts,
        state,
        scripts,
        lockdown,
        disk,
    })
}

/// The package that brings systemd's EFI stub.
const STUB: &str = "systemd-boot-efi";

/// What comes from repositories needs some.
fn needs_repositories(top: &Fields<'_>, packages: &Packages, kernel: Option<&Kernel>, boot: &Boot) {
    if !packages.repositories.is_empty() {
        return;
    }
    let kernel = kernel.and_then(|kernel| match &kernel.source {
        KernelSource::Package(package) => Some(package),
        _ => None,
    });
    let stub = match &boot.stub {
        Some(Stub::Package(package)) => Some(package),
        _ => None,
    };
    for package in packages.install.first().into_iter().chain(kernel).chain(stub) {
        let message = format!("`{}` comes from a repository, and the recipe has none", package.value);
        top.report_with_help(&package.place, message, "[[packages.repo]] suite = \"trixie\"");
    }
    if packages.essential && packages.install.is_empty() {
        let message = "`packages.essential` takes packages from repositories, and the recipe has none";
        top.report_with_help(top.place(), message, "[[packages.repo]] suite = \"trixie\"");
    }
}

/// Keys that have their place elsewhere, or their time later.
fn not_here(top: &mut Fields<'_>, scope: &Scope<'_>) {
    let in_section = "cannot be said for one target or profile; it stands at the top of a recipe";
    match scope {
        Scope::Section => {
            for key in ["targets", "inherit", "target", "profile"] {
                top.misplaced(key, in_section);
            }
        }
        // Read before anything is decoded.
        Scope::File | Scope::Whole(_) => {
            let _ = top.value("targets");
        }
    }
}

fn source_date(top: &Fields<'_>, value: &Value) -> Option<u64> {
    let seconds = match &value.kind {
        Kind::Integer { value, .. } => u64::try_from(*value).map_err(|_| "it lies before 1970".to_owned()),
        Kind::Datetime(datetime) => rules::unix_seconds(datetime),
        _ => Err("write seconds since 1970, or a time such as 2026-01-31T12:00:00Z".to_owned()),
    };
    match seconds {
        Ok(seconds) => Some(seconds),
        Err(help) => {
            top.report_with_help(&value.place, "`source-date` is no point in time", help);
            None
        }
    }
}

fn verity(mut fields: Fields<'_>) -> Verity {
    let fec_roots = fields.integer("fec-roots", &(0..=24)).and_then(|roots| {
        if roots.value == 1 {
            fields.report(
                &roots.place,
                "`verity.fec-roots` is 1; it must be 2 to 24, or 0 for no error correction",
            );
        }
        u8::try_from(roots.value).ok()
    });
    let salt = fields.text_like("salt", |text| rules::hex(text).map(|_| ()));
    for key in ["data-block-size", "hash-block-size", "block-size"] {
        fields.misplaced(key, "has no choice: dm-verity blocks have 4096 bytes here");
    }
    fields.finish();
    Verity { fec_roots: fec_roots.unwrap_or(0), salt: salt.and_then(|text| rules::hex(&text).ok()) }
}

fn disk(mut fields: Fields<'_>, choice: Option<&Choice>) -> Disk {
    let slots = fields.integer("slots", &(1..=2));
    let root_size = fields.size("root-size");
    let esp_size = fields.size("esp-size");
    if let (Some(slots), Some(_)) = (&slots, choice)
        && slots.value == 2
        && root_size.is_none()
    {
        let help =
            "the next version's root must fit the same slot: say how large it may grow, such as \"512M\"";
        fields.report_with_help(&slots.place, "two slots need `disk.root-size`", help);
    }
    fields.finish();
    Disk { slots: if slots.is_some_and(|slots| slots.value == 2) { 2 } else { 1 }, root_size, esp_size }
}

impl Version {
    /// Parses `MAJOR.MINOR.REVISION`, three numbers from 0 to 65535 without leading zeros.
    pub fn parse(text: &str) -> Option<Self> {
        rules::version(text).ok()
    }
}

#[cfg(test)]
pub(crate) fn known_keys(
    tree: &Value,
) -> std::collections::BTreeMap<String, std::collections::BTreeSet<&'static str>> {
    let decoder = Decoder::new(None);
    decode(&decoder, tree, &Scope::File, None);
    decoder.known()
}
