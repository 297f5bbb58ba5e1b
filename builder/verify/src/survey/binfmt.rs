//! Interpreters that are registered with `binfmt_misc` for files of other kinds, as `systemd-binfmt` reads them.

use graven_image::tree::{Kind, TreePath};

use super::Looked;

const FOLDERS: [&str; 2] = ["/usr/lib/binfmt.d", "/etc/binfmt.d"];
/// Bytes that such a file may have.
const MOST_BYTES: u64 = 1 << 16;

/// The interpreters that the root registers.
pub(super) fn interpreters(looked: &Looked<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for folder in FOLDERS {
        let Some(id) = looked.find(folder) else { continue };
        let Kind::Directory(names) = &looked.root.inode(id).kind else { continue };
        for name in names.keys().filter(|name| name.ends_with(b".conf")) {
            let path = [folder.as_bytes(), b"/", name].concat();
            let text = TreePath::parse(&path).and_then(|path| looked.root.read(&path, MOST_BYTES));
            let text = text.unwrap_or_default();
            found.extend(String::from_utf8_lossy(&text).lines().filter_map(interpreter));
        }
    }
    found
}

/// `:NAME:TYPE:OFFSET:MAGIC:MASK:INTERPRETER:FLAGS`, where the first character is what separates.
fn interpreter(line: &str) -> Option<String> {
    let line = line.trim_start();
    let separator = line.chars().next().filter(|c| !"#;".contains(*c))?;
    line.split(separator).nth(6).filter(|path| path.starts_with('/')).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registration_names_its_interpreter_after_its_own_separator() {
        assert_eq!(interpreter(":x:M::\\x7fELF::/usr/bin/qemu:F"), Some("/usr/bin/qemu".to_owned()));
        assert_eq!(interpreter("|x|E||py||/usr/bin/python3|"), Some("/usr/bin/python3".to_owned()));
        for line in ["", "# :x:M::a::/usr/bin/x:", ":x:M::a::relative:"] {
            assert_eq!(interpreter(line), None, "{line}");
        }
    }
}
