//! Reading a Dockerfile: instructions, words, variables. Pure.

use std::collections::BTreeMap;

use hythe_runtime::{Error, ErrorKind, Result};
use hythe_spec::mount::clean;
use serde_json::{Map, Value, json};

pub(super) fn invalid(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "build", words)
}

/// One instruction, its name in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) name: String,
    pub(super) rest: String,
}

/// Instructions without comments, continued lines joined.
pub(super) fn steps(text: &str) -> Vec<Step> {
    let kept: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let joined = kept.join("\n").replace("\\\n", " ");
    let step = |line: &str| {
        let (name, rest) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
        Step { name: name.to_ascii_uppercase(), rest: rest.trim().to_owned() }
    };
    joined.lines().filter(|line| !line.trim().is_empty()).map(step).collect()
}

/// Puts values in place of `$name`, `${name}` and `${name:-otherwise}`; an unknown name is nothing.
pub(super) fn expand(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (name, otherwise, left) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
            Some((inner, left)) => {
                let (name, otherwise) = inner.split_once(":-").unwrap_or((inner, ""));
                (name, otherwise, left)
            }
            None => {
                let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                (&after[..end], "", &after[end..])
            }
        };
        if name.is_empty() {
            expanded.push('$');
        } else {
            expanded.push_str(values.get(name).map_or(otherwise, String::as_str));
        }
        rest = left;
    }
    expanded.push_str(rest);
    expanded
}

/// A list in brackets as it is, anything else for the shell.
pub(super) fn arguments(rest: &str) -> Vec<String> {
    serde_json::from_str(rest).unwrap_or_else(|_| vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.to_owned()])
}

/// `name=value …` with quotes, or one name and its value.
pub(super) fn pairs(rest: &str) -> Result<Vec<(String, String)>> {
    if let Some((name, value)) = rest.split_once(char::is_whitespace)
        && !name.contains('=')
    {
        return Ok(vec![(name.to_owned(), value.trim().to_owned())]);
    }
    let words = shlex::split(rest).ok_or_else(|| invalid(format!("a quote in `{rest}` is not closed")))?;
    let pair = |word: String| {
        let (name, value) = word.split_once('=').ok_or_else(|| invalid(format!("`{word}` has no value")))?;
        Ok((name.to_owned(), value.to_owned()))
    };
    words.into_iter().map(pair).collect()
}

/// A path over a directory, without `.` and `..`.
pub(super) fn join(base: &str, path: &str) -> String {
    if path.starts_with('/') { clean(path) } else { clean(&format!("{base}/{path}")) }
}

/// Sets a variable among `NAME=value` lines.
pub(super) fn set_env(config: &mut Map<String, Value>, name: &str, value: &str) {
    let mut env: Vec<String> =
        config.get("Env").and_then(|env| serde_json::from_value(env.clone()).ok()).unwrap_or_default();
    env.retain(|line| line.split('=').next() != Some(name));
    env.push(format!("{name}={value}"));
    config.insert("Env".to_owned(), json!(env));
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_comments_left_out() {
        let text = "# one\nFROM a\nRUN x && \\\n  # inside\n  y\n\nentrypoint [\"p\"]\n";
        let read: Vec<_> = steps(text).into_iter().map(|step| (step.name, step.rest)).collect();
        let wanted = [("FROM", "a"), ("RUN", "x &&    y"), ("ENTRYPOINT", "[\"p\"]")];
        assert_eq!(read, wanted.map(|(name, rest)| (name.to_owned(), rest.to_owned())));
    }

    #[test]
    fn variables_take_their_longest_name() {
        let values = BTreeMap::from([("A".to_owned(), "1".to_owned()), ("AB".to_owned(), "2".to_owned())]);
        assert_eq!(expand("$A $AB ${A}B ${C:-3} $C. $", &values), "1 2 1B 3 . $");
    }

    #[test]
    fn paths_stay_below_the_root() {
        assert_eq!([join("/srv", "a/./b"), join("/srv", "../../x"), join("/srv", "/y")], ["/srv/a/b", "/x", "/y"]);
    }

    #[test]
    fn values_may_be_quoted() {
        assert_eq!(pairs("A=\"b c\" D=e").unwrap(), [("A".into(), "b c".into()), ("D".into(), "e".into())]);
        assert_eq!(pairs("A b c").unwrap(), [("A".into(), "b c".into())]);
        assert!(pairs("A=\"b").is_err());
    }
}
