//! Whether something was refused, and by whom.

use graven_tests::audit;
use graven_tests::guest::Guest;

/// Who refuses, and where that shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum By<'a> {
    /// The policy: these audit records, each of an operation, hook and path (`?` where there is no file), and no others.
    Policy(&'a [(&'a str, &'a str, &'a str)]),
    /// Another part of the kernel, which writes this; and the policy was not asked.
    Line(&'a str),
    /// Another part of the kernel, which says no more than its error number; and the policy was not asked.
    Silence,
}

/// An attack, what its steps must say, and by whom it is refused.
pub(crate) type Attempt<'a> = (&'a str, &'a [(&'a str, &'a str)], By<'a>);

/// Tries all of them; panics with everything that was not as expected.
pub(crate) fn all_refused(guest: &mut Guest, attempts: &[Attempt<'_>]) {
    let wrong: Vec<String> = attempts.iter().flat_map(|attempt| refused(guest, attempt)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn refused(guest: &mut Guest, (attack, steps, by): &Attempt<'_>) -> Vec<String> {
    guest.succeed("dmesg -c >/dev/null");
    let done = guest.shell(&format!("attack {attack}"));
    let log = guest.kernel_log();
    let mut wrong = Vec::new();
    let mut expect = |good: bool, what: String| {
        if !good {
            wrong.push(format!("{attack}: {what}\n  it said: {}\n  the kernel: {}", done.text, log.trim()));
        }
    };
    expect(done.status == 1, format!("expected exit status 1 (refused), found {}", done.status));
    let name = attack.split(' ').next().unwrap_or_default();
    for (step, expected) in *steps {
        let found = done.step(name, step);
        expect(found == Some(expected), format!("{step}: expected {expected}, found {found:?}"));
    }
    let records = audit::records(&log);
    let denials: Vec<_> = records.iter().filter(|record| record.kind == audit::IPE_ACCESS).collect();
    match by {
        By::Policy(expected) => {
            let found: Vec<_> = denials
                .iter()
                .filter(|denial| {
                    denial.get("enforcing") == "1" && denial.get("rule").ends_with("action=DENY")
                })
                .map(|denial| (denial.get("ipe_op"), denial.get("ipe_hook"), denial.get("path")))
                .collect();
            expect(found == *expected, format!("the policy: expected {expected:?}, found {found:?}"));
        }
        By::Line(line) => {
            expect(log.contains(line), format!("the kernel did not say `{line}`"));
            expect(denials.is_empty(), "the policy was asked".into());
        }
        By::Silence => expect(denials.is_empty(), "the policy was asked".into()),
    }
    wrong
}
