//! Environment files. `env_file` is read as Compose reads it ([`dotenv`]); docker's own plain form is there on request ([`plain`]).

mod dotenv;
mod plain;
mod template;

pub use dotenv::parse as dotenv;
pub use plain::parse as plain;

use crate::ParseError;

/// Something wrong in an environment file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {error}")]
pub struct EnvFileError {
    /// Line in the file, from 1.
    pub line: usize,
    /// What is wrong there.
    pub error: ParseError,
}

/// Variables in the file's order; a later one of the same name wins.
pub type Entries = Vec<(String, String)>;

/// Looks a variable up in the caller's environment.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

fn decode(text: &str) -> String {
    text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n")
}
