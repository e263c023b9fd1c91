//! What must not be shown: one rule for every output, for names, words of a command, URLs and whole documents.
//!
//! Masking is for what leaves the agent. What the agent compares, stores or passes to an engine keeps its values.

use std::sync::OnceLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What is shown in place of a secret value.
pub const MASK: &str = "********";

/// Names whose values are secrets, `*` for any characters, without regard to case; a leading `!` is an exception.
pub const STANDARD_KEYS: [&str; 13] = [
    "*PASS*",
    "*_PWD",
    "*SECRET*",
    "*TOKEN*",
    "*KEY*",
    "*AUTH*",
    "*CREDENTIAL*",
    "*JWT*",
    "*SALT*",
    "*DSN*",
    "*COOKIE*",
    "!*AUTHOR",
    "!*AUTHORS",
];

/// Patterns beside [`STANDARD_KEYS`], of the configuration.
static CONFIGURED: OnceLock<Vec<String>> = OnceLock::new();

/// Adds patterns for the rest of the process; only the first call counts.
pub fn configure(patterns: Vec<String>) {
    CONFIGURED.get_or_init(|| patterns.into_iter().map(|pattern| pattern.to_uppercase()).collect());
}

/// Whether the name of a variable, label or option says that its value must not be shown.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase().replace('-', "_");
    let patterns = || STANDARD_KEYS.into_iter().chain(CONFIGURED.get().into_iter().flatten().map(String::as_str));
    let excepted = patterns().filter_map(|pattern| pattern.strip_prefix('!')).any(|pattern| matches(pattern, &name));
    !excepted && patterns().any(|pattern| matches(pattern, &name))
}

fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(tail) = name.strip_prefix(start) else { return false };
    // Whatever the star stands for.
    tail.char_indices().map(|(at, _)| at).chain([tail.len()]).any(|at| matches(rest, &tail[at..]))
}

/// The value of a variable or label as it may be shown.
pub fn variable(name: &str, value: &str) -> String {
    if is_secret(name) && !value.is_empty() { MASK.to_owned() } else { text(value) }
}

/// Whether the value of a variable or label is what [`variable`] gave for another one.
pub fn is_masked(name: &str, value: &str) -> bool {
    if is_secret(name) { value == MASK } else { value.contains(&format!(":{MASK}@")) }
}

/// A text without the passwords of URLs in it and without the values of assignments to secret names (`?token=x`, `;Password=x`).
pub fn text(text: &str) -> String {
    assignments(&urls(text))
}

/// `scheme://user:password@host` with the password masked, wherever it stands.
fn urls(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let length = after.find(|c: char| c.is_whitespace() || c == '"').unwrap_or(after.len());
        let (url, next) = after.split_at(length);
        match password(url) {
            Some((from, to)) => {
                shown.push_str(&url[..from]);
                shown.push_str(MASK);
                rest = &after[to..];
            }
            None => {
                // Another URL may follow after a comma.
                let host = url.find(',').map_or(length, |comma| comma + 1);
                shown.push_str(&after[..host]);
                rest = if host == length { next } else { &after[host..] };
            }
        }
    }
    shown.push_str(rest);
    shown
}

/// Where the password stands in what follows `://`.
fn password(url: &str) -> Option<(usize, usize)> {
    let authority = url.find(['/', '?', '#']).unwrap_or(url.len());
    let colon = url[..authority].find(':')?;
    let end = url[..authority].rfind('@').or_else(|| {
        // Not a port: a password may hold characters that should have been encoded.
        let is_port = url[colon + 1..authority].bytes().all(|byte| byte.is_ascii_digit());
        (!is_port).then(|| url.rfind('@')).flatten()
    })?;
    (colon + 1 < end).then_some((colon + 1, end))
}

fn assignments(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('=') {
        let (before, after) = (&rest[..at], &rest[at + 1..]);
        shown.push_str(before);
        shown.push('=');
        rest = after;
        let name = before.rsplit(|c: char| !is_name(c)).next().unwrap_or_default();
        let length = value_length(after);
        if is_secret(name) && length > 0 {
            shown.push_str(MASK);
            rest = &after[length..];
        }
    }
    shown.push_str(rest);
    shown
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn value_length(text: &str) -> usize {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        return text[1..].find(quote).map_or(text.len(), |end| end + 2);
    }
    text.find(|c: char| c.is_whitespace() || matches!(c, ';' | '&' | ',' | '"' | '\'')).unwrap_or(text.len())
}

/// The words of a command: what follows an option with a secret's name is masked, in scripts within a word too.
pub fn words<S: AsRef<str>>(words: &[S]) -> Vec<String> {
    let mut next_is_secret = false;
    let mut shown = Vec::with_capacity(words.len());
    for word in words.iter().map(AsRef::as_ref) {
        let is_value = next_is_secret && !word.starts_with('-');
        shown.push(if is_value { masked_value(word) } else { self::word(word) });
        next_is_secret = announces_a_secret(word);
    }
    shown
}

/// Keeps what closes the command around it.
fn masked_value(word: &str) -> String {
    let end = word.trim_end_matches([';', ')', '"', '\'']).len();
    if end == 0 { word.to_owned() } else { format!("{MASK}{}", &word[end..]) }
}

/// `--password` alone: the secret is the next word.
fn announces_a_secret(word: &str) -> bool {
    let name = word.trim_start_matches('-');
    word.starts_with('-') && name.len() > 1 && name.chars().all(is_name) && !name.starts_with("no-") && is_secret(name)
}

fn word(word: &str) -> String {
    if word.contains(char::is_whitespace) {
        return header(word).unwrap_or_else(|| script(word));
    }
    match word.split_once('=') {
        Some((name, value)) if is_secret(name.trim_start_matches('-')) && !value.is_empty() => {
            format!("{name}={MASK}")
        }
        Some((name, value)) if name.chars().all(is_name) => format!("{name}={}", self::word(value)),
        _ => text(word),
    }
}

/// `Authorization: Bearer x`.
fn header(word: &str) -> Option<String> {
    let (name, value) = word.split_once(": ")?;
    let is_header = !value.is_empty() && name.chars().all(is_name) && is_secret(name);
    is_header.then(|| format!("{name}: {MASK}"))
}

/// Words in a word, as in `sh -c`, with the white space between them as it is.
fn script(word: &str) -> String {
    let (mut tokens, mut gaps) = (Vec::new(), Vec::new());
    let mut rest = word;
    loop {
        let blank = rest.find(|c: char| !c.is_whitespace()).unwrap_or(rest.len());
        gaps.push(&rest[..blank]);
        rest = &rest[blank..];
        if rest.is_empty() {
            break;
        }
        let (token, next) = rest.split_at(token_length(rest));
        tokens.push(token);
        rest = next;
    }
    let inner = words_of_script(&tokens);
    let mut shown = String::with_capacity(word.len());
    for (at, gap) in gaps.iter().enumerate() {
        shown.push_str(gap);
        shown.push_str(inner.get(at).map_or("", String::as_str));
    }
    shown
}

/// Words as a shell sees them; a quoted one is looked into, and is smaller each time.
fn words_of_script(tokens: &[&str]) -> Vec<String> {
    let mut next_is_secret = false;
    let mut shown = Vec::with_capacity(tokens.len());
    for token in tokens {
        let quoted = token.len() > 1 && token.starts_with(['"', '\'']) && token.ends_with(['"', '\'']);
        shown.push(match () {
            () if next_is_secret && !token.starts_with('-') => masked_value(token),
            () if quoted => {
                let inside = &token[1..token.len() - 1];
                format!("{}{}{}", &token[..1], word(inside), &token[token.len() - 1..])
            }
            () => match token.split_once('=') {
                Some((name, value)) if is_secret(name.trim_start_matches('-')) && !value.is_empty() => {
                    format!("{name}={}", masked_value(value))
                }
                _ => text(token),
            },
        });
        next_is_secret = announces_a_secret(token);
    }
    shown
}

/// Up to white space that is not quoted.
fn token_length(text: &str) -> usize {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c.is_whitespace() => return at,
            _ => {}
        }
    }
    text.len()
}

/// Masks a whole document: values under secret names, lists of words, URLs in texts, and documents within texts.
pub fn document(value: &mut Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(name, value)| field(name, value)),
        Value::Array(list) => match list.iter().map(Value::as_str).collect::<Option<Vec<_>>>() {
            Some(all) => *list = words(&all).into_iter().map(Value::String).collect(),
            None => list.iter_mut().for_each(document),
        },
        Value::String(string) => *string = text_or_document(string),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Masks the value of a field; `name` may be a path such as `components.web.env.DB_PASSWORD`.
pub fn field(name: &str, value: &mut Value) {
    let mut parts = ["env.", "labels."].into_iter().filter_map(|map| {
        let at = name.find(map)?;
        (at == 0 || name[..at].ends_with('.')).then(|| &name[at + map.len()..])
    });
    let name = parts.next().or_else(|| name.rsplit('.').next()).unwrap_or(name);
    match value {
        Value::String(string) if is_secret(name) && !string.is_empty() => MASK.clone_into(string),
        other => document(other),
    }
}

fn text_or_document(string: &str) -> String {
    if string.starts_with('{')
        && let Ok(mut inner) = serde_json::from_str::<Value>(string)
    {
        document(&mut inner);
        return inner.to_string();
    }
    text(string)
}

/// The same value with its secrets masked.
///
/// # Errors
/// When the type cannot be written as JSON and read back.
pub fn masked<T: Serialize + DeserializeOwned>(value: &T) -> Result<T, serde_json::Error> {
    let mut shown = serde_json::to_value(value)?;
    document(&mut shown);
    serde_json::from_value(shown)
}

#[cfg(test)]
#[path = "mask_tests.rs"]
mod tests;
