//! Operations: list, look at, cancel, follow.

use futures_util::StreamExt;
use http::Method;
use hythe_api::{Operation, Progress};

use crate::call::{Call, segment};
use crate::sse::{self, Message, Messages, Step};
use crate::{Client, ClientError, Items};

/// News of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// How far it is.
    Progress(Progress),
    /// It ended; the last update.
    Done(Box<Operation>),
}

impl Client {
    /// Operations, newest first.
    pub async fn operations(&self) -> Result<Vec<Operation>, ClientError> {
        Call::get("/v1/operations").json(&self.endpoint).await
    }

    /// One operation.
    pub async fn operation(&self, id: &str) -> Result<Operation, ClientError> {
        Call::get(operation(id)).json(&self.endpoint).await
    }

    /// Asks an operation to stop; it ends as `cancelled` once it has.
    pub async fn cancel(&self, id: &str) -> Result<Operation, ClientError> {
        Call::new(Method::DELETE, operation(id)).json(&self.endpoint).await
    }

    /// Progress from the beginning, whenever one joins; ends with [`Update::Done`].
    pub async fn progress(&self, id: &str) -> Result<Items<Update>, ClientError> {
        let call = Call::get(format!("{}/progress", operation(id)));
        let messages = sse::open(call, &self.endpoint).await?;
        Ok(sse::items(messages, update).boxed())
    }
}

fn operation(id: &str) -> String {
    format!("/v1/operations/{}", segment(id))
}

fn update(messages: &Messages, message: &Message) -> Result<Step<Update>, ClientError> {
    Ok(match message.event.as_str() {
        "progress" => Step::Item(Update::Progress(messages.parse(message)?)),
        "done" => Step::Last(Update::Done(Box::new(messages.parse(message)?))),
        _ => Step::Skip,
    })
}
