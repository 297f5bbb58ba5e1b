//! Images of the tests' own, in a layout folder.

use std::collections::BTreeMap;
use std::path::Path;

use graven_image::tree::{Kind, Metadata, Tree};
use graven_sources::oci::{Error, Image, Layout, Platform, Which, read};
use graven_sources::{Limits, Spool};
use serde_json::{Value, json};
use sha2::Digest as _;

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

pub(crate) fn sha256(bytes: &[u8]) -> String {
    sha2::Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One member of a layer: a path and what is there.
pub(crate) enum Member {
    File(&'static str, &'static str),
    Directory(&'static str, u32),
    Link(&'static str, &'static str),
    HardLink(&'static str, &'static str),
}

pub(crate) use Member::{Directory, File, HardLink, Link};

/// A whiteout, or any empty file.
pub(crate) fn gone(path: &'static str) -> Member {
    File(path, "")
}

pub(crate) fn archive(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_ustar();
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(0o644);
        let (path, kind, link, body) = match member {
            File(path, body) => (path, tar::EntryType::Regular, "", *body),
            Directory(path, mode) => {
                header.set_mode(*mode);
                (path, tar::EntryType::Directory, "", "")
            }
            Link(path, to) => (path, tar::EntryType::Symlink, *to, ""),
            HardLink(path, to) => (path, tar::EntryType::Link, *to, ""),
        };
        // The library refuses what a hostile layer has, so that the fields are filled by hand.
        let old = header.as_old_mut();
        old.name[..path.len()].copy_from_slice(path.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(body.len() as u64);
        header.set_cksum();
        builder.append(&header, body.as_bytes()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// An image in the making: blobs by digest.
#[derive(Default, Clone)]
pub(crate) struct Maker {
    pub(crate) blobs: BTreeMap<String, Vec<u8>>,
}

impl Maker {
    /// Takes a blob in; its descriptor.
    pub(crate) fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = sha256(&bytes);
        let descriptor =
            json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()});
        self.blobs.insert(digest, bytes);
        descriptor
    }

    pub(crate) fn document(&mut self, media_type: &str, document: &Value) -> Value {
        self.blob(media_type, document.to_string().into_bytes())
    }

    /// A layer and its place in the configuration.
    pub(crate) fn layer(&mut self, members: &[Member], compression: &str) -> (Value, String) {
        let plain = archive(members);
        let diff_id = format!("sha256:{}", sha256(&plain));
        let (media_type, bytes) = match compression {
            "gzip" => {
                use std::io::Write;
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(&plain).unwrap();
                (format!("{LAYER}+gzip"), encoder.finish().unwrap())
            }
            "zstd" => (format!("{LAYER}+zstd"), zstd::encode_all(&*plain, 3).unwrap()),
            _ => (LAYER.to_owned(), plain),
        };
        (self.blob(&media_type, bytes), diff_id)
    }

    /// An image of these layers; the descriptor of its manifest.
    pub(crate) fn image(&mut self, layers: Vec<(Value, String)>, architecture: &str) -> Value {
        let (layers, diff_ids): (Vec<Value>, Vec<String>) = layers.into_iter().unzip();
        let config = json!({
            "architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "config": {"Labels": {"org.opencontainers.image.title": "label", "org.opencontainers.image.version": "1", "x": "y"}},
        });
        let config = self.document(CONFIG, &config);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers,
            "annotations": {"org.opencontainers.image.title": "annotation"},
        });
        self.document(MANIFEST, &manifest)
    }

    /// Writes a layout whose `index.json` names these.
    pub(crate) fn layout(&self, folder: &Path, images: &[Value]) {
        let blobs = folder.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        for (digest, bytes) in &self.blobs {
            std::fs::write(blobs.join(digest), bytes).unwrap();
        }
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
        let index = json!({"schemaVersion": 2, "manifests": images});
        std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    }
}

/// Reads the image of a layout for amd64.
pub(crate) fn read_layout(folder: &Path, which: &Which, limits: &Limits) -> Result<Image, Error> {
    let layout = Layout::folder(folder)?;
    let (top, said) = layout.find(which)?;
    let spool = Spool::new(folder).unwrap();
    read("image", &layout, &top, said.as_deref(), &Platform::linux("amd64"), &spool, limits)
}

/// An image of these layers, read; plain, gzip and zstd give the same.
pub(crate) fn unpacked(layers: &[&[Member]]) -> Result<Vec<String>, String> {
    let one = |compression: &str| {
        let folder = tempfile::tempdir().unwrap();
        let mut maker = Maker::default();
        let layers = layers.iter().map(|members| maker.layer(members, compression)).collect();
        let image = maker.image(layers, "amd64");
        maker.layout(folder.path(), &[image]);
        let image = read_layout(folder.path(), &Which::Only, &Limits::default());
        image.map(|image| listed(image.layer)).map_err(|error| without_digests(&error.to_string()))
    };
    let plain = one("");
    assert_eq!(plain, one("gzip"));
    assert_eq!(plain, one("zstd"));
    plain
}

/// Digests differ between compressions, and say nothing to a reader of a test.
pub(crate) fn without_digests(text: &str) -> String {
    let mut words: Vec<String> = text.split("sha256:").map(str::to_owned).collect();
    for word in words.iter_mut().skip(1) {
        word.replace_range(..64.min(word.len()), "…");
    }
    words.join("sha256:")
}

/// What a layer makes of an empty tree, a line for each name.
pub(crate) fn listed(layer: graven_sources::Layer) -> Vec<String> {
    let mut tree = Tree::new(Metadata { mode: 0o755, ..Metadata::default() });
    layer.apply(&mut tree).unwrap();
    let mut first = BTreeMap::new();
    let lines = tree.walk().skip(1).map(|entry| {
        let path = String::from_utf8(entry.path.clone()).unwrap();
        if tree.links(entry.id) > 1
            && let Some(first) = first.insert(entry.id, path.clone())
        {
            return format!("{path} = {first}");
        }
        match &entry.inode.kind {
            Kind::Directory(_) => format!("{path}/ {:o}", entry.inode.metadata.mode),
            Kind::Symlink(to) => format!("{path} -> {}", String::from_utf8_lossy(to)),
            Kind::File(content) => {
                let mut bytes = vec![0; usize::try_from(content.len).unwrap()];
                content.read_exact_at(&mut bytes, 0).unwrap();
                format!("{path}: {}", String::from_utf8_lossy(&bytes))
            }
            other => format!("{path} {}", other.noun()),
        }
    });
    lines.collect()
}
