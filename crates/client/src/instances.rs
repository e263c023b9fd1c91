//! What runs on the machine. A feed that breaks or has a gap is asked for again and goes on with another snapshot.

use futures_util::stream::{self, StreamExt};
use hythe_api::{InstanceChange, InstanceEvent, InstanceQuery, InstanceSnapshot, Problem};

use crate::call::Call;
use crate::sse::{self, Messages};
use crate::{Client, ClientError, Items, reconnect};

const PATH: &str = "/v1/instances";

struct Reader {
    client: Client,
    query: InstanceQuery,
    /// `None`: to be asked for again.
    messages: Option<Messages>,
}

impl Client {
    /// Everything there is now.
    pub async fn instances(&self, query: &InstanceQuery) -> Result<InstanceSnapshot, ClientError> {
        let query = InstanceQuery { follow: false, ..query.clone() };
        Call::get(PATH).query(&query)?.json(&self.endpoint).await
    }

    /// A snapshot, then what changes. After a `gap`, or when the connection broke, the next event is a snapshot again; an agent that stays away
    /// is an error.
    pub async fn follow_instances(&self, query: &InstanceQuery) -> Result<Items<InstanceEvent>, ClientError> {
        let query = InstanceQuery { follow: true, ..query.clone() };
        let messages = Some(self.open_instances(&query).await?);
        let reader = Reader { client: self.clone(), query, messages };
        let events = stream::try_unfold(reader, async |mut reader| {
            let event = reader.next().await?;
            Ok(Some((event, reader)))
        });
        Ok(events.boxed())
    }

    async fn open_instances(&self, query: &InstanceQuery) -> Result<Messages, ClientError> {
        sse::open(Call::get(PATH).query(query)?, &self.endpoint).await
    }
}

impl Reader {
    async fn next(&mut self) -> Result<InstanceEvent, ClientError> {
        loop {
            let Some(messages) = &mut self.messages else {
                let (client, query) = (&self.client, &self.query);
                self.messages = Some(reconnect::until_reached(|| client.open_instances(query)).await?);
                continue;
            };
            let Some(Ok(message)) = messages.next().await else {
                self.messages = None;
                continue;
            };
            if message.event == "problem" {
                return Err(messages.parse::<Problem>(&message)?.into());
            }
            let event: InstanceEvent = messages.parse(&message)?;
            if matches!(event.change, InstanceChange::Gap { .. }) {
                self.messages = None;
            }
            return Ok(event);
        }
    }
}
