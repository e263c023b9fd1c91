//! What a deploy does about mounted files that have changed.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{ParseError, Signal};

const FORM: &str = "one of `restart`, `ignore`, `signal:HUP` with any signal";
/// Signals that no process can handle: KILL and STOP.
const UNHANDLED: [Signal; 2] = [Signal::KILL, Signal(19)];

/// What a deploy does when a mounted file has another content than at the deploy before; in files and on the wire
/// `restart`, `ignore`, `signal:SIGHUP`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ConfigChange {
    /// A new instance takes over.
    #[default]
    Restart,
    /// Nothing.
    Ignore,
    /// The main process is sent this signal and reads the file again.
    Signal(Signal),
}

impl ConfigChange {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for ConfigChange {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        match (text, text.split_once(':')) {
            ("restart", _) => Ok(Self::Restart),
            ("ignore", _) => Ok(Self::Ignore),
            (_, Some(("signal", signal))) => handled(signal.parse()?).map(Self::Signal),
            ("signal", None) => Err(ParseError::new("`signal` names none").hint("write `signal:HUP`")),
            _ => Err(ParseError::new(format!("`{text}` is not a policy for changed files")).hint(FORM)),
        }
    }
}

fn handled(signal: Signal) -> Result<Signal, ParseError> {
    if UNHANDLED.contains(&signal) {
        let words = format!("no process can handle `{signal}`");
        return Err(ParseError::new(words).hint("`restart` replaces the instance"));
    }
    Ok(signal)
}

impl fmt::Display for ConfigChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Restart => f.pad("restart"),
            Self::Ignore => f.pad("ignore"),
            Self::Signal(signal) => f.pad(&format!("signal:{signal}")),
        }
    }
}

impl Serialize for ConfigChange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ConfigChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: ParseError| serde::de::Error::custom(error.message))
    }
}

impl JsonSchema for ConfigChange {
    fn schema_name() -> Cow<'static, str> {
        "ConfigChange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "What a deploy does when a mounted file has another content than at the deploy before.",
            "anyOf": [
                { "description": "A new instance takes over.", "type": "string", "const": "restart" },
                { "description": "Nothing.", "type": "string", "const": "ignore" },
                {
                    "description": "The main process is sent this signal, by name or number, and reads the file again.",
                    "type": "string",
                    "pattern": "^signal:[A-Za-z0-9+-]+$",
                },
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_wire_agree() {
        for (text, policy, wire) in [
            ("restart", ConfigChange::Restart, "restart"),
            ("ignore", ConfigChange::Ignore, "ignore"),
            ("signal:HUP", ConfigChange::Signal(Signal(1)), "signal:SIGHUP"),
            ("signal:10", ConfigChange::Signal(Signal(10)), "signal:SIGUSR1"),
            ("signal:sigrtmin+3", ConfigChange::Signal(Signal(37)), "signal:SIGRTMIN+3"),
        ] {
            assert_eq!(text.parse(), Ok(policy));
            assert_eq!(serde_json::to_value(policy).ok(), Some(wire.into()));
            assert_eq!(serde_json::from_value(wire.into()).ok(), Some(policy));
        }
    }

    #[test]
    fn what_cannot_be_handed_over_is_refused() {
        for text in
            ["", "reload", "signal", "signal:", "signal:0", "signal:65", "signal:KILL", "signal:STOP", "signal:HUPP"]
        {
            let error = text.parse::<ConfigChange>().err();
            assert!(
                error.is_some_and(|error| error.hint.is_some() || error.message.contains("between 1 and 64")),
                "{text}"
            );
        }
    }
}
