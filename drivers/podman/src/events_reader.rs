//! Podman's stream of events, kept going: each line once, over the ends that are none.
//!
//! When podman's file of events grows too large, podman replaces it, and the stream ends well and without a word.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use http::Method;
use hythe_runtime::event_dedup::EventDeduplicator;
use hythe_runtime::{Error, ErrorKind, Result};
use jiff::Timestamp;

use crate::client::{About, ByteStream, Client, empty, filters, lines};
use crate::watch::Line;

const ABOUT: About<'static> = About { operation: "watch", subject: "podman's events" };
/// Some versions send no header before the first event; the time to begin at makes waiting longer needless.
const FIRST_ANSWER: Duration = Duration::from_millis(500);

/// Reads what podman tells, call after call.
pub(crate) struct EventsReader {
    client: Client,
    lines: BoxStream<'static, Result<Bytes>>,
    told: EventDeduplicator,
}

impl EventsReader {
    /// Begins with what happened since that moment.
    pub(crate) async fn begin(client: Client, beginning: Timestamp) -> Result<Self> {
        let lines = call(&client, beginning).await?;
        Ok(Self { client, lines, told: EventDeduplicator::new(beginning) })
    }

    /// Every line once, then the error with which podman went.
    pub(crate) fn lines(self) -> impl Stream<Item = Result<Line>> + Send {
        stream::unfold(Some(self), |reader| async move {
            let mut reader = reader?;
            match reader.next().await {
                Ok(line) => Some((Ok(line), Some(reader))),
                Err(gone) => Some((Err(gone), None)),
            }
        })
    }

    async fn next(&mut self) -> Result<Line> {
        loop {
            match self.lines.next().await {
                Some(text) => {
                    if let Some(line) = self.fresh(&text?)? {
                        return Ok(line);
                    }
                }
                None if self.told.again().await => self.lines = call(&self.client, self.told.resume()).await?,
                None => return Err(gone("podman ends the stream of events at once")),
            }
        }
    }

    /// A line that was not read before. What cannot be read is lost, and so is the watch: whoever lists again misses nothing.
    fn fresh(&mut self, text: &[u8]) -> Result<Option<Line>> {
        if text.trim_ascii().is_empty() {
            return Ok(None);
        }
        let unreadable = |cause| {
            let text = String::from_utf8_lossy(text);
            gone("an event of podman cannot be read").with("line", text).source(cause)
        };
        let line: Line = serde_json::from_slice(text).map_err(unreadable)?;
        Ok(self.told.take(line.time, text).then_some(line))
    }
}

fn gone(words: &str) -> Error {
    Error::new(ErrorKind::Unavailable, ABOUT.operation, words)
}

async fn call(client: &Client, since: Timestamp) -> Result<BoxStream<'static, Result<Bytes>>> {
    let kinds = ["container", "image", "network"].map(str::to_owned).to_vec();
    let (client, since, filters) = (client.clone(), seconds(since), filters(&[("type", kinds)]));
    let mut asked = async move {
        let query = [("stream", "true"), ("since", &*since), ("filters", &*filters)];
        client.stream(ABOUT, Method::GET, "/events", &query, empty()).await
    }
    .boxed();
    Ok(match tokio::time::timeout(FIRST_ANSWER, &mut asked).await {
        Ok(answer) => lines(answer?),
        Err(_) => lines(later(asked)),
    })
}

/// The bytes of an answer that has not come yet.
fn later(asked: impl Future<Output = Result<ByteStream>> + Send + 'static) -> ByteStream {
    let answer = asked.map(|answer| answer.unwrap_or_else(|error| stream::once(async { Err(error) }).boxed()));
    stream::once(answer).flatten().boxed()
}

/// Seconds since 1970 with nine decimals.
fn seconds(moment: Timestamp) -> String {
    let nanos = moment.as_nanosecond().max(0);
    format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000)
}

#[cfg(test)]
#[path = "events_reader_tests.rs"]
mod tests;
