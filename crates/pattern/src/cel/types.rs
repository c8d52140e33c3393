//! What can be known of types at load. Fields that the vocabulary types are checked; others are typed at run time.

use event::vocabulary::{self, Holds};

use super::{Expr, Flaw, Node, Op, Path, Root};

/// The types of events of which a `where` reads.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scope<'a> {
    /// Those of its own step; empty where they could not be read.
    pub own: &'a [String],
    /// Per captured name those of the step that captures it.
    pub captured: &'a [&'a [String]],
}

impl Scope<'_> {
    /// The types of the event that a path reads; none for journey and profile.
    pub fn types(&self, root: Root) -> &[String] {
        match root {
            Root::Event => self.own,
            Root::Captured(name) => self.captured.get(name).copied().unwrap_or_default(),
            Root::Journey | Root::Profile => &[],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Any,
    Null,
    Bool,
    Int,
    Double,
    Number,
    Text,
}

impl Type {
    const fn name(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Null => "null",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Double => "double",
            Self::Number => "number",
            Self::Text => "string",
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Double | Self::Number)
    }

    fn fits(self, other: Self) -> bool {
        self == Self::Any || other == Self::Any || self == other || (self.is_number() && other.is_number())
    }
}

/// Checks that a `where` can be true or false.
pub(crate) fn check(expr: &Expr, scope: Scope<'_>) -> Result<(), Flaw> {
    Checker { scope }.want(expr, Type::Bool)
}

fn flaw(at: usize, message: String) -> Flaw {
    Flaw::new(at, "where-type", message)
}

#[derive(Clone, Copy)]
struct Checker<'a> {
    scope: Scope<'a>,
}

impl Checker<'_> {
    fn want(self, expr: &Expr, wanted: Type) -> Result<(), Flaw> {
        let found = self.type_of(expr)?;
        if found.fits(wanted) {
            return Ok(());
        }
        Err(flaw(
            expr.at,
            format!("wrong type: found={} expected={}", found.name(), wanted.name()),
        ))
    }

    fn type_of(self, expr: &Expr) -> Result<Type, Flaw> {
        Ok(match &expr.node {
            Node::Null => Type::Null,
            Node::Bool(_) | Node::Has(_) => Type::Bool,
            Node::Int(_) => Type::Int,
            Node::Double(_) => Type::Double,
            Node::Text(_) => Type::Text,
            Node::Read(path) => self.field(path),
            Node::Not(inner) => {
                self.want(inner, Type::Bool)?;
                Type::Bool
            }
            Node::Negate(inner) => {
                self.want(inner, Type::Number)?;
                self.type_of(inner)?
            }
            Node::Binary(op, left, right) => self.binary(expr.at, *op, left, right)?,
            Node::Choose(test, yes, no) => {
                self.want(test, Type::Bool)?;
                let (yes, no) = (self.type_of(yes)?, self.type_of(no)?);
                if yes == no { yes } else { Type::Any }
            }
            Node::In(inner, list) => {
                let item = self.type_of(inner)?;
                for literal in list {
                    let found = self.type_of(literal)?;
                    if !found.fits(item) {
                        let message = format!("cannot compare: left={} right={}", item.name(), found.name());
                        let help = written((inner, item), (literal, found));
                        return Err(flaw(literal.at, message).with_help(help));
                    }
                }
                Type::Bool
            }
            Node::Size(inner) => {
                let found = self.type_of(inner)?;
                if !matches!(found, Type::Any | Type::Text) {
                    return Err(flaw(
                        inner.at,
                        format!("wrong type: found={} expected=string", found.name()),
                    ));
                }
                Type::Int
            }
            Node::StartsWith(on, with) | Node::EndsWith(on, with) | Node::Contains(on, with) => {
                self.want(on, Type::Text)?;
                self.want(with, Type::Text)?;
                Type::Bool
            }
            Node::Matches(on, _) => {
                self.want(on, Type::Text)?;
                Type::Bool
            }
            Node::ToInt(inner) | Node::ToDouble(inner) => {
                let found = self.type_of(inner)?;
                if matches!(found, Type::Bool | Type::Null) {
                    return Err(flaw(
                        inner.at,
                        format!("wrong type: found={} expected=number", found.name()),
                    ));
                }
                if matches!(expr.node, Node::ToInt(_)) {
                    Type::Int
                } else {
                    Type::Double
                }
            }
        })
    }

    fn binary(self, at: usize, op: Op, left: &Expr, right: &Expr) -> Result<Type, Flaw> {
        match op {
            Op::Or | Op::And => {
                self.want(left, Type::Bool)?;
                self.want(right, Type::Bool)?;
                Ok(Type::Bool)
            }
            Op::Equal | Op::Unequal | Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => {
                let (a, b) = (self.type_of(left)?, self.type_of(right)?);
                let null = a == Type::Null || b == Type::Null;
                let equality = matches!(op, Op::Equal | Op::Unequal);
                let comparable = if null { equality } else { a.fits(b) };
                if !comparable {
                    let message = format!("cannot compare: left={} right={}", a.name(), b.name());
                    return Err(flaw(at, message).with_help(written((left, a), (right, b))));
                }
                Ok(Type::Bool)
            }
            Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Remainder => {
                let (a, b) = (self.type_of(left)?, self.type_of(right)?);
                for (side, found) in [(left, a), (right, b)] {
                    if found == Type::Text && op == Op::Add {
                        let message = "not supported in where: concatenation".to_owned();
                        return Err(Flaw::new(side.at, "where-refused", message));
                    }
                    self.want(side, Type::Number)?;
                }
                if op == Op::Remainder
                    && let Some((side, _)) = [(left, a), (right, b)].iter().find(|(_, found)| *found == Type::Double)
                {
                    return Err(flaw(side.at, "% takes whole numbers: found=double".to_owned()));
                }
                match (a, b) {
                    (Type::Int, Type::Double) | (Type::Double, Type::Int) => {
                        let message = format!("arithmetic needs one number type: left={} right={}", a.name(), b.name());
                        let whole = if a == Type::Int { left } else { right };
                        let help = match whole.node {
                            Node::Int(value) => format!("write {value}.0"),
                            _ => "double() makes one of a whole number".to_owned(),
                        };
                        Err(flaw(at, message).with_help(Some(help)))
                    }
                    (Type::Int | Type::Double, _) => Ok(a),
                    (_, Type::Int | Type::Double) => Ok(b),
                    _ => Ok(Type::Number),
                }
            }
        }
    }

    /// The type of a field, where envelope, vocabulary or journey fix it.
    fn field(self, path: &Path) -> Type {
        let name = path.field.as_str();
        match path.root {
            Root::Event | Root::Captured(_) => match name {
                "type" | "channel" | "medium" | "session" | "conversation" | "role" | "sentiment.label" => Type::Text,
                _ => of_attribute(self.scope.types(path.root), name),
            },
            Root::Journey => match name {
                "phase" | "value.band" | "value.currency" => Type::Text,
                "contacts_7d" | "effort.points" | "sentiment.negative_run" | "value.orders" => Type::Int,
                "value.lifetime" | "value.cart" | "value.monthly" => Type::Double,
                "sentiment.dip" => Type::Bool,
                _ if name.starts_with("sentiment.") => Type::Double,
                _ if name.starts_with("promises.") => Type::Text,
                _ => Type::Any,
            },
            Root::Profile => match name {
                "phase" | "lang" | "time_zone" | "cart_id" | "value.band" | "value.currency" => Type::Text,
                "renewal_date" | "value.orders" => Type::Int,
                "value.lifetime" | "value.cart" | "value.monthly" => Type::Double,
                "quarantined" => Type::Bool,
                _ if name.starts_with("consent.") || name.starts_with("preferences.") => Type::Text,
                _ => Type::Any,
            },
        }
    }
}

/// The type of an attribute that holds the same on events of each of these types.
fn of_attribute(kinds: &[String], name: &str) -> Type {
    let mut found = kinds.iter().map(|kind| vocabulary::holds(kind, name));
    let first = found.next().flatten();
    match first.filter(|_| found.all(|other| other == first)) {
        Some(Holds::Text) => Type::Text,
        Some(Holds::Long) => Type::Int,
        Some(Holds::Double) => Type::Double,
        Some(Holds::Boolean) => Type::Bool,
        None => Type::Any,
    }
}

/// How a literal is written that fits the field beside it.
fn written(one: (&Expr, Type), other: (&Expr, Type)) -> Option<String> {
    let (
        (
            Expr {
                node: Node::Read(path), ..
            },
            held,
        ),
        (literal, _),
    ) = (match (&one.0.node, &other.0.node) {
        (Node::Read(_), _) => (one, other),
        _ => (other, one),
    })
    else {
        return None;
    };
    let name = path.field.as_str();
    match (held, &literal.node) {
        (Type::Text, Node::Int(value)) => Some(format!("{name} is a text: '{value}'")),
        (Type::Text, Node::Double(value)) => Some(format!("{name} is a text: '{value}'")),
        (Type::Text, Node::Bool(value)) => Some(format!("{name} is a text: '{value}'")),
        (Type::Int | Type::Double | Type::Number, Node::Text(text)) if text.parse::<f64>().is_ok() => {
            Some(format!("{name} is a number, without quotes: {text}"))
        }
        (Type::Bool, Node::Text(text)) if matches!(text.as_str(), "true" | "false") => {
            Some(format!("{name} is true or false, without quotes: {text}"))
        }
        (Type::Int, Node::Text(_)) if name.ends_with("_date") => Some(format!(
            "{name} is a time in milliseconds; a window about it is a during"
        )),
        (Type::Int | Type::Double | Type::Number, Node::Text(_)) => Some(format!("{name} is a number")),
        (Type::Bool, _) => Some(format!("{name} is true or false")),
        _ => None,
    }
}
