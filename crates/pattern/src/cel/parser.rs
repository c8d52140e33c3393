//! Tokens to a tree, by precedence climbing.

use super::{
    Expr, Flaw, Node, Op, Path, Pattern, Root,
    lexer::{Token, tokens},
};
use crate::finding::nearest;

/// Parses a `where`. `names` are the names captured by earlier steps.
pub(crate) fn parse(text: &str, names: &[&str]) -> Result<Expr, Flaw> {
    let mut parser = Parser {
        tokens: tokens(text)?,
        next: 0,
        names,
        depth: 0,
    };
    let expr = parser.choice()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => Err(parser.unexpected()),
    }
}

const REFUSED: [&str; 10] = [
    "all",
    "exists",
    "exists_one",
    "map",
    "filter",
    "timestamp",
    "duration",
    "bytes",
    "dyn",
    "type",
];

struct Parser<'a> {
    tokens: Vec<(usize, Token)>,
    next: usize,
    names: &'a [&'a str],
    depth: u32,
}

impl Parser<'_> {
    fn peek(&self) -> &Token {
        &self.tokens[self.next].1
    }

    fn at(&self) -> usize {
        self.tokens[self.next].0
    }

    fn take(&mut self) -> Token {
        let token = self.tokens[self.next].1.clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        token
    }

    fn eat(&mut self, sign: &'static str) -> bool {
        let found = *self.peek() == Token::Sign(sign);
        if found {
            self.take();
        }
        found
    }

    fn expect(&mut self, sign: &'static str) -> Result<(), Flaw> {
        if self.eat(sign) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Flaw {
        self.flaw(
            "where-syntax",
            format!("unexpected token: found={}", self.peek().shown()),
        )
    }

    fn flaw(&self, code: &'static str, message: String) -> Flaw {
        Flaw::new(self.at(), code, message)
    }

    fn choice(&mut self) -> Result<Expr, Flaw> {
        self.depth += 1;
        if self.depth > 32 {
            return Err(self.flaw("where-syntax", "nested too deeply: limit=32".to_owned()));
        }
        let at = self.at();
        let test = self.binary(0)?;
        let expr = if self.eat("?") {
            let yes = self.binary(0)?;
            self.expect(":")?;
            let no = self.choice()?;
            Expr {
                at,
                node: Node::Choose(Box::new(test), Box::new(yes), Box::new(no)),
            }
        } else {
            test
        };
        self.depth -= 1;
        Ok(expr)
    }

    fn binary(&mut self, level: usize) -> Result<Expr, Flaw> {
        const LEVELS: [&[(&str, Op)]; 5] = [
            &[("||", Op::Or)],
            &[("&&", Op::And)],
            &[
                ("==", Op::Equal),
                ("!=", Op::Unequal),
                ("<", Op::Less),
                ("<=", Op::LessEqual),
                (">", Op::Greater),
                (">=", Op::GreaterEqual),
            ],
            &[("+", Op::Add), ("-", Op::Subtract)],
            &[("*", Op::Multiply), ("/", Op::Divide), ("%", Op::Remainder)],
        ];
        let Some(signs) = LEVELS.get(level) else {
            return self.unary();
        };
        let at = self.at();
        let mut left = self.binary(level + 1)?;
        loop {
            if level == 2 && *self.peek() == Token::Name("in".to_owned()) {
                self.take();
                let list = self.literals()?;
                left = Expr {
                    at,
                    node: Node::In(Box::new(left), list),
                };
                continue;
            }
            let found = signs
                .iter()
                .find(|(sign, _)| matches!(self.peek(), Token::Sign(next) if next == sign));
            let Some((_, op)) = found else { return Ok(left) };
            self.take();
            let right = self.binary(level + 1)?;
            left = Expr {
                at,
                node: Node::Binary(*op, Box::new(left), Box::new(right)),
            };
        }
    }

    /// A list of literals, as `in` wants it.
    fn literals(&mut self) -> Result<Vec<Expr>, Flaw> {
        if !self.eat("[") {
            return Err(match self.peek() {
                Token::End => self.unexpected(),
                _ => self.flaw("where-refused", "in takes a list of literals".to_owned()),
            });
        }
        let mut list = Vec::new();
        while !self.eat("]") {
            let at = self.at();
            let item = self.unary()?;
            let node = match item.node {
                Node::Negate(inner) => match inner.node {
                    Node::Int(value) => Node::Int(-value),
                    Node::Double(value) => Node::Double(-value),
                    _ => {
                        return Err(Flaw::new(at, "where-refused", "in takes a list of literals"));
                    }
                },
                node @ (Node::Null | Node::Bool(_) | Node::Int(_) | Node::Double(_) | Node::Text(_)) => node,
                _ => {
                    return Err(Flaw::new(at, "where-refused", "in takes a list of literals"));
                }
            };
            list.push(Expr { at, node });
            if !self.eat(",") && *self.peek() != Token::Sign("]") {
                return Err(self.unexpected());
            }
        }
        Ok(list)
    }

    fn unary(&mut self) -> Result<Expr, Flaw> {
        let at = self.at();
        self.depth += 1;
        if self.depth > 64 {
            return Err(self.flaw("where-syntax", "nested too deeply: limit=64".to_owned()));
        }
        let expr = if self.eat("!") {
            Expr {
                at,
                node: Node::Not(Box::new(self.unary()?)),
            }
        } else if self.eat("-") {
            if *self.peek() == Token::Least {
                self.take();
                self.depth -= 1;
                return Ok(Expr {
                    at,
                    node: Node::Int(i64::MIN),
                });
            }
            Expr {
                at,
                node: Node::Negate(Box::new(self.unary()?)),
            }
        } else {
            self.member()?
        };
        self.depth -= 1;
        Ok(expr)
    }

    /// A literal, a path, a call, or a method of one of them.
    fn member(&mut self) -> Result<Expr, Flaw> {
        let at = self.at();
        let mut expr = self.primary()?;
        loop {
            if *self.peek() == Token::Sign("[") {
                return Err(self.flaw("where-refused", "not supported in where: indexing".to_owned()));
            }
            if !self.eat(".") {
                return Ok(expr);
            }
            let name_at = self.at();
            let Token::Name(name) = self.take() else {
                self.next = self.next.saturating_sub(1);
                return Err(self.unexpected());
            };
            if !self.eat("(") {
                return Err(Flaw::new(
                    name_at,
                    "where-syntax",
                    format!("unexpected token: found={name}"),
                ));
            }
            expr = self.method(at, name_at, &name, expr)?;
        }
    }

    fn method(&mut self, at: usize, name_at: usize, name: &str, on: Expr) -> Result<Expr, Flaw> {
        let refused = || {
            Flaw::new(
                name_at,
                "where-refused",
                format!("not supported in where: function={name}"),
            )
        };
        let on = Box::new(on);
        if name == "size" {
            self.expect(")")?;
            return Ok(Expr {
                at,
                node: Node::Size(on),
            });
        }
        if !matches!(name, "startsWith" | "endsWith" | "contains" | "matches") {
            return Err(refused());
        }
        let argument_at = self.at();
        let argument = self.choice()?;
        self.expect(")")?;
        let node = match name {
            "startsWith" => Node::StartsWith(on, Box::new(argument)),
            "endsWith" => Node::EndsWith(on, Box::new(argument)),
            "contains" => Node::Contains(on, Box::new(argument)),
            _ => Node::Matches(on, literal_pattern(argument_at, argument)?),
        };
        Ok(Expr { at, node })
    }

    fn primary(&mut self) -> Result<Expr, Flaw> {
        let at = self.at();
        let node = match self.take() {
            Token::Int(value) => Node::Int(value),
            Token::Double(value) => Node::Double(value),
            Token::Text(text) => Node::Text(text),
            Token::Sign("(") => {
                let inner = self.choice()?;
                self.expect(")")?;
                return Ok(inner);
            }
            Token::Sign("[") => {
                return Err(Flaw::new(at, "where-refused", "a list stands only behind in"));
            }
            Token::Name(name) => return self.named(at, &name),
            other => {
                let what = if other == Token::Least {
                    "number out of range"
                } else {
                    "unexpected token"
                };
                let message = format!("{what}: found={}", other.shown());
                return Err(Flaw::new(at, "where-syntax", message));
            }
        };
        Ok(Expr { at, node })
    }

    fn named(&mut self, at: usize, name: &str) -> Result<Expr, Flaw> {
        let node = match name {
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            "null" => Node::Null,
            _ if *self.peek() == Token::Sign("(") => {
                self.take();
                if REFUSED.contains(&name) || !matches!(name, "has" | "size" | "int" | "double" | "matches") {
                    let message = format!("not supported in where: function={name}");
                    return Err(Flaw::new(at, "where-refused", message));
                }
                let argument_at = self.at();
                let argument = self.choice()?;
                if name == "matches" {
                    self.expect(",")?;
                    let pattern_at = self.at();
                    let pattern = self.choice()?;
                    self.expect(")")?;
                    let pattern = literal_pattern(pattern_at, pattern)?;
                    return Ok(Expr {
                        at,
                        node: Node::Matches(Box::new(argument), pattern),
                    });
                }
                self.expect(")")?;
                match (name, argument.node) {
                    ("has", Node::Read(path)) => Node::Has(path),
                    ("has", _) => {
                        let message = "has takes a field, for example has(event.value)".to_owned();
                        return Err(Flaw::new(argument_at, "where-syntax", message));
                    }
                    ("size", node) => Node::Size(Box::new(Expr { at: argument_at, node })),
                    ("int", node) => Node::ToInt(Box::new(Expr { at: argument_at, node })),
                    (_, node) => Node::ToDouble(Box::new(Expr { at: argument_at, node })),
                }
            }
            _ => Node::Read(self.path(at, name)?),
        };
        Ok(Expr { at, node })
    }

    fn path(&mut self, at: usize, name: &str) -> Result<Path, Flaw> {
        let root = match name {
            "event" => Root::Event,
            "journey" => Root::Journey,
            "profile" => Root::Profile,
            _ => match self.names.iter().position(|known| *known == name) {
                Some(index) => Root::Captured(index),
                None => {
                    let near = nearest(name, self.names.iter().copied());
                    let near = near.map_or_else(String::new, |near| format!(" nearest={near}"));
                    let message = format!("no earlier step captures this name: name={name}{near}");
                    let is_word = !matches!(self.tokens.get(self.next), Some((_, Token::Sign("." | "("))));
                    let help = is_word.then(|| format!("a text stands in quotes: '{name}'"));
                    return Err(Flaw::new(at, "name-unknown", message).with_help(help));
                }
            },
        };
        let mut field = String::new();
        // A dot, a name and no parenthesis is a field; with one it is a method.
        while let (Some((_, Token::Sign("."))), Some((_, Token::Name(part))), following) = (
            self.tokens.get(self.next),
            self.tokens.get(self.next + 1),
            self.tokens.get(self.next + 2),
        ) {
            if matches!(following, Some((_, Token::Sign("(")))) {
                break;
            }
            if !field.is_empty() {
                field.push('.');
            }
            field.push_str(part);
            self.next += 2;
        }
        if field.is_empty() {
            return Err(Flaw::new(
                at,
                "where-syntax",
                format!("a field is missing behind: found={name}"),
            ));
        }
        Ok(Path { root, field, slot: 0 })
    }
}

fn literal_pattern(at: usize, argument: Expr) -> Result<Pattern, Flaw> {
    let Node::Text(text) = argument.node else {
        return Err(Flaw::new(at, "where-refused", "matches takes a literal pattern"));
    };
    match regex::Regex::new(&text) {
        Ok(regex) => Ok(Pattern(regex)),
        Err(_) => Err(Flaw::new(
            at,
            "where-syntax",
            format!("not a regular expression: found={text}"),
        )),
    }
}
