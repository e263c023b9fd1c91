//! A file as a tree of values that know where they stand; from TOML, or from JSON for permission profiles.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::findings::{Findings, Place};

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Date,
    Array(Vec<Node>),
    Table(Vec<Entry>),
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) value: Node,
}

impl Kind {
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a decimal number",
            Self::Boolean(_) => "a boolean",
            Self::Date => "a date",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// The tree of a TOML text; nothing where the syntax is wrong, with every syntax error noted.
pub(crate) fn from_toml(text: &str, findings: &mut Findings) -> Option<Node> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut last = None;
    for error in &errors {
        let span = error.span().unwrap_or_default();
        // The parser repeats itself while it looks for a place to go on.
        if last.replace(span.clone()).as_ref() != Some(&span) {
            let place = Place { path: String::new(), span };
            findings.error(&place, error.message().lines().collect::<Vec<_>>().join(": "));
        }
    }
    let place = Place { path: String::new(), span: table.span() };
    errors.is_empty().then(|| Node { place, kind: from_table(table.get_ref(), "", findings) })
}

fn from_table(table: &DeTable<'_>, path: &str, findings: &mut Findings) -> Kind {
    let mut entries: Vec<Entry> =
        table.iter().map(|(key, value)| entry(key.get_ref(), key.span(), value, path, findings)).collect();
    entries.sort_by_key(|entry| entry.key_place.span.start);
    Kind::Table(entries)
}

fn entry(key: &str, span: Range<usize>, value: &Spanned<DeValue<'_>>, path: &str, findings: &mut Findings) -> Entry {
    let path = join(path, key);
    let value = from_value(value, path.clone(), findings);
    Entry { key: key.to_owned(), key_place: Place { path, span }, value }
}

fn from_value(value: &Spanned<DeValue<'_>>, path: String, findings: &mut Findings) -> Node {
    let place = Place { path, span: value.span() };
    let kind = match value.get_ref() {
        DeValue::String(text) => Kind::Text(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Kind::Integer(number),
            Err(_) => {
                findings.error(&place, format!("the number `{number}` is out of range"));
                Kind::Integer(0)
            }
        },
        DeValue::Float(number) => Kind::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Kind::Boolean(*value),
        DeValue::Datetime(_) => Kind::Date,
        DeValue::Array(items) => Kind::Array(
            items
                .iter()
                .enumerate()
                .map(|(at, item)| from_value(item, format!("{}[{at}]", place.path), findings))
                .collect(),
        ),
        DeValue::Table(table) => from_table(table, &place.path, findings),
    };
    Node { place, kind }
}

/// The tree of a JSON value whose spans all are `span`; `null` is the same as absent.
pub(crate) fn from_json(value: &serde_json::Value, path: String, span: &Range<usize>) -> Option<Node> {
    use serde_json::Value;
    let kind = match value {
        Value::Null => return None,
        Value::Bool(value) => Kind::Boolean(*value),
        Value::Number(number) => {
            number.as_i64().map_or_else(|| Kind::Float(number.as_f64().unwrap_or(f64::NAN)), Kind::Integer)
        }
        Value::String(text) => Kind::Text(text.clone()),
        Value::Array(items) => Kind::Array(
            items.iter().enumerate().filter_map(|(at, item)| from_json(item, format!("{path}[{at}]"), span)).collect(),
        ),
        Value::Object(fields) => Kind::Table(
            fields
                .iter()
                .filter_map(|(key, value)| {
                    let path = join(&path, key);
                    let value = from_json(value, path.clone(), span)?;
                    Some(Entry { key: key.clone(), key_place: Place { path, span: span.clone() }, value })
                })
                .collect(),
        ),
    };
    Some(Node { place: Place { path, span: span.clone() }, kind })
}

/// `a` + `b` is `a.b`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
