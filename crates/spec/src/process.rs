//! How the main process is started, limited, stopped and started again.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ParseError;

/// A signal, by number; written by name (`TERM`, `SIGTERM`) or number, shown as `SIGTERM`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Signal(
    /// Linux x86-64 signal number, 1 to 64.
    pub u8,
);

impl Signal {
    /// Polite termination, the default stop signal.
    pub const TERM: Self = Self(15);
    /// Cannot be caught.
    pub const KILL: Self = Self(9);

    /// Whether a process can be sent it.
    pub const fn is_valid(self) -> bool {
        matches!(self.0, 1..=64)
    }
}

/// A limit of the process (`setrlimit(2)`); -1 is unlimited.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Ulimit {
    /// Lower-case name without `RLIMIT_`: `nofile`.
    pub name: String,
    /// Soft limit.
    pub soft: i64,
    /// Hard limit, at least the soft one.
    pub hard: i64,
}

/// When the agent starts a finished workload again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "policy", rename_all = "kebab-case")]
pub enum Restart {
    /// Never.
    No,
    /// When it ended with another exit code than 0.
    OnFailure {
        /// At most this many times in a row; absent: without end.
        max_retries: Option<u32>,
    },
    /// Whenever it ended, also after a reboot.
    Always,
    /// Whenever it ended, unless a user stopped it.
    #[default]
    UnlessStopped,
}

const ULIMIT_FORM: &str = "write `soft[:hard]`, for example `1024:4096`; `-1` is unlimited";

impl Ulimit {
    /// The names that Linux knows, without `RLIMIT_`.
    pub const NAMES: [&'static str; 15] = [
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    ];

    /// Reads `soft[:hard]` for a named limit; the hard limit is the soft one where absent.
    ///
    /// # Errors
    /// An unknown name, a value that is no number, or a soft limit above the hard one.
    pub fn parse(name: &str, value: &str) -> Result<Self, ParseError> {
        if !Self::NAMES.contains(&name) {
            let error = ParseError::new(format!("unknown ulimit `{name}`"));
            return Err(match crate::nearest::nearest(name, Self::NAMES) {
                Some(known) => error.hint(format!("did you mean `{known}`?")),
                None => error.hint(format!("one of {}", Self::NAMES.join(", "))),
            });
        }
        let (soft, hard) = value.split_once(':').unwrap_or((value, value));
        let number = |text: &str| match text {
            "unlimited" => Ok(-1),
            _ => match text.parse::<i64>() {
                Ok(number) if number >= -1 => Ok(number),
                Ok(_) => {
                    Err(ParseError::new(format!("a limit of `{text}` is negative"))
                        .hint("`-1` or `unlimited` is no limit"))
                }
                Err(_) => Err(ParseError::new(format!("`{text}` is not a whole number below 2^63")).hint(ULIMIT_FORM)),
            },
        };
        let (soft, hard) = (number(soft)?, number(hard)?);
        if hard != -1 && (soft == -1 || soft > hard) {
            return Err(ParseError::new("the soft limit is above the hard limit"));
        }
        Ok(Self { name: name.to_owned(), soft, hard })
    }
}
