//! Random layers against a model of the specification that knows nothing but names.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::maker::{Directory, File, Member, gone, unpacked};

/// What one layer does to one folder of the root.
#[derive(Debug, Clone)]
enum Doing {
    Nothing,
    /// The folder itself, and for each of two names in it: a whiteout, a file.
    Folder {
        mode: u32,
        opaque: bool,
        names: [(bool, bool); 2],
    },
    /// A file under its name.
    Replaced,
    /// A whiteout, and perhaps the folder anew.
    Gone {
        anew: bool,
    },
}

const FOLDERS: [&str; 2] = ["a", "b"];
const NAMES: [&str; 2] = ["x", "y"];

fn doing() -> impl Strategy<Value = Doing> {
    let mode = prop_oneof![Just(0o700), Just(0o755)];
    prop_oneof![
        1 => Just(Doing::Nothing),
        4 => (mode, any::<bool>(), any::<[(bool, bool); 2]>())
            .prop_map(|(mode, opaque, names)| Doing::Folder { mode, opaque, names }),
        1 => Just(Doing::Replaced),
        1 => any::<bool>().prop_map(|anew| Doing::Gone { anew }),
    ]
}

/// Paths and what is there, as the listing shows it.
type Model = BTreeMap<String, String>;

fn below(model: &mut Model, folder: &str) {
    model.retain(|path, _| !path.starts_with(&format!("{folder}/")));
}

fn apply(model: &mut Model, folder: &str, doing: &Doing, layer: usize) {
    let path = format!("/{folder}");
    match doing {
        Doing::Nothing => {}
        Doing::Replaced => {
            below(model, &path);
            model.insert(path.clone(), format!("{path}: {layer}"));
        }
        Doing::Gone { anew } => {
            below(model, &path);
            model.remove(&path);
            if *anew {
                model.insert(path.clone(), format!("{path}/ 755"));
            }
        }
        Doing::Folder { mode, opaque, names } => {
            if *opaque {
                below(model, &path);
            }
            model.insert(path.clone(), format!("{path}/ {mode:o}"));
            for (name, (whiteout, file)) in NAMES.iter().zip(names) {
                let path = format!("{path}/{name}");
                if *whiteout {
                    model.remove(&path);
                }
                if *file {
                    model.insert(path.clone(), format!("{path}: {layer}"));
                }
            }
        }
    }
}

fn members(folder: &str, doing: &Doing, layer: usize) -> Vec<Member> {
    // A test's members are named by text that stays.
    let text = |text: String| -> &'static str { text.leak() };
    match doing {
        Doing::Nothing => Vec::new(),
        Doing::Replaced => vec![File(text(folder.to_owned()), text(layer.to_string()))],
        Doing::Gone { anew } => {
            let mut members = vec![gone(text(format!(".wh.{folder}")))];
            members.extend(anew.then(|| Directory(text(folder.to_owned()), 0o755)));
            members
        }
        Doing::Folder { mode, opaque, names } => {
            let mut members = vec![Directory(text(folder.to_owned()), *mode)];
            members.extend(opaque.then(|| gone(text(format!("{folder}/.wh..wh..opq")))));
            for (name, (whiteout, file)) in NAMES.iter().zip(names) {
                members.extend(whiteout.then(|| gone(text(format!("{folder}/.wh.{name}")))));
                members.extend(file.then(|| File(text(format!("{folder}/{name}")), text(layer.to_string()))));
            }
            members
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// In whatever order a layer has its members.
    #[test]
    fn layers_go_over_each_other_as_the_model_says(
        layers in prop::collection::vec((doing(), doing(), any::<u64>()), 1..5)
    ) {
        let mut model = Model::new();
        let mut archives = Vec::new();
        for (at, (one, other, order)) in layers.iter().enumerate() {
            let mut all = Vec::new();
            for (folder, doing) in FOLDERS.iter().zip([one, other]) {
                apply(&mut model, folder, doing, at);
                all.extend(members(folder, doing, at));
            }
            let mut left = *order;
            let mut shuffled = Vec::new();
            while !all.is_empty() {
                let next = usize::try_from(left % all.len() as u64).unwrap();
                left = left / 7 + 13;
                shuffled.push(all.swap_remove(next));
            }
            archives.push(shuffled);
        }
        let layers: Vec<&[Member]> = archives.iter().map(Vec::as_slice).collect();
        let expected: Vec<String> = model.into_values().collect();
        prop_assert_eq!(unpacked(&layers).unwrap(), expected);
    }
}
