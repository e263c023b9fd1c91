//! Values of an enum that another version may have written.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Vocabulary;

/// A value as it is read: an older database or a newer agent may have one that this version does not know.
///
/// It is shown by its name then, and nothing else is concluded from it. What is written is always known: it is made from `T`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OpenEnum<T> {
    /// One that this version knows.
    Known(T),
    /// The name of one that it does not.
    Unknown(String),
}

impl<T: Vocabulary> OpenEnum<T> {
    /// The value of this name.
    pub fn read(name: &str) -> Self {
        T::of(name).map_or_else(|| Self::Unknown(name.to_owned()), Self::Known)
    }

    /// The value, where this version knows it.
    pub const fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Unknown(_) => None,
        }
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(value) => value.as_str(),
            Self::Unknown(name) => name,
        }
    }
}

impl<T> From<T> for OpenEnum<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: PartialEq> PartialEq<T> for OpenEnum<T> {
    fn eq(&self, other: &T) -> bool {
        matches!(self, Self::Known(value) if value == other)
    }
}

impl<T: Vocabulary> fmt::Display for OpenEnum<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl<T: Vocabulary> Serialize for OpenEnum<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de, T: Vocabulary> Deserialize<'de> for OpenEnum<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::read(&Cow::<str>::deserialize(deserializer)?))
    }
}

/// The schema lists what this version knows; a client treats any other value as news that it does not know.
impl<T: JsonSchema> JsonSchema for OpenEnum<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::super::{EventKind, OperationKind};
    use super::*;

    #[test]
    fn unknown_value_is_read_and_written_by_its_name() {
        let read: Vec<OpenEnum<EventKind>> = serde_json::from_str(r#"["started", "of.tomorrow"]"#).unwrap();
        assert_eq!(read[0], EventKind::Started);
        assert_eq!((read[1].known(), read[1].as_str()), (None, "of.tomorrow"));
        assert_eq!(serde_json::to_string(&read).unwrap(), r#"["started","of.tomorrow"]"#);
        assert_eq!(format!("{:8}|", OpenEnum::from(OperationKind::Pull)), "pull    |");
    }
}
