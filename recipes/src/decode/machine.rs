//! What boots and how it is locked: kernel, boot artefact, mounts, lockdown.

use super::{Choice, rules};
use crate::fields::{Fields, one_of};
use crate::place::{At, Place};
use crate::recipe::{Boot, Firmware, Kernel, KernelSource, Lockdown, Modules, Mount, Stub};
use crate::value::Kind;
use crate::words::{MountContents, MountType, Relaxation, Word};
use graven_targets::{BootChain, ModuleName};
use std::collections::BTreeMap;

pub(crate) fn kernel(mut fields: Fields<'_>, choice: Option<&Choice>) -> Option<Kernel> {
    let local = fields.patterns("local");
    let vmlinuz = fields.local_path("vmlinuz");
    let config = fields.local_path("config");
    let modules_dir = fields.local_path("modules-dir");
    let modules = modules(&mut fields);
    let command_line = fields.texts("command-line");
    for word in &command_line {
        if let Err(expected) = rules::command_line_word(word) {
            let message = format!("`{}` cannot be added to the command line", word.escape_debug());
            fields.report_with_help(&word.place, message, expected);
        }
    }
    let accept = fields.reasons("accept", objection);
    let package = fields.package("package", rules::package_pattern);
    fields
        .misplaced("files", "is no key: name the kernel's files with `vmlinuz`, `config` and `modules-dir`");

    let files =
        ["vmlinuz", "config", "modules-dir"].into_iter().filter(|key| fields.has(key)).collect::<Vec<_>>();
    if fields.has("package") {
        if fields.has("local") || !files.is_empty() {
            let message = "a kernel comes either from a `package` of the repositories, from `local` packages, or from files";
            fields.report(fields.place(), message);
        }
        fields.finish();
        return Some(Kernel { source: KernelSource::Package(package?), modules, command_line, accept });
    }
    let source = match (fields.has("local"), files.is_empty()) {
        (true, true) => {
            if local.is_empty() && choice.is_some() {
                fields.report(fields.place(), "`kernel.local` names no package");
            }
            Some(KernelSource::Packages(local))
        }
        (true, false) => {
            let message =
                format!("a kernel comes either from `local` packages or from files ({})", files.join(", "));
            let place =
                vmlinuz.or(config).or(modules_dir).map_or_else(|| fields.place().clone(), |file| file.place);
            fields.report(&place, message);
            None
        }
        (false, false) => {
            for (key, missing) in [("vmlinuz", vmlinuz.is_none()), ("config", config.is_none())] {
                if missing && !fields.has(key) && choice.is_some() {
                    fields.report(
                        fields.place(),
                        format!("`kernel.{key}` is missing beside `{}`", files.join("`, `")),
                    );
                }
            }
            vmlinuz.zip(config).map(|(vmlinuz, config)| KernelSource::Files { vmlinuz, config, modules_dir })
        }
        (false, true) => {
            if choice.is_some() {
                let help = "[kernel] package = \"linux-binary-7.3*-{arch}\", or local = [\"linux-binary-*.deb\", \
                    \"linux-modules-*.deb\"], or vmlinuz and config";
                fields.report_with_help(fields.place(), "no kernel: `kernel.package` is missing", help);
            }
            None
        }
    };
    fields.finish();
    Some(Kernel { source: source?, modules, command_line, accept })
}

/// The name of an objection to kernel, firmware or policy; which there are, the builder knows.
pub(super) fn objection(name: &str) -> Result<String, String> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    match !name.is_empty() && name.bytes().all(plain) {
        true => Ok(name.to_owned()),
        false => Err("the name of an objection as the builder prints it, of a-z 0-9 -".to_owned()),
    }
}

/// `"all"`, or an array of names.
fn modules(fields: &mut Fields<'_>) -> Modules {
    if let Some(value) = fields.value("modules")
        && let Kind::Text(text) = &value.kind
    {
        if text != "all" {
            let help = "\"all\", or an array of module names";
            fields.report_with_help(
                &value.place,
                format!("`kernel.modules` is `{}`", text.escape_debug()),
                help,
            );
        }
        return Modules::All;
    }
    let mut listed = Vec::new();
    for name in fields.texts("modules") {
        match ModuleName::parse(&name) {
            Some(module) => listed.push(At { value: module, place: name.place }),
            None => {
                let message = format!("`{}` is no kernel module name", name.escape_debug());
                fields.report_with_help(&name.place, message, "write it without folder and .ko");
            }
        }
    }
    Modules::Listed(listed)
}

pub(crate) fn boot(mut fields: Fields<'_>) -> Boot {
    let boot = Boot {
        stub: stub(&mut fields),
        device_trees: fields.patterns("device-trees"),
        secure_boot: fields.word("secure-boot").map(|word| word.value).unwrap_or_default(),
        on_failure: fields.word("on-failure").map(|word| word.value).unwrap_or_default(),
    };
    fields.finish();
    boot
}

/// A file by its ending, else a package.
fn stub(fields: &mut Fields<'_>) -> Option<Stub> {
    let is_file = |text: &str| [".efi", ".stub", ".deb"].iter().any(|ending| text.ends_with(ending));
    match fields.value("stub").map(|value| &value.kind) {
        Some(Kind::Text(text)) if !is_file(text) => fields.package("stub", rules::package).map(Stub::Package),
        _ => fields.pattern("stub").map(Stub::File),
    }
}

/// A file for each blob of the target, and none for what it has not.
pub(crate) fn firmware(mut fields: Fields<'_>, choice: Option<&Choice>) -> Firmware {
    let mut blobs = BTreeMap::new();
    for (name, entry) in fields.entries("blobs") {
        if let Some(choice) = choice {
            let known: Vec<&str> = choice.target.disk.blobs.iter().map(|blob| blob.name.as_str()).collect();
            if !known.contains(&name) {
                let message =
                    format!("target `{}` has no blob `{}`", choice.target.name, name.escape_debug());
                let help = match known.is_empty() {
                    true => {
                        "its disk carries no firmware; say it below [target.NAME] of the one that it is for"
                            .to_owned()
                    }
                    false => one_of(name, &known),
                };
                fields.report_with_help(&entry.key, message, help);
            }
        }
        if let Some(path) = fields.entry_path(&format!("the file of blob `{name}`"), &entry.value) {
            blobs.insert(name.to_owned(), path);
        }
    }
    for target in choice.iter().map(|choice| &choice.target) {
        for blob in target.disk.blobs.iter().filter(|blob| !blobs.contains_key(&blob.name)) {
            let message = format!("`firmware.blobs.{}` is missing, which `{}` needs", blob.name, target.name);
            let help = format!(
                "the file that goes to byte {} of the disk; where a board's firmware lies elsewhere, a board file of its \
                 own says inherit = \"{}\" and disk.blobs = []",
                blob.offset, target.name
            );
            fields.report_with_help(fields.place(), message, help);
        }
    }
    let u_boot = fields.local_path("u-boot");
    let accept = fields.reasons("accept", objection);
    let uki = choice.map(|choice| &choice.target).filter(|target| target.boot_chain == BootChain::Uki);
    for (key, given) in [("u-boot", u_boot.is_some()), ("accept", !accept.is_empty())] {
        if let Some(target) = uki.filter(|_| given) {
            let message = format!("`firmware.{key}` is for FIT targets: a UEFI starts `{}`", target.name);
            let help = "say it below [target.NAME] of the one that it is for";
            fields.report_with_help(fields.place(), message, help);
        }
    }
    fields.finish();
    Firmware { blobs, u_boot, accept }
}

pub(crate) fn lockdown(mut fields: Fields<'_>) -> Lockdown {
    let relax = fields
        .reasons("relax", |name| Relaxation::parse(name).ok_or_else(|| one_of(name, Relaxation::WORDS)));
    if let Some(idle) = relax.get(&Relaxation::ModuleAutoload)
        && relax.contains_key(&Relaxation::Usermodehelper)
    {
        let message =
            "`lockdown.relax.module-autoload` gives nothing that `usermodehelper` does not give already";
        fields.report_with_help(&idle.place, message, "take one of the two lines out");
    }
    let exec_securebits = fields.boolean("exec-securebits").unwrap_or(false);
    fields.finish();
    Lockdown { relax, exec_securebits }
}

pub(crate) fn mounts(top: &mut Fields<'_>) -> Vec<Mount> {
    let mut targets: BTreeMap<String, Place> = BTreeMap::new();
    let mut mounts = Vec::new();
    for fields in top.tables("mount") {
        let Some(mount) = mount(fields) else { continue };
        if let Some(first) = targets.insert(mount.target.value.clone(), mount.target.place.clone()) {
            let message = format!("`{}` is mounted twice", mount.target.value);
            top.report_with_help(&mount.target.place, message, format!("first at {first}"));
        }
        mounts.push(mount);
    }
    mounts
}

fn mount(mut fields: Fields<'_>) -> Option<Mount> {
    let place = fields.place().clone();
    let target = fields.text_like("target", |path| match path {
        "/" => Err("the root itself is mounted read-only, always".to_owned()),
        _ => rules::image_path(path),
    });
    let fs_type = fields.word::<MountType>("type");
    let size = fields.size("size");
    let mode = fields.mode("mode");
    let contents = fields.word::<MountContents>("contents");
    let options = fields.texts("options");
    let mut allow = fields.table("allow");
    let (exec, suid, dev) = (allow.reason("exec"), allow.reason("suid"), allow.reason("dev"));
    allow.finish();

    for key in ["target", "type"] {
        if !fields.has(key) {
            fields.report(&place, format!("this mount has no `{key}`"));
        }
    }
    if let Some(fs_type) = &fs_type
        && fs_type.value != MountType::Tmpfs
    {
        for key in ["size", "mode", "contents"] {
            if fields.has(key) {
                fields.report(&place, format!("`{key}` is for tmpfs, not for {}", fs_type.value));
            }
        }
    }
    for option in &options {
        if let Err(expected) = mount_option(option) {
            let message = format!("`{}` is no mount option to add", option.escape_debug());
            fields.report_with_help(&option.place, message, expected);
        }
    }
    fields.finish();

    let options = options.into_iter().map(|option| option.value).collect();
    Some(Mount {
        target: target?,
        fs_type: fs_type?.value,
        size: size.map(|size| size.value),
        mode,
        contents: contents.map(|word| word.value).unwrap_or_default(),
        options,
        exec,
        suid,
        dev,
    })
}

fn mount_option(option: &str) -> Result<(), String> {
    if option.is_empty() || !option.bytes().all(|b| b.is_ascii_graphic() && b != b',' && b != b'"') {
        return Err("one option a string, without commas and blanks".to_owned());
    }
    match option.split('=').next().unwrap_or_default() {
        "exec" | "suid" | "dev" => Err(format!("say it with a reason: allow.{option} = \"…\"")),
        "noexec" | "nosuid" | "nodev" | "defaults" => {
            Err("noexec, nosuid and nodev hold unless allowed".to_owned())
        }
        "size" | "mode" => Err("say it with the key of that name".to_owned()),
        "bind" | "rbind" | "move" | "remount" => Err("only new file systems are mounted here".to_owned()),
        _ => Ok(()),
    }
}
