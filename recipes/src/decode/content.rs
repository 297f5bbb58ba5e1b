//! What the root holds: packages, sources, files.

use super::rules;
use crate::fields::Fields;
use crate::paths::LocalPath;
use crate::place::{At, Place};
use crate::recipe::{Content, FileEntry, ImageChoice, Owner, Packages, Repository, Source, SourceKind};
use crate::value::{Kind, Value};
use crate::words::Metadata;
use std::collections::BTreeMap;

pub(crate) fn packages(mut fields: Fields<'_>) -> Packages {
    let mut install = fields.packages("install", rules::package);
    let remove = fields.texts("remove");
    for name in &remove {
        if let Err(expected) = rules::package_name(name) {
            let message = format!("`{}` is no package name", name.escape_debug());
            fields.report_with_help(&name.place, message, expected);
        }
    }
    install.retain(|request| !remove.iter().any(|name| name.value == request.name));
    let essential = fields.boolean("essential").unwrap_or(false);
    let repositories = fields.tables("repo").into_iter().filter_map(repository).collect();
    let local = fields.patterns("local");
    let accept_scripts = fields.reasons("accept-scripts", |package| {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
        match package.len() >= 2 && package.bytes().all(plain) {
            true => Ok(package.to_owned()),
            false => Err("the name of a Debian package, such as `busybox-static`".to_owned()),
        }
    });
    fields.finish();
    Packages { install, remove, essential, repositories, local, accept_scripts }
}

fn repository(mut fields: Fields<'_>) -> Option<Repository> {
    let place = fields.place().clone();
    let suite = fields.text_like("suite", rules::suite);
    let url = fields.text_like("url", rules::repository_url);
    let mut components = fields.texts("components");
    let architectures = fields.texts("architectures");
    for (words, what) in [(&components, "component"), (&architectures, "architecture")] {
        for word in words.iter().filter(|word| rules::repository_word(word).is_err()) {
            fields.report(&word.place, format!("`{}` is no {what} of a repository", word.escape_debug()));
        }
    }
    let keyring = fields.local_path("keyring");
    let priority = fields.integer("priority", &(1..=10_000));
    if !fields.has("suite") {
        fields.report_with_help(&place, "this repository has no `suite`", "such as suite = \"trixie\"");
    }
    if let (Some(url), None) = (&url, &keyring)
        && !fields.has("keyring")
        && !rules::is_debians(url)
    {
        let help = "the file with the public keys that its owner signs with: keyring = \"owner.pgp\"";
        fields.report_with_help(&url.place, "a repository that is not Debian's needs a `keyring`", help);
    }
    fields.finish();
    if components.is_empty() {
        components.push(crate::At { value: "main".to_owned(), place: place.clone() });
    }
    let plain = |words: Vec<crate::At<String>>| words.into_iter().map(|word| word.value).collect();
    Some(Repository {
        suite: suite?.value,
        url: url.map(|url| url.trim_end_matches('/').to_owned()),
        components: plain(components),
        keyring,
        priority: priority.and_then(|priority| i32::try_from(priority.value).ok()),
        architectures: plain(architectures),
        place,
    })
}

/// What a source can be; each is only one.
const SOURCES: [&str; 5] = ["tar", "dir", "oci", "oci-layout", "oci-archive"];

pub(crate) fn source(mut fields: Fields<'_>) -> Option<Source> {
    let place = fields.place().clone();
    let tar = fields.local_path("tar");
    let dir = fields.local_path("dir");
    let oci = fields.text_like("oci", |text| rules::image(text).map(|_| ()));
    let layout = fields.local_path("oci-layout");
    let archive = fields.local_path("oci-archive");
    let sha256 = fields.text_like("sha256", |text| match rules::hex(text) {
        Ok(bytes) if bytes.len() == 32 => Ok(()),
        _ => Err("64 hexadecimal digits, as sha256sum prints them".to_owned()),
    });
    let name = fields.text_like("ref", rules::layout_name);
    let digest = fields.text_like("digest", |text| rules::image_digest(text).map(|_| ()));
    let plain_http = fields.boolean("plain-http");
    let at = fields.text_like("at", rules::image_path);
    let metadata = fields.word::<Metadata>("metadata").map(|word| word.value);

    let chosen: Vec<&str> = SOURCES.into_iter().filter(|key| fields.has(key)).collect();
    match chosen[..] {
        [_] => {}
        [] => fields.report(&place, format!("this source is none of these: {}", SOURCES.join(", "))),
        _ => fields.report(
            &place,
            format!("a source is only one of these: {}; write [[source]] once for each", chosen.join(", ")),
        ),
    }
    let is_one_of = |keys: &[&str]| chosen.iter().all(|key| keys.contains(key));
    if let Some(sha256) = sha256.as_ref().filter(|_| !is_one_of(&["tar", "oci-archive"])) {
        let help = "an image of a registry is pinned by name@sha256:…, one of a layout by digest";
        fields.report_with_help(&sha256.place, "`sha256` is for archives", help);
    }
    for word in name.iter().chain(&digest).filter(|_| !is_one_of(&["oci-layout", "oci-archive"])) {
        fields.report(&word.place, "`ref` and `digest` say which image of an `oci-layout` or `oci-archive`");
    }
    if let (Some(_), Some(digest)) = (&name, &digest) {
        fields.report(&digest.place, "`ref` and `digest` both say which image; leave one out");
    }
    if plain_http.is_some() && !is_one_of(&["oci"]) {
        fields.report(&place, "`plain-http` is for images of a registry");
    }
    fields.finish();

    let [_] = chosen[..] else { return None };
    let sha256 = sha256.and_then(|text| {
        let bytes = <[u8; 32]>::try_from(rules::hex(&text).ok()?).ok()?;
        Some(At { value: bytes, place: text.place })
    });
    let image = match (name, digest) {
        (Some(name), _) => ImageChoice::Named(name.value),
        (None, Some(digest)) => ImageChoice::Digest(rules::image_digest(&digest).ok()?),
        (None, None) => ImageChoice::Only,
    };
    let kind = match (tar, dir, oci, layout, archive) {
        (Some(path), ..) => SourceKind::Tar { path, sha256 },
        (_, Some(path), ..) => SourceKind::Dir { path },
        (_, _, Some(text), ..) => {
            let image = At { value: rules::image(&text).ok()?, place: text.place };
            SourceKind::Oci { image, plain_http }
        }
        (_, _, _, Some(path), _) => SourceKind::OciLayout { path, image },
        (_, _, _, _, Some(path)) => SourceKind::OciArchive { path, sha256, image },
        _ => return None,
    };
    let default = match kind {
        SourceKind::Dir { .. } => Metadata::Normalised,
        _ => Metadata::Keep,
    };
    let at = at.map_or_else(|| "/".to_owned(), |at| at.value);
    Some(Source { place, kind, at, metadata: metadata.unwrap_or(default) })
}

pub(crate) fn files(top: &mut Fields<'_>) -> BTreeMap<String, FileEntry> {
    let mut files = BTreeMap::new();
    for (path, entry) in top.entries("files") {
        if let Err(expected) = rules::image_path(path) {
            let message = format!("`{}` is no path for a file", path.escape_debug());
            top.report_with_help(&entry.key, message, expected);
        } else if path == "/" {
            top.report(&entry.key, "`/` is always there");
        }
        let file = match &entry.value.kind {
            Kind::Table(table) => file_entry(top.entry_table("files", table, &entry.value.place), &entry.key),
            _ => plain_file(top, path, &entry.value, &entry.key),
        };
        files.extend(file.map(|file| (path.to_owned(), file)));
    }
    files
}

/// `"/path" = "file"`
fn plain_file(top: &Fields<'_>, path: &str, value: &Value, key: &Place) -> Option<FileEntry> {
    let source = match value.kind {
        Kind::Text(_) => top.entry_path(&format!("the source of `{path}`"), value),
        _ => {
            let message = format!("`{path}` must be a file name or a table, not {}", value.kind_name());
            top.report_with_help(
                &value.place,
                message,
                "such as \"files/motd\" or { text = \"hello\\n\", mode = 0o644 }",
            );
            None
        }
    };
    let content = Content::File(source?);
    Some(FileEntry { place: key.clone(), content, mode: None, owner: Owner::default() })
}

/// `"/path" = { … }`
fn file_entry(mut fields: Fields<'_>, key: &Place) -> Option<FileEntry> {
    let source = fields.local_path("source");
    let text = fields.text("text");
    let symlink = fields.text_like("symlink", |target| match target {
        "" => Err("the path that the link holds".to_owned()),
        _ if target.len() > 4095 || target.contains('\0') => {
            Err("at most 4095 bytes, none of them NUL".to_owned())
        }
        _ => Ok(()),
    });
    let directory = fields.boolean("directory");
    let mode = fields.mode("mode");
    let owner = fields.text_like("owner", |text| {
        owner(text).map(|_| ()).ok_or_else(|| {
            "numbers of user and group, such as \"0:0\"; the image's names are not known here".to_owned()
        })
    });

    let choices = ["source", "text", "symlink", "directory"];
    let chosen: Vec<&str> = choices.into_iter().filter(|key| fields.has(key)).collect();
    match chosen[..] {
        [_] => {}
        [] => fields.report(key, "this entry says nothing of what it is: source, text, symlink or directory"),
        _ => fields.report(key, format!("an entry is only one of these: {}", chosen.join(", "))),
    }
    if fields.has("symlink") && fields.has("mode") {
        fields.report(key, "a symbolic link has no mode");
    }
    if directory == Some(false) {
        fields.report(key, "`directory` is true or not there");
    }
    fields.finish();

    let content = content_of(source, text.map(|text| text.value), symlink.map(|link| link.value), directory)?;
    let owner = owner.and_then(|text| self::owner(&text)).unwrap_or_default();
    Some(FileEntry { place: key.clone(), content, mode, owner })
}

fn content_of(
    source: Option<LocalPath>,
    text: Option<String>,
    symlink: Option<String>,
    directory: Option<bool>,
) -> Option<Content> {
    source
        .map(Content::File)
        .or(text.map(Content::Text))
        .or(symlink.map(Content::Symlink))
        .or(directory.map(|_| Content::Directory))
}

fn owner(text: &str) -> Option<Owner> {
    let (uid, gid) = text.split_once(':')?;
    // The last number means "no change" to chown.
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().filter(|id: &u32| *id != u32::MAX)
    };
    Some(Owner { uid: number(uid)?, gid: number(gid)? })
}
