//! Moments as users write them: a date, or how long ago.

use hythe_spec::Millis;
use jiff::{SignedDuration, Timestamp};

use crate::report::{Failure, Outcome};

/// RFC 3339, or a duration before now.
pub(super) fn moment(text: &str, now: Timestamp) -> Outcome<Timestamp> {
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Ok(moment);
    }
    let ago = text.parse::<Millis>().ok().and_then(|ago| i64::try_from(ago.0).ok());
    let moment = ago.and_then(|ago| now.checked_sub(SignedDuration::from_millis(ago)).ok());
    moment.ok_or_else(|| Failure::Usage {
        message: format!("`{text}` is not a time"),
        hint: "write `2026-08-01T12:00:00Z`, or how long ago: `10m`, `1h30m`".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_durations() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        let read = |text| moment(text, now).map(|moment| moment.to_string()).map_err(|failure| failure.exit_code());
        assert_eq!(read("10m").as_deref(), Ok("1970-01-01T00:50:00Z"));
        assert_eq!(read("2026-08-01T14:00:00+02:00").as_deref(), Ok("2026-08-01T12:00:00Z"));
        assert_eq!(read("yesterday"), Err(2));
    }
}
