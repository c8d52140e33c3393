//! A `where`, or a part of one, that is the same whatever an event holds.

use super::{Pattern, Step, reads::written, when::Where};
use crate::{
    cel::{Code, Expr, Node, Op, Path},
    finding::Report,
};

/// Warns of what is always true, or never.
pub(super) fn warn(pattern: &Pattern, step: &Step, report: &mut Report) {
    if let Some(condition) = step.condition() {
        let told = Told {
            pattern,
            step,
            condition,
        };
        told.of(&condition.expr, report);
    }
}

struct Told<'a> {
    pattern: &'a Pattern,
    step: &'a Step,
    condition: &'a Where,
}

impl Told<'_> {
    /// Tells of the largest parts only: what they are made of follows.
    fn of(&self, expr: &Expr, report: &mut Report) {
        let is_whole = std::ptr::eq(expr, &raw const self.condition.expr);
        // A word that stands for itself is meant: `has(event.x) ? event.x > 1 : false`.
        let is_word = matches!(expr.node, Node::Bool(_));
        if (is_whole || !is_word)
            && let Some(value) = Code::of(expr).constant()
        {
            return self.tell(expr, value, None, "it asks nothing of the event", report);
        }
        if let Node::Binary(op @ (Op::And | Op::Or), ..) = expr.node {
            let mut parts = Vec::new();
            flatten(op, expr, &mut parts);
            if let Some(path) = excluded(&parts, op == Op::And) {
                let help = match op {
                    Op::And => "no event is all of this at once; one or the other is written ||",
                    _ => "every event that has the field is one of these; all at once is written &&",
                };
                return self.tell(expr, op == Op::Or, Some(path), help, report);
            }
            return parts.into_iter().for_each(|part| self.of(part, report));
        }
        expr.children().into_iter().for_each(|child| self.of(child, report));
    }

    fn tell(&self, expr: &Expr, is: bool, path: Option<&Path>, help: &str, report: &mut Report) {
        let is_whole = std::ptr::eq(expr, &raw const self.condition.expr);
        let what = if is_whole { "where" } else { "a part of where" };
        let always = if is { "always true" } else { "never true" };
        let field = path.map_or_else(String::new, |path| format!(": field={}", written(self.pattern, path)));
        let follows = match (is_whole, is, self.step) {
            (false, ..) => "",
            (_, true, _) => "; the step takes every event of its types",
            (_, false, Step::See(_)) => "; the step sees no event",
            (_, false, _) => "; no event breaks the absence",
        };
        let message = format!("{what} is {always}{field}");
        report.warning_with_help(
            self.condition.mark(expr.at),
            "where-constant",
            message,
            &format!("{help}{follows}"),
        );
    }
}

/// The parts of a chain of the same operator.
fn flatten<'e>(op: Op, expr: &'e Expr, parts: &mut Vec<&'e Expr>) {
    match &expr.node {
        Node::Binary(found, left, right) if *found == op => {
            flatten(op, left, parts);
            flatten(op, right, parts);
        }
        _ => parts.push(expr),
    }
}

/// A field that would have to be two things at once, if every part were true (or, of the parts of an `||`, every one false).
fn excluded<'e>(parts: &[&'e Expr], is_true: bool) -> Option<&'e Path> {
    let mut fields: Vec<(&Path, Range<'_>)> = Vec::new();
    for part in parts {
        let Some((path, asked)) = asked(part, is_true) else {
            continue;
        };
        let place = fields.iter().position(|(known, _)| *known == path).unwrap_or_else(|| {
            fields.push((path, Range::default()));
            fields.len() - 1
        });
        fields[place].1.narrow(&asked, is_true);
    }
    fields.iter().find(|(_, range)| range.is_empty()).map(|(path, _)| *path)
}

/// What a field is compared with.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Literal<'e> {
    Null,
    Bool(bool),
    Number(f64),
    Text(&'e str),
}

impl<'e> Literal<'e> {
    fn of(expr: &'e Expr) -> Option<Self> {
        match &expr.node {
            Node::Null => Some(Self::Null),
            Node::Bool(value) => Some(Self::Bool(*value)),
            Node::Text(text) => Some(Self::Text(text)),
            Node::Double(value) => Some(Self::Number(*value)),
            // Up to here every whole number is a double.
            Node::Int(value) if value.unsigned_abs() <= 1 << f64::MANTISSA_DIGITS =>
            {
                #[expect(clippy::cast_precision_loss, reason = "checked to be exact")]
                Some(Self::Number(*value as f64))
            }
            Node::Negate(inner) => match Self::of(inner)? {
                Self::Number(value) => Some(Self::Number(-value)),
                _ => None,
            },
            _ => None,
        }
    }
}

/// What one part asks of one field.
enum Asked<'e> {
    There(bool),
    Among(Vec<Literal<'e>>),
    Not(Vec<Literal<'e>>),
    /// At least or, if the flag is set, above.
    From(f64, bool),
    /// At most or, if the flag is set, below.
    To(f64, bool),
}

fn asked(expr: &Expr, is_true: bool) -> Option<(&Path, Asked<'_>)> {
    let among = |literals| {
        if is_true {
            Asked::Among(literals)
        } else {
            Asked::Not(literals)
        }
    };
    match &expr.node {
        Node::Not(inner) => asked(inner, !is_true),
        Node::Has(path) => Some((path, Asked::There(is_true))),
        Node::Read(path) => Some((path, Asked::Among(vec![Literal::Bool(is_true)]))),
        Node::In(item, list) => match &item.node {
            Node::Read(path) => Some((path, among(list.iter().map(Literal::of).collect::<Option<_>>()?))),
            _ => None,
        },
        Node::Binary(op, left, right) => {
            let (path, literal, op) = match (&left.node, &right.node) {
                (Node::Read(path), _) => (path, Literal::of(right)?, *op),
                (_, Node::Read(path)) => (path, Literal::of(left)?, op.mirrored()),
                _ => return None,
            };
            let asked = match (op, literal) {
                (Op::Equal, _) => among(vec![literal]),
                (Op::Unequal, _) if is_true => Asked::Not(vec![literal]),
                (Op::Unequal, _) => Asked::Among(vec![literal]),
                (Op::Less, Literal::Number(number)) if is_true => Asked::To(number, true),
                (Op::Less, Literal::Number(number)) => Asked::From(number, false),
                (Op::LessEqual, Literal::Number(number)) if is_true => Asked::To(number, false),
                (Op::LessEqual, Literal::Number(number)) => Asked::From(number, true),
                (Op::Greater, Literal::Number(number)) if is_true => Asked::From(number, true),
                (Op::Greater, Literal::Number(number)) => Asked::To(number, false),
                (Op::GreaterEqual, Literal::Number(number)) if is_true => Asked::From(number, false),
                (Op::GreaterEqual, Literal::Number(number)) => Asked::To(number, true),
                _ => return None,
            };
            Some((path, asked))
        }
        _ => None,
    }
}

/// What a field may still be.
#[derive(Default)]
struct Range<'e> {
    is_there: bool,
    is_missing: bool,
    among: Option<Vec<Literal<'e>>>,
    not: Vec<Literal<'e>>,
    from: Option<(f64, bool)>,
    to: Option<(f64, bool)>,
}

impl<'e> Range<'e> {
    fn narrow(&mut self, asked: &Asked<'e>, is_true: bool) {
        // What is asked of a field is false of one that is there, and neither of one that is not.
        self.is_there |= match asked {
            Asked::There(is_there) => *is_there,
            _ => is_true,
        };
        match asked {
            Asked::There(is_there) => self.is_missing |= !is_there,
            Asked::Among(literals) => match &mut self.among {
                Some(known) => known.retain(|literal| literals.contains(literal)),
                None => self.among = Some(literals.clone()),
            },
            Asked::Not(literals) => self.not.extend(literals),
            Asked::From(number, is_open) => {
                let wider = |known: (f64, bool)| known.0 > *number || (known.0 == *number && known.1);
                self.from = self.from.filter(|known| wider(*known)).or(Some((*number, *is_open)));
            }
            Asked::To(number, is_open) => {
                let wider = |known: (f64, bool)| known.0 < *number || (known.0 == *number && known.1);
                self.to = self.to.filter(|known| wider(*known)).or(Some((*number, *is_open)));
            }
        }
    }

    fn holds(&self, literal: Literal<'_>) -> bool {
        if self.not.contains(&literal) {
            return false;
        }
        if self.from.is_none() && self.to.is_none() {
            return true;
        }
        let Literal::Number(number) = literal else { return false };
        let above = |(from, is_open): (f64, bool)| number > from || (number == from && !is_open);
        let below = |(to, is_open): (f64, bool)| number < to || (number == to && !is_open);
        self.from.is_none_or(above) && self.to.is_none_or(below)
    }

    fn is_empty(&self) -> bool {
        if self.is_missing && self.is_there {
            return true;
        }
        if let Some(among) = &self.among {
            return !among.iter().any(|literal| self.holds(*literal));
        }
        match (self.from, self.to) {
            (Some((from, _)), Some((to, _))) if from == to => !self.holds(Literal::Number(from)),
            (Some((from, _)), Some((to, _))) => from > to,
            _ => false,
        }
    }
}
