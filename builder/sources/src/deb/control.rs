//! A package's `control` file (deb-control(5)): one paragraph of fields.
#![deny(clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use crate::Problem;

/// The fields of a package, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    fields: Vec<(String, String)>,
}

impl Control {
    /// Reads one paragraph; `Package`, `Version` and `Architecture` must be there and well-formed.
    ///
    /// # Errors
    /// [`Problem::Damaged`], which names line or field.
    pub fn parse(text: &[u8]) -> Result<Self, Problem> {
        let bad = |message: String| Problem::Damaged(message);
        let text = std::str::from_utf8(text).map_err(|_| bad("the control file is not UTF-8".to_owned()))?;
        let mut fields: Vec<(String, String)> = Vec::new();
        let mut ended = false;
        for (number, line) in (1..).zip(text.lines()) {
            let here = |what: &str| bad(format!("line {number} of the control file: {what}"));
            if line.trim_ascii().is_empty() {
                ended |= !fields.is_empty();
                continue;
            }
            if ended {
                return Err(here("a second paragraph; a package has one"));
            }
            if line.starts_with([' ', '\t']) {
                let (_, value) = fields.last_mut().ok_or_else(|| here("a continuation of nothing"))?;
                value.push('\n');
                value.push_str(line.trim_end());
                continue;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| here("no `Field: value`"))?;
            let proper = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
            if !proper || name.starts_with(['-', '#']) {
                return Err(here("no field name before the colon"));
            }
            if fields.iter().any(|(present, _)| present.eq_ignore_ascii_case(name)) {
                return Err(here(&format!("the field `{name}` occurs twice")));
            }
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
        let control = Self { fields };
        for (field, well_formed) in [
            ("Package", is_package_name as fn(&str) -> bool),
            ("Version", is_version),
            ("Architecture", is_architecture),
        ] {
            let value = control.field(field).unwrap_or_default();
            if !well_formed(value) {
                let found = if value.is_empty() { "is missing".to_owned() } else { format!("is `{value}`") };
                return Err(bad(format!(
                    "the control file's field `{field}` {found}, which no package can have"
                )));
            }
        }
        Ok(control)
    }

    /// A field's value; names are compared without case. Lines of a folded field are joined by newlines.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// All fields in their order.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `Package`.
    pub fn package(&self) -> &str {
        self.field("Package").unwrap_or_default()
    }

    /// `Version`.
    pub fn version(&self) -> &str {
        self.field("Version").unwrap_or_default()
    }

    /// `Architecture`, which may be `all`.
    pub fn architecture(&self) -> &str {
        self.field("Architecture").unwrap_or_default()
    }

    /// Name of the source package: `Source` without its version, or the package's own name.
    pub fn source(&self) -> &str {
        let source = self.field("Source").unwrap_or_else(|| self.package());
        source.split([' ', '(']).next().unwrap_or_default()
    }

    /// Whether `Essential: yes` is there.
    pub fn is_essential(&self) -> bool {
        self.field("Essential") == Some("yes")
    }
}

/// Debian Policy 5.6.7; upper case occurs in third-party packages.
fn is_package_name(name: &str) -> bool {
    name.len() > 1
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte))
}

/// Debian Policy 5.6.12.
fn is_version(version: &str) -> bool {
    version.bytes().any(|byte| byte.is_ascii_digit())
        && version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".+-:~".contains(&byte))
}

fn is_architecture(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Control, String> {
        Control::parse(text.as_bytes()).map_err(|problem| problem.to_string())
    }

    #[test]
    fn fields_are_found_without_case_and_folded_ones_whole() {
        let control = parsed(
            "Package: linux-binary\nsource: linux (7.3.4-1)\nVersion: 1:7.3-1~bpo+1\nArchitecture: amd64\n\
             Essential: yes\nDescription: one\n two\n .\n three\n\n",
        )
        .unwrap();
        assert_eq!((control.package(), control.source()), ("linux-binary", "linux"));
        assert_eq!((control.version(), control.architecture()), ("1:7.3-1~bpo+1", "amd64"));
        assert_eq!(control.field("description"), Some("one\n two\n .\n three"));
        assert!(control.is_essential());
    }

    #[test]
    fn what_dpkg_would_not_take_is_refused_by_line_or_field() {
        let sound = "Package: ab\nVersion: 1\nArchitecture: all\n";
        assert!(parsed(sound).is_ok());
        for (text, message) in [
            (format!("{sound}package: x\n"), "line 4 of the control file: the field `package` occurs twice"),
            (format!("{sound}nothing\n"), "line 4 of the control file: no `Field: value`"),
            (format!(" x\n{sound}"), "line 1 of the control file: a continuation of nothing"),
            (format!("{sound}\nA: b\n"), "line 5 of the control file: a second paragraph; a package has one"),
            (
                sound.replace("ab", "../ab"),
                "the control file's field `Package` is `../ab`, which no package can have",
            ),
            (
                sound.replace("Version: 1\n", ""),
                "the control file's field `Version` is missing, which no package can have",
            ),
        ] {
            assert_eq!(parsed(&text).unwrap_err(), message);
        }
    }
}
