//! What requests and answers consist of: paths, parameters, bodies, lines.

use bytes::{Bytes, BytesMut};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use http_body_util::{Either, Full};
use hythe_local::http::Body;
use hythe_runtime::{Error, ErrorKind, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{About, ByteStream};

const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// No body.
pub(crate) fn empty() -> Body {
    Either::Left(Full::default())
}

/// A body as it is.
pub(crate) fn body(bytes: Vec<u8>) -> Body {
    Either::Left(Full::new(Bytes::from(bytes)))
}

/// A JSON body.
pub(super) fn json(about: About<'_>, body: &impl Serialize) -> Result<Body> {
    let bytes = serde_json::to_vec(body).map_err(|cause| {
        let words = format!("`{}`: the document cannot be written: {cause}", about.subject);
        Error::new(ErrorKind::Internal, about.operation, words).source(cause)
    })?;
    Ok(self::body(bytes))
}

/// Reads what podman answered.
pub(crate) fn read_json<T: DeserializeOwned>(about: About<'_>, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|cause| {
        let message = format!("`{}`: podman's answer cannot be read: {cause}", about.subject);
        Error::new(ErrorKind::Internal, about.operation, message).source(cause)
    })
}

/// One segment of a path; also what holds a slash.
pub(crate) fn segment(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// The `filters` parameter.
pub(crate) fn filters(filters: &[(&str, Vec<String>)]) -> String {
    let map: std::collections::BTreeMap<&str, &Vec<String>> =
        filters.iter().map(|(key, values)| (*key, values)).collect();
    serde_json::json!(map).to_string()
}

/// A stream cut into its lines, each without its end.
pub(crate) fn lines(bytes: ByteStream) -> BoxStream<'static, Result<Bytes>> {
    stream::try_unfold((bytes, BytesMut::new()), |(mut bytes, mut buffer)| async move {
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let mut line = buffer.split_to(end + 1);
                line.truncate(end);
                return Ok(Some((line.freeze(), (bytes, buffer))));
            }
            match bytes.next().await {
                Some(chunk) => buffer.extend_from_slice(&chunk?),
                None if buffer.is_empty() => return Ok(None),
                None => {
                    let line = buffer.split().freeze();
                    return Ok(Some((line, (bytes, buffer))));
                }
            }
        }
    })
    .boxed()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use futures_util::TryStreamExt;

    use super::*;

    #[tokio::test]
    async fn lines_survive_any_cut() {
        let whole = b"{\"a\":1}\n\nend";
        for step in 1..=whole.len() {
            let chunks: Vec<_> = whole.chunks(step).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
            let found: Vec<Bytes> = lines(stream::iter(chunks).boxed()).try_collect().await.unwrap();
            assert_eq!(found, ["{\"a\":1}", "", "end"].map(Bytes::from), "in steps of {step}");
        }
    }
}
