//! Programs on the state: those that the policy names by their fs-verity digest, and no others.

use std::fs;

use graven_tests::emulated::Emulated;
use graven_tests::{image, inputs};

use crate::device::{Device, power_off};

#[test]
#[cfg_attr(not(feature = "full"), ignore = "a boot more: feature `full`")]
fn a_program_of_the_state_runs_where_the_policy_names_its_digest() {
    let folder = image::folder();
    let base = inputs::project().join("tests/recipes/state/recipe.toml");
    let (plugin, attack) = (inputs::asking(), inputs::attack(Emulated::X86_64));
    // On the first boot the state gets what the image has at its paths.
    let text = format!(
        "inherit = [{base:?}]\n[[policy.rule]]\nop = [\"EXECUTE\"]\nfiles = [{plugin:?}]\n\
         [state.exec]\n\"/var/lib/app\" = \"plug-ins\"\n\
         [files]\n\"/usr/bin/attack\" = {{ source = {attack:?}, mode = 0o755 }}\n\
         \"/var/lib/app/plugin\" = {{ source = {plugin:?}, mode = 0o755 }}\n"
    );
    fs::write(folder.path().join("recipe.toml"), text).unwrap();
    let out = folder.path().join("out");
    image::build(folder.path(), &out, &[]);
    let device = Device::of(&out, Emulated::X86_64, 0);
    let mut guest = device.boot();
    let mounts = guest.succeed("grep ' /var/lib/app ' /proc/mounts");
    assert!(mounts.contains("nosuid,nodev") && !mounts.contains("noexec"), "{mounts}");

    let run = "/var/lib/app/plugin -c say it runs";
    assert_eq!(guest.shell(run).status, 126, "nothing vouches for its bytes yet");
    guest.succeed("cp /var/lib/app/plugin /var/lib/app/changed && echo x >>/var/lib/app/changed");
    guest.succeed("cp /var/lib/app/plugin /var/log/plugin");
    for file in ["/var/lib/app/plugin", "/var/lib/app/changed", "/var/log/plugin"] {
        guest.succeed(&format!("attack enable-verity {file}"));
    }
    assert_eq!(guest.succeed(run), "it runs");
    assert_eq!(guest.shell("/var/lib/app/changed -c say it runs").status, 126, "another digest");
    assert_eq!(guest.shell("/var/log/plugin -c say it runs").status, 126, "the path stays noexec");
    assert_ne!(guest.shell("echo x >>/var/lib/app/plugin").status, 0, "it cannot be written any more");
    power_off(guest);

    let mut guest = device.boot();
    assert_eq!(guest.succeed(run), "it runs", "at the next boot as well");
    assert_eq!(guest.shell("/var/lib/app/changed -c say it runs").status, 126);
    power_off(guest);
}
