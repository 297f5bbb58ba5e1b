//! Which rules decide anything, and which operations can ever be allowed.

use std::collections::HashMap;

use super::{Code, Findings, Severity};
use crate::parse::{Located, Span, Statement};
use crate::policy::{Action, Op, Property, Rule};

/// The sets of properties, each in order, that earlier rules of an operation ask for, and the line of each.
type Earlier<'a> = HashMap<(Op, Vec<&'a Property>), usize>;

pub(super) fn lint(parsed: &Located, findings: &mut Findings) {
    let rules: Vec<(&Rule, Span)> = parsed
        .statements
        .iter()
        .filter_map(|statement| match statement {
            Statement::Rule(index, at, _) => Some((parsed.policy.rules().get(*index)?, *at)),
            Statement::Default(..) => None,
        })
        .collect();
    let mut earlier = Earlier::new();
    let mut deciding = Vec::new();
    for (rule, at) in rules {
        let asked = properties(rule);
        if let Some(name) = contradiction(&asked) {
            findings.add(
                Code::Contradiction,
                at,
                format!("never matches: no file has two values of {name}"),
                "leave one of them out, or write two rules: a rule matches where all its properties do",
            );
        } else if let Some(line) = covering(&earlier, rule.op, &asked) {
            findings.add(
                Code::Unreachable,
                at,
                format!("never reached: line {line} decides all that it could"),
                format!("leave it out, or put it before line {line}"),
            );
        } else {
            earlier.insert((rule.op, asked), at.line);
            deciding.push((rule, at));
        }
    }
    for op in Op::ALL {
        let of_op: Vec<(&Rule, Span)> = deciding.iter().copied().filter(|(rule, _)| rule.op == op).collect();
        redundant(parsed, op, &of_op, findings);
    }
    no_allow(parsed, &deciding, findings);
}

/// Each property once, in an order.
fn properties(rule: &Rule) -> Vec<&Property> {
    let mut all: Vec<&Property> = rule.properties.iter().collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// Two properties of one kind with different values, which can never hold together. They are next to each other.
fn contradiction(properties: &[&Property]) -> Option<&'static str> {
    let pairs = properties.iter().zip(properties.iter().skip(1));
    pairs.into_iter().find(|(one, other)| one.name() == other.name()).map(|(one, _)| one.name())
}

/// The line of an earlier rule each of whose properties this one asks for too. A rule that can match has five properties
/// at most, so these are 32 look-ups.
fn covering(earlier: &Earlier<'_>, op: Op, properties: &[&Property]) -> Option<usize> {
    let subsets = 0u32..1u32.checked_shl(u32::try_from(properties.len()).ok()?)?;
    subsets
        .filter_map(|subset| {
            let chosen = properties.iter().zip(0u32..).filter(|(_, bit)| subset.wrapping_shr(*bit) & 1 == 1);
            earlier.get(&(op, chosen.map(|(property, _)| *property).collect())).copied()
        })
        .min()
}

/// The last rules of an operation that all decide as its default does.
fn redundant(parsed: &Located, op: Op, rules: &[(&Rule, Span)], findings: &mut Findings) {
    let Some(default) = parsed.policy.op_default(op).or(parsed.policy.default()) else { return };
    for (_, at) in rules.iter().rev().take_while(|(rule, _)| rule.action == default) {
        findings.add(
            Code::Redundant,
            *at,
            format!("changes nothing: what it decides, the default of {op} decides too"),
            "leave it out",
        );
    }
}

/// Operations that can never be allowed: one finding for EXECUTE, one for the others together.
fn no_allow(parsed: &Located, deciding: &[(&Rule, Span)], findings: &mut Findings) {
    let denied = |op: &Op| {
        let default = parsed.policy.op_default(*op).or(parsed.policy.default());
        default == Some(Action::Deny)
            && !deciding.iter().any(|(rule, _)| rule.op == *op && rule.action == Action::Allow)
    };
    let (execute, others): (Vec<Op>, Vec<Op>) =
        Op::ALL.into_iter().filter(denied).partition(|op| *op == Op::Execute);
    if !execute.is_empty() {
        findings.add(
            Code::NoAllow,
            parsed.name,
            "nothing can be executed: no rule allows EXECUTE, and its default denies",
            "add op=EXECUTE dmverity_roothash=… action=ALLOW",
        );
        if let Some(finding) = findings.0.last_mut() {
            finding.severity = Severity::Warning;
        }
    }
    if !others.is_empty() {
        let names: Vec<&str> = others.iter().map(|op| op.name()).collect();
        findings.add(
            Code::NoAllow,
            parsed.name,
            format!("always denied, whatever the file: {}", names.join(", ")),
            "add a rule for an operation that the machine needs",
        );
    }
}
