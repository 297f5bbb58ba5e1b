//! What words stand for.

use graven_image::tree::{Kind, TreePath};

use super::Unknown;
use super::lex::{PartKind, Word};
use super::parse::{Node, Simple, parse};
use super::run::Shell;

/// Where programs are looked for.
const FOLDERS: [&str; 4] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];

/// Where what a command writes goes.
pub(crate) struct Output {
    /// The file.
    pub(crate) path: String,
    /// Whether it is added at its end.
    pub(crate) append: bool,
    /// What is written, where a here document says so.
    pub(crate) document: Option<String>,
}

impl Shell<'_, '_> {
    /// A word as one text, not split.
    pub(crate) fn joined(&mut self, word: &Word) -> Result<String, Unknown> {
        let mut text = String::new();
        for part in &word.0 {
            text.push_str(&self.part(&part.kind)?);
        }
        Ok(text)
    }

    /// A word as arguments of a command.
    pub(crate) fn fields(&mut self, word: &Word) -> Result<Vec<String>, Unknown> {
        let mut fields: Vec<String> = Vec::new();
        let (mut open, mut pattern) = (false, false);
        for part in &word.0 {
            if part.quoted && part.kind == PartKind::Variable("@".to_owned()) {
                fields.extend(self.arguments.iter().cloned());
                continue;
            }
            let text = self.part(&part.kind)?;
            let literal = matches!(part.kind, PartKind::Text(_));
            if part.quoted || literal {
                pattern |= !part.quoted && text.contains(['*', '?']);
                if !open {
                    fields.push(String::new());
                    open = true;
                }
                if let Some(last) = fields.last_mut() {
                    last.push_str(&text);
                }
                continue;
            }
            if text.starts_with(char::is_whitespace) {
                open = false;
            }
            for (index, piece) in text.split_whitespace().enumerate() {
                if index > 0 || !open {
                    fields.push(String::new());
                }
                open = true;
                if let Some(last) = fields.last_mut() {
                    last.push_str(piece);
                }
            }
            if text.ends_with(char::is_whitespace) {
                open = false;
            }
        }
        match fields.as_slice() {
            [field] if pattern => self.files(field),
            _ if pattern => self.unknown("a pattern for names of files in a list"),
            _ => Ok(fields),
        }
    }

    /// The files that a pattern means; itself where there are none.
    fn files(&self, pattern: &str) -> Result<Vec<String>, Unknown> {
        let (folder, name) = pattern.rsplit_once('/').unwrap_or_default();
        if folder.is_empty() || folder.contains(['*', '?']) || name.contains('[') {
            return self.unknown(format!("the pattern `{pattern}` for names of files"));
        }
        let glob: Vec<(char, bool)> = name.chars().map(|c| (c, false)).collect();
        let mut found = self.world.names(folder);
        found.retain(|file| !file.starts_with('.') && glob_matches(&glob, &file.chars().collect::<Vec<_>>()));
        match found.is_empty() {
            true => Ok(vec![pattern.to_owned()]),
            false => Ok(found.into_iter().map(|file| format!("{folder}/{file}")).collect()),
        }
    }

    fn sequence(&self, first: &str, step: &str, last: &str) -> Result<String, Unknown> {
        match (first.parse::<i64>(), step.parse::<i64>(), last.parse::<i64>()) {
            (Ok(first), Ok(step @ (1 | -1)), Ok(last)) if first.abs_diff(last) < 1000 => {
                let numbers =
                    std::iter::successors(Some(first), |number| (*number != last).then_some(number + step));
                Ok(numbers.take(1000).map(|number| number.to_string()).collect::<Vec<_>>().join(" "))
            }
            _ => self.unknown(format!("`seq {first} {step} {last}`")),
        }
    }

    /// Whether a pattern of `case` matches.
    pub(crate) fn matches(&mut self, pattern: &Word, value: &str) -> Result<bool, Unknown> {
        let mut glob = Vec::new();
        for part in &pattern.0 {
            let text = self.part(&part.kind)?;
            if !part.quoted && text.contains('[') {
                return self.unknown("a pattern with brackets");
            }
            glob.extend(text.chars().map(|c| (c, part.quoted)));
        }
        Ok(glob_matches(&glob, &value.chars().collect::<Vec<_>>()))
    }

    fn part(&mut self, part: &PartKind) -> Result<String, Unknown> {
        match part {
            PartKind::Text(text) => Ok(text.clone()),
            PartKind::Variable(expression) => self.variable(expression),
            PartKind::Command(command) => self.substitution(command),
        }
    }

    fn variable(&mut self, expression: &str) -> Result<String, Unknown> {
        let end =
            expression.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(expression.len());
        let (name, operator) = if end == 0 { (expression, "") } else { expression.split_at(end) };
        let value = match name {
            "@" | "*" => self.arguments.join(" "),
            "#" => self.arguments.len().to_string(),
            "?" | "$" | "!" => return self.unknown(format!("the variable `${name}`")),
            "0" => "maintainer-script".to_owned(),
            _ => match name.parse::<usize>() {
                Ok(number) => self.arguments.get(number - 1).cloned().unwrap_or_default(),
                Err(_) => self.variables.get(name).cloned().unwrap_or_default(),
            },
        };
        let set = !value.is_empty();
        match operator {
            "" => Ok(value),
            _ => match (operator.split_at_checked(2), set) {
                (Some((":-", _)), true) | (Some((":=", _)), true) => Ok(value),
                (Some((":+", _)), false) => Ok(String::new()),
                (Some((":-", text)), false) | (Some((":+", text)), true) => Ok(text.to_owned()),
                _ => self.unknown(format!("the expansion `${{{expression}}}`")),
            },
        }
    }

    /// `$(…)`: of a few commands it is known what they answer.
    fn substitution(&mut self, script: &str) -> Result<String, Unknown> {
        let unknown = format!("what `$({})` answers", script.trim());
        let list = parse(script)?;
        let [statement] = list.as_slice() else { return self.unknown(unknown) };
        let Node::Simple(simple) = &statement.node else { return self.unknown(unknown) };
        let mut words = Vec::new();
        for word in &simple.words {
            words.extend(self.fields(word)?);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["command", "-v", name] | ["which", name] => Ok(self.program(name).unwrap_or_default()),
            ["dpkg-divert", "--truename", path] => Ok((*path).to_owned()),
            ["dpkg-divert", "--listpackage", path] => Ok(self.world.diverter(path).unwrap_or_default()),
            ["dirname", path] => Ok(path.rsplit_once('/').map_or(".", |(parent, _)| parent).to_owned()),
            ["basename", path] => Ok(path.rsplit('/').next().unwrap_or_default().to_owned()),
            ["readlink", "-f", path] => {
                let path = self.path(path)?;
                Ok(self.world.tree.canonical(&path).map_or_else(|_| String::new(), |path| path.to_string()))
            }
            ["readlink", path] => Ok(self.world.link_target(path).unwrap_or_default()),
            ["seq", first, step, last] => self.sequence(first, step, last),
            ["id", "-u", user] => {
                Ok(self.world.accounts.uid(user).map_or_else(String::new, |uid| uid.to_string()))
            }
            _ => self.unknown(unknown),
        }
    }

    /// The path of a program, where the tree has it.
    pub(crate) fn program(&self, name: &str) -> Option<String> {
        if name.starts_with('/') {
            return self.world.is_executable(name).then(|| name.to_owned());
        }
        FOLDERS.iter().map(|folder| format!("{folder}/{name}")).find(|path| self.world.is_executable(path))
    }

    /// Where a command's output goes, unless nowhere that stays.
    pub(crate) fn output(&mut self, simple: &Simple, words: &[String]) -> Result<Option<Output>, Unknown> {
        let mut output = None;
        for (operator, target) in &simple.redirects {
            let target = self.joined(target)?;
            match (operator.as_str(), target.as_str()) {
                (_, "/dev/null") | (">&" | "2>&" | "1>&", "1" | "2") => {}
                (">" | "1>", path) => {
                    output = Some(Output { path: path.to_owned(), append: false, document: None });
                }
                (">>" | "1>>", path) => {
                    output = Some(Output { path: path.to_owned(), append: true, document: None });
                }
                _ => return self.unknown(format!("the redirection `{operator} {target}`")),
            }
        }
        let document = match &simple.document {
            Some((text, literal)) if *literal || !text.contains(['$', '`', '\\']) => Some(text.clone()),
            Some(_) if output.is_some() => return self.unknown("a here document that expands something"),
            // Words for a terminal.
            Some(_) | None => None,
        };
        if simple.document.is_some() && output.is_some() && words.first().is_none_or(|name| name != "cat") {
            return self.unknown("a here document for another command than `cat`");
        }
        Ok(output.map(|output| Output { document, ..output }))
    }

    pub(crate) fn path(&self, path: &str) -> Result<TreePath, Unknown> {
        TreePath::parse(path.as_bytes())
            .map_err(|error| Unknown { line: self.line, what: error.to_string() })
            .and_then(|parsed| match path.starts_with('/') {
                true => Ok(parsed),
                false => self.unknown(format!("the relative path `{path}`")),
            })
    }

    pub(crate) fn is_directory(&self, path: &str) -> bool {
        self.world.find(path).is_some_and(|inode| matches!(inode.kind, Kind::Directory(_)))
    }
}

fn glob_matches(pattern: &[(char, bool)], text: &[char]) -> bool {
    match pattern.split_first() {
        None => text.is_empty(),
        Some((('*', false), rest)) => (0..=text.len()).any(|skip| glob_matches(rest, &text[skip..])),
        Some(((c, quoted), rest)) => text.split_first().is_some_and(|(first, after)| {
            (c == first || (*c == '?' && !quoted)) && glob_matches(rest, after)
        }),
    }
}
