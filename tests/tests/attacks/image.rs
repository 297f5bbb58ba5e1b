//! The image that is attacked, and the forged device that is made from it in its own boot.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_boot::pkcs7;
use graven_boot::sign::FileSigner;
use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;
use graven_tests::{image, inputs};
use serde_json::Value;

/// A policy of another name that allows everything.
pub(crate) const SECOND: &str = "/usr/share/attacks/second.p7b";
/// The same as a newer version of the image's own.
pub(crate) const UPDATE: &str = "/usr/share/attacks/update.p7b";
/// As [`SECOND`], signed with a key that is not enrolled.
#[cfg(feature = "full")]
pub(crate) const STRANGER: &str = "/usr/share/attacks/stranger.p7b";

/// A built image; gone when this is.
pub(crate) struct Image {
    pub(crate) on: Emulated,
    prompt: &'static str,
    folder: tempfile::TempDir,
}

/// Builds a recipe of `tests/recipes/attacks`, with the attack programs and the policies.
pub(crate) fn build(recipe: &str, on: Emulated) -> Image {
    build_over(&[], recipe, on, "minimal# ")
}

/// `recipes/edge-server` with everything it runs, and a shell of root's.
#[cfg(feature = "full")]
pub(crate) fn build_edge_server() -> Image {
    let edge = graven_tests::edge::Edge::server();
    build_over(&[edge.recipe("server/recipe.toml")], "edge-server.toml", Emulated::X86_64, "attacked# ")
}

fn build_over(below: &[PathBuf], recipe: &str, on: Emulated, prompt: &'static str) -> Image {
    let image = Image { on, prompt, folder: image::folder() };
    let folder = image.folder.path();
    let allow_all = |name: &str, version: &str| {
        format!("policy_name={name} policy_version={version}\nDEFAULT action=ALLOW\n")
    };
    for (file, text, keys) in [
        ("second", allow_all("second", "9.9.9"), image::keys()),
        ("update", allow_all("attacks", "9.0.0"), image::keys()),
        ("stranger", allow_all("stranger", "9.9.9"), image::strangers_keys()),
    ] {
        fs::write(folder.join(file).with_extension("p7b"), signed(&text, keys)).unwrap();
    }
    let mut inherited = below.to_vec();
    inherited.push(inputs::project().join("tests/recipes/attacks").join(recipe));
    let mut text = format!(
        "inherit = {inherited:?}\n[files]\n\"/usr/bin/attack\" = {{ source = {:?}, mode = 0o755 }}\n\
         \"{SECOND}\" = \"second.p7b\"\n\"{UPDATE}\" = \"update.p7b\"\n\
         \"/usr/share/attacks/stranger.p7b\" = \"stranger.p7b\"\n",
        inputs::attack(on)
    );
    if on == Emulated::Arm64 {
        text += &format!("\"/usr/bin/attack32\" = {{ source = {:?}, mode = 0o755 }}\n", inputs::attack32());
    }
    fs::write(folder.join("recipe.toml"), text).unwrap();
    image::build(folder, &image.out(), &["--target", on.target()]);
    image
}

fn signed(text: &str, keys: &Path) -> Vec<u8> {
    let signer = FileSigner::load(&keys.join("db.key"), &keys.join("db.crt")).unwrap();
    pkcs7::sign_policy(text.as_bytes(), &signer).unwrap().signed().expect("a key in a file signs at once")
}

impl Image {
    /// The build's output folder.
    pub(crate) fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// Boots it under Secure Boot to its shell, and lays out what the attacks use: copies on an exec-mounted tmpfs of
    /// what may run from the root, whose refusal can have no other reason than where they lie.
    pub(crate) fn boot(&self) -> Guest {
        let mut guest = Guest::boot(&image::machine(&self.out()).platform(self.on.platform()), self.prompt);
        guest.succeed("cp /usr/bin/busybox /exec/evil && cp /usr/bin/allowed.sh /exec/script.sh");
        guest.succeed("cp /usr/lib/modules/*/kernel/drivers/net/dummy.ko.xz /exec");
        guest.succeed("unxz -c /exec/dummy.ko.xz >/exec/dummy.ko");
        guest.succeed("mkdir /exec/firmware && cp /usr/lib/firmware/fine.bin /exec/firmware/evil.bin");
        guest
    }

    /// The device-mapper tables of the attack: lays a copy of the root with one program changed on `/dev/loop0`, and
    /// the root hash signature into `/tmp/root.p7s`.
    pub(crate) fn forge(&self, guest: &mut Guest) -> Forgery {
        let read = |name: &str| fs::read(self.out().join(name)).unwrap();
        let manifest: Value = serde_json::from_slice(&read("manifest.json")).unwrap();
        let partition = |role: &str| {
            let partitions = manifest["partitions"].as_array().unwrap();
            let index = partitions.iter().position(|partition| partition["role"] == role).unwrap();
            format!("/dev/vda{}", index + 1)
        };
        let root = &manifest["root"];
        let text = |key: &str| root[key].as_str().unwrap().to_owned();
        let blocks = root["data_blocks"].as_u64().unwrap();

        guest.succeed(&format!("dd if={} of=/tmp/copy bs=4096 count={blocks}", partition("root")));
        let patched = guest.succeed("attack patch /tmp/copy 'genuine bytes' 'changed bytes'");
        assert!(patched.contains("patch places 1"), "the copy holds one attack program: {patched}");
        guest.succeed("attack finit-module /usr/lib/modules/*/kernel/drivers/block/loop.ko.xz");
        guest.succeed("losetup /dev/loop0 /tmp/copy");
        let signature = STANDARD.encode(read("root.p7s"));
        guest.succeed(&format!("echo {signature} | base64 -d >/tmp/root.p7s"));
        Forgery {
            sectors: blocks * 8,
            // What a careless administrator's table says, and the genuine root hash: the kernel hands out what it
            // finds and publishes the hash all the same.
            verity: format!(
                "1 /dev/loop0 {} {} {} {blocks} 1 {} {} {} 3 ignore_corruption root_hash_sig_key_desc forged",
                partition("root-verity"),
                root["data_block_size"],
                root["hash_block_size"],
                text("algorithm"),
                text("root_hash"),
                text("salt"),
            ),
            linear: "/dev/loop0 0".to_owned(),
        }
    }
}

/// Tables for a changed copy of the root.
pub(crate) struct Forgery {
    /// Length of the root.
    pub(crate) sectors: u64,
    /// Arguments of a verity target over the copy.
    pub(crate) verity: String,
    /// Arguments of a linear target to it.
    pub(crate) linear: String,
}
