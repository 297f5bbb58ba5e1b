//! Policies to decide by: seeds with a reason each, then such as a generator makes of what is true of some of the files.
//!
//! Every policy by which the kernel ever decided otherwise than `graven policy eval` belongs among the [`seeds`].

use graven_ipe::Op;
use graven_verity::hash::Algorithm;

use super::Site;
use crate::random::Random;

/// The operations that something asks about in the machine.
const ASKED: [&str; 5] = ["EXECUTE", "KMODULE", "FIRMWARE", "KEXEC_IMAGE", "POLICY"];
const FILES: [&str; 7] =
    ["program", "script", "module.ko", "module.ko.xz", "firmware.bin", "kernel", "ima-policy"];

/// So many texts, the [`seeds`] first; number N is called `decide-N`. The same for the same numbers.
pub fn texts(site: &Site, count: usize, seed: u64) -> Vec<String> {
    let mut random = Random::new(seed);
    let mut bodies = seeds(site);
    while bodies.len() < count {
        bodies.push(body(site, &mut random));
    }
    let named = bodies.into_iter().enumerate();
    named.map(|(number, body)| format!("policy_name=decide-{number} policy_version=1.0.0\n{body}")).collect()
}

/// Each with a reason; what stands below the first line.
pub fn seeds(site: &Site) -> Vec<String> {
    let [signed, unsigned] = site.root_hashes().map(|digest| digest.to_string());
    let upper = |digest: &str| {
        let (algorithm, hex) = digest.split_once(':').expect("a digest has an algorithm");
        format!("{algorithm}:{}", hex.to_uppercase())
    };
    let file = |name: &str, algorithm| site.file_digest(name, algorithm).to_string();
    let sha256 = file("program", Algorithm::Sha256);
    let sha512 = file("program", Algorithm::Sha512);
    let all_defaults = |allowed: &[&str]| -> String {
        let line = |op: Op| {
            let action = if allowed.contains(&op.name()) { "ALLOW" } else { "DENY" };
            format!("DEFAULT op={op} action={action}\n")
        };
        Op::ALL.into_iter().map(line).collect()
    };
    vec![
        // All properties that can be TRUE, one rule each; what is not asked for falls to its own default.
        format!(
            "DEFAULT action=DENY\nDEFAULT op=POLICY action=ALLOW\nop=EXECUTE boot_verified=TRUE action=ALLOW\n\
             op=EXECUTE dmverity_signature=TRUE action=ALLOW\nop=EXECUTE dmverity_roothash={unsigned} action=ALLOW\n\
             op=EXECUTE fsverity_signature=TRUE action=ALLOW\nop=EXECUTE fsverity_digest={sha512} action=ALLOW\n\
             op=KMODULE fsverity_signature=TRUE action=ALLOW\nop=KMODULE boot_verified=TRUE action=ALLOW\n\
             op=FIRMWARE dmverity_signature=TRUE action=ALLOW\nop=KEXEC_IMAGE fsverity_signature=TRUE action=ALLOW\n"
        ),
        // FALSE is true of what nobody vouches for, and of what there is no file of.
        "DEFAULT action=ALLOW\nop=EXECUTE fsverity_signature=FALSE dmverity_signature=FALSE boot_verified=FALSE action=DENY\n\
         op=KMODULE fsverity_signature=FALSE boot_verified=TRUE action=DENY\nop=KMODULE dmverity_signature=FALSE action=DENY\n\
         op=FIRMWARE boot_verified=FALSE action=DENY\nDEFAULT op=KEXEC_IMAGE action=DENY\n"
            .to_owned(),
        // As an image of ours has it.
        format!(
            "DEFAULT action=DENY\nop=EXECUTE dmverity_roothash={signed} action=ALLOW\n\
             op=KMODULE dmverity_roothash={signed} action=ALLOW\nop=FIRMWARE dmverity_roothash={signed} action=ALLOW\n"
        ),
        // A default for each operation, and none for all.
        all_defaults(&["EXECUTE", "FIRMWARE", "KEXEC_IMAGE"]),
        format!("{}op=EXECUTE boot_verified=FALSE action=DENY\n", all_defaults(&["KMODULE", "POLICY"])),
        // The first rule that matches decides, whatever follows; one without a property matches all.
        format!(
            "op=EXECUTE fsverity_digest={sha256} action=DENY\nop=EXECUTE fsverity_signature=TRUE action=ALLOW\n\
             op=EXECUTE dmverity_roothash={signed} action=ALLOW\nop=EXECUTE dmverity_roothash={signed} action=DENY\n\
             op=EXECUTE action=DENY\nop=EXECUTE boot_verified=TRUE action=ALLOW\nop=KMODULE action=ALLOW\n\
             op=KMODULE boot_verified=TRUE action=DENY\nDEFAULT action=DENY\n"
        ),
        // The other answer to each.
        format!(
            "op=EXECUTE boot_verified=TRUE action=DENY\nop=EXECUTE dmverity_roothash={unsigned} action=DENY\n\
             op=EXECUTE dmverity_roothash={signed} action=DENY\nop=EXECUTE fsverity_digest={sha512} action=DENY\n\
             op=EXECUTE fsverity_digest={sha256} action=ALLOW\nop=EXECUTE fsverity_signature=TRUE action=DENY\n\
             op=EXECUTE fsverity_signature=FALSE action=ALLOW\nop=KMODULE dmverity_signature=TRUE action=DENY\n\
             op=KMODULE dmverity_signature=FALSE action=ALLOW\nop=FIRMWARE boot_verified=FALSE action=ALLOW\n\
             DEFAULT op=FIRMWARE action=DENY\nDEFAULT action=DENY\n"
        ),
        // Digits of either case; algorithms and lengths that fit nothing match nothing.
        format!(
            "DEFAULT action=DENY\nop=EXECUTE fsverity_digest={} action=ALLOW\nop=EXECUTE dmverity_roothash={} action=ALLOW\n\
             op=KMODULE dmverity_roothash=SHA256:{} action=ALLOW\nop=KMODULE fsverity_digest=sha256: action=ALLOW\n\
             op=FIRMWARE dmverity_roothash={}00 action=ALLOW\nop=FIRMWARE dmverity_roothash={} action=ALLOW\n",
            upper(&sha256),
            upper(&signed),
            signed.trim_start_matches("sha256:"),
            signed,
            upper(&unsigned),
        ),
    ]
}

fn body(site: &Site, random: &mut Random) -> String {
    let action = |random: &mut Random| random.one_of(&["ALLOW", "DENY"]);
    let mut lines: Vec<String> = Vec::new();
    let everything = random.once_in(3);
    for op in Op::ALL {
        if everything || random.once_in(4) {
            lines.push(format!("DEFAULT op={op} action={}", action(random)));
        }
    }
    if !everything {
        lines.push(format!("DEFAULT action={}", action(random)));
    }
    for _ in 0..4 + random.below(14) {
        let op = if random.once_in(2) { "EXECUTE" } else { random.one_of(&ASKED) };
        let count = random.one_of(&[1, 1, 1, 1, 2, 2, 3, 0]);
        let properties: String = (0..count).map(|_| format!(" {}", property(site, random))).collect();
        lines.push(format!("op={op}{properties} action={}", action(random)));
    }
    for at in (1..lines.len()).rev() {
        lines.swap(at, random.below(at as u64 + 1) as usize);
    }
    lines.join("\n") + "\n"
}

/// One that is true of some files, or just not.
fn property(site: &Site, random: &mut Random) -> String {
    let truth = random.one_of(&["TRUE", "TRUE", "FALSE"]);
    match random.below(7) {
        0 => format!("boot_verified={truth}"),
        1 => format!("dmverity_signature={truth}"),
        2 => format!("fsverity_signature={truth}"),
        3 | 4 => {
            let [signed, unsigned] = site.root_hashes();
            let digest = if random.once_in(2) { signed } else { unsigned };
            format!("dmverity_roothash={}", near(&digest.to_string(), random))
        }
        _ => {
            let algorithm = random.one_of(&[Algorithm::Sha256, Algorithm::Sha512]);
            let digest = site.file_digest(random.one_of(&FILES), algorithm);
            format!("fsverity_digest={}", near(&digest.to_string(), random))
        }
    }
}

/// A digest, mostly as it is.
fn near(digest: &str, random: &mut Random) -> String {
    let (algorithm, hex) = digest.split_once(':').expect("a digest has an algorithm");
    match random.below(8) {
        0 => format!("{algorithm}:{}", hex.to_uppercase()),
        1 => format!("{algorithm}:{}", &hex[2..]),
        2 => format!("{algorithm}:00{}", &hex[2..]),
        3 => format!("{}:{hex}", random.one_of(&["sha512", "sha256", "SHA256", "sha256-avx2", "\"", "é"])),
        _ => digest.to_owned(),
    }
}
