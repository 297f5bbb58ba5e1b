//! The policy every image carries, its decisions, and what the linter says of worse ones.

use graven_ipe::lint::{Against, Code, Finding, Severity, lint};
use graven_ipe::*;

fn root() -> Digest {
    Digest::from_hex(Algorithm::Sha256, &"ab".repeat(32)).expect("64 digits")
}

fn appliance() -> Policy {
    let name = PolicyName::new("acme-fw").expect("portable");
    Policy::appliance(name, PolicyVersion::new(2, 4, 1), root(), &APPLIANCE_OPS)
}

/// What is found in these rules behind a DEFAULT that denies, but for notes.
fn codes(rules: &str) -> Vec<Code> {
    found(format!("policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\n{rules}\n"))
        .into_iter()
        .filter(|finding| finding.code != Code::NoAllow && finding.severity > Severity::Note)
        .map(|finding| finding.code)
        .collect()
}

fn found(text: impl AsRef<[u8]>) -> Vec<Finding> {
    lint(text.as_ref(), &Against::default())
}

#[test]
fn the_appliance_text_is_what_was_reviewed() {
    let hex = "ab".repeat(32);
    let expected = format!(
        "policy_name=acme-fw policy_version=2.4.1\nDEFAULT action=DENY\n\
         op=EXECUTE dmverity_roothash=sha256:{hex} action=ALLOW\n\
         op=KMODULE dmverity_roothash=sha256:{hex} action=ALLOW\n\
         op=FIRMWARE dmverity_roothash=sha256:{hex} action=ALLOW\n"
    );
    assert_eq!(appliance().render(), expected.as_bytes());
    let [note] = &found(expected)[..] else { panic!("one note") };
    assert_eq!((note.code, note.severity), (Code::NoAllow, Severity::Note));
    assert!(note.message.ends_with(": KEXEC_IMAGE, KEXEC_INITRAMFS, POLICY, X509_CERT"), "{note}");
}

#[test]
fn the_appliance_allows_its_root_and_denies_all_else() {
    let policy = appliance();
    let ours = Facts { dmverity_roothash: Some(root()), ..Facts::default() };
    let other = Digest::from_hex(Algorithm::Sha256, &"00".repeat(32)).unwrap();
    let strangers = [
        Facts::default(),
        Facts { boot_verified: true, ..Facts::default() },
        Facts { dmverity_roothash: Some(other), dmverity_signature: true, ..Facts::default() },
        Facts { providers: Providers { dm_verity: false, ..Providers::default() }, ..ours.clone() },
    ];
    for op in Op::ALL {
        let bound = APPLIANCE_OPS.contains(&op);
        assert_eq!(policy.evaluate(op, &ours).action == Action::Allow, bound, "{op}");
        for stranger in &strangers {
            assert_eq!(policy.evaluate(op, stranger).action, Action::Deny, "{op} {stranger:?}");
        }
    }
}

#[test]
fn a_property_whose_provider_is_off_is_false_either_way() {
    let facts = |on| Facts {
        providers: Providers { dm_verity_signature: on, ..Providers::default() },
        ..Facts::default()
    };
    assert!(Property::DmveritySignature(false).holds(&facts(true)));
    assert!(!Property::DmveritySignature(false).holds(&facts(false)));
    assert!(!Property::DmveritySignature(true).holds(&facts(false)));
}

#[test]
fn first_matching_rule_decides() {
    let text = "policy_name=p policy_version=1.0.0\nDEFAULT action=ALLOW\nDEFAULT op=KMODULE action=DENY\n\
                op=EXECUTE boot_verified=TRUE dmverity_signature=TRUE action=DENY\n\
                op=EXECUTE boot_verified=TRUE action=ALLOW\nop=EXECUTE action=DENY\n";
    let policy = Policy::parse(text.as_bytes()).unwrap();
    let boot = Facts { boot_verified: true, ..Facts::default() };
    let both = Facts { dmverity_signature: true, ..boot.clone() };
    assert_eq!(policy.evaluate(Op::Execute, &both).by, Matched::Rule(0));
    assert_eq!(policy.evaluate(Op::Execute, &boot).by, Matched::Rule(1));
    assert_eq!(policy.evaluate(Op::Execute, &Facts::default()).by, Matched::Rule(2));
    assert_eq!(policy.evaluate(Op::Kmodule, &boot).by, Matched::OpDefault);
    assert_eq!(policy.evaluate(Op::Policy, &boot).by, Matched::GlobalDefault);
}

#[test]
fn names_that_cannot_be_directories_are_refused() {
    for name in ["", ".", "..", "a/b", "a b", "a#", "é", "\"a\"", &"n".repeat(256)] {
        assert!(PolicyName::new(name).is_err(), "{name}");
    }
    PolicyName::new(&"n".repeat(255)).unwrap();
}

#[test]
fn versions_are_ordered_numerically_and_written_canonically() {
    let version = |text: &str| text.parse::<PolicyVersion>();
    assert!(version("1.10.0").unwrap() > version("1.9.65535").unwrap());
    for text in ["+1.0.0", "01.0.0", "1.0", "1.0.65536", ""] {
        assert!(version(text).is_err(), "{text}");
    }
}

#[test]
fn lint_finds_each_fault() {
    let ok = "ab".repeat(32);
    assert_eq!(codes("op=EXECUTE dmverity_roothash=SHA256:ab action=ALLOW"), [Code::DigestAlgorithm]);
    assert_eq!(codes("op=EXECUTE dmverity_roothash=sha256:ab action=ALLOW"), [Code::DigestLength]);
    let sha384 = "ab".repeat(48);
    assert_eq!(codes(&format!("op=EXECUTE dmverity_roothash=sha384:{sha384} action=ALLOW")), []);
    assert_eq!(
        codes(&format!("op=EXECUTE fsverity_digest=sha384:{sha384} action=ALLOW")),
        [Code::DigestAlgorithm]
    );
    assert_eq!(
        codes("op=EXECUTE action=DENY\nop=EXECUTE boot_verified=TRUE action=DENY"),
        [Code::Unreachable]
    );
    let narrow = format!("op=EXECUTE dmverity_signature=TRUE dmverity_roothash=sha256:{ok} action=ALLOW");
    assert_eq!(
        codes(&format!("op=EXECUTE dmverity_signature=TRUE action=ALLOW\n{narrow}")),
        [Code::Unreachable]
    );
    assert_eq!(codes(&format!("op=KMODULE action=DENY\n{narrow}")), []);
    assert_eq!(codes("op=EXECUTE boot_verified=TRUE boot_verified=FALSE action=DENY"), [Code::Contradiction]);
    assert_eq!(codes("op=EXECUTE action=ALLOW"), [Code::UnconditionalAllow]);
    assert_eq!(codes("op=EXECUTE boot_verified=TRUE action=ALLOW"), [Code::BootVerified]);
    assert_eq!(codes("op=EXECUTE dmverity_signature=FALSE action=ALLOW"), [Code::NegatedAllow]);
    assert_eq!(codes("DEFAULT op=POLICY action=ALLOW"), [Code::DefaultAllow]);
    assert_eq!(codes("op=NONE action=ALLOW"), [Code::Refused]);
    assert_eq!(codes("\0"), [Code::Nul]);
    assert_eq!(codes(&"#".repeat(66_000)), [Code::TooLarge]);
    assert_eq!(found("policy_name=p=q policy_version=1.0.0\nDEFAULT action=DENY\n")[0].code, Code::Name);
    let refused = found("policy_name=a/b policy_version=1.0.0\nDEFAULT action=DENY\n");
    assert_eq!(refused[0].code, Code::Refused);
    assert!(refused[0].message.contains("EACCES"), "{}", refused[0]);
}

#[test]
fn each_operation_without_a_way_to_be_allowed_is_named_and_execute_first() {
    let all = found(
        "policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\nop=KMODULE boot_verified=FALSE action=DENY",
    );
    let no_allow: Vec<&Finding> = all.iter().filter(|finding| finding.code == Code::NoAllow).collect();
    assert_eq!(no_allow[0].severity, Severity::Warning);
    assert!(no_allow[0].message.contains("EXECUTE"));
    assert!(no_allow[1].message.contains("FIRMWARE, KMODULE, KEXEC_IMAGE"), "{}", no_allow[1]);
    assert_eq!(all.iter().filter(|finding| finding.code == Code::Redundant).count(), 1);
}

#[test]
fn a_rule_that_only_repeats_the_default_changes_nothing_unless_another_stands_behind_it() {
    let redundant = |rules: &str| {
        let text = format!("policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\n{rules}\n");
        found(text)
            .iter()
            .filter(|finding| finding.code == Code::Redundant)
            .map(|f| f.at.line)
            .collect::<Vec<_>>()
    };
    let deny = "op=EXECUTE fsverity_signature=TRUE action=DENY";
    let allow = "op=EXECUTE dmverity_signature=TRUE action=ALLOW";
    assert_eq!(redundant(&format!("{deny}\n{allow}")), [0usize; 0]);
    assert_eq!(redundant(&format!("{allow}\n{deny}")), [4]);
    assert_eq!(redundant(&format!("{allow}\n{deny}\nDEFAULT op=EXECUTE action=ALLOW")), [0usize; 0]);
}

#[test]
fn a_rule_that_never_matches_hides_no_other() {
    let never = "op=EXECUTE boot_verified=TRUE boot_verified=FALSE action=DENY";
    let rule = "op=EXECUTE dmverity_signature=TRUE action=ALLOW";
    assert_eq!(codes(&format!("{never}\n{never} \n{rule}")), [Code::Contradiction, Code::Contradiction]);
}

#[test]
fn a_successor_has_the_same_name_and_a_higher_version() {
    let older = Policy::parse(b"policy_name=p policy_version=1.2.3\nDEFAULT action=DENY\n").unwrap();
    let found = |name: &str, version: &str| {
        let text = format!("policy_name={name} policy_version={version}\nDEFAULT action=DENY\n");
        let against = Against { older: Some(&older), ..Against::default() };
        let all = lint(text.as_bytes(), &against);
        all.into_iter().find(|finding| finding.code == Code::NoSuccessor).map(|finding| finding.message)
    };
    assert_eq!(found("p", "1.2.4"), None);
    assert_eq!(found("p", "1.10.0"), None);
    for (name, version, errno) in
        [("p", "1.2.3", "ESTALE"), ("p", "1.1.9", "ESTALE"), ("q", "1.2.4", "EINVAL")]
    {
        assert!(found(name, version).is_some_and(|message| message.contains(errno)), "{name} {version}");
    }
}

#[test]
fn what_a_kernel_does_not_have_is_said() {
    let text = format!(
        "policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\nop=EXECUTE fsverity_signature=TRUE action=ALLOW\n\
         op=EXECUTE dmverity_roothash=sha256:{} action=ALLOW\n",
        "ab".repeat(32)
    );
    let codes = |kernel: Kernel| {
        let all = lint(text.as_bytes(), &Against { kernel, ..Against::default() });
        all.into_iter().filter(|f| f.code != Code::NoAllow).map(|f| (f.code, f.at.line)).collect::<Vec<_>>()
    };
    assert_eq!(codes(Kernel::default()), []);
    let providers = Providers { fs_verity_builtin_sig: false, ..Providers::default() };
    assert_eq!(codes(Kernel { providers, ..Kernel::default() }), [(Code::NotProvided, 3)]);
    let release = "6.18.3".parse().unwrap();
    assert_eq!(codes(Kernel { release, ..Kernel::default() }), [(Code::ScriptsUnasked, 1)]);
}

#[test]
fn releases_are_read_as_uname_writes_them_and_old_ones_have_no_ipe() {
    for (text, shown) in
        [("7.3", "7.3"), ("7.3.4+deb13-amd64", "7.3"), ("6.12.117", "6.12"), ("7.4-rc1", "7.4")]
    {
        assert_eq!(text.parse::<Release>().unwrap().to_string(), shown);
    }
    for text in ["7", "", "7.", ".3", "7.3x", "+7.3", "seven", "7.99999999999"] {
        assert!(matches!(text.parse::<Release>(), Err(ReleaseError::Shape(_))), "{text}");
    }
    assert!(matches!("6.11.9".parse::<Release>(), Err(ReleaseError::NoIpe(_))));
}

#[test]
fn lint_says_line_column_and_length() {
    let findings = found(
        b"policy_name=p policy_version=1.0.0\r\nDEFAULT action=DENY\r\n\
          op=EXECUTE dmverity_roothash=sha256:ab action=ALLOW\n",
    );
    let at = findings[1].at;
    assert_eq!((at.line, at.column, at.length), (3, 12, 27));
    assert!(findings[1].to_string().starts_with("3:12: IPE-06: "), "{}", findings[1]);
    assert!(findings.iter().all(|finding| !finding.help.is_empty()));
}

#[test]
fn the_codes_are_each_their_own_and_in_order() {
    let codes: Vec<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    let expected: Vec<String> = (1..=codes.len()).map(|number| format!("IPE-{number:02}")).collect();
    assert_eq!(codes, expected);
    assert!(Code::ALL.iter().all(|code| code.meaning().ends_with('.') && !code.name().contains(' ')));
}
