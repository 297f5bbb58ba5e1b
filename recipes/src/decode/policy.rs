//! The IPE policy: what people add to it, or write themselves.

use super::{Choice, machine, rules};
use crate::fields::Fields;
use crate::place::At;
use crate::recipe::{Policy, PolicyRule, State};
use crate::value::Kind;
use crate::words::{PolicyMode, PolicyOp, Profile};

pub(crate) fn policy(mut fields: Fields<'_>, choice: Option<&Choice>) -> Policy {
    let mode: Option<At<PolicyMode>> = fields.word("mode");
    if let (Some(mode), Some(choice)) = (&mode, choice)
        && mode.value == PolicyMode::Audit
        && choice.profile == Profile::Release
    {
        let message = "a release image enforces its policy: `policy.mode` cannot be `audit`";
        fields.report_with_help(
            &mode.place,
            message,
            "say it below [profile.development], and build with --profile development",
        );
    }
    let text = fields.local_path("text");
    let successor = fields.text_like("successor", |path| match path.contains([' ', ':']) {
        true => Err("a path without blanks and colons".to_owned()),
        false => rules::image_path(path),
    });
    let stated = fields.tables("rule");
    if let (Some(text), false) = (&text, stated.is_empty()) {
        let message = "`policy.text` is the whole policy: `policy.rule` adds nothing to it";
        fields.report_with_help(&text.place, message, "write the rules into the text");
    }
    let rules = stated.into_iter().filter_map(rule).collect();
    let accept = fields.reasons("accept", machine::objection);
    fields.finish();
    Policy { mode: mode.map(|mode| mode.value).unwrap_or_default(), text, successor, rules, accept }
}

/// A successor lies on the state, or it could never be written.
pub(crate) fn lies_on_the_state(top: &Fields<'_>, policy: &Policy, state: Option<&State>) {
    let Some(path) = &policy.successor else { return };
    let persisted = state.iter().flat_map(|state| &state.persist);
    let below =
        |folder: &str| path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if !persisted.into_iter().any(|folder| below(folder)) {
        let message = format!("`policy.successor` is `{}`, which is no path of the state", path.value);
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        top.report_with_help(&path.place, message, format!("[state] persist = [\"{folder}\"]"));
    }
}

fn rule(mut fields: Fields<'_>) -> Option<PolicyRule> {
    let place = fields.place().clone();
    let is_empty =
        fields.value("op").is_some_and(|value| matches!(&value.kind, Kind::Array(items) if items.is_empty()));
    let ops: Vec<At<PolicyOp>> = fields.words("op");
    let rule = PolicyRule {
        ops: ops.into_iter().map(|op| op.value).collect(),
        boot_verified: fields.boolean("boot-verified"),
        dmverity_signature: fields.boolean("dmverity-signature"),
        dmverity_roothash: fields.text_like("dmverity-roothash", rules::digest),
        fsverity_signature: fields.boolean("fsverity-signature"),
        fsverity_digest: fields.text_like("fsverity-digest", rules::digest),
        files: fields.patterns("files"),
        action: fields.word("action").map(|word| word.value).unwrap_or_default(),
        place: place.clone(),
    };
    if !fields.has("op") {
        fields.report_with_help(&place, "this rule has no `op`", "op = [\"EXECUTE\"]");
    } else if is_empty {
        fields.report(&place, "this rule names no operation");
    }
    if let (Some(digest), false) = (&rule.fsverity_digest, rule.files.is_empty()) {
        let message = "a rule has either an `fsverity-digest` or `files`, whose digests are computed";
        fields.report(&digest.place, message);
    }
    fields.finish();
    (!rule.ops.is_empty()).then_some(rule)
}
