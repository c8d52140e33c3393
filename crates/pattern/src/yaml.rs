//! YAML to a tree whose every node knows its place. Anchors, aliases, tags and duplicate keys are refused: a pattern must read
//! the same for every reader.

use granit_parser::{Event, Parser, ScalarStyle, Span};

use crate::finding::{Mark, Report};

/// A node and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub at: Mark,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// The text, and whether it was written plain (so that `1`, `true` and `null` mean what YAML says).
    Scalar {
        text: String,
        plain: bool,
        offset: u32,
    },
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

impl Node {
    pub fn kind(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } => "a value",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }

    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// Where the scalar's character `index` stands, exact for scalars on one line without escapes.
    pub fn mark_within(&self, index: usize) -> Mark {
        let Value::Scalar { offset, .. } = &self.value else {
            return self.at;
        };
        let column = self.at.column + offset + u32::try_from(index).unwrap_or(0);
        Mark {
            line: self.at.line,
            column,
        }
    }
}

/// Reads one document. `None` after an error that leaves no tree.
pub(crate) fn read(text: &str, report: &mut Report) -> Option<Node> {
    let mut builder = Builder {
        report,
        source: text,
        stack: Vec::new(),
        root: None,
        extra: false,
    };
    for next in Parser::new_from_str(text) {
        match next {
            Ok((event, span)) => builder.take(event, span),
            Err(error) => {
                let marker = error.marker();
                let at = mark(marker.line(), marker.col());
                let line = text.lines().nth(marker.line().saturating_sub(1)).unwrap_or_default();
                if let Some((first, column)) = where_needs_quotes(line) {
                    let at = Mark { column, ..at };
                    builder
                        .report
                        .error(at, "quote", format!("where must be quoted: it begins with {first}"));
                } else if error.info().contains("anchor") {
                    // An alias of nothing.
                    builder.refuse(at);
                } else {
                    match help(&error.info(), line) {
                        Some(help) => builder.report.error_with_help(at, "yaml", error.info(), help),
                        None => builder.report.error(at, "yaml", error.info()),
                    }
                }
                return None;
            }
        }
    }
    let Builder { root, .. } = builder;
    if root.is_none() {
        report.error(Mark { line: 1, column: 1 }, "yaml", "the file is empty");
    }
    root
}

/// What to do about a line that is no YAML, by what the reader of YAML says of it and how it looks.
fn help(found: &str, line: &str) -> Option<&'static str> {
    let text = line.trim_start();
    let has_curly_quote = line.contains(['\u{201c}', '\u{201d}', '\u{201e}', '\u{2018}', '\u{2019}']);
    if found.contains("tabs") || line.contains('\t') {
        Some("indent with blanks")
    } else if has_curly_quote {
        Some("quotes are straight: \" or '")
    } else if text.starts_with('-') && !text.starts_with("- ") {
        Some("a blank follows the dash of an entry: - see: …")
    } else if line.contains("{{") {
        Some("a sentence with {{ }} stands in quotes")
    } else if found.contains("mapping values") {
        Some(
            "a text with a colon and a blank in it stands in quotes; entries of a list begin with a dash; keys of one mapping begin in one column",
        )
    } else if found.contains("'-' indicator") || found.contains("block mapping") {
        Some("what belongs together begins in one column")
    } else if found.contains("':'") {
        Some("a colon and a blank follow a key")
    } else {
        None
    }
}

fn mark(line: usize, column: usize) -> Mark {
    Mark {
        line: u32::try_from(line).unwrap_or(0),
        column: u32::try_from(column).unwrap_or(0) + 1,
    }
}

/// The first character of an unquoted `where` on this line that YAML takes for itself, and its column.
fn where_needs_quotes(line: &str) -> Option<(char, u32)> {
    let key_end = line.find("where:")? + 6;
    let (at, first) = line[key_end..]
        .char_indices()
        .find(|(_, letter)| !letter.is_whitespace())?;
    let column = u32::try_from(line[..key_end + at].chars().count()).unwrap_or(0) + 1;
    matches!(first, '!' | '&' | '*').then_some((first, column))
}

enum Open {
    List(Mark, Vec<Node>),
    Map(Mark, Vec<(Node, Node)>, Option<Node>),
}

struct Builder<'a> {
    report: &'a mut Report,
    source: &'a str,
    stack: Vec<Open>,
    root: Option<Node>,
    extra: bool,
}

impl Builder<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) {
        let at = mark(span.start.line(), span.start.col());
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    self.refuse(at);
                }
                let plain = style == ScalarStyle::Plain;
                if plain {
                    self.look_for_comment(at, span);
                }
                let offset = u32::from(matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted));
                self.put(Node {
                    at,
                    value: Value::Scalar {
                        text: text.into_owned(),
                        plain,
                        offset,
                    },
                });
            }
            Event::SequenceStart(_, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    self.refuse(at);
                }
                self.stack.push(Open::List(at, Vec::new()));
            }
            Event::MappingStart(_, anchor, tag) => {
                if anchor != 0 || tag.is_some() {
                    self.refuse(at);
                }
                self.stack.push(Open::Map(at, Vec::new(), None));
            }
            Event::SequenceEnd => {
                if let Some(Open::List(at, nodes)) = self.stack.pop() {
                    self.put(Node {
                        at,
                        value: Value::List(nodes),
                    });
                }
            }
            Event::MappingEnd => {
                if let Some(Open::Map(at, entries, _)) = self.stack.pop() {
                    self.put(Node {
                        at,
                        value: Value::Map(entries),
                    });
                }
            }
            Event::Alias(_) => {
                self.refuse(at);
                self.put(Node {
                    at,
                    value: Value::Scalar {
                        text: String::new(),
                        plain: true,
                        offset: 0,
                    },
                });
            }
            Event::DocumentStart(..) if self.root.is_some() && !self.extra => {
                self.extra = true;
                self.report.error(at, "yaml", "one document per file");
            }
            _ => {}
        }
    }

    fn refuse(&mut self, at: Mark) {
        let line = self.source.lines().nth(at.line as usize - 1).unwrap_or_default();
        match where_needs_quotes(line) {
            Some((first, column)) => {
                let at = Mark { column, ..at };
                self.report
                    .error(at, "quote", format!("where must be quoted: it begins with {first}"));
            }
            None => self.report.error(at, "yaml", "anchors, aliases and tags are refused"),
        }
    }

    /// A plain `where` with ` #` in it ends there: the rest is a comment, which is never what was meant.
    fn look_for_comment(&mut self, at: Mark, span: Span) {
        let is_where = matches!(self.stack.last(), Some(Open::Map(_, _, Some(key))) if key.text() == Some("where"));
        if !is_where {
            return;
        }
        let line = self
            .source
            .lines()
            .nth(span.end.line().saturating_sub(1))
            .unwrap_or_default();
        let rest: String = line.chars().skip(span.end.col()).collect();
        if rest.trim_start().starts_with('#') {
            self.report
                .error(at, "quote", "where must be quoted: it contains \" #\"");
        }
    }

    fn put(&mut self, node: Node) {
        match self.stack.last_mut() {
            None => self.root = self.root.take().or(Some(node)),
            Some(Open::List(_, nodes)) => nodes.push(node),
            Some(Open::Map(_, entries, waiting)) => match waiting.take() {
                None => {
                    let known = node
                        .text()
                        .is_some_and(|text| entries.iter().any(|(key, _)| key.text() == Some(text)));
                    if known {
                        let key = node.text().unwrap_or_default();
                        self.report.error(node.at, "yaml", format!("duplicate key: key={key}"));
                    }
                    *waiting = Some(node);
                }
                Some(key) => entries.push((key, node)),
            },
        }
    }
}
