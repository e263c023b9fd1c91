//! Secrets that a component reads as files: which, and where they appear in it. Their values are never here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ParseError;

/// Directory of secrets whose target is a bare name.
pub const DIRECTORY: &str = "/run/secrets";
/// Longest name of a secret.
const LONGEST_NAME: usize = 128;
/// Who may read a secret in the workload where nothing else is said: everybody.
pub const DEFAULT_MODE: u32 = 0o444;

/// A secret of the agent's store, mounted read-only into a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Secret {
    /// Absolute path in the workload.
    pub target: String,
    /// Its name in the agent's store.
    pub source: String,
    /// Permission bits.
    pub mode: u32,
    /// Owner; absent: root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    /// Group; absent: root's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gid: Option<u32>,
    /// Keyed digest of the value at the time of the deploy, set by the agent, so that another value is a change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

impl Secret {
    /// The secret of that name at `/run/secrets/NAME`.
    ///
    /// # Errors
    /// When it is no name.
    pub fn named(name: &str) -> Result<Self, ParseError> {
        check_name(name)?;
        let target = format!("{DIRECTORY}/{name}");
        Ok(Self { target, source: name.to_owned(), mode: DEFAULT_MODE, uid: None, gid: None, digest: None })
    }
}

/// Where the value of a secret of a service file comes from; used by the command line only, never sent as such.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretSource {
    /// Its name in the agent's store: `<service>.<name in the file>`.
    pub name: String,
    /// What is read when the service is deployed.
    pub from: SecretFrom,
}

/// What a secret's value is read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretFrom {
    /// The content of a file, by absolute path.
    File(String),
    /// A variable of the caller's environment.
    Environment(String),
}

/// Checks a secret's name, which is the name of a file too.
///
/// # Errors
/// When it is empty, too long, begins with other than a letter or digit, or holds other characters than letters, digits, `.`, `_` and `-`.
pub fn check_name(name: &str) -> Result<(), ParseError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if begins && name.len() <= LONGEST_NAME && name.bytes().all(plain) {
        return Ok(());
    }
    Err(ParseError::new(format!("`{}` is not a name of a secret", name.escape_default()))
        .hint("letters, digits, `.`, `_` and `-`, a letter or digit first, at most 128 characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_name_accepts_only_names_of_files() {
        for name in ["db_password", "shop.db-1", "A", "0"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "-a", "_a", "a b", "a\n", "é", &"x".repeat(129)] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
