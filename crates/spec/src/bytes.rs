//! Sizes as `docker/go-units` `RAMInBytes` reads them: every unit is a power of 1024.

use std::fmt;
use std::str::FromStr;

use crate::{ByteSize, ParseError};

const UNITS: [(char, u32); 5] = [('p', 50), ('t', 40), ('g', 30), ('m', 20), ('k', 10)];
const FORM: &str = "write a number with an optional unit: `64m`, `1.5g`, `512KiB`; units are powers of 1024";

impl FromStr for ByteSize {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let end = text
            .rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ')
            .ok_or_else(|| ParseError::new(format!("`{text}` is not a size")).hint(FORM))?;
        let (number, unit) = text.split_at(end + 1);
        let number = number.strip_suffix(' ').unwrap_or(number);
        let shift = shift_of(&unit.to_ascii_lowercase())
            .ok_or_else(|| ParseError::new(format!("unknown size unit `{unit}`")).hint(FORM))?;
        scaled(number, shift).map(Self)
    }
}

fn shift_of(unit: &str) -> Option<u32> {
    if unit.is_empty() || unit == "b" {
        return Some(0);
    }
    let first = unit.chars().next()?;
    let (_, shift) = UNITS.into_iter().find(|(name, _)| *name == first)?;
    matches!(&unit[1..], "" | "b" | "ib").then_some(shift)
}

/// Whole numbers stay exact; a fraction is cut to whole bytes, as go-units does.
fn scaled(number: &str, shift: u32) -> Result<u64, ParseError> {
    let too_large = || ParseError::new("the size is too large");
    if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) {
        let whole: u64 = number.parse().map_err(|_| too_large())?;
        let bytes = whole.checked_mul(1 << shift).ok_or_else(too_large)?;
        return if i64::try_from(bytes).is_ok() { Ok(bytes) } else { Err(too_large()) };
    }
    let value: f64 = number.parse().map_err(|_| ParseError::new(format!("`{number}` is not a number")).hint(FORM))?;
    if value < 0.0 {
        return Err(ParseError::new("a size cannot be negative"));
    }
    let bytes = value * (1u64 << shift) as f64;
    if bytes < i64::MAX as f64 { Ok(bytes as u64) } else { Err(too_large()) }
}

impl fmt::Display for ByteSize {
    /// The largest unit that leaves a whole number: `64MiB`, `1536KiB`, `1000B`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |shift: u32| self.0 != 0 && self.0.is_multiple_of(1 << shift);
        match UNITS.into_iter().find(|(_, shift)| fits(*shift)) {
            Some((unit, shift)) => f.pad(&format!("{}{}iB", self.0 >> shift, unit.to_ascii_uppercase())),
            None => f.pad(&format!("{}B", self.0)),
        }
    }
}
