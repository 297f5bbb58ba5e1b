//! Documents and blobs that are not what they are named as.

use std::path::Path;

use graven_sources::Limits;
use graven_sources::oci::{Error, Which};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::maker::{CONFIG, Directory, File, INDEX, MANIFEST, Maker, listed, read_layout, without_digests};

fn one_layer(maker: &mut Maker, text: &'static str, compression: &str) -> (Value, String) {
    maker.layer(&[Directory("etc", 0o755), File("etc/motd", text)], compression)
}

fn sound(maker: &mut Maker, text: &'static str, architecture: &str) -> Value {
    let layer = one_layer(maker, text, "gzip");
    maker.image(vec![layer], architecture)
}

fn for_platform(mut descriptor: Value, architecture: &str, variant: Option<&str>) -> Value {
    descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
    if let Some(variant) = variant {
        descriptor["platform"]["variant"] = json!(variant);
    }
    descriptor
}

fn named(mut descriptor: Value, name: &str) -> Value {
    descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
    descriptor
}

fn read(maker: &Maker, images: &[Value], which: &Which) -> Result<Vec<String>, Error> {
    let folder = tempfile::tempdir().unwrap();
    maker.layout(folder.path(), images);
    read_layout(folder.path(), which, &Limits::default()).map(|image| listed(image.layer))
}

fn refused(maker: &Maker, image: &Value) -> String {
    without_digests(&read(maker, std::slice::from_ref(image), &Which::Only).unwrap_err().to_string())
}

#[test]
fn what_an_image_says_of_itself_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    let image = sound(&mut maker, "hi", "amd64");
    maker.layout(folder.path(), std::slice::from_ref(&image));
    let read = read_layout(folder.path(), &Which::Only, &Limits::default()).unwrap();
    assert_eq!(format!("sha256:{}", read.facts.manifest), image["digest"]);
    assert_eq!(read.layer.sha256, Some(read.facts.manifest));
    let says: Vec<_> = read.facts.says.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(says, ["title=annotation", "version=1"]);
    let origins: Vec<_> = read
        .layer
        .entries()
        .iter()
        .map(|entry| match &entry.item {
            graven_sources::Item::Inode(inode) => inode.origin.as_deref().unwrap_or_default().to_owned(),
            graven_sources::Item::HardLink(_) => String::new(),
        })
        .collect();
    assert_eq!(origins, ["oci:image", "oci:image"]);
}

#[test]
fn the_platform_is_found_below_nested_indexes() {
    let mut maker = Maker::default();
    let amd64 = sound(&mut maker, "amd64", "amd64");
    let arm64 = sound(&mut maker, "arm64", "arm64");
    let attestation = for_platform(sound(&mut maker, "no", "unknown"), "unknown", None);
    let fast = for_platform(sound(&mut maker, "fast", "amd64"), "amd64", Some("v3"));
    let inner = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        attestation, for_platform(arm64, "arm64", Some("v8")), fast, for_platform(amd64, "amd64", None)]});
    let inner = maker.document(INDEX, &inner);
    let outer = json!({"schemaVersion": 2, "manifests": [inner]});
    let outer = maker.document(INDEX, &outer);
    assert_eq!(read(&maker, &[outer], &Which::Only).unwrap(), ["/etc/ 755", "/etc/motd: amd64"]);
}

#[test]
fn an_image_for_other_machines_is_refused_with_what_there_is() {
    let mut maker = Maker::default();
    let arm64 = sound(&mut maker, "arm64", "arm64");
    let alone = read(&maker, std::slice::from_ref(&arm64), &Which::Only).unwrap_err();
    assert!(alone.is_usage(), "{alone}");
    assert_eq!(alone.to_string(), "image: there is none for linux/amd64; it has linux/arm64");
    let index = json!({"schemaVersion": 2, "manifests": [for_platform(arm64, "arm64", Some("v8"))]});
    let index = maker.document(INDEX, &index);
    assert_eq!(refused(&maker, &index), "image: there is none for linux/amd64; it has linux/arm64/v8");
}

#[test]
fn one_of_several_is_chosen_by_name_or_digest() {
    let mut maker = Maker::default();
    let (one, two) = (sound(&mut maker, "one", "amd64"), sound(&mut maker, "two", "amd64"));
    let digest = two["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap().parse().unwrap();
    let images = [named(one, "one"), named(two.clone(), "two")];
    let motd = |which| read(&maker, &images, &which).map(|lines| lines.last().cloned().unwrap());
    assert_eq!(motd(Which::Named("one".into())).unwrap(), "/etc/motd: one");
    assert_eq!(motd(Which::Digest(digest)).unwrap(), "/etc/motd: two");
    let error = motd(Which::Only).unwrap_err();
    assert!(
        error.is_usage() && error.to_string().contains("say which by ref or digest; it has one (sha256:"),
        "{error}"
    );
    let error = motd(Which::Named("three".into())).unwrap_err();
    assert!(error.is_usage() && error.to_string().contains("no image is named `three`"), "{error}");
    // What an index names can be meant by its digest, though index.json does not.
    let index = json!({"schemaVersion": 2, "manifests": [for_platform(two, "amd64", None)]});
    let index = maker.document(INDEX, &index);
    assert_eq!(read(&maker, &[index], &Which::Digest(digest)).unwrap().last().unwrap(), "/etc/motd: two");
}

/// Every blob of an image, changed in each of three ways.
#[test]
fn no_blob_is_taken_for_another() {
    let mut maker = Maker::default();
    let image = sound(&mut maker, "hi", "amd64");
    let digests: Vec<String> = maker.blobs.keys().cloned().collect();
    assert_eq!(digests.len(), 3);
    for digest in digests {
        let change = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut maker = maker.clone();
            change(maker.blobs.get_mut(&digest).unwrap());
            let error = read(&maker, std::slice::from_ref(&image), &Which::Only).unwrap_err();
            assert!(!error.is_usage() && !error.is_environment(), "{error}");
            without_digests(&error.to_string())
        };
        let flipped = change(&|bytes| bytes[10] ^= 1);
        assert!(flipped.contains("its SHA-256 is "), "{flipped}");
        let short = change(&|bytes| {
            bytes.pop();
        });
        assert!(short.contains("bytes, expected are"), "{short}");
        let long = change(&|bytes| bytes.push(b'\n'));
        assert!(long.contains("bytes, expected are"), "{long}");
        let mut maker = maker.clone();
        maker.blobs.remove(&digest);
        assert!(refused(&maker, &image).ends_with("the image names it, but it is not there"));
    }
}

/// What is done to a manifest and a configuration.
type Change = dyn Fn(&mut Maker, &mut Value, &mut Value);

/// An image whose manifest or configuration was changed, digests and all.
fn remade(change: impl Fn(&mut Maker, &mut Value, &mut Value)) -> String {
    let mut maker = Maker::default();
    let (layer, diff_id) = one_layer(&mut maker, "hi", "gzip");
    let mut config =
        json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
    let mut manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [layer]});
    let placeholder = json!({"mediaType": CONFIG});
    manifest["config"] = placeholder.clone();
    change(&mut maker, &mut manifest, &mut config);
    if manifest["config"] == placeholder {
        manifest["config"] = maker.document(CONFIG, &config);
    }
    let kind = manifest["said"].take().as_str().unwrap_or(MANIFEST).to_owned();
    let image = maker.document(&kind, &manifest);
    refused(&maker, &image)
}

#[test]
fn documents_that_lie_or_are_not_understood_are_refused() {
    let at = |text: &str| text.strip_prefix("image: `sha256:…`: ").unwrap_or(text).to_owned();
    let layer = |kind: &'static str| {
        at(&remade(move |_, manifest, _| manifest["layers"][0]["mediaType"] = json!(kind)))
    };
    assert_eq!(
        layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"),
        "a layer of type `application/vnd.docker.image.rootfs.foreign.diff.tar.gzip` is not supported; its files are not in \
         the image, but at an address that nobody vouches for: take another image"
    );
    assert!(layer("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip").contains("nobody vouches"));
    assert_eq!(
        layer("application/x-brotli"),
        "a layer of type `application/x-brotli` is not supported; push the image with plain tar, gzip or zstd layers"
    );
    assert_eq!(
        layer("application/vnd.oci.image.layer.v1.tar"),
        "it is with gzip, the manifest says not compressed"
    );

    let cases: [(&Change, &str); 13] = [
        (
            &|_, _, config| config["rootfs"]["diff_ids"] = json!([format!("sha256:{}", "0".repeat(64))]),
            "unpacked its SHA-256 is",
        ),
        (&|_, _, config| config["rootfs"]["diff_ids"] = json!([]), "it is of 0 layers, the manifest has 1"),
        (
            &|_, _, config| config["rootfs"]["type"] = json!("cake"),
            "a root file system of type `cake` is not supported",
        ),
        (&|_, manifest, _| manifest["schemaVersion"] = json!(1), "schema version 1 is not supported"),
        (&|_, manifest, _| manifest["manifests"] = json!([]), "it is an index and a manifest at once"),
        (
            &|_, manifest, _| manifest["mediaType"] = json!(INDEX),
            "it calls itself `application/vnd.oci.image.index.v1+json`",
        ),
        (&|_, manifest, _| manifest["layers"][0]["size"] = json!(-1), "it is no manifest: "),
        (
            &|_, manifest, _| manifest["layers"][0]["digest"] = json!("sha512:00"),
            "`sha512:00` is no digest that is taken",
        ),
        (
            &|_, manifest, _| {
                manifest["layers"][0]["digest"] = json!(format!("sha256:../../{}", "0".repeat(58)));
            },
            "is no digest that is taken",
        ),
        (
            &|maker, manifest, _| {
                manifest["config"] = maker.blob("application/vnd.example.chart+json", b"{}".to_vec());
            },
            "an artefact whose configuration is of type `application/vnd.example.chart+json` is not supported",
        ),
        (
            &|_, manifest, _| manifest["layers"] = json!(vec![manifest["layers"][0].clone(); 513]),
            "513 layers; at most 512 are sensible",
        ),
        // Bytes that a registry would go on sending, of one layer or of two.
        (
            &|_, manifest, _| manifest["layers"][0]["size"] = json!((64_u64 << 30) + 1),
            "it passes the limit on bytes of its layers (68719476736)",
        ),
        (
            &|_, manifest, _| {
                manifest["layers"] = json!(vec![manifest["layers"][0].clone(); 2]);
                manifest["layers"][0]["size"] = json!(u64::MAX);
            },
            "it passes the limit on bytes of its layers (68719476736)",
        ),
    ];
    for (change, words) in cases {
        let error = remade(change);
        assert!(error.contains(words), "{words}: {error}");
    }
    let schema_1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let error = remade(|_, manifest, _| {
        manifest.as_object_mut().unwrap().remove("mediaType");
        manifest["said"] = json!(schema_1);
    });
    assert!(error.contains(&format!("a document of type `{schema_1}` is not supported")), "{error}");
    let mut maker = Maker::default();
    let huge =
        json!({"mediaType": MANIFEST, "digest": format!("sha256:{}", "0".repeat(64)), "size": 1_u64 << 40});
    assert!(refused(&maker, &huge).contains("at most 4194304 are sensible"));
    // An index within an index, five times.
    let mut image = sound(&mut maker, "hi", "amd64");
    for _ in 0..5 {
        let index = json!({"schemaVersion": 2, "manifests": [image]});
        image = maker.document(INDEX, &index);
    }
    assert!(refused(&maker, &image).contains("more than 4 indexes one within the other"));
}

#[test]
fn limits_are_for_all_layers_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut maker = Maker::default();
    let layers = vec![one_layer(&mut maker, "one", "zstd"), one_layer(&mut maker, "two", "gzip")];
    let image = maker.image(layers, "amd64");
    maker.layout(folder.path(), &[image]);
    let with = |limits: Limits| read_layout(folder.path(), &Which::Only, &limits).map(|_| ());
    with(Limits { members: 4, ..Limits::default() }).unwrap();
    let error = with(Limits { members: 3, ..Limits::default() }).unwrap_err().to_string();
    assert!(error.contains("it passes the limit on members (3)"), "{error}");
    let one = 2560;
    with(Limits { unpacked_bytes: 2 * one, ..Limits::default() }).unwrap();
    let error = with(Limits { unpacked_bytes: 2 * one - 1, ..Limits::default() }).unwrap_err().to_string();
    assert!(error.contains("it passes the limit on unpacked bytes (5119)"), "{error}");
}

#[test]
fn a_folder_that_is_no_layout_says_so() {
    let read = |folder: &Path| read_layout(folder, &Which::Only, &Limits::default()).unwrap_err();
    let folder = tempfile::tempdir().unwrap();
    let error = read(folder.path());
    assert!(error.to_string().contains("`oci-layout`: it is not there: this is no OCI layout"), "{error}");
    std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion": "2.0.0"}"#).unwrap();
    assert!(read(folder.path()).to_string().contains("version 2.0.0 of the layout is not supported"));
    std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#).unwrap();
    assert!(read(folder.path()).to_string().contains("`index.json`: it is not there"));
    std::fs::write(folder.path().join("index.json"), "[").unwrap();
    assert!(read(folder.path()).to_string().contains("`index.json`: it is no index or a manifest"));
    assert!(read(&folder.path().join("none")).is_environment());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A manifest or a configuration with other bytes at one place, and every digest right again: read or refused, nothing
    /// else, and never as an image with other files.
    #[test]
    fn changed_documents_are_refused_or_mean_the_same(
        at in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..4), of_config in any::<bool>()
    ) {
        let mut maker = Maker::default();
        let (layer, diff_id) = one_layer(&mut maker, "hi", "gzip");
        let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}});
        let changed = |document: &Value, really: bool| {
            let mut text = document.to_string().into_bytes();
            let from = at.index(text.len());
            if really {
                text.splice(from..(from + 1).min(text.len()), bytes.iter().copied());
            }
            text
        };
        let config = maker.blob(CONFIG, changed(&config, of_config));
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let image = maker.blob(MANIFEST, changed(&manifest, !of_config));
        if let Ok(lines) = read(&maker, &[image], &Which::Only) {
            prop_assert_eq!(lines, ["/etc/ 755", "/etc/motd: hi"]);
        }
    }
}
