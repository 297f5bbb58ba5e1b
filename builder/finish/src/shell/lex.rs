//! A script's text in words and operators.

use super::Unknown;

/// A piece of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// What it is.
    pub(crate) kind: PartKind,
    /// Whether it stood in quotes: then what it expands to is not split.
    pub(crate) quoted: bool,
}

/// What a [`Part`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PartKind {
    /// Itself.
    Text(String),
    /// `$NAME` or `${EXPRESSION}`, without the dollar and the braces.
    Variable(String),
    /// `$(COMMAND)` or the same in backquotes.
    Command(String),
}

/// A word: what stands together without blanks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Word(pub(crate) Vec<Part>);

impl Word {
    /// The word's text where it has no quotes and expands nothing: what reserved words and operators are.
    pub(crate) fn plain(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part { kind: PartKind::Text(text), quoted: false }] => Some(text),
            _ => None,
        }
    }
}

/// A word or an operator, with the number of its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    /// A word.
    Word(Word),
    /// `;` or the end of a line.
    End,
    /// `;;`
    ArmEnd,
    /// `&&`
    And,
    /// `||`
    Or,
    /// `|`
    Pipe,
    /// `&`
    Background,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `>`, `>>`, `<`, `>&`, with the number of the descriptor; its word follows.
    Redirect(String),
    /// `<<WORD`: the lines up to it. Not expanded where the word was quoted.
    HereDocument {
        /// The lines.
        text: String,
        /// Whether they are taken as they are.
        literal: bool,
    },
}

/// Takes a script apart.
pub(crate) fn tokens(script: &str) -> Result<Vec<(Token, usize)>, Unknown> {
    let mut lexer =
        Lexer { rest: script.chars().collect(), at: 0, line: 1, tokens: Vec::new(), waiting: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer {
    rest: Vec<char>,
    at: usize,
    line: usize,
    tokens: Vec<(Token, usize)>,
    /// Here documents whose lines come after this one: index of the token, delimiter, whether tabs are dropped.
    waiting: Vec<(usize, String, bool)>,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> Option<char> {
        self.rest.get(self.at + ahead).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek(0)?;
        self.at += 1;
        if c == '\n' {
            self.line += 1;
        }
        Some(c)
    }

    fn unknown<T>(&self, what: impl Into<String>) -> Result<T, Unknown> {
        Err(Unknown { line: self.line, what: what.into() })
    }

    fn push(&mut self, token: Token, length: usize) {
        self.tokens.push((token, self.line));
        for _ in 0..length {
            self.next();
        }
    }

    fn run(&mut self) -> Result<(), Unknown> {
        while let Some(c) = self.peek(0) {
            let second = self.peek(1);
            match c {
                ' ' | '\t' => {
                    self.next();
                }
                '\\' if second == Some('\n') => {
                    self.next();
                    self.next();
                }
                '#' => {
                    while self.peek(0).is_some_and(|c| c != '\n') {
                        self.next();
                    }
                }
                '\n' => {
                    self.push(Token::End, 1);
                    self.here_documents()?;
                }
                ';' if second == Some(';') => self.push(Token::ArmEnd, 2),
                ';' => self.push(Token::End, 1),
                '&' if second == Some('&') => self.push(Token::And, 2),
                '&' if second == Some('>') => {
                    self.next();
                    self.redirect("&".to_owned())?;
                }
                '&' => self.push(Token::Background, 1),
                '|' if second == Some('|') => self.push(Token::Or, 2),
                '|' => self.push(Token::Pipe, 1),
                '(' => self.push(Token::Open, 1),
                ')' => self.push(Token::Close, 1),
                '>' | '<' => self.redirect(String::new())?,
                '0'..='9' if matches!(second, Some('>' | '<')) => {
                    self.next();
                    self.redirect(c.to_string())?;
                }
                _ => {
                    let line = self.line;
                    let word = self.word()?;
                    self.tokens.push((Token::Word(word), line));
                }
            }
        }
        Ok(())
    }

    fn redirect(&mut self, mut operator: String) -> Result<(), Unknown> {
        while let Some(c @ ('>' | '<' | '&')) = self.peek(0) {
            operator.push(c);
            self.next();
        }
        if !operator.ends_with("<<") {
            self.tokens.push((Token::Redirect(operator), self.line));
            return Ok(());
        }
        let tabs = self.peek(0) == Some('-');
        if tabs {
            self.next();
        }
        while matches!(self.peek(0), Some(' ' | '\t')) {
            self.next();
        }
        let word = self.word()?;
        let literal = word.0.iter().any(|part| part.quoted);
        let mut delimiter = String::new();
        for part in word.0 {
            match part.kind {
                PartKind::Text(text) => delimiter.push_str(&text),
                _ => return self.unknown("a here document whose end is computed"),
            }
        }
        self.waiting.push((self.tokens.len(), delimiter, tabs));
        self.tokens.push((Token::HereDocument { text: String::new(), literal }, self.line));
        Ok(())
    }

    fn here_documents(&mut self) -> Result<(), Unknown> {
        for (index, delimiter, tabs) in std::mem::take(&mut self.waiting) {
            let mut lines = String::new();
            loop {
                if self.peek(0).is_none() {
                    return self.unknown("a here document without an end");
                }
                let mut line = String::new();
                while let Some(c) = self.next().filter(|c| *c != '\n') {
                    line.push(c);
                }
                let line = if tabs { line.trim_start_matches('\t') } else { &line };
                if line == delimiter {
                    break;
                }
                lines.push_str(line);
                lines.push('\n');
            }
            if let Some((Token::HereDocument { text, .. }, _)) = self.tokens.get_mut(index) {
                *text = lines;
            }
        }
        Ok(())
    }

    fn word(&mut self) -> Result<Word, Unknown> {
        let mut word = Word::default();
        let mut text = String::new();
        fn flush(word: &mut Word, text: &mut String) {
            if !text.is_empty() {
                let kind = PartKind::Text(std::mem::take(text));
                word.0.push(Part { kind, quoted: false });
            }
        }
        while let Some(c) = self.peek(0) {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '(' | ')' | '<' | '>' => break,
                '\\' => {
                    self.next();
                    match self.next() {
                        Some('\n') | None => {}
                        Some(escaped) => {
                            flush(&mut word, &mut text);
                            let kind = PartKind::Text(escaped.to_string());
                            word.0.push(Part { kind, quoted: true });
                        }
                    }
                }
                '\'' => {
                    flush(&mut word, &mut text);
                    self.next();
                    let mut quoted = String::new();
                    loop {
                        match self.next() {
                            Some('\'') => break,
                            Some(c) => quoted.push(c),
                            None => return self.unknown("a quote without an end"),
                        }
                    }
                    word.0.push(Part { kind: PartKind::Text(quoted), quoted: true });
                }
                '"' => {
                    flush(&mut word, &mut text);
                    self.next();
                    self.double_quoted(&mut word)?;
                }
                '$' | '`' => {
                    flush(&mut word, &mut text);
                    let kind = self.expansion()?;
                    word.0.push(Part { kind, quoted: false });
                }
                _ => {
                    text.push(c);
                    self.next();
                }
            }
        }
        flush(&mut word, &mut text);
        Ok(word)
    }

    fn double_quoted(&mut self, word: &mut Word) -> Result<(), Unknown> {
        let mut text = String::new();
        let mut parts = Vec::new();
        loop {
            match self.peek(0) {
                None => return self.unknown("a quote without an end"),
                Some('"') => break,
                Some('\\') if matches!(self.peek(1), Some('$' | '`' | '"' | '\\')) => {
                    self.next();
                    text.extend(self.next());
                }
                Some('\\') if self.peek(1) == Some('\n') => {
                    self.next();
                    self.next();
                }
                Some('$' | '`') => {
                    parts.push(PartKind::Text(std::mem::take(&mut text)));
                    parts.push(self.expansion()?);
                }
                Some(c) => {
                    text.push(c);
                    self.next();
                }
            }
        }
        self.next();
        parts.push(PartKind::Text(text));
        // Empty pieces beside others say nothing; alone, one is an empty word.
        if parts.len() > 1 {
            parts.retain(|kind| *kind != PartKind::Text(String::new()));
        }
        word.0.extend(parts.into_iter().map(|kind| Part { kind, quoted: true }));
        Ok(())
    }

    /// At a `$` or a backquote.
    fn expansion(&mut self) -> Result<PartKind, Unknown> {
        if self.next() == Some('`') {
            return Ok(PartKind::Command(self.up_to('`', '`')?));
        }
        match self.peek(0) {
            Some('(') => {
                self.next();
                Ok(PartKind::Command(self.up_to('(', ')')?))
            }
            Some('{') => {
                self.next();
                Ok(PartKind::Variable(self.up_to('{', '}')?))
            }
            Some(c @ ('@' | '#' | '*' | '?' | '$' | '!' | '0'..='9')) => {
                self.next();
                Ok(PartKind::Variable(c.to_string()))
            }
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let mut name = String::new();
                while let Some(c) = self.peek(0).filter(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                    self.next();
                }
                Ok(PartKind::Variable(name))
            }
            _ => Ok(PartKind::Text("$".to_owned())),
        }
    }

    fn up_to(&mut self, open: char, close: char) -> Result<String, Unknown> {
        let mut text = String::new();
        let mut depth = 1;
        while let Some(c) = self.next() {
            if c == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(text);
                }
            } else if c == open {
                depth += 1;
            }
            text.push(c);
        }
        self.unknown(format!("a `{open}` without its `{close}`"))
    }
}
