//! From a tree to typed shapes, noting every mismatch and unknown key on the way.

use super::findings::{Findings, Place};
use super::foreign;
use super::tree::{Kind, Node};
use crate::nearest::nearest;

/// A shape that a value of a file may have.
pub(crate) trait Decode: Sized {
    /// `a string`, for messages.
    fn expected() -> String;
    /// Whether the value is of this kind at all.
    fn accepts(kind: &Kind) -> bool;
    /// The value, which is of this kind; nothing once errors have been noted.
    fn decode(node: &Node, findings: &mut Findings) -> Option<Self>;

    /// The value, or nothing once errors have been noted.
    fn read(node: &Node, findings: &mut Findings) -> Option<Self> {
        if Self::accepts(&node.kind) {
            return Self::decode(node, findings);
        }
        let finding =
            findings.error(&node.place, format!("expected {}, found {}", Self::expected(), node.kind.describe()));
        finding.hint = advice::<Self>(node);
        None
    }
}

/// The keys of a table.
pub(crate) trait Keys {
    /// All that it knows.
    const KEYS: &'static [&'static str];
}

/// How to write what was probably meant, where the value is of the wrong kind.
fn advice<T: Decode>(node: &Node) -> Option<String> {
    let (takes_text, takes_flag) = (T::accepts(&Kind::Text(String::new())), T::accepts(&Kind::Boolean(true)));
    let takes_list = T::accepts(&Kind::Array(Vec::new()));
    let head =
        || node.place.path.split('.').map(|key| key.split('[').next().unwrap_or(key)).collect::<Vec<_>>().join(".");
    match &node.kind {
        Kind::Text(text) if takes_flag => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "on" | "1" => Some("write `true` without quotes".to_owned()),
            _ => Some("write `true` or `false`, without quotes".to_owned()),
        },
        Kind::Text(text) if T::accepts(&Kind::Integer(0)) => match text.parse::<i64>() {
            Ok(number) => Some(format!("write `{number}` without quotes")),
            Err(_) => Some("write a whole number, without quotes".to_owned()),
        },
        Kind::Integer(number @ 0..=1) if takes_flag => Some(format!("write `{}`", *number == 1)),
        Kind::Float(_) if T::accepts(&Kind::Integer(0)) => Some("write a whole number".to_owned()),
        Kind::Text(text) if takes_list => Some(format!("write a list: `[\"{text}\"]`")),
        Kind::Integer(number) if takes_list => Some(format!("write a list: `[\"{number}\"]`")),
        Kind::Integer(number) if takes_text => Some(format!("put it into quotes: `\"{number}\"`")),
        Kind::Float(number) if takes_text => Some(format!("put it into quotes: `\"{number}\"`")),
        Kind::Boolean(value) if takes_text => Some(format!("put it into quotes: `\"{value}\"`")),
        Kind::Date if takes_text => Some("put it into quotes".to_owned()),
        Kind::Table(_) if takes_list => Some(format!("write `[[{}]]`: it may be there more than once", head())),
        Kind::Array(_) if T::accepts(&Kind::Table(Vec::new())) => {
            Some(format!("write `[{}]`: it is there once", head()))
        }
        Kind::Array(_) if takes_text => Some("write one value, without brackets".to_owned()),
        Kind::Text(_) if T::accepts(&Kind::Table(Vec::new())) => Some(format!("write a table: `[{}]`", head())),
        _ => None,
    }
}

/// A value with its place.
#[derive(Debug, Clone, Default)]
pub struct At<T> {
    /// The value.
    pub value: T,
    pub(crate) place: Place,
}

impl<T: Decode> Decode for At<T> {
    fn expected() -> String {
        T::expected()
    }

    fn accepts(kind: &Kind) -> bool {
        T::accepts(kind)
    }

    fn decode(node: &Node, findings: &mut Findings) -> Option<Self> {
        T::read(node, findings).map(|value| Self { value, place: node.place.clone() })
    }
}

/// The value of a key, if it is there and right.
pub(crate) fn field<T: Decode>(node: &Node, key: &str, findings: &mut Findings) -> Option<At<T>> {
    let Kind::Table(entries) = &node.kind else {
        return None;
    };
    let entry = entries.iter().find(|entry| entry.key == key)?;
    At::read(&entry.value, findings)
}

/// A key without the mark that makes a word of the language a name.
pub(crate) const fn plain_key(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Notes keys that nobody knows and keys that are missing.
pub(crate) fn check_keys(node: &Node, table: &str, known: &[&str], required: &[&str], findings: &mut Findings) {
    let Kind::Table(entries) = &node.kind else {
        return;
    };
    for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let finding = findings.error(&entry.key_place, format!("unknown key `{}`", entry.key));
        finding.hint = foreign::advice(table, &entry.key);
        if finding.hint.is_none() {
            match nearest(&entry.key, known.iter().copied()) {
                Some(name) => finding.hint(format!("did you mean `{name}`?")),
                None => finding.hint(format!("known keys are {}", known.join(", "))),
            };
        }
    }
    for key in required.iter().filter(|key| !entries.iter().any(|entry| entry.key == **key)) {
        findings.error(&node.place, format!("the key `{key}` is missing"));
    }
}

/// A table of the file format: its fields are its keys, each of them optional to the decoder.
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub struct $name:ident requires [$($required:ident),*] {
            $($(#[$field_meta:meta])* pub $field:ident: $type:ty,)*
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields, extend("required" = [$(stringify!($required)),*]))]
        pub struct $name {
            $($(#[$field_meta])* pub $field: Option<$crate::file::decode::At<$type>>,)*
        }

        impl $crate::file::decode::Keys for $name {
            const KEYS: &'static [&'static str] =
                &[$($crate::file::decode::plain_key(stringify!($field))),*];
        }

        impl $crate::file::decode::Decode for $name {
            fn expected() -> String {
                "a table".to_owned()
            }

            fn accepts(kind: &$crate::file::tree::Kind) -> bool {
                matches!(kind, $crate::file::tree::Kind::Table(_))
            }

            fn decode(
                node: &$crate::file::tree::Node,
                findings: &mut $crate::file::findings::Findings,
            ) -> Option<Self> {
                use $crate::file::decode::{Keys, check_keys, field};
                check_keys(node, stringify!($name), Self::KEYS, &[$(stringify!($required)),*], findings);
                Some(Self { $($field: field(node, stringify!($field).trim_start_matches("r#"), findings),)* })
            }
        }
    };
}
pub(crate) use table;
