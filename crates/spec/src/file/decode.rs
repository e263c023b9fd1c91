//! From a tree to typed shapes, noting every mismatch and unknown key on the way.

use super::findings::{Findings, Place};
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
        findings.error(&node.place, format!("expected {}, found {}", Self::expected(), node.kind.describe()));
        None
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

/// Notes keys that nobody knows and keys that are missing.
pub(crate) fn check_keys(node: &Node, known: &[&str], required: &[&str], findings: &mut Findings) {
    let Kind::Table(entries) = &node.kind else {
        return;
    };
    for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
        let finding = findings.error(&entry.key_place, format!("unknown key `{}`", entry.key));
        match nearest(&entry.key, known.iter().copied()) {
            Some(name) => finding.hint(format!("did you mean `{name}`?")),
            None => finding.hint(format!("known keys are {}", known.join(", "))),
        };
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
                use $crate::file::decode::{check_keys, field};
                check_keys(node, &[$(stringify!($field).trim_start_matches("r#")),*], &[$(stringify!($required)),*], findings);
                Some(Self { $($field: field(node, stringify!($field).trim_start_matches("r#"), findings),)* })
            }
        }
    };
}
pub(crate) use table;
