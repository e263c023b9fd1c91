//! A file as a tree of values that know where they stand; from TOML, or (in `json`) from JSON for permission profiles.

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
    if !errors.is_empty() {
        super::syntax::note(text, &errors, findings);
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

/// `a` + `b` is `a.b`.
pub(crate) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
