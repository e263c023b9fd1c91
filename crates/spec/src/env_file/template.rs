//! `$NAME`, `${NAME}`, `${NAME:-default}` and their relatives, as Compose substitutes them; `$$` is a dollar sign,
//! and so is a `$` that no name follows.

use crate::ParseError;
use crate::validate::MAX_STRING;

/// Deeper nesting of defaults than this is refused.
const MAX_DEPTH: usize = 32;

/// The text with its variables replaced; one that is not set is empty.
pub(super) fn substitute(text: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, ParseError> {
    expand(text, lookup, MAX_DEPTH)
}

fn expand(text: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: usize) -> Result<String, ParseError> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('$') {
        out.push_str(before);
        if out.len() > MAX_STRING {
            // Values that are made of values can grow without end.
            return Err(ParseError::new(format!(
                "the value is longer than {MAX_STRING} bytes, the most that the kernel takes"
            )));
        }
        if let Some(next) = tail.strip_prefix('$') {
            out.push('$');
            rest = next;
        } else if let Some(next) = tail.strip_prefix('{') {
            let end = closing_brace(next).ok_or_else(invalid)?;
            out.push_str(&braced(&next[..end], lookup, depth)?);
            rest = &next[end + 1..];
        } else {
            let end = name_end(tail);
            if end == 0 {
                // No name can follow: it stands for itself, as in Compose's files of variables.
                out.push('$');
            } else {
                out.push_str(&lookup(&tail[..end]).unwrap_or_default());
            }
            rest = &tail[end..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braced(inner: &str, lookup: &dyn Fn(&str) -> Option<String>, depth: usize) -> Result<String, ParseError> {
    let (name, operation) = inner.split_at(name_end(inner));
    if name.is_empty() || depth == 0 {
        return Err(invalid());
    }
    let value = lookup(name);
    let (filled, operation) = match operation.strip_prefix(':') {
        Some(operation) => (value.as_ref().is_some_and(|value| !value.is_empty()), operation),
        None => (value.is_some(), operation),
    };
    let value = value.unwrap_or_default();
    let mut rest = operation.chars();
    let operator = rest.next();
    let word = || expand(rest.as_str(), lookup, depth - 1);
    match operator {
        None if inner == name => Ok(value),
        Some('-') => {
            if filled {
                Ok(value)
            } else {
                word()
            }
        }
        Some('+') => {
            if filled {
                word()
            } else {
                Ok(String::new())
            }
        }
        Some('?') if filled => Ok(value),
        Some('?') => Err(ParseError::new(format!("`{name}` is required: {}", word()?))),
        _ => Err(invalid()),
    }
}

fn name_end(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len())
}

fn closing_brace(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(at),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

fn invalid() -> ParseError {
    ParseError::new("a `${` starts no variable")
        .hint("write `${NAME}`, or `$$` for a dollar sign, or put the value into single quotes")
}
