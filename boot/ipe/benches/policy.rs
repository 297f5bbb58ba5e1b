//! How long a policy of a megabyte takes: to load as the kernel would, to look through for what cannot be meant, and to ask.
//! `cargo bench -p graven-ipe`.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use graven_ipe::lint::{Against, lint};
use graven_ipe::{Algorithm, Digest, Facts, Op, Policy};

const BYTES: usize = 1 << 20;

/// As many rules as fit, each for one file; all different, so that each could decide.
fn text() -> String {
    let mut text = "policy_name=large policy_version=1.0.0\nDEFAULT action=DENY\n".to_owned();
    for number in 0u64.. {
        let line = format!("op=EXECUTE fsverity_digest=sha256:{number:064x} action=ALLOW\n");
        if text.len() + line.len() > BYTES {
            break;
        }
        text += &line;
    }
    text
}

fn megabyte(criterion: &mut Criterion) {
    let text = text();
    let policy = Policy::load(text.as_bytes()).expect("the kernel takes it");
    let unknown = Digest::from_hex(Algorithm::Sha256, &"f".repeat(64)).expect("it is a digest");
    let facts = Facts { fsverity_digest: Some(unknown), ..Facts::default() };
    let mut group = criterion.benchmark_group("a policy of 1 MiB");
    group.sample_size(20);
    group.bench_function("load", |bencher| bencher.iter(|| Policy::load(black_box(text.as_bytes()))));
    group.bench_function("lint", |bencher| {
        bencher.iter(|| lint(black_box(text.as_bytes()), &Against::default()));
    });
    // What no rule allows is held against all of them.
    group.bench_function("evaluate", |bencher| {
        bencher.iter(|| policy.evaluate(Op::Execute, black_box(&facts)));
    });
    group.finish();
}

criterion_group!(benches, megabyte);
criterion_main!(benches);
