//! Faults on purpose, for tests.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;

use super::{Call, Operation, Policy};
use crate::{Error, ErrorKind, Result};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultAction {
    /// The call never reaches the engine: it fails with this kind.
    Fail(ErrorKind),
    /// The call acts, but its answer is lost: the caller sees `Unavailable`.
    LoseReply,
    /// The call is late by so much.
    Delay(Duration),
    /// The call acts, and its answer is late by so much.
    DelayReply(Duration),
}

/// A fault and the calls it befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultRule {
    /// Calls of this operation.
    pub operation: Operation,
    /// The nth of them, from 1; `None`: every one.
    pub nth: Option<u32>,
    /// What goes wrong.
    pub action: FaultAction,
}

/// Rules, separated by `;` or line feeds: `<operation> <nth|*> <action>`, where an action is `lose`, `delay <ms>`,
/// `delay-reply <ms>` or `fail <error-kind>`. Example: `create 1 lose; list * delay 200; stop 2 fail unavailable`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaultScript(
    /// In the order in which they are tried; the first that fits counts.
    pub Vec<FaultRule>,
);

/// Injects the faults of a script; clones count together, so that a runtime that is connected anew goes on with the script.
#[derive(Debug, Clone, Default)]
pub struct Fault {
    script: FaultScript,
    seen: Arc<Mutex<BTreeMap<Operation, u32>>>,
}

impl Fault {
    /// With these rules.
    pub fn new(script: FaultScript) -> Self {
        Self { script, seen: Arc::default() }
    }

    fn next(&self, operation: Operation) -> Option<FaultAction> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(operation).or_default();
        *count += 1;
        let fits = |rule: &&FaultRule| rule.operation == operation && rule.nth.is_none_or(|nth| nth == *count);
        self.script.0.iter().find(fits).map(|rule| rule.action)
    }
}

impl Policy for Fault {
    async fn around<'a, T, F>(&'a self, call: Call<'a>, act: F) -> Result<T>
    where
        T: Send + 'a,
        F: Fn() -> BoxFuture<'a, Result<T>> + Send + Sync + 'a,
    {
        let error = |kind, words: &str| Err(Error::new(kind, call.operation.name(), words));
        match self.next(call.operation) {
            None => act().await,
            Some(FaultAction::Fail(kind)) => error(kind, "an injected fault"),
            Some(FaultAction::LoseReply) => {
                act().await?;
                error(ErrorKind::Unavailable, "an injected fault: the answer was lost")
            }
            Some(FaultAction::Delay(delay)) => {
                tokio::time::sleep(delay).await;
                act().await
            }
            Some(FaultAction::DelayReply(delay)) => {
                let outcome = act().await;
                tokio::time::sleep(delay).await;
                outcome
            }
        }
    }
}

impl FromStr for FaultScript {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let rules = text.split([';', '\n']).map(str::trim).filter(|rule| !rule.is_empty());
        rules.map(parse_rule).collect::<std::result::Result<_, _>>().map(Self)
    }
}

fn parse_rule(text: &str) -> std::result::Result<FaultRule, String> {
    let wrong = || format!("`{text}` is not `<operation> <nth|*> <action>`");
    let words: Vec<&str> = text.split_whitespace().collect();
    let [operation, nth, action @ ..] = words.as_slice() else { return Err(wrong()) };
    let nth = if *nth == "*" { None } else { Some(nth.parse().map_err(|_| wrong())?) };
    let millis = |text: &str| text.parse().map(Duration::from_millis).map_err(|_| wrong());
    let action = match action {
        ["lose"] => FaultAction::LoseReply,
        ["delay", time] => FaultAction::Delay(millis(time)?),
        ["delay-reply", time] => FaultAction::DelayReply(millis(time)?),
        ["fail", kind] => FaultAction::Fail(kind_of(kind).ok_or_else(wrong)?),
        _ => return Err(wrong()),
    };
    Ok(FaultRule { operation: operation.parse()?, nth, action })
}

fn kind_of(text: &str) -> Option<ErrorKind> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_of_malformed_fault_script_is_refused() {
        for text in ["create", "create x lose", "creat 1 lose", "create 1 explode", "create 1 fail nonsense"] {
            assert!(text.parse::<FaultScript>().is_err(), "{text}");
        }
    }
}
