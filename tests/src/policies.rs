//! Texts for the kernel's policy parser: seeds, then such as a grammar makes, then what a few changes make of those.
//!
//! Every difference that was ever found between the kernel and `graven policy check` belongs among the [`seeds`].

use crate::random::Random;

const HEADER: &[u8] = b"policy_name=p policy_version=1.0.0\n";
const OPS: [&str; 7] =
    ["EXECUTE", "FIRMWARE", "KMODULE", "KEXEC_IMAGE", "KEXEC_INITRAMFS", "POLICY", "X509_CERT"];
/// Numbers at their limits, and what is none.
const NUMBERS: [&str; 24] = [
    "0",
    "1",
    "7",
    "65535",
    "65536",
    "99999",
    "4294967295",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "18446744073709551616x",
    "00000000000000000000000065535",
    "+1",
    "++1",
    "+",
    "-0",
    "-1",
    "",
    "0x10",
    "1e3",
    "1_0",
    "\u{a0}1",
    "1\u{b}",
    "\u{661}",
];
const ALGORITHMS: [&str; 12] = [
    "sha256",
    "sha512",
    "sha384",
    "sha1",
    "SHA256",
    "sha256-avx2",
    "",
    "%s",
    "a=b",
    "sha3-256",
    "é",
    "sha256\u{b}",
];
/// Bytes that mean something to the parser, or to `isspace`, or look as if they did.
const BYTES: &[u8] = b"\0\t\n\r\x0b\x0c #=:.,+-%\"'\\/xXaF09\x7f\x80\x85\xa0\xc2\xe2\xff";
const TOKENS: [&str; 22] = [
    "DEFAULT",
    "default",
    "op=EXECUTE",
    "op=KMODULE",
    "op=ALL",
    "op=",
    "OP=EXECUTE",
    "op=EXECUTE,KMODULE",
    "action=ALLOW",
    "action=DENY",
    "action=deny",
    "action=",
    "action=AUDIT",
    "boot_verified=TRUE",
    "boot_verified=FALSE",
    "boot_verified=true",
    "boot_verified",
    "dmverity_signature=TRUE",
    "fsverity_signature=FALSE",
    "policy_name=p",
    "policy_version=1.0.0",
    "dmverity_roothash=",
];

/// So many texts, the [`seeds`] first. The same for the same numbers.
pub fn texts(count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Random::new(seed);
    let mut all = seeds();
    while all.len() < count {
        let mut text = well_formed(&mut random);
        // An eighth stays as it is; of the rest most have one change, since the first fault decides.
        let changes = random.one_of(&[0, 1, 1, 1, 1, 2, 2, 3]);
        for _ in 0..changes {
            change(&mut text, &mut random);
        }
        all.push(text);
    }
    all
}

/// Cases with a reason, one a line of the parser and of what lies behind it.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    // Whole texts.
    for text in [
        &b""[..],
        b"\0",
        b"\n",
        b" ",
        b"#",
        b"\xa0",
        b"policy_name=p policy_version=1.0.0",
        HEADER,
        b"policy_name=p policy_version=1.0.0\rDEFAULT action=DENY",
        b"policy_name=p policy_version=1.0.0\r\nDEFAULT action=DENY\r\n",
        b"\n\r\n\r policy_name=p\t\tpolicy_version=1.0.0 \t\nDEFAULT\taction=DENY\x0b\x0c\xa0\n",
        b"\x0bpolicy_name=p policy_version=1.0.0\nDEFAULT action=DENY\n",
        b"policy_name=p\xa0policy_version=1.0.0\nDEFAULT action=DENY\n",
        b"policy_name=p policy_version=1.0.0\xa0\nDEFAULT action=DENY\n",
        b"policy_name=p policy_version=1.0.0 \xc2\xa0\nDEFAULT action=DENY\n",
        b"\xef\xbb\xbfpolicy_name=p policy_version=1.0.0\nDEFAULT action=DENY\n",
        b"policy_version=1.0.0 policy_name=p\nDEFAULT action=DENY\n",
        b"policy_name=p policy_version=1.0.0 policy_name=q\nDEFAULT action=DENY\n",
        b"policy_name=p policy_name=q policy_version=1.0.0\nDEFAULT action=DENY\n",
        b"policy_name=p#policy_version=1.0.0\nDEFAULT action=DENY\n",
        b"DEFAULT action=DENY\npolicy_name=p policy_version=1.0.0\n",
        b"policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\npolicy_name=p policy_version=1.0.0\n",
        b"policy_name=p policy_version=1.0.0\n\0DEFAULT action=DENY\n",
        b"policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\0x",
        b"policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\n\0op=WRONG action=DENY\n",
        b"policy_name=p policy_version=1.0.0\nDEFAULT action=DENY # \xff\x01 anything\n#x\n",
    ] {
        all.push(text.to_vec());
    }
    // Names, and what the kernel's folder of them takes.
    let long = |length: usize| "n".repeat(length);
    for name in [
        ".",
        "..",
        "...",
        "a/b",
        "/",
        "é",
        "\"q\"",
        "a=b",
        "=",
        "%s",
        "name",
        "a\\b",
        "\u{7f}",
        "a\u{b}b",
        "policies",
        &long(255),
        &long(256),
        &long(4095),
        &format!("{}/", long(300)),
        "",
    ] {
        all.push(format!("policy_name={name} policy_version=1.0.0\nDEFAULT action=DENY\n").into_bytes());
    }
    // Versions.
    for number in NUMBERS {
        for version in [
            format!("{number}.0.0"),
            format!("1.{number}.x"),
            format!("1.0.{number}"),
            format!("1.2.3.{number}"),
        ] {
            all.push(format!("policy_name=p policy_version={version}\nDEFAULT action=DENY\n").into_bytes());
        }
    }
    for version in ["1", "1.2", ".", "..", "...", "1.2.3.", "65536.x.0.0", "x.65536.0", "1.2.3.4.x"] {
        all.push(format!("policy_name=p policy_version={version}\nDEFAULT action=DENY\n").into_bytes());
    }
    // Lines after the header, alone and behind a default.
    let odd = "a".repeat(63);
    for line in [
        "action=DENY",
        "DEFAULT",
        "op=EXECUTE",
        "DEFAULT action=DENY action=DENY",
        "DEFAULT DEFAULT action=DENY",
        "DEFAULT op=EXECUTE action=DENY",
        "DEFAULT op=EXECUTE op=EXECUTE action=DENY",
        "op=EXECUTE DEFAULT action=DENY",
        "DEFAULT boot_verified=TRUE action=DENY",
        "DEFAULT op=EXECUTE boot_verified=TRUE action=DENY",
        "DEFAULT op=EXECUTE dmverity_roothash=x:zz action=DENY",
        "DEFAULT op=EXECUTE dmverity_roothash=x:zz action=MAYBE",
        "op=EXECUTE boot_verified=TRUE",
        "boot_verified=TRUE op=EXECUTE action=DENY",
        "op=EXECUTE action=DENY x",
        "op=EXECUTE  boot_verified=TRUE\t\taction=DENY",
        "op=EXECUTE action=DENY#c",
        "op=EXECUTE action=DEN#Y",
        "op=EXECUTE #action=DENY",
        "op=EXECUTE\u{b}action=DENY",
        "op=EXECUTE dmverity_roothash=sha256 action=DENY",
        "op=EXECUTE dmverity_roothash=: action=DENY",
        "op=EXECUTE dmverity_roothash=:: action=DENY",
        "op=EXECUTE dmverity_roothash=sha256: action=DENY",
        "op=EXECUTE dmverity_roothash=sha256:a action=DENY",
        "op=EXECUTE dmverity_roothash=sha256:aB action=DENY",
        "op=EXECUTE dmverity_roothash=sha256:0x action=DENY",
        "op=EXECUTE fsverity_digest=sha256:zz action=WRONG",
        "op=WRONG fsverity_digest=sha256:zz action=DENY",
        "op=EXECUTE boot_verified=TRUE boot_verified=TRUE boot_verified=FALSE action=DENY",
        "op=EXECUTE action=ALLOW=",
        "op=EXECUTE=x action=ALLOW",
        "op=EXECUTE boot_verified=TRUEx action=ALLOW",
        "op=execute action=ALLOW",
        "DEFAULTx action=DENY",
        "DEFAULT\u{a0}action=DENY",
        "op=UNKNOWN action=DENY",
        "op=%s action=DENY",
        &format!("op=EXECUTE fsverity_digest=sha256:{odd} action=DENY"),
        &format!("op=EXECUTE fsverity_digest={odd}:00 action=DENY"),
    ] {
        all.push([HEADER, line.as_bytes(), b"\n"].concat());
        all.push([HEADER, b"DEFAULT action=DENY\n", line.as_bytes()].concat());
    }
    // Defaults: every operation but one, all, one twice.
    let defaults =
        |ops: &[&str]| ops.iter().map(|op| format!("DEFAULT op={op} action=DENY\n")).collect::<String>();
    for left_out in 0..OPS.len() {
        let ops: Vec<&str> =
            OPS.iter().copied().enumerate().filter(|(at, _)| *at != left_out).map(|(_, op)| op).collect();
        all.push([HEADER, defaults(&ops).as_bytes()].concat());
    }
    all.push([HEADER, defaults(&OPS).as_bytes()].concat());
    all.push([HEADER, defaults(&OPS).as_bytes(), b"DEFAULT op=POLICY action=ALLOW\n"].concat());
    // Long: a line of many properties, many lines, a long comment; the last does not fit the kernel's decoder.
    all.push(
        [
            HEADER,
            b"DEFAULT action=DENY\nop=EXECUTE ",
            "boot_verified=TRUE ".repeat(2000).as_bytes(),
            b"action=ALLOW",
        ]
        .concat(),
    );
    all.push([HEADER, b"DEFAULT action=DENY\n", "op=EXECUTE action=DENY\n".repeat(2500).as_bytes()].concat());
    all.push([HEADER, b"DEFAULT action=DENY\n#", "x".repeat(60_000).as_bytes()].concat());
    all
}

/// A policy that the kernel takes, in one of its many forms.
fn well_formed(random: &mut Random) -> Vec<u8> {
    let mut lines = vec![header(random)];
    let mut defaults: Vec<Option<&str>> =
        OPS.iter().copied().map(Some).filter(|_| random.once_in(4)).collect();
    defaults.push(None);
    if random.once_in(6) {
        defaults = OPS.iter().copied().map(Some).collect();
    }
    for op in defaults {
        let op = op.map(|op| format!("op={op}"));
        let words = ["DEFAULT".to_owned()].into_iter().chain(op).chain([action(random)]);
        lines.push(words.collect());
    }
    for _ in 0..random.below(6) {
        let mut words = vec![format!("op={}", random.one_of(&OPS))];
        words.extend((0..random.one_of(&[0, 1, 1, 1, 2, 3])).map(|_| property(random)));
        words.push(action(random));
        lines.push(words);
    }
    // The header is first; the others stand in any order.
    for at in (2..lines.len()).rev() {
        lines.swap(at, 1 + random.below(at as u64) as usize);
    }
    let end = random.one_of(&["\n", "\n", "\n", "\r\n", "\r", "\n\n", "\n\r"]);
    let mut text = String::new();
    for words in lines {
        for _ in 0..random.one_of(&[0, 0, 0, 1, 2]) {
            text += random.one_of(&[" ", "\t"]);
        }
        let gap = random.one_of(&[" ", " ", " ", "\t", "  ", " \t "]);
        text += &words.join(gap);
        text += random.one_of(&["", "", "", " ", "\t", "\u{b}", "\u{c}", " # why", "#", "#é\u{1}"]);
        text += end;
        if random.once_in(8) {
            text += random.one_of(&["# a line of its own", " ", "\t#", ""]);
            text += end;
        }
    }
    text.into_bytes()
}

fn header(random: &mut Random) -> Vec<String> {
    let name = random.one_of(&["p", "acme-fw", "a.b_c-d", "0", "é", "\"q\"", "a=b", "policy_name=x", "."]);
    let part = |random: &mut Random| random.one_of(&["0", "1", "7", "65535", "+1", "007"]);
    let (major, minor, revision) = (part(random), part(random), part(random));
    vec![format!("policy_name={name}"), format!("policy_version={major}.{minor}.{revision}")]
}

fn action(random: &mut Random) -> String {
    random.one_of(&["action=ALLOW", "action=DENY"]).to_owned()
}

fn property(random: &mut Random) -> String {
    let truth = random.one_of(&["TRUE", "FALSE"]);
    match random.below(5) {
        0 => format!("boot_verified={truth}"),
        1 => format!("dmverity_signature={truth}"),
        2 => format!("fsverity_signature={truth}"),
        which => {
            let algorithm = random.one_of(&ALGORITHMS);
            let bytes = random.one_of(&[0, 1, 20, 32, 32, 32, 48, 64, 65]);
            let hex: String = random.bytes(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            let hex = if random.once_in(3) { hex.to_uppercase() } else { hex };
            let name = if which == 3 { "dmverity_roothash" } else { "fsverity_digest" };
            format!("{name}={algorithm}:{hex}")
        }
    }
}

/// One change to a text.
fn change(text: &mut Vec<u8>, random: &mut Random) {
    if text.is_empty() {
        text.push(random.one_of(BYTES));
        return;
    }
    let at = random.below(text.len() as u64) as usize;
    match random.below(14) {
        0 => text.insert(at, random.one_of(BYTES)),
        1 => text[at] = random.one_of(BYTES),
        2 => drop(text.remove(at)),
        3 => text.truncate(at),
        4 => text[at] ^= 1 << random.below(8),
        5 => text[at] = random.any() as u8,
        6 => change_words(text, random, |words, at, _| drop(words.remove(at))),
        7 => change_words(text, random, |words, at, _| words.insert(at, words[at].clone())),
        8 => change_words(text, random, |words, at, random| {
            let other = random.below(words.len() as u64) as usize;
            words.swap(at, other);
        }),
        9 | 10 => change_words(text, random, |words, at, random| {
            words.insert(at, random.one_of(&TOKENS).as_bytes().to_vec());
        }),
        11 => change_words(text, random, |words, at, random| {
            words[at] = random.one_of(&TOKENS).as_bytes().to_vec();
        }),
        12 => change_words(text, random, |words, _, random| {
            let version =
                [random.one_of(&NUMBERS), random.one_of(&NUMBERS), random.one_of(&NUMBERS)].join(".");
            if let Some(word) = words.iter_mut().find(|word| word.starts_with(b"policy_version=")) {
                *word = format!("policy_version={version}").into_bytes();
            }
        }),
        _ => {
            // A line twice, or moved.
            let mut lines: Vec<Vec<u8>> = text.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
            let (from, to) = (random.below(lines.len() as u64), random.below(lines.len() as u64));
            let line = lines[from as usize].clone();
            if random.once_in(2) {
                lines.remove(from as usize);
            }
            lines.insert((to as usize).min(lines.len()), line);
            *text = lines.join(&b'\n');
        }
    }
}

/// Changes the words between blanks; the line ends stay inside the words that they are next to.
fn change_words(
    text: &mut Vec<u8>,
    random: &mut Random,
    change: impl Fn(&mut Vec<Vec<u8>>, usize, &mut Random),
) {
    let mut words: Vec<Vec<u8>> = text.split(|&byte| byte == b' ').map(<[u8]>::to_vec).collect();
    let at = random.below(words.len() as u64) as usize;
    change(&mut words, at, random);
    *text = words.join(&b' ');
}

#[cfg(test)]
mod tests {
    use graven_ipe::Policy;

    /// Texts of which all are refused, or all with the same errno, would judge nothing.
    #[test]
    fn the_texts_are_right_and_wrong_in_many_ways() {
        let texts = super::texts(1000, 1);
        let count = |errno: Option<&str>| {
            texts
                .iter()
                .filter(|text| Policy::parse(text).err().map(|error| error.errno.name()) == errno)
                .count()
        };
        for (errno, least) in
            [(None, 200), (Some("EBADMSG"), 250), (Some("EINVAL"), 40), (Some("ERANGE"), 20)]
        {
            assert!(count(errno) >= least, "{errno:?}: {}", count(errno));
        }
    }
}
