//! Durations as Go and Compose write them (`1m30s`, `500ms`, `1d`); a plain number is seconds.

use std::fmt;
use std::str::FromStr;

use crate::{Millis, ParseError};

/// Units with their length in nanoseconds; `d` and `w` are Compose's.
const UNITS: [(&str, u128); 9] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
    ("d", 86_400_000_000_000),
    ("w", 604_800_000_000_000),
];
const FORM: &str = "write a duration such as `10s`, `1m30s` or `500ms`; a plain number is seconds";
const NANOS_PER_MILLI: u128 = 1_000_000;

impl FromStr for Millis {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = || ParseError::new(format!("`{text}` is not a duration")).hint(FORM);
        let too_long = || ParseError::new("the duration is too long");
        if text.starts_with('-') {
            return Err(ParseError::new("a duration cannot be negative"));
        }
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
            let seconds = text.parse::<u64>().ok().and_then(|seconds| seconds.checked_mul(1000));
            return seconds.map(Self).ok_or_else(too_long);
        }
        let nanos = sum_of_parts(text).ok_or_else(wrong)?;
        if !nanos.is_multiple_of(NANOS_PER_MILLI) {
            return Err(ParseError::new("finer than a millisecond").hint(FORM));
        }
        u64::try_from(nanos / NANOS_PER_MILLI).map(Self).map_err(|_| too_long())
    }
}

fn sum_of_parts(text: &str) -> Option<u128> {
    let mut rest = text;
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let (_, length) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        total = total.checked_add(part(number, length)?)?;
        rest = tail;
    }
    (!text.is_empty()).then_some(total)
}

/// `number` (decimal, with an optional fraction) times `length` nanoseconds, cut to whole nanoseconds.
fn part(number: &str, length: u128) -> Option<u128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(18)];
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let parts: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole.checked_mul(length)?.checked_add(parts * length / scale)
}

impl fmt::Display for Millis {
    /// `1h`, `1m30s`, `1s500ms`, `0s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts =
            [(self.0 / 3_600_000, "h"), (self.0 / 60_000 % 60, "m"), (self.0 / 1000 % 60, "s"), (self.0 % 1000, "ms")];
        let text: String = parts
            .into_iter()
            .filter(|(amount, _)| *amount != 0)
            .map(|(amount, unit)| format!("{amount}{unit}"))
            .collect();
        f.pad(if text.is_empty() { "0s" } else { &text })
    }
}
