//! Events: containerd's stream of the namespace. It keeps none, so every earlier place is a gap.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hythe_runtime::{
    Clock, Cursor, Error, ErrorKind, Event, EventKind, EventStream, Exit, Identity, InstanceId, Result, after_gap,
};
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::api_types::{Any, ById, Empty, Envelope, Filters, OfContainer, OneContainer, Publish, TaskExit};
use crate::client::Answers;
use crate::context::SharedContext;
use crate::image_load::fresh_id;
use crate::record::{self, Found};
use crate::task::{exit, moment};

const OPERATION: &str = "watch";
/// Topic of our own events, by which a subscription is known to stand.
const MARK: &str = "/hythe/watch";
/// Time between two of them.
const AGAIN: Duration = Duration::from_millis(50);

/// Who an event is about; a removed container cannot be asked for any more.
type Known = HashMap<String, (String, Option<Identity>)>;

struct Watcher {
    context: SharedContext,
    answers: Answers,
    known: Known,
    cursor: Cursor,
    cancel: CancellationToken,
    over: bool,
}

/// From now on; an earlier place is a gap.
pub(crate) async fn watch(context: &SharedContext, from: &Cursor, cancel: CancellationToken) -> Result<EventStream> {
    let filters = vec![format!("namespace=={}", context.client.namespace())];
    let subscribe = "events.v1.Events/Subscribe";
    let mut answers = context.client.stream(OPERATION, subscribe, &Filters { filters }, None).await?;
    let mark = fresh_id(OPERATION)?;
    stand(context, &mut answers, &mark).await?;
    // Each watch is a stream of its own: no place in another one can be found again.
    let cursor = Cursor::at(mark);
    let gap = (*from != Cursor::START).then(|| Event::gap(cursor.clone(), Clock::system().now()));
    let known = record::all(context, OPERATION).await?.iter().map(about).collect();
    let context = context.clone();
    let watcher = Watcher { context, answers, known, cursor, cancel, over: false };
    Ok(after_gap(gap, stream::unfold(watcher, next).boxed()))
}

/// Says something until it is heard: containerd does not tell when a subscription stands.
async fn stand(context: &SharedContext, answers: &mut Answers, mark: &str) -> Result<()> {
    let event = Some(Any { type_url: MARK.to_owned(), value: mark.as_bytes().to_vec() });
    let request = Publish { topic: MARK.to_owned(), event };
    let heard = async {
        loop {
            match answers.next::<Envelope>().await? {
                Some(envelope) if envelope.event.as_ref().is_some_and(|event| event.value == mark.as_bytes()) => {
                    return Ok(());
                }
                Some(_) => {}
                None => return Err(ended()),
            }
        }
    };
    let say = async {
        loop {
            let said = context.client.call::<Empty>(OPERATION, "events.v1.Events/Publish", &request).await;
            if let Err(error) = said {
                return error;
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::select! {
        heard = heard => heard,
        failed = say => Err(failed),
    }
}

fn ended() -> Error {
    Error::new(ErrorKind::Unavailable, OPERATION, "containerd ended the stream of events")
}

fn about(found: &Found) -> (String, (String, Option<Identity>)) {
    (found.id().to_owned(), (found.name().to_owned(), Identity::from_labels(&found.labels())))
}

async fn next(mut watcher: Watcher) -> Option<(Result<Event>, Watcher)> {
    loop {
        if watcher.over {
            return None;
        }
        let answer = tokio::select! {
            answer = watcher.answers.next::<Envelope>() => answer,
            () = watcher.cancel.cancelled() => return None,
        };
        match answer.and_then(|answer| answer.ok_or_else(ended)) {
            Ok(envelope) => {
                if let Some(event) = watcher.event(&envelope).await {
                    return Some((Ok(event), watcher));
                }
            }
            Err(error) => {
                watcher.over = true;
                let lost = Error::new(ErrorKind::Unavailable, OPERATION, error.message());
                return Some((Err(lost), watcher));
            }
        }
    }
}

impl Watcher {
    async fn event(&mut self, envelope: &Envelope) -> Option<Event> {
        let value = envelope.event.as_ref()?.value.as_slice();
        let time = moment(envelope.timestamp).unwrap_or_else(|| Clock::system().now());
        if let Some(action) = envelope.topic.strip_prefix("/images/") {
            let name = OfContainer::decode(value).ok()?.container_id;
            let kind = EventKind::Image { action: action.to_owned() };
            return Some(Event {
                cursor: self.cursor.clone(),
                time,
                id: InstanceId(name),
                name: None,
                identity: None,
                kind,
            });
        }
        let id = OfContainer::decode(value).ok()?.container_id;
        let kind = match envelope.topic.as_str() {
            "/containers/create" => EventKind::Created,
            "/containers/delete" => EventKind::Removed,
            "/tasks/start" => EventKind::Started,
            "/tasks/paused" => EventKind::Paused,
            "/tasks/resumed" => EventKind::Unpaused,
            "/tasks/oom" => EventKind::OutOfMemory,
            "/tasks/exit" => EventKind::Stopped { exit: self.ended(value, &id).await? },
            _ => return None,
        };
        if envelope.topic == "/containers/create" {
            let request = ById { id: id.clone() };
            let asked = self.context.client.call(OPERATION, "containers.v1.Containers/Get", &request).await;
            if let Ok(OneContainer { container: Some(container) }) = asked {
                self.known.extend([about(&Found::of(container))]);
            }
        }
        let known = match kind {
            EventKind::Removed => self.known.remove(&id),
            _ => self.known.get(&id).cloned(),
        };
        let (name, identity) = known.map_or((None, None), |(name, identity)| (Some(name), identity));
        Some(Event { cursor: self.cursor.clone(), time, id: InstanceId(id), name, identity, kind })
    }

    /// How a main process ended, also written down; `None`: it is another process.
    async fn ended(&self, value: &[u8], id: &str) -> Option<Exit> {
        let told = TaskExit::decode(value).ok()?;
        if told.id != told.container_id {
            return None;
        }
        if let Err(error) = crate::observe::settled(&self.context, OPERATION, id).await {
            tracing::debug!(%id, %error, "an exit is not written down yet");
        }
        Some(exit(id, told.exit_status))
    }
}
