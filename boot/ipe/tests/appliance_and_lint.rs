//! The policy every image carries, its decisions, and what the linter says of worse ones.

use graven_ipe::lint::{Code, lint};
use graven_ipe::*;

fn root() -> Digest {
    Digest::from_hex(Algorithm::Sha256, &"ab".repeat(32)).expect("64 digits")
}

fn appliance() -> Policy {
    let name = PolicyName::new("acme-fw").expect("portable");
    Policy::appliance(name, PolicyVersion::new(2, 4, 1), root(), &APPLIANCE_OPS)
}

fn codes(rules: &str) -> Vec<Code> {
    let text = format!("policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\n{rules}\n");
    lint(text.as_bytes()).into_iter().map(|f| f.code).collect()
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
    assert_eq!(lint(&appliance().render()), []);
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
    let named = lint(b"policy_name=a/b policy_version=1.0.0\nDEFAULT action=DENY\n");
    assert_eq!(named[0].code, Code::Name);
}

#[test]
fn lint_says_line_and_column() {
    let findings = lint(
        b"policy_name=p policy_version=1.0.0\r\nDEFAULT action=DENY\r\n\
          op=EXECUTE dmverity_roothash=sha256:ab action=ALLOW\n",
    );
    assert_eq!((findings[0].line, findings[0].column), (3, 12));
    assert!(findings[0].to_string().starts_with("3:12: IPE-06: "), "{}", findings[0]);
}
