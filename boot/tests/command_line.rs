//! The line that is signed: order, limit, and what a recipe may not add.
#![allow(clippy::unwrap_used)]

use graven_boot::cmdline::{BuildError, CommandLine, Guard, Parts, PolicyPlacement, build};
use graven_handoff::{Binding, Enforcement, KernelLockdown, PolicySource, RootHash};
use graven_targets::CommandLineLimit;

fn limit(limit: usize) -> CommandLineLimit {
    CommandLineLimit { limit, reserve: 200, additions: Vec::new() }
}

fn line(policy: &[u8], extra: &[&str], max: usize) -> Result<(String, PolicyPlacement), BuildError> {
    line_without(&[], policy, extra, max)
}

fn line_without(
    left_out: &[Guard],
    policy: &[u8],
    extra: &[&str],
    max: usize,
) -> Result<(String, PolicyPlacement), BuildError> {
    let root_hash = RootHash::from_hex(&"0f".repeat(32)).unwrap();
    let extra: Vec<String> = extra.iter().map(|&word| word.to_owned()).collect();
    let built = build(&Parts {
        consoles: &["tty0".to_owned(), "ttyS0,115200".to_owned()],
        root_hash: &root_hash,
        signed_policy: policy,
        enforcement: Enforcement::Enforce,
        lockdown: KernelLockdown::Integrity,
        left_out,
        extra: &extra,
        limit: &limit(max),
    })?;
    Ok((built.line.as_str().to_owned(), built.policy))
}

#[test]
fn the_order_is_fixed_and_the_line_ends_the_kernels_parameters() {
    let (text, placement) = line(&[0x30, 0x03], &["quiet", "a=\"b c\""], 2048).unwrap();
    assert_eq!(
        text,
        format!(
            "console=tty0 console=ttyS0,115200 roothash={} graven.policy=MAM= ipe.enforce=1 \
             dm_verity.require_signatures=1 lockdown=integrity proc_mem.force_override=never nohibernate quiet a=\"b c\" --",
            "0f".repeat(32)
        )
    );
    assert_eq!(placement, PolicyPlacement::Inline);
    assert_eq!(Binding::parse(&text).unwrap().policy, PolicySource::Inline(vec![0x30, 0x03]));
}

#[test]
fn a_guard_leaves_the_line_only_where_the_recipe_says_so() {
    let whole = line(&[1], &[], 2048).unwrap().0;
    for guard in Guard::ALL {
        let without = line_without(&[guard], &[1], &[], 2048).unwrap().0;
        assert_eq!(without, whole.replace(&format!(" {}", guard.word()), ""));
        assert_ne!(without, whole);
    }
}

#[test]
fn the_policy_moves_to_the_initramfs_exactly_when_the_line_passes_the_budget() {
    let fits = line(&[7; 300], &[], 4096).unwrap().0.len();
    let at_budget = fits + 200 + 1;
    assert_eq!(line(&[7; 300], &[], at_budget).unwrap().1, PolicyPlacement::Inline);
    let (text, placement) = line(&[7; 300], &[], at_budget - 1).unwrap();
    assert_eq!(placement, PolicyPlacement::Initramfs);
    assert!(matches!(Binding::parse(&text).unwrap().policy, PolicySource::Sha256(_)));
    let error = line(&[7; 300], &["quiet"], 300).unwrap_err();
    assert!(error.to_string().contains("the limit is 300 less 200 reserve"), "{error}");
}

#[test]
fn contradictions_are_refused_in_every_spelling() {
    for word in [
        "ipe.enforce=0",
        "lsm=yama",
        "roothash=00",
        "rdinit=/x",
        "init=/x",
        "graven.policy=",
        "lockdown=none",
        "noinitrd",
        "root=/dev/vdb",
        "\"rdinit=/x\"",
        "rd\"init\"=/x",
        "proc-mem.force-override=always",
        "proc_mem.force_override=always",
        "graven.policy-sha256=0",
        "--",
        "sysctl.kernel.yama.ptrace_scope=0",
        "sysctl.kernel/yama/ptrace_scope=0",
        "sysctl.kernel.usermodehelper.bset=0",
        "sysctl.vm.memfd-noexec=0",
        "module.sig_enforce=0",
        "module.sig-enforce",
        "initcall_blacklist=ipe_init",
        "initcall-blacklist=ipe_init",
        "hibernate=yes",
        "dm_verity.require_signatures=0",
        "dm-mod.create=x",
        "bootconfig",
        "audit=0",
    ] {
        assert!(matches!(line(&[1], &[word], 2048), Err(BuildError::Contradicts { .. })), "{word}");
    }
    for word in ["a b", "", "a\nb", "a\"b", " a", "é", "a\0"] {
        let error = line(&[1], &[word], 2048).unwrap_err();
        assert!(matches!(error, BuildError::NotOneWord(_) | BuildError::Line(_)), "{word:?}: {error}");
    }
    for word in ["initial=1", "rooted", "quiet", "sysctl.net.ipv4.ip_forward=1", "systemd.unit=x.target"] {
        line(&[1], &[word], 2048).unwrap();
    }
}

#[test]
fn a_line_is_one_line_of_ascii() {
    for bad in ["a\n", "a\tb", "a\"", " a", "a ", "\u{a0}", "a\0b"] {
        assert!(CommandLine::parse(bad).is_err(), "{bad:?}");
    }
    assert_eq!(CommandLine::parse("a \"b c\" d").unwrap().words().count(), 3);
}
