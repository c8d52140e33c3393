//! What can be known of types at load. Fields that the vocabulary types are checked; others are typed at run time.

use super::{Expr, Flaw, Node, Op, Path, Root};

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
pub(crate) fn check(expr: &Expr) -> Result<(), Flaw> {
    want(expr, Type::Bool)
}

fn flaw(at: usize, message: String) -> Flaw {
    Flaw {
        at,
        code: "where-type",
        message,
    }
}

fn want(expr: &Expr, wanted: Type) -> Result<(), Flaw> {
    let found = type_of(expr)?;
    if found.fits(wanted) {
        return Ok(());
    }
    Err(flaw(
        expr.at,
        format!("wrong type: found={} expected={}", found.name(), wanted.name()),
    ))
}

fn type_of(expr: &Expr) -> Result<Type, Flaw> {
    Ok(match &expr.node {
        Node::Null => Type::Null,
        Node::Bool(_) | Node::Has(_) => Type::Bool,
        Node::Int(_) => Type::Int,
        Node::Double(_) => Type::Double,
        Node::Text(_) => Type::Text,
        Node::Read(path) => field(path),
        Node::Not(inner) => {
            want(inner, Type::Bool)?;
            Type::Bool
        }
        Node::Negate(inner) => {
            want(inner, Type::Number)?;
            type_of(inner)?
        }
        Node::Binary(op, left, right) => binary(expr.at, *op, left, right)?,
        Node::Choose(test, yes, no) => {
            want(test, Type::Bool)?;
            let (yes, no) = (type_of(yes)?, type_of(no)?);
            if yes == no { yes } else { Type::Any }
        }
        Node::In(item, list) => {
            let item = type_of(item)?;
            for literal in list {
                let found = type_of(literal)?;
                if !found.fits(item) {
                    let message = format!("cannot compare: left={} right={}", item.name(), found.name());
                    return Err(flaw(literal.at, message));
                }
            }
            Type::Bool
        }
        Node::Size(inner) => {
            let found = type_of(inner)?;
            if !matches!(found, Type::Any | Type::Text) {
                return Err(flaw(
                    inner.at,
                    format!("wrong type: found={} expected=string", found.name()),
                ));
            }
            Type::Int
        }
        Node::StartsWith(on, with) | Node::EndsWith(on, with) | Node::Contains(on, with) => {
            want(on, Type::Text)?;
            want(with, Type::Text)?;
            Type::Bool
        }
        Node::Matches(on, _) => {
            want(on, Type::Text)?;
            Type::Bool
        }
        Node::ToInt(inner) | Node::ToDouble(inner) => {
            let found = type_of(inner)?;
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

fn binary(at: usize, op: Op, left: &Expr, right: &Expr) -> Result<Type, Flaw> {
    match op {
        Op::Or | Op::And => {
            want(left, Type::Bool)?;
            want(right, Type::Bool)?;
            Ok(Type::Bool)
        }
        Op::Equal | Op::Unequal | Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => {
            let (a, b) = (type_of(left)?, type_of(right)?);
            let null = a == Type::Null || b == Type::Null;
            let equality = matches!(op, Op::Equal | Op::Unequal);
            let comparable = if null { equality } else { a.fits(b) };
            if !comparable {
                return Err(flaw(
                    at,
                    format!("cannot compare: left={} right={}", a.name(), b.name()),
                ));
            }
            Ok(Type::Bool)
        }
        Op::Add | Op::Subtract | Op::Multiply | Op::Divide | Op::Remainder => {
            let (a, b) = (type_of(left)?, type_of(right)?);
            for (side, found) in [(left, a), (right, b)] {
                if found == Type::Text && op == Op::Add {
                    let message = "not supported in where: concatenation".to_owned();
                    return Err(Flaw {
                        at: side.at,
                        code: "where-refused",
                        message,
                    });
                }
                want(side, Type::Number)?;
            }
            if op == Op::Remainder
                && let Some((side, _)) = [(left, a), (right, b)].iter().find(|(_, found)| *found == Type::Double)
            {
                return Err(flaw(side.at, "% takes whole numbers: found=double".to_owned()));
            }
            match (a, b) {
                (Type::Int, Type::Double) | (Type::Double, Type::Int) => {
                    let message = format!("arithmetic needs one number type: left={} right={}", a.name(), b.name());
                    Err(flaw(at, message))
                }
                (Type::Int | Type::Double, _) => Ok(a),
                (_, Type::Int | Type::Double) => Ok(b),
                _ => Ok(Type::Number),
            }
        }
    }
}

/// The type of a field, where envelope, vocabulary or journey fix it.
fn field(path: &Path) -> Type {
    let name = path.field.as_str();
    match path.root {
        Root::Event | Root::Captured(_) => match name {
            "type" | "channel" | "medium" | "session" | "conversation" | "role" | "sentiment.label" | "currency" => {
                Type::Text
            }
            "sentiment.score"
            | "sentiment.confidence"
            | "value"
            | "results"
            | "waited_ms"
            | "held_ms"
            | "confidence"
            | "rating"
            | "count"
            | "attempt"
            | "score"
            | "fee" => Type::Number,
            "hard" | "public" | "repeated" | "resolved" => Type::Bool,
            _ => Type::Any,
        },
        Root::Journey => match name {
            "phase" | "value.band" | "value.currency" => Type::Text,
            "contacts_7d" | "effort.points" | "value.orders" | "value.lifetime" | "value.cart" | "value.monthly" => {
                Type::Number
            }
            "sentiment.dip" => Type::Bool,
            _ if name.starts_with("sentiment.") => Type::Number,
            _ if name.starts_with("promises.") => Type::Text,
            _ => Type::Any,
        },
        Root::Profile => match name {
            "phase" | "lang" | "time_zone" | "cart_id" | "value.band" | "value.currency" => Type::Text,
            "renewal_date" | "value.orders" | "value.lifetime" | "value.cart" | "value.monthly" => Type::Number,
            "quarantined" => Type::Bool,
            _ if name.starts_with("consent.") || name.starts_with("preferences.") => Type::Text,
            _ => Type::Any,
        },
    }
}
