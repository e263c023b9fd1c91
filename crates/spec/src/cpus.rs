//! Processor time: cores with a fraction (`0.5`, `2`) or thousandths (`1500m`).

use std::fmt;
use std::str::FromStr;

use crate::{Millicores, ParseError};

const FORM: &str = "write cores with at most three decimals (`0.5`, `2`) or thousandths (`1500m`)";

impl FromStr for Millicores {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let wrong = || ParseError::new(format!("`{text}` is not an amount of cores")).hint(FORM);
        let too_many = || ParseError::new("more cores than any host has");
        if let Some(thousandths) = text.strip_suffix('m') {
            let valid = !thousandths.is_empty() && digits(thousandths);
            return if valid { thousandths.parse().map(Self).map_err(|_| too_many()) } else { Err(wrong()) };
        }
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if whole.len() + fraction.len() == 0 || !digits(whole) || !digits(fraction) {
            return Err(wrong());
        }
        let fraction = fraction.trim_end_matches('0');
        if fraction.len() > 3 {
            return Err(ParseError::new("finer than a thousandth of a core").hint(FORM));
        }
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| too_many())? };
        let fraction: u64 = format!("{fraction:0<3}").parse().map_err(|_| wrong())?;
        whole.checked_mul(1000).and_then(|millis| millis.checked_add(fraction)).map(Self).ok_or_else(too_many)
    }
}

impl fmt::Display for Millicores {
    /// Cores: `0.5`, `2`, `1.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
        f.pad(text.trim_end_matches('0').trim_end_matches('.'))
    }
}
