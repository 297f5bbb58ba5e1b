//! How long a root of 200,000 files takes to be looked through, and to be decided about.
//! `cargo bench -p graven-verify`.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use graven_image::tree::{Content, Inode, Kind, Metadata, Tree, TreePath};
use graven_ipe::{APPLIANCE_OPS, Action, Algorithm, Digest, Facts, Policy, PolicyName};
use graven_verify::survey::survey;

const FILES: usize = 200_000;

/// A fifth each: programs, libraries, scripts, modules, and what no policy is asked about.
fn root() -> Tree {
    // This very program, as every one of them: what is in it is read each time.
    let program = std::env::current_exe().and_then(std::fs::read).expect("this program can be read");
    let program = Content::from_bytes(program);
    let script = Content::from_bytes(*b"#!/usr/bin/program0\n");
    let other = Content::from_bytes(*b"neither\n");
    let kinds = [
        ("usr/bin/program", "", &program),
        ("usr/lib/library", ".so", &program),
        ("usr/share/scripts/script", ".sh", &script),
        ("usr/lib/modules/7.3/module", ".ko.xz", &other),
        ("usr/share/doc/text", ".txt", &other),
    ];
    let folder = Metadata { mode: 0o755, ..Metadata::default() };
    let mut tree = Tree::new(folder.clone());
    for number in 0..FILES {
        let (place, ending, content) = kinds[number % kinds.len()];
        let path = format!("/{place}{}{ending}", number / kinds.len());
        let path = TreePath::parse(path.as_bytes()).expect("it is a path");
        let above = path.parent().expect("it lies in a folder");
        tree.make_directories(&above, &folder).expect("folders can be made");
        let inode = Inode::new(folder.clone(), Kind::File(content.clone()));
        tree.insert(&path, inode).expect("it is not there yet");
    }
    tree
}

fn files(criterion: &mut Criterion) {
    let tree = root();
    let digest = Digest::from_hex(Algorithm::Sha256, &"5a".repeat(32)).expect("it is a digest");
    let name = PolicyName::new("large").expect("it is a name");
    let version = "1.0.0".parse().expect("it is a version");
    let policy = Policy::appliance(name, version, digest.clone(), &APPLIANCE_OPS);
    let facts = Facts { dmverity_roothash: Some(digest), ..Facts::default() };
    let found = survey(&tree).expect("bytes in memory can be read");
    let mut group = criterion.benchmark_group("200,000 files");
    group.sample_size(10);
    group.bench_function("survey", |bencher| bencher.iter(|| survey(black_box(&tree))));
    group.bench_function("evaluate each", |bencher| {
        bencher.iter(|| {
            let allowed = found
                .files
                .iter()
                .filter(|file| policy.evaluate(file.nature.op(), black_box(&facts)).action == Action::Allow);
            allowed.count()
        });
    });
    group.finish();
}

criterion_group!(benches, files);
criterion_main!(benches);
