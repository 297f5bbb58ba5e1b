//! What ships is right.

use graven_recipe::{Profile, Recipe, Selection};
use std::path::Path;

#[test]
fn every_shipped_recipe_is_good_for_each_of_its_targets_and_profiles() {
    let mut recipes = 0;
    for entry in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.join("recipe.toml").exists() {
            continue;
        }
        recipes += 1;
        for target in Recipe::targets_of(&folder).unwrap() {
            for profile in Profile::ALL {
                let selection =
                    Selection { target: Some(target.clone()), profile: *profile, ..Selection::default() };
                Recipe::load(&folder, &selection).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        assert!(folder.join("README.md").exists(), "{} has no README.md", folder.display());
    }
    assert!(recipes > 0);
}

#[test]
fn the_init_of_minimal_can_be_executed() {
    use std::os::unix::fs::PermissionsExt;
    let init = Path::new(env!("CARGO_MANIFEST_DIR")).join("minimal/overlay/usr/sbin/init");
    assert_eq!(std::fs::metadata(init).unwrap().permissions().mode() & 0o111, 0o111);
}
