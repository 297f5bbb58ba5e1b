//! What apt on this machine reads packages from: `sources.list(5)`, in both its forms. Whoever calls reads the files.

use super::record::Paragraph;

/// One line, or one stanza, of apt's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AptSource {
    /// The repositories' addresses, without a slash at the end.
    pub urls: Vec<String>,
    /// Their suites.
    pub suites: Vec<String>,
}

/// Reads one file: stanzas where its name ends in `.sources`, else a line each. What is disabled, for source packages or
/// not understood is passed over: apt, not this program, is its judge.
#[must_use]
pub fn apt_sources(name: &str, text: &str) -> Vec<AptSource> {
    match name.ends_with(".sources") {
        true => stanzas(text),
        false => text.lines().filter_map(line).collect(),
    }
}

fn stanzas(text: &str) -> Vec<AptSource> {
    // A comment may stand between the lines of a stanza.
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let plain = lines.map(str::trim_end).collect::<Vec<_>>().join("\n");
    let stanzas = plain.split("\n\n").filter_map(|stanza| {
        let paragraph = Paragraph(stanza.trim_matches('\n'));
        let words = |field: &str| -> Vec<String> {
            let value = paragraph.field(field).unwrap_or_default();
            value.split_ascii_whitespace().map(str::to_owned).collect()
        };
        let off = ["no", "false", "0", "off", "disable"];
        if paragraph.field("Enabled").is_some_and(|value| off.contains(&&*value.to_ascii_lowercase())) {
            return None;
        }
        if !words("Types").iter().any(|word| word == "deb") {
            return None;
        }
        source(words("URIs"), words("Suites"))
    });
    stanzas.collect()
}

/// `deb [option=value …] URL SUITE COMPONENT…`
fn line(line: &str) -> Option<AptSource> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?.strip_prefix([' ', '\t'])?.trim_start();
    let rest = match rest.strip_prefix('[') {
        Some(options) => options.split_once(']')?.1,
        None => rest,
    };
    let mut words = rest.split_ascii_whitespace();
    source(vec![words.next()?.to_owned()], vec![words.next()?.to_owned()])
}

fn source(urls: Vec<String>, suites: Vec<String>) -> Option<AptSource> {
    let usable =
        |url: &String| ["http://", "https://", "file:///"].iter().any(|scheme| url.starts_with(scheme));
    let urls: Vec<String> =
        urls.into_iter().filter(usable).map(|url| url.trim_end_matches('/').to_owned()).collect();
    (!urls.is_empty() && !suites.is_empty()).then_some(AptSource { urls, suites })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, suites: &[&str]) -> AptSource {
        AptSource {
            urls: vec![url.to_owned()],
            suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
        }
    }

    #[test]
    fn lines_are_read_as_apt_reads_them() {
        let text = "# deb http://no.example/debian sid main\n\
            deb http://a.example/debian/ bookworm main contrib # the one\n\
            deb [ signed-by=/k.gpg arch=amd64 ] https://b.example/debian trixie main\n\
            deb-src http://a.example/debian bookworm main\n\
            deb cdrom:[Debian]/ bookworm main\ndebian\n";
        let expected =
            [of("http://a.example/debian", &["bookworm"]), of("https://b.example/debian", &["trixie"])];
        assert_eq!(apt_sources("sources.list", text), expected);
    }

    #[test]
    fn stanzas_are_read_as_apt_reads_them() {
        let text = "Types: deb\n# http://snapshot.example\nURIs: http://a.example/debian\nSuites: bookworm\n bookworm-updates\n\
            Components: main\n\nTypes: deb-src\nURIs: http://b.example/debian\nSuites: sid\n\n\
            Enabled: no\nTypes: deb\nURIs: http://c.example/debian\nSuites: sid\n";
        let expected = [of("http://a.example/debian", &["bookworm", "bookworm-updates"])];
        assert_eq!(apt_sources("debian.sources", text), expected);
    }
}
