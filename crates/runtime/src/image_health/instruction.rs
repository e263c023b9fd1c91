//! `HEALTHCHECK` of a Dockerfile as an image's configuration has it: for builds that no engine does.

use hythe_spec::Millis;
use serde_json::{Map, Value, json};

/// Options and the keys that they are in a configuration.
const TIMES: [(&str, &str); 4] = [
    ("interval", "Interval"),
    ("timeout", "Timeout"),
    ("start-period", "StartPeriod"),
    ("start-interval", "StartInterval"),
];
const NANOS_PER_MILLI: u64 = 1_000_000;

/// What follows the instruction's name: `[--interval=DURATION] [--retries=N] … CMD command`, or `NONE`.
///
/// # Errors
/// Why Docker would refuse it too.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let (mut check, mut rest) = (Map::new(), text.trim());
    while let Some(option) = rest.strip_prefix("--") {
        let (option, after) = option.split_once(char::is_whitespace).unwrap_or((option, ""));
        let (key, value) = self::option(option)?;
        if check.insert(key.to_owned(), value).is_some() {
            return Err(format!("`--{option}` is given twice"));
        }
        rest = after.trim_start();
    }
    // 0 says that nothing is said.
    check.retain(|_, value| *value != json!(0));
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let test = match (kind.to_ascii_uppercase().as_str(), command.trim()) {
        ("CMD", "") => return Err("there is no command after `CMD`".to_owned()),
        ("CMD", command) => test(command),
        ("NONE", "") => json!(["NONE"]),
        ("NONE", _) => return Err("`NONE` has nothing after it".to_owned()),
        ("", _) => return Err("it has neither `CMD` nor `NONE`".to_owned()),
        (other, _) => return Err(format!("`{other}` is neither `CMD` nor `NONE`")),
    };
    check.insert("Test".to_owned(), test);
    Ok(check.into())
}

fn option(text: &str) -> Result<(&'static str, Value), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("`--{text}` has no value"))?;
    if name == "retries" {
        let retries: Option<u32> = value.parse().ok();
        let retries = retries.ok_or_else(|| format!("`{value}` is not a number of retries"))?;
        return Ok(("Retries", json!(retries)));
    }
    let known = TIMES.into_iter().find(|(option, _)| *option == name);
    let (_, key) = known.ok_or_else(|| format!("there is no option `--{name}`"))?;
    // Without a unit Docker takes nothing but 0.
    let time = if value.bytes().all(|b| b.is_ascii_digit()) && value != "0" { None } else { value.parse().ok() };
    let Millis(millis) = time.ok_or_else(|| format!("`--{text}` is no duration such as `30s`, of 1 ms or more"))?;
    let nanoseconds = millis.checked_mul(NANOS_PER_MILLI).ok_or_else(|| format!("`--{text}` is too long"))?;
    Ok((key, json!(nanoseconds)))
}

/// A list of strings in brackets as it is, anything else for the shell.
fn test(command: &str) -> Value {
    match serde_json::from_str::<Vec<String>>(command) {
        Ok(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
        Err(_) => json!(["CMD-SHELL", command]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_the_configuration_and_zero_is_not() {
        let text = "--interval=1m30s --timeout=500ms --start-period=0s --start-interval=2s --retries=4 CMD a  && b";
        let expected = json!({
            "Test": ["CMD-SHELL", "a  && b"], "Interval": 90_000_000_000_u64, "Timeout": 500_000_000,
            "StartInterval": 2_000_000_000, "Retries": 4
        });
        assert_eq!(read(text), Ok(expected));
        assert_eq!(read("cmd [\"a\", \"b c\"]"), Ok(json!({ "Test": ["CMD", "a", "b c"] })));
        assert_eq!(read("--retries=0 NONE"), Ok(json!({ "Test": ["NONE"] })));
    }

    #[test]
    fn what_docker_refuses_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", "neither `CMD` nor `NONE`"),
            ("CMD", "no command"),
            ("NONE x", "nothing after it"),
            ("CMD-SHELL true", "`CMD-SHELL` is neither"),
            ("--interval=1us CMD a", "1 ms or more"),
            ("--interval=5 CMD a", "is no duration"),
            ("--interval=-1s CMD a", "is no duration"),
            ("--interval CMD a", "has no value"),
            ("--retries=-1 CMD a", "not a number of retries"),
            ("--retry=1 CMD a", "no option `--retry`"),
            ("--retries=1 --retries=2 CMD a", "given twice"),
        ] {
            let told = read(text);
            assert!(told.as_ref().is_err_and(|told| told.contains(reason)), "{text}: {told:?}");
        }
    }
}
