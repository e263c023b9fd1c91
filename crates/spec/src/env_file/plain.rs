//! docker's `--env-file`: `NAME=value` up to the end of the line, no quotes, no substitution.

use super::{Entries, EnvFileError, Lookup, decode};
use crate::ParseError;

/// Reads the plain form; a name without `=` is taken from the caller's environment where it is set.
///
/// # Errors
/// A line without a name, or with white space in the name.
pub fn parse(text: &str, lookup: Lookup<'_>) -> Result<Entries, EnvFileError> {
    let text = decode(text);
    let mut entries = Entries::new();
    for (at, line) in text.lines().enumerate() {
        // The last line may end without a line feed, and then with a bare carriage return.
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if !line.is_empty() && !line.starts_with('#') {
            entry(line, lookup, &mut entries).map_err(|error| EnvFileError { line: at + 1, error })?;
        }
    }
    Ok(entries)
}

fn entry(line: &str, lookup: Lookup<'_>, entries: &mut Entries) -> Result<(), ParseError> {
    let (name, value) = match line.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (line, lookup(line)),
    };
    if name.is_empty() {
        return Err(ParseError::new("there is no name before `=`"));
    }
    if name.contains(char::is_whitespace) {
        return Err(ParseError::new(format!("the name `{name}` contains white space")));
    }
    entries.extend(value.map(|value| (name.to_owned(), value)));
    Ok(())
}
