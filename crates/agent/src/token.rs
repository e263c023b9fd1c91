//! The bearer token that every request over TCP must carry.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use subtle::ConstantTimeEq;

use crate::StartError;

/// Random bytes in a token.
const RANDOM: usize = 32;
const SCHEME: &str = "Bearer";

/// A secret: it is never shown, and compared in constant time.
#[derive(Clone)]
pub(crate) struct Token(String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

impl Token {
    /// The token in the state directory; made at the first start.
    pub(crate) fn load_or_make(state_dir: &Path) -> Result<Self, StartError> {
        let path = state_dir.join(hythe_api::paths::TOKEN);
        let io = |source| StartError::Io { path: path.clone(), source };
        let metadata = match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let token = random().map_err(io)?;
                write(state_dir, &path, &token).map_err(io)?;
                return Ok(Self(token));
            }
            found => found.map_err(io)?,
        };
        let is_private =
            metadata.is_file() && metadata.mode() & 0o077 == 0 && metadata.uid() == rustix::process::geteuid().as_raw();
        if !is_private {
            return Err(StartError::Token { path, reason: "others may have read it" });
        }
        let text = fs::read_to_string(&path).map_err(io)?;
        if !is_token(text.trim()) {
            return Err(StartError::Token { path, reason: "it does not hold a token" });
        }
        Ok(Self(text.trim().to_owned()))
    }

    /// Whether this value of an `Authorization` header gives the token. How long it takes reveals nothing of the token.
    pub(crate) fn is_given_by(&self, authorization: &[u8]) -> bool {
        let Some((scheme, given)) = split_once(authorization) else {
            return false;
        };
        scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) && bool::from(given.ct_eq(self.0.as_bytes()))
    }
}

fn split_once(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|byte| *byte == b' ')?;
    Some((&text[..at], text[at..].trim_ascii()))
}

fn is_token(text: &str) -> bool {
    text.len() == 2 * RANDOM && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn random() -> std::io::Result<String> {
    let mut bytes = [0u8; RANDOM];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whole or not at all: an agent that dies in between leaves no half token.
fn write(state_dir: &Path, path: &Path, token: &str) -> std::io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(format!("{token}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    fs::File::open(state_dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn load_makes_a_private_token_once() {
        let directory = tempfile::tempdir().unwrap();
        let first = Token::load_or_make(directory.path()).unwrap();
        let again = Token::load_or_make(directory.path()).unwrap();
        assert_eq!(first.0, again.0);
        assert_eq!(fs::metadata(directory.path().join("token")).unwrap().mode() & 0o777, 0o600);
        let other = tempfile::tempdir().unwrap();
        assert_ne!(Token::load_or_make(other.path()).unwrap().0, first.0);
        assert!(!format!("{first:?}").contains(&first.0));
    }

    #[test]
    fn load_of_a_file_that_others_read_or_without_a_token_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        Token::load_or_make(directory.path()).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Token::load_or_make(directory.path()), Err(StartError::Token { .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "").unwrap();
        assert!(matches!(Token::load_or_make(directory.path()), Err(StartError::Token { .. })));
    }

    #[test]
    fn only_the_whole_token_as_a_bearer_is_the_token() {
        let token = Token("ab".repeat(RANDOM));
        let right = "ab".repeat(RANDOM);
        assert!(token.is_given_by(format!("Bearer {right}").as_bytes()));
        assert!(token.is_given_by(format!("bearer  {right}").as_bytes()));
        for wrong in ["", "Bearer", "Bearer ", &right, &format!("Basic {right}"), &format!("Bearer {}", &right[1..])] {
            assert!(!token.is_given_by(wrong.as_bytes()), "{wrong}");
        }
        assert!(!token.is_given_by(format!("Bearer {right}0").as_bytes()));
    }
}
