//! Events: the journal, read from a place on and followed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use hythe_runtime::{Clock, Cursor, Event, EventKind, EventStream, Exit, Identity, InstanceId, Result, after_gap};
use hythe_shim::journal::{Entry, Kind, Place, end, numbers, segment};
use hythe_shim::record::ExitStatus;
use hythe_spec::Signal;
use rustix::fs::inotify::WatchFlags;
use tokio_util::sync::CancellationToken;

use crate::IoContext;
use crate::inotify::Inotify;

/// How often it is looked whether the journal is still where it was: the kernel does not tell of a directory that is moved with what it is in.
const LOOK: Duration = Duration::from_secs(5);

/// An end as a driver tells it.
pub type ReadExit = fn(&ExitStatus) -> Exit;

struct Watcher {
    exit: ReadExit,
    journal: PathBuf,
    /// Device and number of the directory.
    identity: (u64, u64),
    place: Place,
    notice: Inotify,
    cancel: CancellationToken,
    ready: std::collections::VecDeque<Event>,
    failed: bool,
}

/// From a cursor on, or from now. `exit`: an end as the driver tells it.
///
/// # Errors
/// The journal cannot be read.
pub fn watch(journal: PathBuf, from: &Cursor, cancel: CancellationToken, exit: ReadExit) -> Result<EventStream> {
    let changes = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
    let notice = Inotify::of(&[&journal], changes).context("watch", "watch the journal")?;
    let identity = identity(&journal).context("watch", "watch the journal")?;
    let now = end(&journal).context("watch", "read the journal")?;
    let is_past = |place: &Place| (place.segment, place.offset) <= (now.segment, now.offset);
    let known = from.0.as_deref().and_then(parse).filter(is_past);
    let place = known.unwrap_or(now);
    // Not a place in this journal: what followed it is not known.
    let gap = (known.is_none() && *from != Cursor::START).then(|| Event::gap(cursor(place), Clock::system().now()));
    let watcher = Watcher {
        exit,
        journal,
        identity,
        place,
        notice,
        cancel,
        ready: std::collections::VecDeque::new(),
        failed: false,
    };
    Ok(after_gap(gap, stream::unfold(watcher, next).boxed()))
}

fn parse(text: &str) -> Option<Place> {
    let (segment, offset) = text.split_once(':')?;
    Some(Place { segment: segment.parse().ok()?, offset: offset.parse().ok()? })
}

fn cursor(place: Place) -> Cursor {
    Cursor::at(format!("{}:{}", place.segment, place.offset))
}

async fn next(mut watcher: Watcher) -> Option<(Result<Event>, Watcher)> {
    loop {
        if let Some(event) = watcher.ready.pop_front() {
            return Some((Ok(event), watcher));
        }
        if watcher.failed {
            return None;
        }
        match watcher.read().context("watch", "read the journal") {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) => {
                watcher.failed = true;
                return Some((Err(error), watcher));
            }
        }
        tokio::select! {
            changed = watcher.notice.changed() => {
                if let Err(error) = changed.context("watch", "watch the journal") {
                    watcher.failed = true;
                    return Some((Err(error), watcher));
                }
            }
            () = tokio::time::sleep(LOOK) => {
                if let Err(error) = watcher.is_there().context("watch", "find the journal") {
                    watcher.failed = true;
                    return Some((Err(error), watcher));
                }
            }
            () = watcher.cancel.cancelled() => return None,
        }
    }
}

fn identity(path: &Path) -> std::io::Result<(u64, u64)> {
    let metadata = std::fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Watcher {
    fn is_there(&self) -> std::io::Result<()> {
        if identity(&self.journal)? == self.identity {
            return Ok(());
        }
        Err(std::io::Error::new(std::io::ErrorKind::NotFound, "another directory is in its place"))
    }

    /// Reads what is there; `false`: nothing is.
    fn read(&mut self) -> std::io::Result<bool> {
        let all = numbers(&self.journal)?;
        if let Some(first) = all.first().filter(|first| **first > self.place.segment) {
            // Older segments are gone; what they said must be listed again.
            self.place = Place { segment: *first, offset: 0 };
            self.ready.push_back(Event::gap(cursor(self.place), Clock::system().now()));
            return Ok(true);
        }
        let mut text = String::new();
        match File::open(segment(&self.journal, self.place.segment)) {
            Ok(mut file) => {
                file.seek(SeekFrom::Start(self.place.offset))?;
                file.read_to_string(&mut text)?;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let whole = text.rfind('\n').map_or(0, |at| at + 1);
        for line in text[..whole].split_inclusive('\n') {
            self.place.offset += line.len() as u64;
            let Ok(entry) = serde_json::from_str::<Entry>(line) else { continue };
            let cursor = cursor(self.place);
            self.ready.push_back(event(entry, cursor, self.exit));
        }
        if whole == 0 && all.last().is_some_and(|last| *last > self.place.segment) {
            self.place = Place { segment: self.place.segment + 1, offset: 0 };
            return Ok(true);
        }
        Ok(whole > 0)
    }
}

fn event(entry: Entry, cursor: Cursor, exit: ReadExit) -> Event {
    let name = entry.metadata.get("name").and_then(|name| name.as_str()).map(str::to_owned);
    let identity: Option<Identity> =
        entry.metadata.get("identity").and_then(|identity| serde_json::from_value(identity.clone()).ok());
    let kind = match entry.kind {
        Kind::Created => EventKind::Created,
        Kind::Started => EventKind::Started,
        Kind::Stopped(end) => EventKind::Stopped { exit: exit(&end) },
        Kind::Signalled(number) => EventKind::Signalled { signal: word(number) },
        Kind::Paused => EventKind::Paused,
        Kind::Unpaused => EventKind::Unpaused,
        Kind::OutOfMemory => EventKind::OutOfMemory,
        Kind::Updated(what) => EventKind::Updated { what },
        Kind::Removed => EventKind::Removed,
        Kind::Image(action) => EventKind::Image { action },
    };
    Event { cursor, time: entry.time, id: InstanceId(entry.id), name, identity, kind }
}

fn word(number: String) -> String {
    number.parse().map(|number| Signal(number).to_string()).unwrap_or(number)
}
