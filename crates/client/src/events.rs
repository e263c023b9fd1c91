//! The event stream, resumed after its last cursor when the connection breaks.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use http::HeaderName;
use hythe_api::event::EventQuery;
use hythe_api::{Event, Problem};

use crate::call::Call;
use crate::sse::{self, Messages};
use crate::{Client, ClientError, Items, reconnect};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Before a connection that gave nothing is made again.
const PAUSE: Duration = Duration::from_millis(50);

struct Reader {
    client: Client,
    query: EventQuery,
    last: Option<u64>,
    messages: Messages,
    /// The connection has given nothing yet: the next one is not made at once.
    fruitless: bool,
}

impl Client {
    /// Events that are kept, oldest first.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<Event>, ClientError> {
        let query = EventQuery { follow: false, ..query.clone() };
        Call::get("/v1/events").query(&query)?.json(&self.endpoint).await
    }

    /// Events as they happen. A broken connection is made again and resumed after the last event; an agent that stays away is an error. Where
    /// the agent has forgotten some, or cut this reader off because it took none, an event `gap` says so, and what is kept follows.
    pub async fn follow_events(&self, query: &EventQuery) -> Result<Items<Event>, ClientError> {
        let after = match query.after {
            Some(after) => after,
            None => self.newest().await?,
        };
        let query = EventQuery { after: Some(after), follow: true, limit: None, ..query.clone() };
        let messages = self.open_events(&query, None).await?;
        let reader = Reader { client: self.clone(), query, last: None, messages, fruitless: true };
        let events = stream::try_unfold(reader, async |mut reader| {
            let event = reader.next().await?;
            Ok(Some((event, reader)))
        });
        Ok(events.boxed())
    }

    /// Where "from now" begins, whatever the newest event is about: without a cursor, a connection that breaks before its first event could
    /// not be resumed.
    async fn newest(&self) -> Result<u64, ClientError> {
        let newest = EventQuery { limit: Some(1), ..EventQuery::default() };
        let events = self.events(&newest).await?;
        Ok(events.last().map_or(0, |event| event.cursor))
    }

    async fn open_events(&self, query: &EventQuery, last: Option<u64>) -> Result<Messages, ClientError> {
        let mut call = Call::get("/v1/events").query(query)?;
        if let Some(last) = last {
            call = call.header(LAST_EVENT_ID, &last.to_string());
        }
        sse::open(call, &self.endpoint).await
    }
}

impl Reader {
    async fn next(&mut self) -> Result<Event, ClientError> {
        loop {
            let message = match self.messages.next().await {
                Some(Ok(message)) => message,
                Some(Err(_)) | None => {
                    self.messages = self.reconnect().await?;
                    continue;
                }
            };
            if message.event == "problem" {
                return Err(self.messages.parse::<Problem>(&message)?.into());
            }
            let event: Event = self.messages.parse(&message)?;
            (self.last, self.fruitless) = (Some(event.cursor), false);
            return Ok(event);
        }
    }

    async fn reconnect(&mut self) -> Result<Messages, ClientError> {
        if std::mem::replace(&mut self.fruitless, true) {
            tokio::time::sleep(PAUSE).await;
        }
        let Self { client, query, last, .. } = self;
        reconnect::until_reached(|| client.open_events(query, *last)).await
    }
}
