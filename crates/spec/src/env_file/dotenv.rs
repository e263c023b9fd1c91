//! Compose's dotenv form: quotes, comments, escapes and `${NAME:-default}`.

use std::collections::HashMap;

use super::{Entries, EnvFileError, Lookup, decode, template};
use crate::ParseError;

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    entries: Entries,
    /// Where the newest value of each name is in `entries`.
    known: HashMap<String, usize>,
    lookup: Lookup<'a>,
}

/// Reads the dotenv form.
///
/// `$NAME` and `${NAME}` are taken from the caller's environment first, then from earlier lines; so is a name without `=`,
/// which is left out where it is not set. Single quotes keep everything as it is, double quotes know `\n`, `\t`, `\"`, `\$`.
///
/// # Errors
/// A line without a name, a character that no name has, a quote that is not closed, a `${` that starts no variable.
pub fn parse(text: &str, lookup: Lookup<'_>) -> Result<Entries, EnvFileError> {
    let text = decode(text);
    let mut reader = Reader { rest: &text, line: 1, entries: Entries::new(), known: HashMap::new(), lookup };
    while reader.skip_blank() {
        let line = reader.line;
        reader.statement().map_err(|error| EnvFileError { line, error })?;
    }
    Ok(reader.entries)
}

impl<'a> Reader<'a> {
    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn rest_of_line(&self) -> usize {
        self.rest.find('\n').unwrap_or(self.rest.len())
    }

    /// Moves to the next statement; false at the end.
    fn skip_blank(&mut self) -> bool {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            if !self.rest.starts_with('#') {
                return !self.rest.is_empty();
            }
            self.advance(self.rest_of_line());
        }
    }

    fn statement(&mut self) -> Result<(), ParseError> {
        if let Some(tail) = self.rest.strip_prefix("export").filter(|tail| tail.starts_with([' ', '\t'])) {
            let name = tail.trim_start_matches([' ', '\t']);
            self.advance(self.rest.len() - name.len());
        }
        let end = self.rest.find(['=', ':', '\n']).unwrap_or(self.rest.len());
        let name = self.advance(end).trim_end();
        check_name(name)?;
        if !self.rest.starts_with(['=', ':']) {
            if let Some(value) = (self.lookup)(name) {
                self.put(name, value);
            }
            return Ok(());
        }
        self.advance(1);
        let space = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r']).len();
        self.advance(space);
        let value = match self.rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            // A comment starts after white space: `A= # none` is empty, `A=#fff` is not.
            Some('#') if space > 0 => String::new(),
            _ => self.unquoted()?,
        };
        self.put(name, value);
        Ok(())
    }

    fn put(&mut self, name: &str, value: String) {
        self.known.insert(name.to_owned(), self.entries.len());
        self.entries.push((name.to_owned(), value));
    }

    fn unquoted(&mut self) -> Result<String, ParseError> {
        let line = self.advance(self.rest_of_line());
        let value = line.split(" #").next().unwrap_or(line);
        self.substitute(value.trim_end())
    }

    fn quoted(&mut self, quote: char) -> Result<String, ParseError> {
        let mut value = String::new();
        let mut escaped = false;
        let mut end = None;
        for (at, c) in self.rest.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    if c != quote {
                        value.push('\\');
                    }
                    value.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                _ if c == quote => {
                    end = Some(at + 1);
                    break;
                }
                _ => value.push(c),
            }
        }
        let end = end.ok_or_else(|| ParseError::new(format!("the quote `{quote}` is not closed")))?;
        self.advance(end);
        let tail = self.rest[..self.rest_of_line()].trim();
        if !tail.is_empty() && !tail.starts_with('#') {
            return Err(ParseError::new("there is text after the closing quote"));
        }
        self.advance(self.rest_of_line());
        if quote == '"' { self.substitute(&unescape(&value)) } else { Ok(value) }
    }

    fn substitute(&self, value: &str) -> Result<String, ParseError> {
        let earlier = |name: &str| self.known.get(name).map(|at| self.entries[*at].1.clone());
        template::substitute(value, &|name| (self.lookup)(name).or_else(|| earlier(name)))
    }
}

fn check_name(name: &str) -> Result<(), ParseError> {
    if name.is_empty() {
        return Err(ParseError::new("there is no name before `=`"));
    }
    match name.chars().find(|c| !c.is_alphanumeric() && !"_.-[]".contains(*c)) {
        None => Ok(()),
        Some(wrong) => {
            Err(ParseError::new(format!("unexpected character `{}` in the name `{name}`", wrong.escape_debug())))
        }
    }
}

/// `\$` becomes `$$`, which substitution leaves alone; unknown escapes stay as they are.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('\\') {
        out.push_str(before);
        let (length, c) = escape(tail);
        match c {
            Some('$') => out.push_str("$$"),
            Some(c) => out.push(c),
            None => out.push('\\'),
        }
        rest = &tail[length..];
    }
    out.push_str(rest);
    out
}

/// Bytes consumed after the backslash, and what they stand for.
fn escape(tail: &str) -> (usize, Option<char>) {
    let c = match tail.chars().next() {
        Some('a') => '\u{7}',
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('v') => '\u{b}',
        Some(same @ ('$' | '"' | '\\')) => same,
        Some('0') => return octal(tail),
        _ => return (0, None),
    };
    (1, Some(c))
}

/// `\0123`: three octal digits after the zero.
fn octal(tail: &str) -> (usize, Option<char>) {
    let digits = tail.get(1..4).filter(|digits| digits.bytes().all(|b| (b'0'..=b'7').contains(&b)));
    match digits
        .and_then(|digits| u32::from_str_radix(digits, 8).ok())
        .filter(|code| *code <= 0xff)
        .and_then(char::from_u32)
    {
        Some(c) => (4, Some(c)),
        None => (0, None),
    }
}
