//! `graven policy eval` on edge-server: every executable is allowed by the root hash's rule where it lies, and denied as a
//! copy on the state. The kernel says the same of each, by the image's own signed policy.
#![cfg(feature = "full")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use graven_ipe::{Hook, Op};
use graven_tests::decisions::{Answer, Question, agree};
use graven_tests::edge::Edge;
use graven_tests::image;
use graven_verify::Contents;
use serde_json::Value;

#[test]
fn the_kernel_agrees_about_every_executable_of_edge_server() {
    let edge = Edge::server();
    image::build(&edge.recipe("server"), &edge.out(), &[]);
    let (root, state) = (eval(&edge.out(), "root"), eval(&edge.out(), "state"));
    let contents = Contents::open(Arc::new(File::open(edge.out().join("disk.img")).expect("it was built")));
    let contents = contents.expect("it is an image");
    let root_hash = contents.boot().expect("it has a boot artefact").binding.root_hash.to_string();
    let tree = contents.tree().expect("its root can be read");

    let mut paths: Vec<&String> = root.keys().map(|(path, _)| path).collect();
    paths.dedup();
    let files: Vec<(Question, String)> = paths
        .into_iter()
        .map(|path| {
            let parsed = graven_image::tree::TreePath::parse(path.as_bytes()).expect("it is a path");
            let id = tree.lookup(&parsed).expect("the file is there");
            let runs = tree.inode(id).metadata.mode & 0o111 != 0;
            (if runs { Question::Check } else { Question::Map }, path.clone())
        })
        .collect();
    assert!(files.len() > 500, "a server has programs, libraries and scripts: {}", files.len());

    let folder = image::folder();
    let answers = agree(&edge.out(), folder.path(), &files);
    assert_eq!(answers.len(), 2 * files.len(), "each was asked about twice");
    let rule = format!("op=EXECUTE dmverity_roothash=\"sha256\":{} action=ALLOW", root_hash.to_uppercase());
    let wrong: Vec<&Answer> = answers
        .iter()
        .filter(|answer| {
            let on_root = answer.place == "root";
            let told = if on_root { &root } else { &state };
            let expected = if on_root { &rule } else { "DEFAULT action=DENY" };
            let [decision] = &answer.decisions[..] else { return true };
            let said = &told[&(answer.path.clone(), decision.hook)];
            decision.op != Op::Execute
                || *said != (on_root, decision.rule.clone())
                || decision.rule != *expected
                || answer.result != if on_root { "0" } else { "EACCES" }
        })
        .collect();
    assert!(wrong.is_empty(), "{} of {}: {:#?}", wrong.len(), answers.len(), &wrong[..wrong.len().min(10)]);
    println!("{} executables, each on the root and on the state: the kernel and graven agree", files.len());
}

/// What `graven policy eval` tells of each executable and hook: whether it is allowed, and the rule as audit records have it.
fn eval(out: &Path, place: &str) -> BTreeMap<(String, Hook), (bool, String)> {
    let words = ["policy", "eval", "--op", "execute", "--json", "--where", place];
    let output = image::run(words.map(Path::new).into_iter().chain([out]));
    let report: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    let decisions = report["decisions"].as_array().expect("a list");
    decisions
        .iter()
        .map(|decision| {
            let hook = Hook::from_name(&text(&decision["hook"])).expect("it is a hook");
            let allowed = decision["allowed"].as_bool().expect("yes or no");
            ((text(&decision["path"]), hook), (allowed, text(&decision["audited"])))
        })
        .collect()
}
