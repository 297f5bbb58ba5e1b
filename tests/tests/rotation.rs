//! Keys that change in the field: a machine's firmware is told of the next db key by the running system, and then of the last one's
//! end; a U-Boot takes either of two keys. Slow.
#![cfg(feature = "full")]

use std::fs;
use std::path::{Path, PathBuf};

use graven::deliver::DISK;
use graven::run::{Enrolment, Machine, Platform};
use graven_boot::fdt::{Property, Tree};
use graven_boot::fit::control::{Required, add_key};
use graven_boot::fit::{Hash, Padding, SignatureAlgorithm};
use graven_tests::fit::{self, Kernel, certificate};
use graven_tests::guest::{BOOT, Guest};
use graven_tests::refusal::{Stop, UP, assert_stopped};
use graven_tests::{image, inputs};

const VARIABLES: &str = "/sys/firmware/efi/efivars";
/// The vendor of db and dbx.
const DATABASE: &str = "d719b2cb-3d3a-4596-a3bc-dad00e67656f";

/// A machine in the field, whose firmware keeps its variables.
struct InTheField {
    folder: tempfile::TempDir,
}

impl InTheField {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `recipes/minimal` with the one program that it lacks for this.
    fn recipe(&self) -> PathBuf {
        let (recipe, minimal) =
            (self.path("recipe.toml"), inputs::project().join("recipes/minimal/recipe.toml"));
        let chattr =
            format!("files.\"/usr/bin/chattr\" = {{ source = {:?}, mode = 0o755 }}\n", inputs::chattr());
        fs::write(&recipe, format!("inherit = [{minimal:?}]\n{chattr}")).expect("a file");
        recipe
    }

    /// With [`image::keys`] enrolled on its first boot, and an update on its second disk.
    fn with(&self, out: &Path, update: &Path) -> Machine {
        let list = |name: &str| fs::read(image::keys().join(name)).expect("an enrolment file");
        let enrolment = Enrolment { pk: list("PK.esl"), kek: list("KEK.esl"), db: list("db.esl") };
        let machine = Machine::new(out.join(DISK)).cpus(1).enrol(enrolment);
        machine.variables(self.path("variables.fd")).disk(update)
    }

    /// An addition to a variable, signed by a KEK: what is written to efivarfs, as a disk; and its length.
    fn update(&self, variable: &str, certificate: &Path, by: &Path) -> (PathBuf, usize) {
        let to = self.path("update");
        let words = ["keys", "append", "--variable", variable, "--keys"].map(Path::new);
        let made = image::run(words.into_iter().chain([by, Path::new("--to"), &to, certificate]));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        // Kept, at boot, at run time, by a signature that has a time; an addition.
        let update = [&0x67u32.to_le_bytes()[..], &fs::read(to).expect("the update")].concat();
        let disk = self.path(&format!("{variable}-{}.img", update.len()));
        let mut padded = update.clone();
        padded.resize(update.len().next_multiple_of(1 << 20), 0);
        fs::write(&disk, padded).expect("a file");
        (disk, update.len())
    }
}

/// A booted image with the firmware's variables at hand.
struct Booted {
    guest: Guest,
}

impl Booted {
    fn reach(machine: &Machine) -> Self {
        let (mut guest, _) = Guest::reach(machine, UP);
        guest.expect("# ", BOOT);
        guest.succeed(&format!("mount -t efivarfs efivarfs {VARIABLES}"));
        Self { guest }
    }

    /// As docs/guide/src/keys.md has it: whether the firmware takes what lies on this disk.
    fn takes(&mut self, variable: &str, disk: &str, length: usize) -> bool {
        let file = format!("{VARIABLES}/{variable}-{DATABASE}");
        self.guest.succeed(&format!("head -c {length} /dev/{disk} >/tmp/update"));
        self.guest.succeed(&format!("chattr -i {file}"));
        let written = self.guest.shell(&format!("dd if=/tmp/update of={file} bs=1M conv=notrunc"));
        println!("{variable}: {}", written.text);
        written.status == 0
    }

    fn length_of(&mut self, variable: &str) -> u64 {
        let said = self.guest.succeed(&format!("cat {VARIABLES}/{variable}-{DATABASE} | busybox wc -c"));
        said.trim().parse().expect("a number")
    }
}

#[test]
fn a_firmware_takes_the_next_key_by_keks_word_and_then_the_last_one_away() {
    let field = InTheField { folder: image::folder() };
    let [old, next] = [("old", image::keys()), ("next", image::strangers_keys())].map(|(name, keys)| {
        let out = field.path(name);
        let built = image::try_build(&field.recipe(), &out, keys, &[]);
        assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
        out
    });

    let next_key = image::strangers_keys().join("db.crt");
    let (forged, forged_length) = field.update("db", &next_key, image::strangers_keys());
    fs::rename(&forged, field.path("forged.img")).expect("a file");
    let (addition, length) = field.update("db", &next_key, image::keys());
    let (removal, removal_length) = field.update("dbx", &image::keys().join("db.crt"), image::keys());

    assert_stopped(&field.with(&next, &addition), Stop::Firmware);

    let mut booted = Booted::reach(&field.with(&old, &addition).disk(field.path("forged.img")));
    let before = booted.length_of("db");
    assert!(!booted.takes("db", "vdc", forged_length), "signed by somebody else's KEK");
    assert_eq!(booted.length_of("db"), before);
    assert!(booted.takes("db", "vdb", length));
    let after = booted.length_of("db");
    assert!(after > before, "{before} bytes before, {after} after");
    assert!(booted.takes("db", "vdb", length), "once more does no harm");
    assert_eq!(booted.length_of("db"), after);
    booted.guest.stop();

    let mut booted = Booted::reach(&field.with(&next, &removal));
    assert!(booted.takes("dbx", "vdb", removal_length));
    booted.guest.stop();

    assert_stopped(&field.with(&old, &removal), Stop::Firmware);
    Booted::reach(&field.with(&next, &removal)).guest.stop();
}

/// A U-Boot whose control device tree requires one of these keys.
fn u_boot(folder: &Path, keys: &[&Path]) -> PathBuf {
    let tree = folder.join("machine.dtb");
    fit::describe_machine(&tree);
    let mut bytes = fs::read(tree).expect("QEMU's device tree");
    for (number, keys) in keys.iter().enumerate() {
        let key = certificate(keys, "fit");
        let algorithm = SignatureAlgorithm::of(key.public_key(), Hash::Sha256, Padding::Pkcs1).expect("RSA");
        let name = format!("fit-{number}");
        bytes = add_key(&bytes, &key, &name, algorithm, Required::Configuration).expect("it takes the key");
    }
    let mut tree = Tree::parse(&bytes).expect("a device tree");
    tree.set("/signature", Property::text("required-mode", "any")).expect("the node is there");
    let file = folder.join(format!("u-boot-{}.bin", keys.len()));
    fs::write(&file, [inputs::locked_u_boot(), tree.to_bytes().expect("it can be written")].concat())
        .expect("a file");
    file
}

#[test]
fn a_u_boot_takes_either_of_two_keys_and_then_the_next_alone() {
    let folder = image::folder();
    let (old, next, stranger) = (inputs::arm64_keys(), folder.path().join("keys"), image::strangers_keys());
    // The kernel's own certificate stays.
    fs::create_dir(&next).expect("a folder");
    for (from, names) in [(stranger, ["fit.key", "fit.crt"]), (&old, ["policy.key", "policy.crt"])] {
        for name in names {
            fs::copy(from.join(name), next.join(name)).expect("a file");
        }
    }
    let successor = folder.path().join("successor");
    fit::build_with(&next, &successor, &[]);
    let (old_disk, next_disk) = (fit::minimal(Kernel::Base).join(DISK), successor.join(DISK));
    let machine = |disk: &Path, keys: &[&Path]| {
        Machine::new(disk).platform(Platform::Virt).own_u_boot(u_boot(folder.path(), keys))
    };

    let both: [&Path; 2] = [&old, &next];
    fit::boots_enforced(&machine(&old_disk, &both));
    fit::boots_enforced(&machine(&next_disk, &both));
    let refused = Stop::UBoot("Failed to verify 'any' of the required signature(s)");
    assert_stopped(&machine(&next_disk, &[&old]), refused);
    assert_stopped(&machine(&old_disk, &[&next]), refused);
}
