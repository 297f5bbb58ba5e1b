//! Volumes: finished file systems beside the root, each verified by itself. A program runs from one where the policy says so;
//! whatever is changed stops the boot, or the read, and `graven verify` says where.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use graven_handoff::Code;
use graven_tests::forge::{Forgery, Part, signer};
use graven_tests::guest::{BOOT, Guest};
use graven_tests::refusal::{Stop, UP};
use graven_tests::tampering::{Change, Row, Subject};
use graven_tests::{audit, image, inputs};
use graven_verify::manifest::{Manifest, Role};

/// What the programs on the volumes say.
const RUN: &str = "-c say it runs";

/// `recipes/minimal` with an application on an EROFS, and with the same as data alone on a squashfs.
fn out() -> &'static Path {
    static IMAGE: OnceLock<PathBuf> = OnceLock::new();
    IMAGE.get_or_init(|| {
        image::shared("volumes", |folder| build(folder, &folder.join("out"), &[])).join("out")
    })
}

fn build(folder: &Path, out: &Path, more: &[&str]) {
    recipe_of(folder);
    image::build(folder, out, more);
}

/// Makes the volumes, and a recipe that has them.
fn recipe_of(folder: &Path) {
    let app = folder.join("app");
    fs::create_dir_all(&app).unwrap();
    fs::copy(inputs::asking(), app.join("say")).unwrap();
    let (shop, docs) = (folder.join("shop.erofs"), folder.join("docs.squashfs"));
    let uuid = "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a5a";
    make("mkfs.erofs", &["-T0", "-U", uuid, "--all-root"], &[&shop, &app], &[]);
    let same_times = ["-quiet", "-all-root", "-all-time", "0", "-mkfs-time", "0"];
    make("mksquashfs", &[], &[&app, &docs], &same_times);
    let base = inputs::project().join("recipes/minimal/recipe.toml");
    let text = format!(
        "inherit = [{base:?}]\n\
         [[volume]]\nname = \"shop\"\nimage = \"shop.erofs\"\ntarget = \"/opt/shop\"\n\
         [[volume]]\nname = \"docs\"\nimage = \"docs.squashfs\"\ntarget = \"/srv/docs\"\nallow = []\n"
    );
    fs::write(folder.join("recipe.toml"), text).unwrap();
}

fn make(tool: &str, options: &[&str], paths: &[&Path], more: &[&str]) {
    let output = Command::new(tool).args(options).args(paths).args(more).output();
    let output = output.unwrap_or_else(|error| panic!("{tool}: {error}: run tests/setup.sh"));
    assert!(output.status.success(), "{tool}: {}", String::from_utf8_lossy(&output.stderr));
}

fn subject() -> Subject {
    let trust = vec!["--trust".to_owned(), image::keys().join("db.crt").display().to_string()];
    Subject { out: out().to_owned(), machine: image::machine, trust }
}

#[test]
fn a_program_runs_from_the_volume_that_allows_it_and_from_nowhere_else() {
    let (mut guest, _) = Guest::reach(&image::machine(out()), UP);
    guest.expect("# ", BOOT);
    let mounts = guest.succeed("cat /proc/mounts");
    let mounted = |path: &str| mounts.lines().find(|line| line.contains(path)).unwrap().to_owned();
    let (shop, docs) = (mounted(" /opt/shop erofs "), mounted(" /srv/docs squashfs "));
    assert!(shop.contains("ro,nosuid,nodev") && !shop.contains("noexec"), "{shop}");
    assert!(docs.contains("ro,nosuid,nodev,noexec"), "{docs}");

    assert_eq!(guest.succeed(&format!("/opt/shop/say {RUN}")), "it runs");
    assert_eq!(guest.shell(&format!("/srv/docs/say {RUN}")).status, 126, "data alone");
    // A tmpfs of our own, which is not noexec, and the data without it: the policy is what is left to refuse.
    guest.succeed("mkdir -p /tmp/t && mount -t tmpfs none /tmp/t && cp /opt/shop/say /tmp/t/say");
    guest.succeed("mount -o remount,exec,ro,nosuid,nodev /srv/docs");
    for program in ["/tmp/t/say", "/srv/docs/say"] {
        let (done, records) = guest.audited(&format!("{program} {RUN}"));
        assert_eq!(done.status, 126, "{program}");
        let denied = records.iter().find(|record| record.kind == audit::IPE_ACCESS);
        let denied = denied.unwrap_or_else(|| panic!("a record names {program}: {records:?}"));
        assert_eq!(denied.get("path"), program, "{denied:?}");
        assert_eq!(denied.get("rule"), "DEFAULT action=DENY", "{denied:?}");
    }
    assert_ne!(guest.shell("touch /opt/shop/x").status, 0, "it is read-only");
}

/// An independent reader of the same bytes, parity among them; and the same bytes once more.
#[test]
fn veritysetup_takes_each_volume_and_built_twice_they_are_the_same() {
    let folder = image::folder();
    let outs = ["one", "other"].map(|name| {
        let folder = folder.path().join(name);
        let out = folder.join("out");
        build(&folder, &out, &["--set", "verity.fec-roots=2"]);
        out
    });
    image::assert_same_outputs(&outs[0], &outs[1]);

    let disk = outs[0].join(graven::deliver::DISK);
    let manifest = Manifest::from_json(&fs::read_to_string(outs[0].join("manifest.json")).unwrap()).unwrap();
    let names: Vec<&str> = manifest.volumes.iter().map(|volume| volume.name.as_str()).collect();
    assert_eq!(names, ["shop", "docs"]);
    for volume in &manifest.volumes {
        let part = |ending: &str, role: Role| {
            let name = format!("{}{ending}", volume.name);
            let listed = manifest.partitions.iter().find(|part| part.name == name).unwrap();
            assert_eq!(listed.role, role);
            let file = folder.path().join(&name);
            let what = format!("partition:{name}");
            let output =
                image::run([Path::new("extract"), &disk, Path::new(&what), Path::new("--to"), &file]);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            file
        };
        let (data, hash) = (part("", Role::Volume), part("-verity", Role::VolumeVerity));
        let offset = format!("--fec-offset={}", 4096 * (1 + tree_blocks(volume.image.data_blocks)));
        let device = format!("--fec-device={}", hash.display());
        let root_hash = Path::new(&volume.image.root_hash);
        make("veritysetup", &["verify", &device, &offset, "--fec-roots=2"], &[&data, &hash, root_hash], &[]);
    }
}

fn tree_blocks(mut blocks: u64) -> u64 {
    let mut total = 0;
    while blocks > 1 {
        blocks = blocks.div_ceil(128);
        total += blocks;
    }
    total
}

#[test]
fn a_build_without_keys_asks_for_each_volumes_signature_in_the_first_round() {
    let folder = image::folder();
    let (keys, out) = (folder.path().join("certificates"), folder.path().join("out"));
    fs::create_dir(&keys).unwrap();
    for name in ["pk.crt", "kek.crt", "db.crt"] {
        fs::copy(image::keys().join(name), keys.join(name)).unwrap();
    }
    let recipe = out.parent().unwrap();
    recipe_of(recipe);
    let output = image::try_build(recipe, &out, &keys, &[]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let text = fs::read_to_string(folder.path().join("out.pending/to-sign.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let requests = json["requests"].as_array().unwrap();
    let mut purposes: Vec<&str> = requests.iter().map(|one| one["purpose"].as_str().unwrap()).collect();
    purposes.sort_unstable();
    assert_eq!(purposes, ["policy", "root", "root", "root"]);
}

#[test]
fn a_volume_that_cannot_be_stops_the_build_and_says_why() {
    let folder = image::folder();
    let path = |name: &str| folder.path().join(name);
    recipe_of(folder.path());
    let good = fs::read(path("shop.erofs")).unwrap();
    fs::write(path("cut.erofs"), &good[..good.len() / 2]).unwrap();
    fs::write(path("empty"), "").unwrap();
    fs::write(path("text"), "no file system").unwrap();
    fs::write(
        path("open.pol"),
        "policy_name={{name}} policy_version={{version}}\nDEFAULT action=DENY\nop=EXECUTE \
        dmverity_signature=TRUE action=ALLOW\n",
    )
    .unwrap();
    let base = inputs::project().join("recipes/minimal/recipe.toml");
    let volume = |image: &str, target: &str, more: &str| {
        format!("[[volume]]\nname = \"shop\"\nimage = \"{image}\"\ntarget = \"{target}\"\n{more}\n")
    };
    let cases = [
        (volume("cut.erofs", "/opt/shop", ""), "cut short"),
        (volume("empty", "/opt/shop", ""), "it is empty"),
        (volume("text", "/opt/shop", ""), "no superblock of EROFS, squashfs or ext4"),
        (volume("nowhere", "/opt/shop", ""), "no file matches `nowhere`"),
        (volume("shop.erofs", "/opt/shop", "size = \"4K\""), "its `size` gives it 4096"),
        (volume("shop.erofs", "/usr", ""), "the root has something in that folder"),
        (volume("shop.erofs", "/bin/shop", ""), "a symbolic link leads there"),
        (
            format!(
                "{}[[volume]]\nname = \"in\"\nimage = \"docs.squashfs\"\ntarget = \"/opt/shop/in\"\n",
                volume("shop.erofs", "/opt/shop", "")
            ),
            "has no folder /in",
        ),
        (
            format!("{}[policy]\ntext = \"open.pol\"\n", volume("shop.erofs", "/opt/shop", "allow = []")),
            "the policy allows EXECUTE of the volume `shop`, whose `allow` does not have it",
        ),
        (
            format!(
                "{}[[policy.rule]]\nop = [\"EXECUTE\"]\ndmverity-signature = true\naction = \"DENY\"\n",
                volume("shop.erofs", "/opt/shop", "")
            ),
            "",
        ),
    ];
    for (text, said) in cases {
        fs::write(path("recipe.toml"), format!("inherit = [{base:?}]\n{text}")).unwrap();
        let out = path("out");
        let output = image::try_build(folder.path(), &out, image::keys(), &[]);
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}: {words}");
        assert!(words.contains(said), "{said}: {words}");
        assert!(!out.exists(), "{text}");
    }
}

/// Two partitions exchanged, by their names.
fn exchange(image: &mut Forgery, one: Part, other: Part) {
    let names = [image.place(one).guid, image.place(other).guid];
    image.rename(&[(one, names[1]), (other, names[0])]);
}

const ROWS: [Row; 5] = [
    Row {
        name: "data, the first block",
        forge: |image| image.flip(Part::Volume, 0),
        stop: Stop::Stage0(Code::VerityState),
        said: "volume shop",
        found: &["volume shop: data"],
    },
    Row {
        name: "tree, a digest of the first block",
        forge: |image| image.flip(Part::VolumeVerity, 4096),
        stop: Stop::Stage0(Code::VerityState),
        said: "volume shop",
        found: &["volume shop: tree"],
    },
    Row {
        name: "superblock, its salt",
        forge: |image| image.flip(Part::VolumeVerity, 88),
        stop: Stop::Stage0(Code::Superblock),
        said: "volume shop",
        found: &["volume shop: superblock"],
    },
    Row {
        name: "signature, a stranger's",
        forge: |image| {
            let stranger = signer(image::strangers_keys());
            image.sign_volume(&stranger);
        },
        stop: Stop::Stage0(Code::RootSignatureRefused),
        said: "ENOKEY",
        found: &["volume shop: root-signature"],
    },
    Row {
        name: "two volumes in each other's place",
        forge: |image| {
            exchange(image, Part::Volume, Part::OtherVolume);
            exchange(image, Part::VolumeVerity, Part::OtherVolumeVerity);
        },
        // The other is smaller.
        stop: Stop::Stage0(Code::PartitionSize),
        said: "volume shop",
        found: &[
            "volume shop: superblock",
            "volume shop: tree",
            "volume shop: file-system",
            "volume docs: superblock",
            "volume docs: tree",
            "volume docs: file-system",
            "unused-space",
        ],
    },
];

const FOUND_BY_VERIFY: [Change; 3] = [
    Change {
        name: "signature, behind its text",
        forge: |image| image.flip(Part::VolumeSignature, 16_383),
        found: &["volume shop: root-signature"],
    },
    Change {
        name: "a volume under another name",
        forge: |image| image.rename(&[(Part::Volume, uuid::Uuid::from_u128(1))]),
        found: &["partition-uuids", "volume shop: root-signature"],
    },
    Change {
        name: "data of another volume",
        forge: |image| {
            let bytes = image.read(Part::OtherVolume, 0, 4096);
            image.write(Part::Volume, 0, &bytes);
        },
        found: &["volume shop: data", "volume shop: file-system"],
    },
];

#[test]
fn verify_names_the_link_of_the_volume_that_is_broken() {
    subject().finds_all(ROWS.iter().map(Row::change).chain(FOUND_BY_VERIFY));
}

#[test]
#[cfg_attr(not(feature = "full"), ignore = "a boot for every row: feature `full`")]
fn a_volume_that_is_not_the_images_stops_the_boot() {
    subject().boot_all(&ROWS);
}

/// What stage0 does not read is found when it is read.
#[test]
#[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
fn damage_behind_the_first_block_is_an_error_of_the_read() {
    let image = Forgery::of(out());
    let program = fs::read(inputs::asking()).unwrap();
    let middle = program.len() / 2 / 4096 * 4096;
    let place = image.find(Part::Volume, &program[middle..middle + 4096]);
    image.flip(Part::Volume, place);
    let (mut guest, _) = Guest::reach(&image::machine(image.path()), UP);
    guest.expect("# ", BOOT);
    let read = guest.shell("cat /opt/shop/say >/dev/null");
    assert!(read.status != 0 && read.text.contains("Input/output error"), "{read:?}");
    let log = guest.kernel_log();
    assert!(log.contains("data block"), "dm-verity says which block: {log}");
}
