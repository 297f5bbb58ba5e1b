//! Findings in SARIF 2.1.0 (OASIS), which code scanning services read.

use std::path::Path;

use graven_ipe::lines;
use graven_ipe::lint::{Code, Finding};
use serde_json::{Value, json};

use super::judged::Judged;

/// One run of the tool over these policies.
pub(super) fn log(all: &[(&Path, Judged)]) -> Value {
    let rules: Vec<Value> = Code::ALL
        .iter()
        .map(|code| {
            json!({
                "id": code.as_str(),
                "name": code.name(),
                "shortDescription": { "text": code.meaning() },
                "defaultConfiguration": { "level": code.severity().name() },
            })
        })
        .collect();
    let results: Vec<Value> = all
        .iter()
        .flat_map(|(path, judged)| {
            let lines: Vec<&[u8]> = lines(&judged.text).collect();
            judged.findings.iter().map(|finding| result(path, &lines, finding)).collect::<Vec<_>>()
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "graven", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(path: &Path, lines: &[&[u8]], finding: &Finding) -> Value {
    let at = finding.at;
    let line = lines.get(at.line - 1).copied().unwrap_or_default();
    // SARIF counts characters, the kernel bytes.
    let column = |byte: usize| String::from_utf8_lossy(&line[..byte.min(line.len())]).chars().count() + 1;
    let (start, end) = (column(at.column - 1), column(at.column - 1 + at.length));
    json!({
        "ruleId": finding.code.as_str(),
        "ruleIndex": Code::ALL.iter().position(|code| *code == finding.code),
        "level": finding.severity.name(),
        "message": { "text": format!("{}; {}", finding.message, finding.help) },
        "locations": [{
            "physicalLocation": {
                "artifactLocation": { "uri": uri(path) },
                "region": { "startLine": at.line, "startColumn": start, "endColumn": end.max(start) },
            },
        }],
    })
}

/// A path as a relative reference or a `file:` URI.
fn uri(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let quoted: String = path
        .as_os_str()
        .as_bytes()
        .iter()
        .map(|&byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    if path.is_absolute() { format!("file://{quoted}") } else { quoted }
}
