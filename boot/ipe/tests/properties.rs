//! Whatever the text: parsing does not panic, and what was parsed renders to what parses to the same.

use graven_ipe::lint::{Against, lint};
use graven_ipe::{Facts, Op, Policy};
use proptest::prelude::*;

/// Lines near enough to the grammar that most of the parser is reached.
fn line() -> impl Strategy<Value = String> {
    let token = prop_oneof![
        Just("policy_name=p".to_owned()),
        Just("policy_version=1.0.0".to_owned()),
        Just("DEFAULT".to_owned()),
        Just("action=ALLOW".to_owned()),
        Just("action=DENY".to_owned()),
        (0usize..7).prop_map(|i| format!("op={}", Op::ALL[i])),
        Just("boot_verified=TRUE".to_owned()),
        Just("dmverity_signature=FALSE".to_owned()),
        "dmverity_roothash=[a-z0-9]{0,7}:([0-9a-fA-F]{2}){0,4}",
        "[ -~]{0,8}",
        "#?[\t ]{1,3}",
    ];
    prop::collection::vec(token, 0..5).prop_map(|tokens| tokens.join(" "))
}

fn rule() -> impl Strategy<Value = String> {
    let property = prop_oneof![
        Just("boot_verified=TRUE".to_owned()),
        Just("fsverity_signature=FALSE".to_owned()),
        "dmverity_roothash=[a-z0-9:]{0,3}:",
        "fsverity_digest=[a-z0-9]{0,7}:([0-9a-fA-F]{2}){0,4}",
    ]
    .prop_filter("only the first colon may be followed by no hex", |p| p.matches(':').count() < 2);
    let action = prop_oneof![Just("ALLOW"), Just("DENY")];
    (0usize..7, prop::collection::vec(property, 0..3), action).prop_map(|(op, properties, action)| {
        format!("op={} {} action={action}\n", Op::ALL[op], properties.join("\t"))
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(text in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Policy::parse(&text);
        let _ = lint(&text, &Against::default());
    }

    #[test]
    fn near_misses_never_panic_and_round_trip(lines in prop::collection::vec(line(), 0..8)) {
        let text = lines.join("\n");
        let _ = lint(text.as_bytes(), &Against::default());
        if let Ok(policy) = Policy::parse(text.as_bytes()) {
            prop_assert_eq!(&Policy::parse(&policy.render()).unwrap(), &policy);
        }
    }

    #[test]
    fn policies_round_trip(rules in prop::collection::vec(rule(), 0..12), name in "[!-\"$-~\u{a0}é]{1,9}") {
        let text = format!("policy_name={name} policy_version=7.0.9\nDEFAULT action=DENY\n{}", rules.concat());
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let again = Policy::parse(&policy.render()).unwrap();
        prop_assert_eq!(&again, &policy);
        prop_assert_eq!(again.render(), policy.render());
        for op in Op::ALL {
            prop_assert_eq!(again.evaluate(op, &Facts::default()), policy.evaluate(op, &Facts::default()));
        }
    }
}
