//! Events: containerd's stream of the namespace. It keeps none, so the agent keeps the latest; a place of an earlier agent is a gap.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hythe_runtime::{
    Clock, Cursor, Error, ErrorKind, Event, EventKind, EventStream, Exit, Identity, InstanceId, Result, after_gap,
};
use prost::Message;
use tokio_util::sync::CancellationToken;

use crate::api_types::{Any, ById, Empty, Envelope, Filters, OfContainer, OneContainer, Publish, TaskExit};
use crate::client::Answers;
use crate::context::{Context, SharedContext};
use crate::image_load::fresh_id;
use crate::record::{self, Found};
use crate::sweep;
use crate::task::{exit, moment};

const OPERATION: &str = "watch";
/// Topic of our own events, by which a subscription is known to stand.
const MARK: &str = "/hythe/watch";
/// Time between two of them.
const AGAIN: Duration = Duration::from_millis(50);

/// Who an event is about; a removed container cannot be asked for any more.
type Known = HashMap<String, (String, Option<Identity>)>;

/// Events that are kept for whoever comes back.
const KEPT: usize = 10_000;

/// One subscription of this agent, whose latest events are kept: containerd keeps none.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Begins the cursors of this subscription; those of another one lead nowhere.
    epoch: String,
    kept: Mutex<Kept>,
    changed: tokio::sync::watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Kept {
    events: VecDeque<Event>,
    /// Number of the next event.
    next: u64,
    /// Why there are no more.
    over: Option<String>,
}

impl Hub {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cursor(&self, number: u64) -> Cursor {
        Cursor::at(format!("{}:{number}", self.epoch))
    }

    fn take(&self, mut event: Event) {
        let mut kept = self.kept();
        kept.next += 1;
        event.cursor = self.cursor(kept.next);
        kept.events.push_back(event);
        if kept.events.len() > KEPT {
            kept.events.pop_front();
        }
        drop(kept);
        self.changed.send_replace(());
    }

    fn end(&self, why: &Error) {
        self.kept().over = Some(why.message().to_owned());
        self.changed.send_replace(());
    }

    /// Where a cursor leads, if it is one of this subscription and its events are kept.
    fn place(&self, cursor: &Cursor) -> Option<u64> {
        let (epoch, number) = cursor.0.as_deref()?.split_once(':')?;
        let number = number.parse().ok().filter(|_| epoch == self.epoch)?;
        self.kept().range().contains(&number).then_some(number)
    }
}

impl Kept {
    /// Numbers that can be read from.
    fn range(&self) -> std::ops::RangeInclusive<u64> {
        self.next - self.events.len() as u64..=self.next
    }
}

struct Watcher {
    hub: Arc<Hub>,
    changed: tokio::sync::watch::Receiver<()>,
    at: u64,
    cancel: CancellationToken,
    over: bool,
}

/// From a cursor on, or from now.
pub(crate) async fn watch(context: &SharedContext, from: &Cursor, cancel: CancellationToken) -> Result<EventStream> {
    let hub = subscribed(context).await?;
    let changed = hub.changed.subscribe();
    let now = hub.kept().next;
    let known = hub.place(from);
    let at = known.unwrap_or(now);
    let gap = (known.is_none() && *from != Cursor::START).then(|| Event::gap(hub.cursor(at), Clock::system().now()));
    let watcher = Watcher { hub, changed, at, cancel, over: false };
    Ok(after_gap(gap, stream::unfold(watcher, next).boxed()))
}

/// The subscription that stands, or a new one.
async fn subscribed(context: &SharedContext) -> Result<Arc<Hub>> {
    let mut held = context.hub.lock().await;
    if let Some(hub) = held.as_ref().filter(|hub| hub.kept().over.is_none()) {
        return Ok(hub.clone());
    }
    let filters = vec![format!("namespace=={}", context.client.namespace())];
    let subscribe = "events.v1.Events/Subscribe";
    let mut answers = context.client.stream(OPERATION, subscribe, &Filters { filters }, None).await?;
    let epoch = fresh_id(OPERATION)?;
    stand(context, &mut answers, &epoch).await?;
    let known = record::all(context, OPERATION).await?.iter().map(about).collect();
    let (changed, _) = tokio::sync::watch::channel(());
    let hub = Arc::new(Hub { epoch, kept: Mutex::default(), changed });
    let reader = Reader { context: Arc::downgrade(context), answers, known, hub: hub.clone() };
    tokio::spawn(reader.read());
    *held = Some(hub.clone());
    Ok(hub)
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
        watcher.changed.borrow_and_update();
        if let Some(told) = watcher.look() {
            return Some((told, watcher));
        }
        tokio::select! {
            changed = watcher.changed.changed() => if changed.is_err() { return None },
            () = watcher.cancel.cancelled() => return None,
        }
    }
}

impl Watcher {
    /// What is there for it now.
    fn look(&mut self) -> Option<Result<Event>> {
        let kept = self.hub.kept();
        let range = kept.range();
        if !range.contains(&self.at) {
            // It was overtaken.
            self.at = kept.next;
            return Some(Ok(Event::gap(self.hub.cursor(self.at), Clock::system().now())));
        }
        let index = usize::try_from(self.at - range.start()).unwrap_or(usize::MAX);
        if let Some(event) = kept.events.get(index) {
            self.at += 1;
            return Some(Ok(event.clone()));
        }
        let why = kept.over.clone()?;
        self.over = true;
        Some(Err(Error::new(ErrorKind::Unavailable, OPERATION, why)))
    }
}

/// Reads the subscription as it comes, so that who an event is about can still be asked for.
struct Reader {
    context: Weak<Context>,
    answers: Answers,
    known: Known,
    hub: Arc<Hub>,
}

impl Reader {
    async fn read(mut self) {
        loop {
            let answer = self.answers.next::<Envelope>().await;
            // Nobody uses this runtime any more.
            let Some(context) = self.context.upgrade() else { return };
            match answer.and_then(|answer| answer.ok_or_else(ended)) {
                Ok(envelope) => {
                    if let Some(id) = removed(&envelope) {
                        tokio::spawn(forget(context.clone(), id));
                    }
                    if let Some(event) = self.event(&context, &envelope).await {
                        self.hub.take(event);
                    }
                }
                Err(error) => return self.hub.end(&error),
            }
        }
    }

    async fn event(&mut self, context: &Context, envelope: &Envelope) -> Option<Event> {
        let value = envelope.event.as_ref()?.value.as_slice();
        let time = moment(envelope.timestamp).unwrap_or_else(|| Clock::system().now());
        if let Some(action) = envelope.topic.strip_prefix("/images/") {
            let name = OfContainer::decode(value).ok()?.container_id;
            let kind = EventKind::Image { action: action.to_owned() };
            return Some(Event { cursor: Cursor::START, time, id: InstanceId(name), name: None, identity: None, kind });
        }
        let id = OfContainer::decode(value).ok()?.container_id;
        let kind = match envelope.topic.as_str() {
            "/containers/create" => EventKind::Created,
            "/containers/delete" => EventKind::Removed,
            "/tasks/start" => EventKind::Started,
            "/tasks/paused" => EventKind::Paused,
            "/tasks/resumed" => EventKind::Unpaused,
            "/tasks/oom" => EventKind::OutOfMemory,
            "/tasks/exit" => EventKind::Stopped { exit: ended_by(context, value, &id).await? },
            _ => return None,
        };
        if envelope.topic == "/containers/create" {
            let request = ById { id: id.clone() };
            let asked = context.client.call(OPERATION, "containers.v1.Containers/Get", &request).await;
            if let Ok(OneContainer { container: Some(container) }) = asked {
                self.known.extend([about(&Found::of(container))]);
            }
        }
        let known = match kind {
            EventKind::Removed => self.known.remove(&id),
            _ => self.known.get(&id).cloned(),
        };
        let (name, identity) = known.map_or((None, None), |(name, identity)| (Some(name), identity));
        Some(Event { cursor: Cursor::START, time, id: InstanceId(id), name, identity, kind })
    }
}

/// The container that is gone.
fn removed(envelope: &Envelope) -> Option<String> {
    let value = envelope.event.as_ref().filter(|_| envelope.topic == "/containers/delete")?.value.as_slice();
    Some(OfContainer::decode(value).ok()?.container_id)
}

async fn forget(context: SharedContext, id: String) {
    if let Err(error) = sweep::forget(&context, &id).await {
        tracing::warn!(%id, %error, "what a removed container had is left until the agent starts again");
    }
}

/// How a main process ended, also written down; `None`: it is another process.
async fn ended_by(context: &Context, value: &[u8], id: &str) -> Option<Exit> {
    let told = TaskExit::decode(value).ok()?;
    if told.id != told.container_id {
        return None;
    }
    if let Err(error) = crate::observe::settled(context, OPERATION, id).await {
        tracing::debug!(%id, %error, "an exit is not written down yet");
    }
    Some(exit(id, told.exit_status))
}
