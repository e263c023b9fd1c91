//! Syntax errors in words of the file's author: a value without quotes, a file in another format.

use std::ops::Range;

use super::findings::{Findings, Place};

/// Notes what is wrong with the syntax, once for each line.
pub(crate) fn note(text: &str, errors: &[toml::de::Error], findings: &mut Findings) {
    if let Some((span, message, hint)) = other_format(text) {
        findings.error(&Place { path: String::new(), span }, message).hint(hint);
        return;
    }
    let mut explained = None;
    let mut last = None;
    for error in errors {
        let span = error.span().unwrap_or_default();
        let line = line_at(text, span.start);
        // The parser repeats itself while it looks for a place to go on.
        if explained.as_ref() == Some(&line) || last.replace(span.clone()).as_ref() == Some(&span) {
            continue;
        }
        if let Some((value, message, hint)) = bare_value(text, &line, span.start) {
            findings.error(&Place { path: String::new(), span: value }, message).hint(hint);
            explained = Some(line);
        } else {
            let message = error.message().lines().collect::<Vec<_>>().join(": ");
            let unquoted = message.contains("must be quoted");
            let finding = findings.error(&Place { path: String::new(), span }, message);
            finding.hint = unquoted.then(|| "write it in quotes: `\"…\"`".to_owned());
        }
    }
}

fn line_at(text: &str, byte: usize) -> Range<usize> {
    let byte = (0..=byte.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let start = text[..byte].rfind('\n').map_or(0, |at| at + 1);
    let end = text[byte..].find('\n').map_or(text.len(), |at| byte + at);
    start..end
}

/// `key = word`, where the error is in the word: the word's place, the message and what to write.
fn bare_value(text: &str, line: &Range<usize>, error: usize) -> Option<(Range<usize>, String, String)> {
    let (key, rest) = text[line.clone()].split_once('=')?;
    let bare_key = key.trim().bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    let value = rest.split(" #").next().unwrap_or(rest).trim();
    let first = value.chars().next()?;
    let is_word = first.is_alphanumeric() || "/.~$@*:<%_".contains(first);
    if key.trim().is_empty() || !bare_key || !is_word || value.contains(['"', '\'']) {
        return None;
    }
    let start = line.end - rest.len() + (rest.len() - rest.trim_start().len());
    if error < start {
        return None;
    }
    let key = key.trim();
    let span = start..start + value.len();
    Some(match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" => (span, format!("`{value}` is not a boolean"), format!("write `{key} = true`")),
        "false" | "no" | "off" => (span, format!("`{value}` is not a boolean"), format!("write `{key} = false`")),
        "null" | "none" | "nil" => (span, format!("`{value}` is not a value"), "leave the key out".to_owned()),
        _ => (span, format!("the value of `{key}` is not in quotes"), format!("write `{key} = \"{value}\"`")),
    })
}

/// A file that is no TOML at all: the place that shows it, the message, what to write.
fn other_format(text: &str) -> Option<(Range<usize>, &'static str, &'static str)> {
    const FORM: &str =
        "begin with `name = \"shop\"`, then write a `[[components]]` table with `name` and `image` for each container";
    let mut start = 0;
    let mut lines = text.split_inclusive('\n').filter_map(|line| {
        let span = start..start + line.trim_end().len();
        start += line.len();
        let blank = line.trim().is_empty() || line.trim_start().starts_with('#');
        (!blank).then(|| (span, line.trim_end()))
    });
    let (span, first) = lines.next()?;
    if first.starts_with('{') {
        return Some((span, "this is JSON; a service file is TOML", FORM));
    }
    if first.trim_start_matches('\u{feff}') == "---" || is_yaml(first) {
        let compose = text.lines().any(|line| line.trim_end() == "services:");
        let message = match compose {
            true => "this is a Compose file in YAML; a service file is TOML",
            false => "this is YAML; a service file is TOML",
        };
        return Some((span, message, FORM));
    }
    None
}

/// `key:` or `key: value`.
fn is_yaml(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, rest)| {
        let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        bare && (rest.is_empty() || rest.starts_with(' '))
    })
}
