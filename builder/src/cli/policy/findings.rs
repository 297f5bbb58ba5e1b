//! What is found in a root, as more than one verb tells it.

use graven_verify::survey::Problem;
use serde_json::{Value, json};

/// Without what a terminal would obey.
pub(super) fn visible(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// A line for people.
pub(super) fn to_text(problem: &Problem) -> String {
    let (severity, code) = (problem.severity, problem.code);
    format!("{severity}[{code}]: {}: {}\n", visible(&problem.path), visible(&problem.message))
}

/// The same for programs.
pub(super) fn to_json(problem: &Problem) -> Value {
    json!({
        "code": problem.code.as_str(),
        "name": problem.code.name(),
        "severity": problem.severity.name(),
        "path": problem.path,
        "message": problem.message,
    })
}
