//! Signals by name or number, with the set of names that Docker knows on Linux.

use std::fmt;
use std::str::FromStr;

use crate::{ParseError, Signal};

/// The first name of a number is the one shown; later ones are synonyms.
const NAMES: [(&str, u8); 34] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
];
/// Real-time signals: 34 is `RTMIN`, 64 is `RTMAX`; 49 is the last one counted from below.
const RTMIN: u8 = 34;
const RTMAX: u8 = 64;
const MAX_ABOVE_RTMIN: u8 = 15;
const MAX_BELOW_RTMAX: u8 = 14;

impl FromStr for Signal {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            return match text.parse() {
                Ok(number @ 1..=RTMAX) => Ok(Self(number)),
                _ => Err(ParseError::new("a signal number is between 1 and 64")),
            };
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        named(name).or_else(|| real_time(name)).map(Self).ok_or_else(|| unknown(text, name))
    }
}

fn named(name: &str) -> Option<u8> {
    NAMES.into_iter().find(|(known, _)| *known == name).map(|(_, number)| number)
}

fn real_time(name: &str) -> Option<u8> {
    let offset = |digits: &str, max| {
        digits.parse().ok().filter(|n: &u8| (1..=max).contains(n) && digits.starts_with(|c| c != '+'))
    };
    match name {
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => match name.strip_prefix("RTMIN+") {
            Some(digits) => offset(digits, MAX_ABOVE_RTMIN).map(|n| RTMIN + n),
            None => offset(name.strip_prefix("RTMAX-")?, MAX_BELOW_RTMAX).map(|n| RTMAX - n),
        },
    }
}

fn unknown(text: &str, name: &str) -> ParseError {
    let error = ParseError::new(format!("`{text}` is not a signal"));
    match crate::nearest::nearest(name, NAMES.map(|(known, _)| known)) {
        Some(known) => error.hint(format!("did you mean `SIG{known}`?")),
        None => error.hint("write a name such as `TERM` or `SIGRTMIN+3`, or a number from 1 to 64"),
    }
}

impl fmt::Display for Signal {
    /// `SIGTERM`, `SIGRTMIN+3`; the number where it has no name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            RTMIN => "SIGRTMIN".to_owned(),
            RTMAX => "SIGRTMAX".to_owned(),
            n @ 35..=49 => format!("SIGRTMIN+{}", n - RTMIN),
            n @ 50..=63 => format!("SIGRTMAX-{}", RTMAX - n),
            n => match NAMES.into_iter().find(|(_, number)| *number == n) {
                Some((name, _)) => format!("SIG{name}"),
                None => n.to_string(),
            },
        };
        f.pad(&name)
    }
}
