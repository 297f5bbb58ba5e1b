//! A signed policy on the state takes the place of the image's at the next boot, and nothing that is not one does.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use graven_tests::emulated::Emulated;
use graven_tests::guest::Guest;
use graven_tests::program::run_in;
use graven_tests::{image, inputs};
use serde_json::Value;

use crate::device::{Device, power_off};

/// The image of `tests/recipes/state`, which takes a successor; and what its policy's successor says, by version and signer.
struct Subject {
    folder: tempfile::TempDir,
}

impl Subject {
    fn new() -> Self {
        let folder = image::folder();
        let base = inputs::project().join("tests/recipes/state/recipe.toml");
        let text = format!(
            "inherit = [{base:?}]\npolicy.successor = \"/var/lib/app/policy.p7b\"\n\
             [files]\n\"/usr/bin/base64\" = {{ symlink = \"busybox\" }}\n"
        );
        fs::write(folder.path().join("recipe.toml"), text).unwrap();
        image::build(folder.path(), &folder.path().join("out"), &[]);
        Self { folder }
    }

    fn out(&self) -> PathBuf {
        self.folder.path().join("out")
    }

    /// A signed policy, in base64; by the verb that users have, which is told what it replaces where it fits.
    fn signed(&self, text: &str, keys: &Path, fits: bool) -> String {
        let folder = self.folder.path();
        fs::write(folder.join("next.pol"), text).unwrap();
        let (key, cert) = (keys.join("db.key"), keys.join("db.crt"));
        let words = ["policy", "sign", "next.pol", "next.p7b", "--key"].map(str::to_owned);
        let mut words =
            [&words[..], &[key.display().to_string(), "--cert".into(), cert.display().to_string()]].concat();
        if fits {
            words.extend(["--replaces".to_owned(), "out/policy.p7b".to_owned()]);
        }
        let said = run_in(folder, image::graven(), &words);
        assert_eq!(said.status, 0, "{}", said.err);
        STANDARD.encode(fs::read(folder.join("next.p7b")).unwrap())
    }

    fn root_hash(&self) -> String {
        let manifest: Value =
            serde_json::from_slice(&fs::read(self.out().join("manifest.json")).unwrap()).unwrap();
        manifest["root"]["root_hash"].as_str().unwrap().to_owned()
    }

    /// The image's own policy with another version and a rule more.
    fn text(&self, version: &str) -> String {
        let own = fs::read_to_string(self.out().join("policy.pol")).unwrap();
        let digest = "5a".repeat(32);
        own.replace("policy_version=0.1.0", &format!("policy_version={version}"))
            + &format!("op=EXECUTE fsverity_digest=sha256:{digest} action=ALLOW\n")
    }
}

/// What the kernel holds, and what stage0 said.
fn in_force(guest: &mut Guest) -> (String, String) {
    guest.succeed("mount -t securityfs securityfs /sys/kernel/security 2>/dev/null; true");
    assert_eq!(guest.succeed("ls /sys/kernel/security/ipe/policies"), "state", "one policy and no other");
    (guest.succeed("cat /sys/kernel/security/ipe/policies/state/version"), guest.kernel_log())
}

#[test]
#[cfg_attr(not(feature = "full"), ignore = "six boots: feature `full`")]
fn a_signed_successor_is_put_in_place_and_any_other_is_named() {
    let subject = Subject::new();
    let device = Device::of(&subject.out(), Emulated::X86_64, 0);
    let mut guest = device.boot();
    assert_eq!(in_force(&mut guest).0, "0.1.0");

    let foreign_root = subject.text("0.3.0").replace(&subject.root_hash(), &"00".repeat(32));
    for (text, keys, fits, version, said) in [
        (
            subject.text("0.2.0"),
            image::keys(),
            true,
            "0.2.0",
            "policy state 0.2.0 from /var/lib/app/policy.p7b is in force",
        ),
        (
            subject.text("0.3.0"),
            image::strangers_keys(),
            true,
            "0.1.0",
            "S0-59 a successor of the policy is refused: ENOKEY",
        ),
        (
            subject.text("0.0.9"),
            image::keys(),
            false,
            "0.1.0",
            "S0-59 a successor of the policy is refused: ESTALE",
        ),
        (
            subject.text("0.3.0").replace("policy_name=state", "policy_name=other"),
            image::keys(),
            false,
            "0.1.0",
            "S0-59 a successor of the policy is refused: EINVAL",
        ),
        (foreign_root, image::keys(), true, "0.1.0", "does not name this root"),
    ] {
        let signed = subject.signed(&text, keys, fits);
        guest.succeed("rm -f /var/lib/app/policy.p7b");
        for piece in signed.as_bytes().chunks(700) {
            guest.succeed(&format!("echo {} >>/tmp/signed", std::str::from_utf8(piece).unwrap()));
        }
        guest.succeed("base64 -d /tmp/signed >/var/lib/app/policy.p7b && sync");
        power_off(guest);
        guest = device.boot();
        let (found, log) = in_force(&mut guest);
        assert_eq!(found, version, "{log}");
        assert!(log.contains(said), "{said}: {log}");
    }
    power_off(guest);
}
