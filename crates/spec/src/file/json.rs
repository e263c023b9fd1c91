//! A permission profile in JSON as a tree. A key that is given twice is an error: parsers differ in which of the two they take.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::findings::Place;
use super::tree::{Entry, Kind, Node, join};

/// The tree of a JSON text whose spans all are `span`; `null` is the same as absent.
pub(crate) fn parse(text: &str, span: &Range<usize>) -> Result<Option<Node>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let node = At { path: String::new(), span }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(node)
}

/// The place that a value is read for.
struct At<'a> {
    path: String,
    span: &'a Range<usize>,
}

impl At<'_> {
    fn node(self, kind: Kind) -> Option<Node> {
        Some(Node { place: Place { path: self.path, span: self.span.clone() }, kind })
    }
}

impl<'de> DeserializeSeed<'de> for At<'_> {
    type Value = Option<Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for At<'_> {
    type Value = Option<Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(self.node(Kind::Boolean(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(self.node(Kind::Integer(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        let kind = i64::try_from(value).map_or(Kind::Float(value as f64), Kind::Integer);
        Ok(self.node(kind))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(self.node(Kind::Float(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(self.node(Kind::Text(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut nodes = Vec::new();
        for at in 0.. {
            let path = format!("{}[{at}]", self.path);
            match items.next_element_seed(At { path, span: self.span })? {
                Some(node) => nodes.extend(node),
                None => break,
            }
        }
        Ok(self.node(Kind::Array(nodes)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
        let mut seen = std::collections::HashSet::new();
        let mut entries = Vec::new();
        while let Some(key) = fields.next_key::<String>()? {
            let path = join(&self.path, &key);
            if !seen.insert(key.clone()) {
                return Err(A::Error::custom(format_args!("the key `{path}` is given twice")));
            }
            let value = fields.next_value_seed(At { path: path.clone(), span: self.span })?;
            let key_place = Place { path, span: self.span.clone() };
            entries.extend(value.map(|value| Entry { key, key_place, value }));
        }
        Ok(self.node(Kind::Table(entries)))
    }
}
