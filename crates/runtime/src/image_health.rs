//! The check that an image says of itself, `HEALTHCHECK`, in the terms of a component's own.

mod instruction;

use hythe_spec::units::MAX_MILLIS;
use hythe_spec::{Health, Millis, OnFailure, Probe};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What Docker takes where the image gives 0.
const INTERVAL: Millis = Millis(30_000);
const TIMEOUT: Millis = Millis(30_000);
const RETRIES: u32 = 3;
/// The least that Docker takes where the image does not give 0.
const SHORTEST: u64 = 1_000_000;
/// Between tries that do not count yet.
const START_INTERVAL: Millis = Millis(1_000);

/// The check of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageHealth {
    /// It can be done.
    Check(Health),
    /// It makes no sense, and why.
    Unfit(String),
}

impl ImageHealth {
    /// From `Healthcheck` of an image's configuration (Docker Image Specification v1.2). `None`: the image has none, or says `NONE`.
    ///
    /// Docker's first try comes after one interval. Here tries come at once, and until then failures do not count.
    pub fn read(document: &Value) -> Option<Self> {
        if document.is_null() {
            return None;
        }
        match check(document) {
            Ok(check) => check.map(Self::Check),
            Err(reason) => Some(Self::Unfit(reason)),
        }
    }

    /// `Healthcheck` of a configuration, from what a Dockerfile has after `HEALTHCHECK`.
    ///
    /// # Errors
    /// Why it makes no sense.
    pub fn instruction(text: &str) -> Result<Value, String> {
        instruction::read(text)
    }
}

fn check(document: &Value) -> Result<Option<Health>, String> {
    let fields = document.as_object().ok_or("it is not a table")?;
    let Some(command) = command(fields.get("Test").unwrap_or(&Value::Null))? else { return Ok(None) };
    let time = |key: &str, default: Option<Millis>| match nanoseconds(key, fields.get(key))? {
        0 => Ok::<_, String>(default),
        nanoseconds => Ok(Some(Millis(nanoseconds.div_ceil(1_000_000)))),
    };
    let interval = time("Interval", Some(INTERVAL))?.unwrap_or(INTERVAL);
    let timeout = time("Timeout", Some(TIMEOUT))?.unwrap_or(TIMEOUT);
    let start_period = time("StartPeriod", None)?.unwrap_or(Millis(0));
    let start_interval = time("StartInterval", Some(START_INTERVAL))?;
    let retries = match fields.get("Retries") {
        None | Some(Value::Null) => RETRIES,
        Some(number) => match number.as_u64().and_then(|number| u32::try_from(number).ok()) {
            Some(0) => RETRIES,
            Some(number) => number,
            None => return Err(format!("its `Retries` are `{number}`")),
        },
    };
    Ok(Some(Health {
        probe: Probe::Exec { command },
        interval,
        timeout,
        retries,
        start_period: start_period.max(interval),
        start_interval,
        on_failure: OnFailure::None,
    }))
}

fn nanoseconds(key: &str, value: Option<&Value>) -> Result<u64, String> {
    let number = match value {
        None | Some(Value::Null) => return Ok(0),
        Some(value) => value.as_u64().filter(|number| *number / 1_000_000 <= MAX_MILLIS),
    };
    match number {
        Some(short @ 1..SHORTEST) => Err(format!("its `{key}` is `{short}` nanoseconds, and the least is 1 ms")),
        Some(number) => Ok(number),
        None => Err(format!("its `{key}` is `{}` nanoseconds", value.unwrap_or(&Value::Null))),
    }
}

/// An empty list says nothing.
fn command(test: &Value) -> Result<Option<Vec<String>>, String> {
    if test.is_null() {
        return Ok(None);
    }
    let words: Option<Vec<&str>> = test.as_array().and_then(|words| words.iter().map(Value::as_str).collect());
    let words = words.ok_or("its `Test` is not a list of words")?;
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match words.as_slice() {
        [] | ["NONE", ..] => Ok(None),
        ["CMD"] | ["CMD", "", ..] | ["CMD-SHELL"] | ["CMD-SHELL", "", ..] => Err("its command is empty".to_owned()),
        ["CMD", command @ ..] => Ok(Some(owned(command))),
        ["CMD-SHELL", line] => Ok(Some(owned(&["/bin/sh", "-c", line]))),
        ["CMD-SHELL", ..] => Err("its `CMD-SHELL` is followed by more than one string".to_owned()),
        [other, ..] => Err(format!("`{other}` is no kind of test")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_are_nanoseconds_and_zero_is_dockers_default() {
        let full = json!({
            "Test": ["CMD", "true", "x"], "Interval": 2_000_000_000_u64, "Timeout": 1_500_000, "StartPeriod": 9_000_000_000_u64,
            "StartInterval": 500_000_000, "Retries": 5
        });
        let Some(ImageHealth::Check(health)) = ImageHealth::read(&full) else { panic!("a check") };
        assert_eq!(health.probe, Probe::Exec { command: vec!["true".to_owned(), "x".to_owned()] });
        assert_eq!((health.interval, health.timeout), (Millis(2000), Millis(2)));
        assert_eq!((health.start_period, health.start_interval), (Millis(9000), Some(Millis(500))));
        assert_eq!(health.retries, 5);
        let zero = json!({ "Test": ["CMD-SHELL", "a || b"], "Interval": 0, "Retries": 0 });
        let Some(ImageHealth::Check(health)) = ImageHealth::read(&zero) else { panic!("a check") };
        assert_eq!(health.probe, Probe::Exec { command: ["/bin/sh", "-c", "a || b"].map(str::to_owned).to_vec() });
        assert_eq!((health.interval, health.timeout, health.retries), (INTERVAL, TIMEOUT, RETRIES));
        assert_eq!(health.start_period, INTERVAL, "what fails before Docker's first try does not count");
    }

    #[test]
    fn nothing_and_none_are_no_check() {
        for document in [json!(null), json!({}), json!({ "Test": [] }), json!({ "Test": ["NONE"] })] {
            assert_eq!(ImageHealth::read(&document), None, "{document}");
        }
    }

    #[test]
    fn nonsense_is_named_and_not_used() {
        for document in [
            json!("x"),
            json!({ "Test": "true" }),
            json!({ "Test": ["CMD"] }),
            json!({ "Test": ["CMD-SHELL", ""] }),
            json!({ "Test": ["CMD-SHELL", "a", "b"] }),
            json!({ "Test": ["true"] }),
            json!({ "Test": ["CMD", 7] }),
            json!({ "Test": ["CMD", "a"], "Interval": -1 }),
            json!({ "Test": ["CMD", "a"], "Timeout": "1s" }),
            json!({ "Test": ["CMD", "a"], "StartPeriod": u64::MAX }),
            json!({ "Test": ["CMD", "a"], "Retries": -1 }),
            json!({ "Test": ["CMD", "a"], "Interval": 1 }),
            json!({ "Test": ["CMD", "a"], "Timeout": 999_999 }),
            json!({ "Test": ["CMD", "a"], "StartPeriod": 1 }),
            json!({ "Test": ["CMD", "a"], "StartInterval": 1 }),
        ] {
            assert!(
                matches!(ImageHealth::read(&document), Some(ImageHealth::Unfit(why)) if !why.is_empty()),
                "{document}"
            );
        }
    }
}
