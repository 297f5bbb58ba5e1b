//! The EFI system partition: a boot artefact, and nothing that nobody explains.

use graven_image::fat::{Entry, EntryKind, Reader};

use super::{explain, shown};
use crate::layout::{Layout, window};
use crate::manifest::Manifest;
use crate::prove::Disk;
use crate::report::Report;

/// Bytes that a boot artefact may have: it is read into memory.
pub(crate) const MOST_BOOT_BYTES: u32 = 1 << 30;

/// Reads the file system, judges every name on it, and hands on the boot artefact.
pub(crate) fn esp(
    disk: &Disk,
    layout: &Layout,
    manifest: Option<&Manifest>,
    report: &mut Report,
) -> Option<Vec<u8>> {
    const LINK: &str = "esp";
    let reader = match Reader::open(window(disk, &layout.esp)) {
        Ok(reader) => reader,
        Err(error) => {
            report.bad(LINK, explain(&error));
            return None;
        }
    };
    let boot_path = layout.boot_path(layout.boot_chain(&reader));
    let listed: Vec<String> = manifest
        .iter()
        .flat_map(|manifest| &manifest.esp)
        .map(|file| file.path.trim_start_matches('/').to_owned())
        .collect();
    let mut problems: Vec<String> =
        reader.entries().iter().filter_map(|entry| unexplained(entry, &boot_path, &listed)).collect();
    for path in &listed {
        if reader.find(path).is_none() {
            problems.push(format!("{}: the manifest lists it, and it is not there", shown(path)));
        }
    }
    let mut artefact = None;
    match reader.find(&boot_path).filter(|entry| entry.kind == EntryKind::File) {
        None => problems.push(format!("{boot_path}: there is no such file, so firmware starts nothing")),
        Some(entry) if entry.size > MOST_BOOT_BYTES => {
            problems.push(format!("{boot_path}: {} bytes, expected at most {MOST_BOOT_BYTES}", entry.size));
        }
        Some(entry) => match reader.read(entry) {
            Ok(bytes) => artefact = Some(bytes),
            Err(error) => problems.push(explain(&error)),
        },
    }
    let files = reader.entries().iter().filter(|entry| entry.kind == EntryKind::File).count();
    let are =
        if files == 1 { "the only file".to_owned() } else { format!("one of {files} files, all explained") };
    report.judge(LINK, &problems, format!("{boot_path} is {are}"));
    artefact
}

/// Why an entry may not be there. What can run or change how something runs may not, whatever a manifest says.
fn unexplained(entry: &Entry, boot_path: &str, listed: &[String]) -> Option<String> {
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let holds = |file: &str| {
        file.get(..entry.path.len()).is_some_and(|head| same(head, &entry.path))
            && file.get(entry.path.len()..).is_some_and(|rest| rest.starts_with('/'))
    };
    if same(&entry.path, boot_path) && entry.kind == EntryKind::File {
        return None;
    }
    let path = entry.path.to_ascii_lowercase();
    if entry.kind == EntryKind::Folder {
        let explained = holds(boot_path) || listed.iter().any(|file| holds(file));
        let why = match path.as_str() {
            "loader/addons" => "the stub takes addons from this folder",
            "loader/keys" => "a boot loader enrols keys from this folder",
            _ if path.ends_with(".extra.d") => {
                "the stub takes addons, credentials and extensions from this folder"
            }
            _ => "nothing explains this folder",
        };
        return (!explained || path.ends_with(".extra.d")).then(|| format!("{}: {why}", shown(&entry.path)));
    }
    let why = if path.ends_with(".addon.efi") {
        "a UKI addon: signed by any key in db, it adds to the command line"
    } else if path.ends_with(".efi") {
        "an EFI program that firmware can start instead of the boot artefact"
    } else if path.ends_with(".cred") {
        "a credential, which the stub hands to the initramfs"
    } else if path.ends_with(".raw") || path.ends_with(".sysext") || path.ends_with(".confext") {
        "a system extension, which the stub hands to the initramfs"
    } else if path.ends_with(".auth") || path.ends_with(".esl") || path.starts_with("loader/keys/") {
        "an enrolment file: a boot loader would put its keys into db"
    } else if listed.iter().any(|file| same(file, &entry.path)) {
        return None;
    } else {
        "nothing explains this file"
    };
    Some(format!("{}: {why}", shown(&entry.path)))
}
