//! `[ … ]`, and what else scripts ask before they do something.

use std::cmp::Ordering;

use debversion::Version;
use graven_image::tree::Kind;

use super::Unknown;
use super::run::Shell;

impl Shell<'_, '_> {
    /// `test EXPRESSION`
    pub(crate) fn test(&mut self, words: &[String]) -> Result<bool, Unknown> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.alternatives(&words)
    }

    fn alternatives(&mut self, words: &[&str]) -> Result<bool, Unknown> {
        if let Some(at) = joint(words, "-o") {
            return Ok(self.alternatives(&words[..at])? || self.alternatives(&words[at + 1..])?);
        }
        if let Some(at) = joint(words, "-a") {
            return Ok(self.alternatives(&words[..at])? && self.alternatives(&words[at + 1..])?);
        }
        match words {
            [] => Ok(false),
            [text] => Ok(!text.is_empty()),
            ["!", rest @ ..] => Ok(!self.alternatives(rest)?),
            ["-n", text] => Ok(!text.is_empty()),
            ["-z", text] => Ok(text.is_empty()),
            [operator @ ("-e" | "-f" | "-d" | "-x" | "-r" | "-w" | "-s" | "-L" | "-h" | "-S"), path] => {
                self.file_test(operator, path)
            }
            [left, "=" | "==", right] => Ok(left == right),
            [left, "!=", right] => Ok(left != right),
            [left, operator @ ("-eq" | "-ne" | "-lt" | "-le" | "-gt" | "-ge"), right] => {
                let (Ok(left), Ok(right)) = (left.parse::<i64>(), right.parse::<i64>()) else {
                    return self.unknown(format!("the comparison `{}`", words.join(" ")));
                };
                Ok(ordered(left.cmp(&right), operator.trim_start_matches('-')))
            }
            _ => self.unknown(format!("the condition `[ {} ]`", words.join(" "))),
        }
    }

    fn file_test(&self, operator: &str, path: &str) -> Result<bool, Unknown> {
        // What a running system has there, and an image at rest has not.
        if path.is_empty() || ["/run/", "/proc/", "/sys/"].iter().any(|top| path.starts_with(top)) {
            return Ok(false);
        }
        self.path(path)?;
        if matches!(operator, "-L" | "-h") {
            return Ok(self.world.link_target(path).is_some());
        }
        let found = self.world.find(path);
        Ok(match operator {
            "-f" => found.is_some_and(|inode| matches!(inode.kind, Kind::File(_))),
            "-d" => found.is_some_and(|inode| matches!(inode.kind, Kind::Directory(_))),
            "-s" => found.is_some_and(|inode| matches!(&inode.kind, Kind::File(content) if content.len > 0)),
            "-x" => self.world.is_executable(path),
            "-S" => false,
            _ => found.is_some(),
        })
    }

    /// `dpkg --compare-versions`: an empty version is earlier than any, or with `-nl` later.
    pub(crate) fn compare_versions(&self, left: &str, operator: &str, right: &str) -> Result<bool, Unknown> {
        let (operator, empty_is_later) = match operator.strip_suffix("-nl") {
            Some(operator) => (operator, true),
            None => (operator, false),
        };
        let order = match (left.is_empty(), right.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) if empty_is_later => Ordering::Greater,
            (true, false) => Ordering::Less,
            (false, true) if empty_is_later => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => match (left.parse::<Version>(), right.parse::<Version>()) {
                (Ok(left), Ok(right)) => left.cmp(&right),
                _ => return self.unknown(format!("the versions `{left}` and `{right}`")),
            },
        };
        let operator = match operator {
            "<<" => "lt",
            "<=" | "<" => "le",
            "=" => "eq",
            ">=" | ">" => "ge",
            ">>" => "gt",
            word => word,
        };
        match operator {
            "lt" | "le" | "eq" | "ne" | "ge" | "gt" => Ok(ordered(order, operator)),
            _ => self.unknown(format!("the comparison `{operator}`")),
        }
    }
}

fn ordered(order: Ordering, operator: &str) -> bool {
    match operator {
        "lt" => order.is_lt(),
        "le" => order.is_le(),
        "eq" => order.is_eq(),
        "ne" => order.is_ne(),
        "ge" => order.is_ge(),
        _ => order.is_gt(),
    }
}

/// Where `-a` or `-o` stands between two expressions.
fn joint(words: &[&str], operator: &str) -> Option<usize> {
    let inner = words.get(1..words.len().saturating_sub(1))?;
    inner.iter().position(|word| *word == operator).map(|at| at + 1)
}
