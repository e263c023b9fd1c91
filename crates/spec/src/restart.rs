//! Restart policies as Docker writes them.

use std::fmt;
use std::str::FromStr;

use crate::{ParseError, Restart};

const FORM: &str = "one of `no`, `on-failure`, `on-failure:5`, `always`, `unless-stopped`";

impl FromStr for Restart {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (policy, retries) = match text.split_once(':') {
            Some((policy, retries)) => (policy, Some(retries)),
            None => (text, None),
        };
        let policy = match policy {
            "no" => Self::No,
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            "on-failure" => {
                return retries.map_or(Ok(None), max_retries).map(|max_retries| Self::OnFailure { max_retries });
            }
            _ => {
                return Err(ParseError::new(format!("`{policy}` is not a restart policy")).hint(FORM));
            }
        };
        match retries {
            None => Ok(policy),
            Some(_) => Err(ParseError::new("only `on-failure` takes a number of retries").hint(FORM)),
        }
    }
}

/// 0 is without end, as with Docker.
fn max_retries(text: &str) -> Result<Option<u32>, ParseError> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(0) if digits => Ok(None),
        Ok(number) if digits => Ok(Some(number)),
        _ => Err(ParseError::new(format!("`{text}` is not a number of retries")).hint(FORM)),
    }
}

impl fmt::Display for Restart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.pad("no"),
            Self::OnFailure { max_retries: None } => f.pad("on-failure"),
            Self::OnFailure { max_retries: Some(most) } => f.pad(&format!("on-failure:{most}")),
            Self::Always => f.pad("always"),
            Self::UnlessStopped => f.pad("unless-stopped"),
        }
    }
}
