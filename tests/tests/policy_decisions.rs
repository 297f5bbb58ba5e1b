//! The kernel is the judge of decisions, too: what is asked by which hook, what is answered and by which rule, in every
//! place that a file can lie in, as its own audit records tell it.

use std::collections::BTreeSet;

use graven_ipe::Policy;
use graven_tests::decisions::{PLACES, Site, Tried, WAYS, decide, policies};
use graven_tests::image;

/// Policies in one boot, the seeds first.
const POLICIES: usize = if cfg!(feature = "full") { 30 } else { 2 };
const SEED: u64 = 0x1421;

#[test]
fn the_kernel_decides_as_policy_eval_says_and_by_the_same_rule() {
    let folder = image::folder();
    let site = Site::new(folder.path());
    let texts = policies::texts(&site, POLICIES, SEED);
    let parsed: Vec<Policy> =
        texts.iter().map(|text| Policy::parse(text.as_bytes()).expect("the kernel takes it")).collect();
    let mut expected = Vec::new();
    for (number, policy) in parsed.iter().enumerate() {
        expected.extend(expectations(&site, (number, policy), true));
    }
    let last = parsed.len() - 1;
    expected.extend(expectations(&site, (last, &parsed[last]), false));

    let found = decide(&site, folder.path(), &texts);
    assert_eq!(found.len(), expected.len(), "everything was tried");
    let differences: Vec<String> = expected
        .iter()
        .zip(&found)
        .filter(|(expected, found)| expected != found)
        .map(|(expected, found)| format!("graven {expected:?}\nkernel {found:?}\n{}", texts[found.policy]))
        .collect();
    assert!(
        differences.is_empty(),
        "{} of {} differ; each policy belongs among the seeds of tests/src/decisions/policies.rs:\n{}",
        differences.len(),
        found.len(),
        differences[..differences.len().min(20)].join("\n")
    );
    let decisions: usize = found.iter().map(|tried| tried.decisions.len()).sum();
    println!("{decisions} decisions: the kernel and graven agree on each");
}

fn expectations(site: &Site, policy: (usize, &Policy), enforcing: bool) -> Vec<Tried> {
    let mut all = Vec::new();
    for way in WAYS {
        let places = std::iter::once(None).chain(PLACES.iter().map(Some));
        for place in places.filter(|place| way.is_tried(*place)) {
            all.push(way.expected(site, place, policy, enforcing));
        }
    }
    all
}

/// Agreement proves nothing where nothing of a kind is decided: each hook, property and default, with yes and with no.
#[test]
fn the_seeds_decide_by_everything_and_both_ways() {
    let folder = image::folder();
    let site = Site::new(folder.path());
    let texts = policies::texts(&site, policies::seeds(&site).len(), SEED);
    let mut decisions = Vec::new();
    for (number, text) in texts.iter().enumerate() {
        let policy = Policy::parse(text.as_bytes()).expect("the kernel takes it");
        let all = expectations(&site, (number, &policy), true);
        decisions.extend(all.into_iter().flat_map(|tried| tried.decisions));
    }
    let properties = [
        "boot_verified=TRUE",
        "boot_verified=FALSE",
        "dmverity_roothash=\"sha256\"",
        "dmverity_roothash=\"sha512\"",
        "dmverity_signature=TRUE",
        "dmverity_signature=FALSE",
        "fsverity_digest=\"sha256\"",
        "fsverity_digest=\"sha512\"",
        "fsverity_signature=TRUE",
        "fsverity_signature=FALSE",
        "DEFAULT op=",
        "DEFAULT action=",
    ];
    for part in properties {
        for action in ["action=ALLOW", "action=DENY"] {
            let of = |rule: &str| rule.contains(part) && rule.ends_with(action);
            assert!(decisions.iter().any(|one| of(&one.rule)), "nothing is decided by {part} with {action}");
        }
    }
    let hooks: BTreeSet<_> = decisions.iter().map(|one| (one.op, one.hook)).collect();
    assert_eq!(hooks.len(), 11, "{hooks:?}");
    assert!(decisions.len() > 1000, "{}", decisions.len());
}
