//! The kernel's audit records, as `dmesg` or the console shows them.

use std::collections::BTreeMap;

/// IPE denied or allowed something.
pub const IPE_ACCESS: u32 = 1420;
/// Another IPE policy became the active one.
pub const IPE_CONFIG_CHANGE: u32 = 1421;
/// A policy was loaded, or was not.
pub const IPE_POLICY_LOAD: u32 = 1422;

/// One record: `audit: type=1420 audit(…): key=value …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// See the constants.
    pub kind: u32,
    /// Values without their quotes.
    pub fields: BTreeMap<String, String>,
}

impl Record {
    /// A field's value; empty where there is none.
    pub fn get(&self, key: &str) -> &str {
        self.fields.get(key).map_or("", String::as_str)
    }
}

/// All records in `text`, in their order. Other lines and what stands before a record are passed over.
pub fn records(text: &str) -> Vec<Record> {
    text.lines().filter_map(record).collect()
}

fn record(line: &str) -> Option<Record> {
    let (_, rest) = line.split_once("audit: type=")?;
    let (kind, rest) = rest.split_once(' ')?;
    let (_, rest) = rest.split_once("): ")?;
    let mut fields = BTreeMap::new();
    let mut rest = rest.trim();
    while let Some((key, after)) = rest.split_once('=') {
        let (value, after) = match after.strip_prefix('"') {
            // The last field; a digest's algorithm in it has quotes of its own.
            Some(quoted) if key == "rule" => (quoted.rsplit_once('"')?.0.to_owned(), ""),
            Some(quoted) => {
                let (value, after) = quoted.split_once('"')?;
                (value.to_owned(), after)
            }
            None => {
                let (value, after) = after.split_once(' ').unwrap_or((after, ""));
                let text = matches!(key.trim(), "path" | "comm");
                let plain = if text { hexadecimal(value) } else { None };
                (plain.unwrap_or_else(|| value.to_owned()), after)
            }
        };
        fields.insert(key.trim().to_owned(), value);
        rest = after.trim_start();
    }
    Some(Record { kind: kind.parse().ok()?, fields })
}

/// A text in which the kernel found blanks, quotes or control characters comes in digits instead of quotes.
fn hexadecimal(digits: &str) -> Option<String> {
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = digits.as_bytes().chunks(2).map(byte).collect();
    let even = digits.len().is_multiple_of(2);
    bytes.filter(|_| even).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_denial_comes_apart_into_its_fields() {
        let line = r#"[   20.1] audit: type=1420 audit(1.2:3): ipe_op=EXECUTE ipe_hook=BPRM_CHECK enforcing=1 pid=7 comm="sh" path="/tmp/a b" dev="tmpfs" ino=2 rule="DEFAULT op=EXECUTE action=DENY""#;
        let found = records(&format!("noise\n{line}\nmore"));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, IPE_ACCESS);
        for (key, value) in [("ipe_hook", "BPRM_CHECK"), ("path", "/tmp/a b"), ("ino", "2"), ("absent", "")] {
            assert_eq!(found[0].get(key), value);
        }
        assert_eq!(found[0].get("rule"), "DEFAULT op=EXECUTE action=DENY");
    }

    #[test]
    fn a_rule_keeps_the_quotes_in_it() {
        let line = r#"audit: type=1420 audit(1.2:3): ipe_op=EXECUTE rule="op=EXECUTE dmverity_roothash="sha256":5A action=ALLOW""#;
        let rule = r#"op=EXECUTE dmverity_roothash="sha256":5A action=ALLOW"#;
        assert_eq!(records(line)[0].get("rule"), rule);
    }

    #[test]
    fn a_path_with_a_blank_is_put_into_letters() {
        let line = "audit: type=1420 audit(1.2:3): ipe_op=EXECUTE pid=24 path=2F6D656D6664206129 dev=\"tmpfs\" ino=10";
        let found = records(line);
        assert_eq!(found[0].get("path"), "/memfd a)");
        assert_eq!(found[0].get("pid"), "24");
        assert_eq!(records("audit: type=1420 audit(1.2:3): path=? dev=?")[0].get("path"), "?");
    }
}
