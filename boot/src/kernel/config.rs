//! A kernel's configuration (`.config`), as Kconfig writes it.

use std::collections::BTreeMap;

/// What a symbol is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `=y`
    Yes,
    /// `=m`
    Module,
    /// Not set, or not there: an absent symbol is one whose dependencies are off.
    No,
    /// A string without its quotes, or a number as written.
    Text(String),
}

/// All symbols of one kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config(BTreeMap<String, Value>);

/// Why a text is no kernel configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A line that is neither an assignment nor a comment.
    #[error("line {line}: expected CONFIG_NAME=VALUE or a comment, found '{found}'")]
    Line {
        /// Counted from 1.
        line: usize,
        /// Its beginning.
        found: String,
    },
    /// One symbol, two values.
    #[error("line {line}: CONFIG_{symbol} was already set to something else")]
    Twice {
        /// Counted from 1.
        line: usize,
        /// Without `CONFIG_`.
        symbol: String,
    },
    /// No symbol at all.
    #[error("no CONFIG_ line: this is no kernel configuration")]
    Empty,
}

impl Config {
    /// Parses a configuration. Strict: a torn or merged file must not read as a kernel without the missing symbols.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        let mut symbols = BTreeMap::new();
        for (line, number) in text.lines().zip(1..) {
            let error = || ConfigError::Line { line: number, found: line.chars().take(60).collect() };
            let (symbol, value) = if line.starts_with('#') || line.trim().is_empty() {
                match line.strip_prefix("# CONFIG_").and_then(|l| l.strip_suffix(" is not set")) {
                    Some(symbol) => (symbol, Value::No),
                    None => continue,
                }
            } else {
                let (symbol, value) =
                    line.strip_prefix("CONFIG_").and_then(|l| l.split_once('=')).ok_or_else(error)?;
                (symbol, parse_value(value).ok_or_else(error)?)
            };
            let named = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
            if symbol.is_empty() || !symbol.bytes().all(named) {
                return Err(error());
            }
            if symbols.insert(symbol.to_owned(), value.clone()).is_some_and(|before| before != value) {
                return Err(ConfigError::Twice { line: number, symbol: symbol.to_owned() });
            }
        }
        if symbols.is_empty() { Err(ConfigError::Empty) } else { Ok(Self(symbols)) }
    }

    /// The value of a symbol, named without `CONFIG_`.
    pub fn get(&self, symbol: &str) -> &Value {
        self.0.get(symbol).unwrap_or(&Value::No)
    }

    /// Every symbol that is named, without `CONFIG_`, in alphabetical order.
    pub fn symbols(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// `=y`: compiled into the kernel.
    pub fn is_built_in(&self, symbol: &str) -> bool {
        *self.get(symbol) == Value::Yes
    }

    /// `=y` or `=m`.
    pub fn is_on(&self, symbol: &str) -> bool {
        matches!(self.get(symbol), Value::Yes | Value::Module)
    }

    /// The string (or number) of a symbol, `""` where it is not set.
    pub fn text(&self, symbol: &str) -> &str {
        match self.get(symbol) {
            Value::Text(text) => text,
            Value::Yes | Value::Module | Value::No => "",
        }
    }
}

fn parse_value(value: &str) -> Option<Value> {
    Some(match value {
        "y" => Value::Yes,
        "m" => Value::Module,
        "n" => Value::No,
        _ => match value.strip_prefix('"') {
            Some(rest) => Value::Text(unescape(rest.strip_suffix('"')?)?),
            None if value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && !value.is_empty() => {
                Value::Text(value.to_owned())
            }
            None => return None,
        },
    })
}

/// Kconfig puts a backslash before `"` and `\` and before nothing else.
fn unescape(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => return None,
            '\\' => out.push(chars.next()?),
            c => out.push(c),
        }
    }
    Some(out)
}
