//! What time it is.

use jiff::Timestamp;

/// By the host's clock, for time stamps and ages. What decides by time is given a `hythe_runtime::Clock`, which tests set.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the host's clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
