//! The shapes that values of a service file have besides tables with fixed keys.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::decode::{At, Decode};
use super::findings::Findings;
use super::tree::{Kind, Node};

macro_rules! forward_schema {
    ($type:ty, $to:ty) => {
        impl<T: JsonSchema> JsonSchema for $type {
            fn inline_schema() -> bool {
                <$to>::inline_schema()
            }
            fn schema_name() -> Cow<'static, str> {
                <$to>::schema_name()
            }
            fn schema_id() -> Cow<'static, str> {
                <$to>::schema_id()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                <$to>::json_schema(generator)
            }
        }
    };
}
forward_schema!(At<T>, T);
forward_schema!(Map<T>, std::collections::BTreeMap<String, T>);

/// A table with free keys, in the file's order.
#[derive(Debug, Clone)]
pub struct Map<T>(pub(crate) Vec<(At<String>, At<T>)>);

impl<T: Decode> Decode for Map<T> {
    fn expected() -> String {
        "a table".to_owned()
    }

    fn accepts(kind: &Kind) -> bool {
        matches!(kind, Kind::Table(_))
    }

    fn decode(node: &Node, findings: &mut Findings) -> Option<Self> {
        let Kind::Table(entries) = &node.kind else {
            return None;
        };
        let read = entries.iter().filter_map(|entry| {
            let key = At { value: entry.key.clone(), place: entry.key_place.clone() };
            At::read(&entry.value, findings).map(|value| (key, value))
        });
        Some(Self(read.collect()))
    }
}

/// One of two shapes.
#[derive(Debug, Clone)]
pub enum Or<A, B> {
    /// The first.
    First(A),
    /// The second.
    Second(B),
}

impl<A: JsonSchema, B: JsonSchema> JsonSchema for Or<A, B> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("{}_or_{}", A::schema_name(), B::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [generator.subschema_for::<A>(), generator.subschema_for::<B>()] })
    }
}

impl<A: Decode, B: Decode> Decode for Or<A, B> {
    fn expected() -> String {
        format!("{} or {}", A::expected(), B::expected())
    }

    fn accepts(kind: &Kind) -> bool {
        A::accepts(kind) || B::accepts(kind)
    }

    fn decode(node: &Node, findings: &mut Findings) -> Option<Self> {
        if A::accepts(&node.kind) {
            A::decode(node, findings).map(Self::First)
        } else {
            B::decode(node, findings).map(Self::Second)
        }
    }
}

impl<T: Decode> Decode for Vec<At<T>> {
    fn expected() -> String {
        "a list".to_owned()
    }

    fn accepts(kind: &Kind) -> bool {
        matches!(kind, Kind::Array(_))
    }

    fn decode(node: &Node, findings: &mut Findings) -> Option<Self> {
        let Kind::Array(items) = &node.kind else {
            return None;
        };
        Some(items.iter().filter_map(|item| At::read(item, findings)).collect())
    }
}

macro_rules! plain {
    ($type:ty, $expected:literal, $variant:ident) => {
        impl Decode for $type {
            fn expected() -> String {
                $expected.to_owned()
            }
            fn accepts(kind: &Kind) -> bool {
                matches!(kind, Kind::$variant(_))
            }
            fn decode(node: &Node, _findings: &mut Findings) -> Option<Self> {
                match &node.kind {
                    Kind::$variant(value) => Some(value.clone()),
                    _ => None,
                }
            }
        }
    };
}
plain!(String, "a string", Text);
plain!(bool, "a boolean", Boolean);
plain!(i64, "an integer", Integer);

/// A string or a number, for quantities that have both forms.
#[derive(Debug, Clone)]
pub enum Scalar {
    /// With a unit, or any text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction.
    Float(f64),
    /// True or false.
    Boolean(bool),
}

impl Scalar {
    /// As it would be written in a string.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Integer(number) => number.to_string(),
            Self::Float(number) => number.to_string(),
            Self::Boolean(value) => value.to_string(),
        }
    }
}

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer", "number", "boolean"] })
    }
}

impl Decode for Scalar {
    fn expected() -> String {
        "a string or a number".to_owned()
    }

    fn accepts(kind: &Kind) -> bool {
        matches!(kind, Kind::Text(_) | Kind::Integer(_) | Kind::Float(_) | Kind::Boolean(_))
    }

    fn decode(node: &Node, _: &mut Findings) -> Option<Self> {
        match &node.kind {
            Kind::Text(text) => Some(Self::Text(text.clone())),
            Kind::Integer(number) => Some(Self::Integer(*number)),
            Kind::Float(number) => Some(Self::Float(*number)),
            Kind::Boolean(value) => Some(Self::Boolean(*value)),
            Kind::Date | Kind::Array(_) | Kind::Table(_) => None,
        }
    }
}
