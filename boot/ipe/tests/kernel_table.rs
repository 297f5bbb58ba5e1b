//! Every row of the kernel parser's behaviour (`security/ipe/policy_parser.c`, 7.3.4), one test each.

use graven_ipe::{Action, Errno, Matched, Op, Policy, PolicyVersion, Property};

const HEADER: &str = "policy_name=p policy_version=1.2.3\n";

fn errno(text: impl AsRef<[u8]>) -> Errno {
    Policy::parse(text.as_ref()).expect_err("the kernel refuses this").errno
}

fn ok(text: impl AsRef<[u8]>) -> Policy {
    Policy::parse(text.as_ref()).expect("the kernel accepts this")
}

/// The errno of a policy that is right but for this line.
fn rule_errno(line: &str) -> Errno {
    errno(format!("{HEADER}DEFAULT action=DENY\n{line}\n"))
}

fn rule_ok(line: &str) -> Policy {
    ok(format!("{HEADER}DEFAULT action=DENY\n{line}\n"))
}

fn version_errno(version: &str) -> Errno {
    errno(format!("policy_name=p policy_version={version}\nDEFAULT action=DENY\n"))
}

#[test]
fn zero_length_text() {
    assert_eq!(errno(""), Errno::Ebadmsg);
    assert_eq!(errno("\n # only a comment \r\n"), Errno::Ebadmsg);
}

#[test]
fn header_missing_swapped_with_extra_token_or_empty_value() {
    assert_eq!(errno("DEFAULT action=DENY\n"), Errno::Ebadmsg);
    assert_eq!(errno("policy_version=1.0.0 policy_name=p\nDEFAULT action=DENY\n"), Errno::Ebadmsg);
    assert_eq!(errno("policy_name=p policy_version=1.0.0 extra\nDEFAULT action=DENY\n"), Errno::Ebadmsg);
    assert_eq!(errno("policy_name= policy_version=1.0.0\nDEFAULT action=DENY\n"), Errno::Ebadmsg);
    assert_eq!(errno("policy_name=p policy_version=\nDEFAULT action=DENY\n"), Errno::Ebadmsg);
    assert_eq!(errno("policy_name=p\nDEFAULT action=DENY\n"), Errno::Ebadmsg);
    assert_eq!(rule_errno("op=EXECUTE dmverity_roothash= action=ALLOW"), Errno::Ebadmsg);
    assert_eq!(rule_errno("op=EXECUTE fsverity_digest= action=ALLOW"), Errno::Ebadmsg);
}

#[test]
fn second_header_line() {
    assert_eq!(errno(format!("{HEADER}{HEADER}DEFAULT action=DENY\n")), Errno::Ebadmsg);
}

#[test]
fn version_with_two_or_four_parts() {
    assert_eq!(version_errno("1.2"), Errno::Ebadmsg);
    assert_eq!(version_errno("1.2.3.4"), Errno::Ebadmsg);
    // A fourth is not looked at; that there are too few is found last.
    assert_eq!(version_errno("1.2.3.65536"), Errno::Ebadmsg);
    assert_eq!(version_errno("1.2.3.x"), Errno::Ebadmsg);
    assert_eq!(version_errno("1.x"), Errno::Einval);
}

#[test]
fn version_part_over_65535() {
    assert_eq!(version_errno("1.65536.0"), Errno::Erange);
    assert_eq!(version_errno("99999999999999999999999.0.0"), Errno::Erange);
    assert_eq!(version_errno("99999999999999999999999x.0.0"), Errno::Erange);
    assert_eq!(version_errno("70000x.0.0"), Errno::Einval);
}

#[test]
fn version_part_empty_negative_or_not_a_number() {
    for version in ["1..0", ".0.0", "-1.0.0", "a.0.0", "+.0.0", "++1.0.0", "1.0.0x", "0x1.0.0"] {
        assert_eq!(version_errno(version), Errno::Einval, "{version}");
    }
}

#[test]
fn version_part_with_plus_or_leading_zeros() {
    let policy = ok("policy_name=p policy_version=+1.007.65535\nDEFAULT action=DENY\n");
    assert_eq!(policy.version(), PolicyVersion::new(1, 7, 65535));
}

#[test]
fn unknown_op_property_action_or_token_after_the_action() {
    for line in [
        "op=ALL action=ALLOW",
        "op=execute action=ALLOW",
        "op= action=ALLOW",
        "op=EXECUTE flavour=TRUE action=ALLOW",
        "op=EXECUTE boot_verified=true action=ALLOW",
        "op=EXECUTE boot_verified=TRUE action=MAYBE",
        "op=EXECUTE action=ALLOW boot_verified=TRUE",
        "op=EXECUTE action=ALLOW action=ALLOW",
        "op=EXECUTE op=EXECUTE action=ALLOW",
        "op=EXECUTE",
    ] {
        assert_eq!(rule_errno(line), Errno::Ebadmsg, "{line}");
    }
}

#[test]
fn rule_without_op_and_without_default() {
    assert_eq!(rule_errno("action=ALLOW"), Errno::Ebadmsg);
    assert_eq!(rule_errno("boot_verified=TRUE action=ALLOW"), Errno::Ebadmsg);
}

#[test]
fn default_with_a_property() {
    assert_eq!(rule_errno("DEFAULT op=EXECUTE boot_verified=TRUE action=ALLOW"), Errno::Ebadmsg);
    assert_eq!(rule_errno("DEFAULT boot_verified=TRUE action=ALLOW"), Errno::Ebadmsg);
    // The property is parsed before the rule is judged.
    assert_eq!(rule_errno("DEFAULT op=EXECUTE dmverity_roothash=a:x action=ALLOW"), Errno::Einval);
}

#[test]
fn second_default() {
    assert_eq!(rule_errno("DEFAULT action=DENY"), Errno::Ebadmsg);
    assert_eq!(rule_errno("DEFAULT op=POLICY action=DENY\nDEFAULT op=POLICY action=DENY"), Errno::Ebadmsg);
    rule_ok("DEFAULT op=POLICY action=DENY\nDEFAULT op=KMODULE action=DENY");
}

#[test]
fn rule_without_property_matches_unconditionally() {
    let policy = rule_ok("op=KMODULE action=ALLOW");
    let verdict = policy.evaluate(Op::Kmodule, &graven_ipe::Facts::default());
    assert_eq!((verdict.action, verdict.by), (Action::Allow, Matched::Rule(0)));
}

#[test]
fn repeated_rules_and_properties() {
    let rule = "op=EXECUTE boot_verified=TRUE boot_verified=TRUE action=ALLOW";
    assert_eq!(rule_ok(&format!("{rule}\n{rule}")).rules().len(), 2);
}

#[test]
fn digest_without_colon() {
    assert_eq!(rule_errno("op=EXECUTE dmverity_roothash=sha256 action=ALLOW"), Errno::Ebadmsg);
}

#[test]
fn digest_of_odd_length_or_not_hex() {
    for value in ["sha256:abc", "sha256:xy", "sha256:ab:cd", "sha256:a"] {
        let line = format!("op=EXECUTE fsverity_digest={value} action=ALLOW");
        assert_eq!(rule_errno(&line), Errno::Einval, "{value}");
    }
}

#[test]
fn digest_of_unknown_algorithm_wrong_length_or_empty() {
    for value in ["SHA256:ab", "sha256:ab", "sha256:", ":", "whirlpool:00"] {
        let policy = rule_ok(&format!("op=EXECUTE dmverity_roothash={value} action=ALLOW"));
        let [Property::DmverityRoothash(digest)] = policy.rules()[0].properties.as_slice() else {
            panic!("one digest property")
        };
        assert_eq!(digest.algorithm(), None, "{value}");
    }
}

#[test]
fn no_global_default_and_not_all_operations_covered() {
    let six: String =
        Op::ALL[..6].iter().map(|op| format!("DEFAULT op={op} action=DENY\n")).collect::<Vec<_>>().join("");
    assert_eq!(errno(format!("{HEADER}{six}")), Errno::Ebadmsg);
    let policy = ok(format!("{HEADER}{six}DEFAULT op=X509_CERT action=DENY\n"));
    assert_eq!(policy.evaluate_unmapped().by, Matched::Nothing);
    assert_eq!(policy.evaluate_unmapped().action, Action::Allow);
}

#[test]
fn nul_ends_the_policy() {
    let policy = ok(format!("{HEADER}DEFAULT action=DENY\n\0op=EXECUTE action=ALLOW\n"));
    assert!(policy.rules().is_empty());
    assert_eq!(errno("\0policy_name=p policy_version=1.0.0\nDEFAULT action=DENY\n"), Errno::Ebadmsg);
}

#[test]
fn cr_lf_crlf_tabs_comments_and_trailing_space() {
    let text = "\t policy_name=p#x\r\n";
    assert_eq!(errno(text), Errno::Ebadmsg);
    let policy = ok("# c\r \tpolicy_name=p\t policy_version=1.0.0 \x0b\x0c # c\r\n\
                     DEFAULT\taction=DENY#c\rop=EXECUTE   action=ALLOW \t\n");
    assert_eq!(policy.rules().len(), 1);
    // The kernel's isspace counts Latin-1's no-break space, at a line's end only.
    assert_eq!(
        ok(b"policy_name=\xa0n policy_version=1.0.0\xa0\nDEFAULT action=DENY").name().as_bytes(),
        b"\xa0n"
    );
}

#[test]
fn names_that_securityfs_takes_no_folder_of() {
    let errno = |name: &str| {
        Policy::load(format!("policy_name={name} policy_version=1.0.0\nDEFAULT action=DENY\n").as_bytes())
            .err()
            .map(|error| error.errno)
    };
    for name in [".", "..", "a/b", "/", &format!("{}/", "n".repeat(300))] {
        assert_eq!(errno(name), Some(Errno::Eacces), "{name}");
    }
    assert_eq!(errno(&"n".repeat(256)), Some(Errno::Enametoolong));
    for name in ["...", "\"", "é", &"n".repeat(255)] {
        assert_eq!(errno(name), None, "{name}");
    }
}

#[test]
fn missing_last_newline() {
    ok(format!("{HEADER}DEFAULT action=DENY"));
}

#[test]
fn errors_say_where_and_what() {
    let error = Policy::parse(b"policy_name=p policy_version=1.0.0\n\n  op=EXEC action=ALLOW\n").unwrap_err();
    assert_eq!((error.at.line, error.at.column, error.at.length), (3, 3, 7));
    assert_eq!(error.help.as_deref(), Some("did you mean op=EXECUTE?"));
    assert!(error.to_string().contains("found 'op=EXEC'"), "{error}");
    assert!(error.to_string().ends_with("(the kernel answers EBADMSG)"), "{error}");
}
