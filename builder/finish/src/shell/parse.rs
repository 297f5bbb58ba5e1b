//! Words and operators as statements.

use super::Unknown;
use super::lex::{Token, Word, tokens};

/// Statements in order.
pub(crate) type List = Vec<Statement>;

/// A statement with the line where it begins.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    /// Of the script, from 1.
    pub(crate) line: usize,
    /// What it is.
    pub(crate) node: Node,
}

/// What a [`Statement`] is.
#[derive(Debug, Clone)]
pub(crate) enum Node {
    /// A command with its arguments, or assignments alone.
    Simple(Simple),
    /// `if … then … elif … then … else … fi`
    If {
        /// Conditions and what follows from each.
        branches: Vec<(List, List)>,
        /// After `else`.
        otherwise: List,
    },
    /// `case WORD in PATTERN | PATTERN) … ;; esac`
    Case {
        /// What is looked at.
        word: Word,
        /// Patterns and what follows from them.
        arms: Vec<(Vec<Word>, List)>,
    },
    /// `for NAME in WORDS; do … done`
    For {
        /// The variable.
        name: String,
        /// Its values.
        words: Vec<Word>,
        /// What is done for each.
        body: List,
    },
    /// `NAME() { … }`
    Function {
        /// Its name.
        name: String,
        /// What it does.
        body: List,
    },
    /// `{ … }`
    Group(List),
    /// `! …`
    Not(Box<Statement>),
    /// `… && …`
    And(Box<Statement>, Box<Statement>),
    /// `… || …`
    Or(Box<Statement>, Box<Statement>),
    /// What is read and never carried out: an error where it is reached.
    Beyond(&'static str),
}

/// A command with its arguments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Simple {
    /// `NAME=VALUE` before the command.
    pub(crate) assignments: Vec<(String, Word)>,
    /// The command and its arguments.
    pub(crate) words: Vec<Word>,
    /// Operators and words of redirections.
    pub(crate) redirects: Vec<(String, Word)>,
    /// Lines of a here document, and whether they are taken as they are.
    pub(crate) document: Option<(String, bool)>,
}

/// Reads a script.
pub(crate) fn parse(script: &str) -> Result<List, Unknown> {
    let mut parser = Parser { tokens: tokens(script)?, at: 0 };
    let list = parser.list(&[])?;
    match parser.tokens.get(parser.at) {
        None => Ok(list),
        Some(_) => parser.unknown("a word that begins nothing here"),
    }
}

struct Parser {
    tokens: Vec<(Token, usize)>,
    at: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|(token, _)| token)
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |(_, line)| *line)
    }

    fn unknown<T>(&self, what: impl Into<String>) -> Result<T, Unknown> {
        Err(Unknown { line: self.line(), what: what.into() })
    }

    /// The reserved or plain word that comes next.
    fn plain(&self) -> Option<&str> {
        match self.peek() {
            Some(Token::Word(word)) => word.plain(),
            _ => None,
        }
    }

    fn accept(&mut self, word: &str) -> bool {
        let found = self.plain() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<(), Unknown> {
        self.ends();
        match self.accept(word) {
            true => Ok(()),
            false => self.unknown(format!("`{word}` is missing")),
        }
    }

    fn ends(&mut self) {
        while self.peek() == Some(&Token::End) {
            self.at += 1;
        }
    }

    /// Statements up to one of these words, `;;` or `)`.
    fn list(&mut self, stop: &[&str]) -> Result<List, Unknown> {
        let mut list = List::new();
        loop {
            self.ends();
            match self.peek() {
                None | Some(Token::ArmEnd | Token::Close) => return Ok(list),
                _ if self.plain().is_some_and(|word| stop.contains(&word)) => return Ok(list),
                _ => {}
            }
            list.push(self.and_or()?);
            if self.peek() == Some(&Token::Background) {
                self.at += 1;
                let line = self.line();
                list.push(Statement { line, node: Node::Beyond("a command in the background") });
            }
        }
    }

    fn and_or(&mut self) -> Result<Statement, Unknown> {
        let mut left = self.pipeline()?;
        loop {
            let and = match self.peek() {
                Some(Token::And) => true,
                Some(Token::Or) => false,
                _ => return Ok(left),
            };
            self.at += 1;
            self.ends();
            let right = Box::new(self.pipeline()?);
            let line = left.line;
            let node = if and { Node::And(Box::new(left), right) } else { Node::Or(Box::new(left), right) };
            left = Statement { line, node };
        }
    }

    fn pipeline(&mut self) -> Result<Statement, Unknown> {
        let line = self.line();
        if self.accept("!") {
            return Ok(Statement { line, node: Node::Not(Box::new(self.pipeline()?)) });
        }
        let first = self.command()?;
        if self.peek() != Some(&Token::Pipe) {
            return Ok(first);
        }
        while self.peek() == Some(&Token::Pipe) {
            self.at += 1;
            self.ends();
            self.command()?;
        }
        Ok(Statement { line, node: Node::Beyond("a pipeline") })
    }

    fn command(&mut self) -> Result<Statement, Unknown> {
        let line = self.line();
        let node = match self.plain() {
            Some("if") => self.if_()?,
            Some("case") => self.case()?,
            Some("for") => self.for_()?,
            Some("while" | "until") => {
                self.at += 1;
                self.list(&["do"])?;
                self.expect("do")?;
                self.list(&["done"])?;
                self.expect("done")?;
                self.redirects(&mut Simple::default())?;
                Node::Beyond("a loop")
            }
            Some("{") => {
                self.at += 1;
                let body = self.list(&["}"])?;
                self.expect("}")?;
                match self.redirects(&mut Simple::default())? {
                    false => Node::Group(body),
                    true => Node::Beyond("a group whose output goes elsewhere"),
                }
            }
            None if self.peek() == Some(&Token::Open) => {
                self.at += 1;
                self.list(&[])?;
                self.close()?;
                self.redirects(&mut Simple::default())?;
                Node::Beyond("a shell of its own")
            }
            _ => self.simple()?,
        };
        Ok(Statement { line, node })
    }

    fn close(&mut self) -> Result<(), Unknown> {
        match self.peek() {
            Some(Token::Close) => {
                self.at += 1;
                Ok(())
            }
            _ => self.unknown("`)` is missing"),
        }
    }

    fn if_(&mut self) -> Result<Node, Unknown> {
        self.expect("if")?;
        let mut branches = Vec::new();
        loop {
            let condition = self.list(&["then"])?;
            self.expect("then")?;
            let body = self.list(&["elif", "else", "fi"])?;
            branches.push((condition, body));
            if !self.accept("elif") {
                break;
            }
        }
        let otherwise = if self.accept("else") { self.list(&["fi"])? } else { List::new() };
        self.expect("fi")?;
        Ok(Node::If { branches, otherwise })
    }

    fn case(&mut self) -> Result<Node, Unknown> {
        self.expect("case")?;
        let word = self.word()?;
        self.expect("in")?;
        let mut arms = Vec::new();
        loop {
            self.ends();
            if self.accept("esac") {
                return Ok(Node::Case { word, arms });
            }
            if self.peek() == Some(&Token::Open) {
                self.at += 1;
            }
            let mut patterns = vec![self.word()?];
            while self.peek() == Some(&Token::Pipe) {
                self.at += 1;
                patterns.push(self.word()?);
            }
            self.close()?;
            arms.push((patterns, self.list(&["esac"])?));
            if self.peek() == Some(&Token::ArmEnd) {
                self.at += 1;
            }
        }
    }

    fn for_(&mut self) -> Result<Node, Unknown> {
        self.expect("for")?;
        let Some(name) = self.plain().map(str::to_owned) else {
            return self.unknown("a loop without a name");
        };
        self.at += 1;
        self.expect("in")?;
        let mut words = Vec::new();
        while let Some(Token::Word(word)) = self.peek() {
            words.push(word.clone());
            self.at += 1;
        }
        self.expect("do")?;
        let body = self.list(&["done"])?;
        self.expect("done")?;
        Ok(Node::For { name, words, body })
    }

    fn word(&mut self) -> Result<Word, Unknown> {
        match self.peek() {
            Some(Token::Word(word)) => {
                let word = word.clone();
                self.at += 1;
                Ok(word)
            }
            _ => self.unknown("a word is missing"),
        }
    }

    fn simple(&mut self) -> Result<Node, Unknown> {
        let mut simple = Simple::default();
        loop {
            if self.redirects(&mut simple)? {
                continue;
            }
            let Some(Token::Word(word)) = self.peek() else { break };
            let word = word.clone();
            self.at += 1;
            match assignment(&word).filter(|_| simple.words.is_empty()) {
                Some(assignment) => simple.assignments.push(assignment),
                None => simple.words.push(word),
            }
            if simple.words.len() == 1 && self.peek() == Some(&Token::Open) {
                return self.function(&simple);
            }
        }
        match simple.words.is_empty() && simple.assignments.is_empty() && simple.redirects.is_empty() {
            true => self.unknown("an operator that nothing stands before"),
            false => Ok(Node::Simple(simple)),
        }
    }

    fn function(&mut self, simple: &Simple) -> Result<Node, Unknown> {
        self.at += 1;
        self.close()?;
        self.ends();
        let name = simple.words.first().and_then(Word::plain).unwrap_or_default().to_owned();
        self.expect("{")?;
        let body = self.list(&["}"])?;
        self.expect("}")?;
        Ok(Node::Function { name, body })
    }

    /// Redirections that come next; whether there were any.
    fn redirects(&mut self, simple: &mut Simple) -> Result<bool, Unknown> {
        let mut any = false;
        loop {
            match self.peek() {
                Some(Token::Redirect(operator)) => {
                    let operator = operator.clone();
                    self.at += 1;
                    let target = self.word()?;
                    simple.redirects.push((operator, target));
                }
                Some(Token::HereDocument { text, literal }) => {
                    simple.document = Some((text.clone(), *literal));
                    self.at += 1;
                }
                _ => return Ok(any),
            }
            any = true;
        }
    }
}

/// `NAME=VALUE`
fn assignment(word: &Word) -> Option<(String, Word)> {
    use super::lex::{Part, PartKind};
    let (first, rest) = word.0.split_first()?;
    let Part { kind: PartKind::Text(text), quoted: false } = first else { return None };
    let (name, value) = text.split_once('=')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let head = Part { kind: PartKind::Text(value.to_owned()), quoted: false };
    let parts = (!value.is_empty()).then_some(head).into_iter().chain(rest.iter().cloned()).collect();
    is_name.then(|| (name.to_owned(), Word(parts)))
}
