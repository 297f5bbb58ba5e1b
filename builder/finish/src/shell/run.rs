//! Statements, followed one by one.

use std::collections::BTreeMap;

use super::Unknown;
use super::parse::{List, Node, Simple, Statement, parse};
use crate::world::World;

/// Functions that call each other deeper than any script has reason to.
const DEPTH: usize = 32;

/// Follows a script that is started with these arguments.
pub(crate) fn run(script: &str, arguments: &[&str], world: &mut World<'_>) -> Result<(), Unknown> {
    let list = parse(script)?;
    let mut variables = BTreeMap::new();
    for (name, value) in [
        ("DPKG_MAINTSCRIPT_PACKAGE", world.package()),
        ("DPKG_MAINTSCRIPT_ARCH", world.architecture()),
        ("DEBIAN_FRONTEND", "noninteractive"),
    ] {
        variables.insert(name.to_owned(), value.to_owned());
    }
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let functions = BTreeMap::new();
    let mut shell = Shell { world, variables, arguments, functions, umask: 0o022, line: 1, depth: 0 };
    shell.list(&list).map(|_| ())
}

/// How it goes on after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// With the next one; whether this one succeeded.
    Next(bool),
    /// With the loop's next round.
    Continue,
    /// After the loop.
    Break,
    /// Out of the function.
    Return(bool),
    /// The script is at its end.
    Exit,
}

/// The state of a script.
pub(crate) struct Shell<'w, 't> {
    pub(crate) world: &'w mut World<'t>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) arguments: Vec<String>,
    functions: BTreeMap<String, List>,
    /// Bits that new files do not get.
    pub(crate) umask: u16,
    pub(crate) line: usize,
    depth: usize,
}

impl Shell<'_, '_> {
    pub(crate) fn unknown<T>(&self, what: impl Into<String>) -> Result<T, Unknown> {
        Err(Unknown { line: self.line, what: what.into() })
    }

    fn list(&mut self, list: &[Statement]) -> Result<Flow, Unknown> {
        let mut status = true;
        for statement in list {
            match self.statement(statement)? {
                Flow::Next(success) => status = success,
                leave => return Ok(leave),
            }
        }
        Ok(Flow::Next(status))
    }

    fn statement(&mut self, statement: &Statement) -> Result<Flow, Unknown> {
        self.line = statement.line;
        match &statement.node {
            Node::Simple(simple) => self.simple(simple),
            Node::Beyond(what) => self.unknown(*what),
            Node::Group(list) => self.list(list),
            Node::Function { name, body } => {
                self.functions.insert(name.clone(), body.clone());
                Ok(Flow::Next(true))
            }
            Node::Not(inner) => Ok(match self.statement(inner)? {
                Flow::Next(success) => Flow::Next(!success),
                leave => leave,
            }),
            Node::And(left, right) => match self.statement(left)? {
                Flow::Next(true) => self.statement(right),
                flow => Ok(flow),
            },
            Node::Or(left, right) => match self.statement(left)? {
                Flow::Next(false) => self.statement(right),
                flow => Ok(flow),
            },
            Node::If { branches, otherwise } => {
                for (condition, body) in branches {
                    match self.list(condition)? {
                        Flow::Next(true) => return self.list(body),
                        Flow::Next(false) => {}
                        leave => return Ok(leave),
                    }
                }
                self.list(otherwise)
            }
            Node::Case { word, arms } => {
                let value = self.joined(word)?;
                for (patterns, body) in arms {
                    for pattern in patterns {
                        if self.matches(pattern, &value)? {
                            return self.list(body);
                        }
                    }
                }
                Ok(Flow::Next(true))
            }
            Node::For { name, words, body } => {
                let mut values = Vec::new();
                for word in words {
                    values.extend(self.fields(word)?);
                }
                for value in values {
                    self.variables.insert(name.clone(), value);
                    match self.list(body)? {
                        Flow::Next(_) | Flow::Continue => {}
                        Flow::Break => break,
                        leave => return Ok(leave),
                    }
                }
                Ok(Flow::Next(true))
            }
        }
    }

    fn simple(&mut self, simple: &Simple) -> Result<Flow, Unknown> {
        let mut words = Vec::new();
        for word in &simple.words {
            words.extend(self.fields(word)?);
        }
        let line = self.line;
        // Those before a command are for it alone, and no command here looks at any.
        if words.is_empty() {
            for (name, value) in &simple.assignments {
                let value = self.joined(value)?;
                self.variables.insert(name.clone(), value);
            }
        }
        let output = self.output(simple, &words)?;
        let flow = match words.split_first() {
            None => Flow::Next(true),
            Some((name, arguments)) => match self.functions.get(name.as_str()).cloned() {
                Some(body) => self.call(&body, arguments)?,
                None => self.command(name, arguments, output.as_ref())?,
            },
        };
        self.line = line;
        Ok(flow)
    }

    fn call(&mut self, body: &[Statement], arguments: &[String]) -> Result<Flow, Unknown> {
        if self.depth == DEPTH {
            return self.unknown("functions that call each other without end");
        }
        self.depth += 1;
        let before = std::mem::replace(&mut self.arguments, arguments.to_vec());
        let flow = self.list(body);
        self.arguments = before;
        self.depth -= 1;
        Ok(match flow? {
            Flow::Return(success) => Flow::Next(success),
            flow => flow,
        })
    }
}
