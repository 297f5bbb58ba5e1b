//! The environment compiled into a U-Boot: what it starts with where none is stored.

/// The variables, in their order; empty where none are found. The builder of U-Boot puts them down as `name=value`, each
/// ended by NUL (`include/env_default.h`).
pub(super) fn compiled_in(program: &[u8]) -> Vec<(String, String)> {
    let texts: Vec<&[u8]> = program.split(|byte| *byte == 0).collect();
    let runs = texts.split(|text| variable(text).is_none());
    // Other lists of this form may be in a program: every environment says at what speed the console runs, or what to boot.
    let known = |(name, _): &(&str, &str)| TELLING.contains(name);
    let mut found = runs.map(|run| run.iter().filter_map(|text| variable(text)).collect::<Vec<_>>());
    let environment = found.find(|variables| variables.len() >= LEAST && variables.iter().any(known));
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    environment.unwrap_or_default().into_iter().map(owned).collect()
}

/// The value of a variable.
pub(super) fn value<'e>(environment: &'e [(String, String)], name: &str) -> Option<&'e str> {
    environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn variable(text: &[u8]) -> Option<(&str, &str)> {
    let (name, value) = std::str::from_utf8(text).ok()?.split_once('=')?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.,:/#".contains(&byte);
    let named = !name.is_empty() && name.bytes().all(plain);
    let printable =
        value.bytes().all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
    (named && printable).then_some((name, value))
}

/// Variables of which every environment has one.
const TELLING: [&str; 4] = ["bootcmd", "bootdelay", "baudrate", "loadaddr"];
/// Variables that make a list.
const LEAST: usize = 2;
