//! IPE policies: any bytes are parsed, checked and evaluated.

use graven_ipe::lint::{Against, Code, lint};
use graven_ipe::{Digest, Facts, Op, Policy, Property, lines};

/// Parsing never panics and is undone by rendering; findings lie in the text; what is called without effect has none.
pub fn policy(bytes: &[u8]) {
    let findings = lint(bytes, &Against::default());
    let all: Vec<&[u8]> = lines(bytes).collect();
    for finding in &findings {
        let line = all.get(finding.at.line - 1).expect("a line of the text");
        assert!(finding.at.column - 1 + finding.at.length <= line.len(), "{finding}");
    }
    let refused = findings.iter().any(|finding| finding.code == Code::Refused);
    let Ok(policy) = Policy::load(bytes) else { return assert!(refused) };
    assert!(!refused);
    assert_eq!(Policy::parse(&policy.render()).as_ref(), Ok(&policy));

    // Without the rules that decide nothing, or only what the default would, every decision stays.
    let idle = [Code::Contradiction, Code::Unreachable, Code::Redundant];
    let idle = findings.iter().filter(|finding| idle.contains(&finding.code)).map(|finding| finding.at.line);
    let idle: Vec<usize> = idle.collect();
    // What lies behind a NUL byte is no part of the policy.
    let text: Vec<&[u8]> = lines(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).collect();
    let kept = text.iter().zip(1..).filter(|(_, number)| !idle.contains(number)).map(|(line, _)| *line);
    let shorter = Policy::load(&kept.collect::<Vec<_>>().join(&b'\n')).expect("the same without some rules");
    assert_eq!(shorter.rules().len() + idle.len(), policy.rules().len());
    for facts in worlds(&policy) {
        for op in Op::ALL {
            let (whole, less) = (policy.evaluate(op, &facts).action, shorter.evaluate(op, &facts).action);
            assert_eq!(whole, less, "{op} {facts:?}");
        }
    }
}

/// What the kernel can know of a file, as far as it matters to this policy.
fn worlds(policy: &Policy) -> Vec<Facts> {
    let mut root_hashes: Vec<Option<Digest>> = vec![None];
    let mut file_digests: Vec<Option<Digest>> = vec![None];
    for property in policy.rules().iter().flat_map(|rule| &rule.properties) {
        let (all, digest) = match property {
            Property::DmverityRoothash(digest) => (&mut root_hashes, digest),
            Property::FsverityDigest(digest) => (&mut file_digests, digest),
            _ => continue,
        };
        if all.len() < 5 && !all.contains(&Some(digest.clone())) {
            all.push(Some(digest.clone()));
        }
    }
    let mut worlds = Vec::new();
    for dmverity_roothash in &root_hashes {
        for fsverity_digest in &file_digests {
            for bits in 0..8 {
                worlds.push(Facts {
                    boot_verified: bits & 1 != 0,
                    dmverity_signature: bits & 2 != 0,
                    fsverity_signature: bits & 4 != 0,
                    dmverity_roothash: dmverity_roothash.clone(),
                    fsverity_digest: fsverity_digest.clone(),
                    ..Facts::default()
                });
            }
        }
    }
    worlds
}
