//! Bodies of requests: read whole, in bounded time and memory, before a route begins.

use std::time::Duration;

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::error::{ApiError, Refused, refused};

/// Largest body. The largest that is meant is a service with all that it names.
pub(crate) const LARGEST: usize = 2 << 20;
/// Time that a body may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The request with its whole body in memory.
pub(crate) async fn whole_body(request: Request) -> Result<Request, ApiError> {
    let (head, body) = request.into_parts();
    if body.is_end_stream() {
        return Ok(Request::from_parts(head, body));
    }
    let too_large = || refused(Refused::TooLarge, format!("the body has more than {LARGEST} bytes"));
    if body.size_hint().lower() > LARGEST as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(PATIENCE, Limited::new(body, LARGEST).collect()).await {
        Ok(Ok(whole)) => Ok(Request::from_parts(head, Body::from(whole.to_bytes()))),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(refused(Refused::Malformed, format!("the body cannot be read: {error}"))),
        Err(_) => Err(refused(Refused::TooSlow, format!("the body did not come within {} s", PATIENCE.as_secs()))),
    }
}
