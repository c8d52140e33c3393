//! The part of CEL that a `where` may use: parsed with positions, checked at load, evaluated over one event.
//!
//! Meaning follows the CEL specification for the accepted part; the `cel` crate is the oracle in the tests.

mod code;
mod field;
mod lexer;
mod numbers;
mod parser;
mod types;

pub(crate) use code::Code;
pub(crate) use field::{Field, Fields, View, read};
#[cfg(test)]
pub(crate) use numbers::equal as same;
pub(crate) use parser::parse;
pub(crate) use types::{Scope, check};

/// A fault found at load: where in the text (in characters), code, message, and what to do about it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flaw {
    pub at: usize,
    pub code: &'static str,
    pub message: String,
    pub help: Option<String>,
}

impl Flaw {
    fn new(at: usize, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            at,
            code,
            message: message.into(),
            help: None,
        }
    }

    fn with_help(self, help: Option<String>) -> Self {
        Self { help, ..self }
    }
}

/// Why there is no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A field that is read is not there: no match, not an error.
    Missing,
    /// A wrong type, an overflow, a division by zero: no match, and counted.
    Failed,
}

/// What a predicate says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Fails,
    Holds,
    /// Has no result: [`Fault::Failed`].
    Failed,
    /// Has no result: [`Fault::Missing`].
    Missing,
}

impl Verdict {
    #[inline(always)]
    const fn of(holds: bool) -> Self {
        if holds { Self::Holds } else { Self::Fails }
    }

    /// Whether there is no result.
    #[inline(always)]
    pub const fn is_fault(self) -> bool {
        matches!(self, Self::Failed | Self::Missing)
    }

    const fn not(self) -> Self {
        match self {
            Self::Holds => Self::Fails,
            Self::Fails => Self::Holds,
            fault => fault,
        }
    }

    fn result(self) -> Result<bool, Fault> {
        match self {
            Self::Fails => Ok(false),
            Self::Holds => Ok(true),
            Self::Failed => Err(Fault::Failed),
            Self::Missing => Err(Fault::Missing),
        }
    }
}

impl From<Result<bool, Fault>> for Verdict {
    #[inline]
    fn from(result: Result<bool, Fault>) -> Self {
        match result {
            Ok(holds) => Self::of(holds),
            Err(Fault::Missing) => Self::Missing,
            Err(Fault::Failed) => Self::Failed,
        }
    }
}

/// What a path begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Root {
    Event,
    Journey,
    Profile,
    /// A captured name, as an index into the program's captured names.
    Captured(usize),
}

/// A path: `event.sentiment.score` is root Event and field `sentiment.score`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Path {
    pub root: Root,
    pub field: String,
    /// Of a captured name: index into the run's captured values, set by the program.
    pub slot: usize,
}

/// An expression and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub at: usize,
    pub node: Node,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    Read(Path),
    Has(Path),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    Binary(Op, Box<Expr>, Box<Expr>),
    Choose(Box<Expr>, Box<Expr>, Box<Expr>),
    /// Membership in a list of literals.
    In(Box<Expr>, Vec<Expr>),
    Size(Box<Expr>),
    StartsWith(Box<Expr>, Box<Expr>),
    EndsWith(Box<Expr>, Box<Expr>),
    Contains(Box<Expr>, Box<Expr>),
    Matches(Box<Expr>, Pattern),
    ToInt(Box<Expr>),
    ToDouble(Box<Expr>),
}

/// A regular expression; linear time.
#[derive(Debug, Clone)]
pub(crate) struct Pattern(pub regex::Regex);

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Expr {
    /// Calls `visit` with every path that is read.
    pub fn paths<'a>(&'a self, visit: &mut impl FnMut(&'a Path, usize)) {
        match &self.node {
            Node::Read(path) | Node::Has(path) => visit(path, self.at),
            _ => {}
        }
        for child in self.children() {
            child.paths(visit);
        }
    }

    /// Calls `visit` with this expression and every part of it.
    pub fn parts(&self, visit: &mut impl FnMut(&Self)) {
        visit(self);
        for child in self.children() {
            child.parts(visit);
        }
    }

    /// Calls `change` with every path, to be altered.
    pub fn paths_mut(&mut self, change: &mut impl FnMut(&mut Path)) {
        match &mut self.node {
            Node::Read(path) | Node::Has(path) => change(path),
            Node::Not(a) | Node::Negate(a) | Node::Size(a) | Node::ToInt(a) | Node::ToDouble(a) => a.paths_mut(change),
            Node::Matches(a, _) | Node::In(a, _) => a.paths_mut(change),
            Node::Binary(_, a, b) | Node::StartsWith(a, b) | Node::EndsWith(a, b) | Node::Contains(a, b) => {
                a.paths_mut(change);
                b.paths_mut(change);
            }
            Node::Choose(a, b, c) => {
                a.paths_mut(change);
                b.paths_mut(change);
                c.paths_mut(change);
            }
            Node::Null | Node::Bool(_) | Node::Int(_) | Node::Double(_) | Node::Text(_) => {}
        }
    }

    /// The expressions that this one is made of.
    pub fn children(&self) -> Vec<&Self> {
        match &self.node {
            Node::Not(a) | Node::Negate(a) | Node::Size(a) | Node::ToInt(a) | Node::ToDouble(a) => vec![a],
            Node::Matches(a, _) | Node::In(a, _) => vec![a],
            Node::Binary(_, a, b) | Node::StartsWith(a, b) | Node::EndsWith(a, b) | Node::Contains(a, b) => vec![a, b],
            Node::Choose(a, b, c) => vec![a, b, c],
            _ => Vec::new(),
        }
    }
}
