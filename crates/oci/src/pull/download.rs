//! One blob from the registry into the store, going on after interruptions.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, HeaderMap, RANGE};
use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc;

use super::pace::Pace;
use super::resume::{Resume, Write};
use super::source::Source;
use crate::digest::Digest;
use crate::response::text;
use crate::store::{Store, blocking};
use crate::{Error, Kind};

/// Chunks between the network and the disk.
const QUEUE: usize = 16;
/// Pauses between attempts that brought nothing; an attempt that brought something counts anew.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_millis(800), Duration::from_secs(3)];

/// What is to be fetched.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

pub(crate) struct Download<'a> {
    pub(crate) source: &'a Source<'a>,
    pub(crate) store: &'a Store,
    pub(crate) wanted: &'a Wanted,
    /// Told how many bytes there are.
    pub(crate) report: &'a (dyn Fn(u64) + Send + Sync),
}

impl Download<'_> {
    /// The partial file, unless the blob is in the store already: perhaps because somebody else just fetched it.
    pub(crate) async fn begin(&self) -> Result<Option<Resume>, Error> {
        let Wanted { digest, size } = self.wanted.clone();
        if self.store.has_blob(&digest, size) {
            return Ok(None);
        }
        let turn = self.store.turn("blob", &digest).await?;
        let store = self.store.clone();
        blocking(move || {
            if store.has_blob(&digest, size) {
                return Ok(None);
            }
            Resume::open(&store, &digest, size, turn).map(Some)
        })
        .await
    }

    /// Fetches what is missing, checks the whole and puts it into its place.
    pub(crate) async fn run(&self, partial: Resume) -> Result<(), Error> {
        let resumed = partial.length > 0;
        match self.fill(partial).await {
            // What an earlier process left may be damaged by a crash of the machine.
            Err(error) if resumed && error.kind() == Kind::Invalid => match self.begin().await? {
                Some(fresh) => self.fill(fresh).await,
                None => Ok(()),
            },
            outcome => outcome,
        }
    }

    async fn fill(&self, partial: Resume) -> Result<(), Error> {
        let (send, receive) = mpsc::channel(QUEUE);
        let mut sink = Sink { send, length: partial.length, wanted: self.wanted, report: self.report };
        let writer = blocking(move || partial.write(receive));
        let fetch = async move { self.fetch(&mut sink).await };
        // The writer ends when the sink is gone; its error says more than that of a sink without a writer.
        let (fetched, written) = tokio::join!(fetch, writer);
        let partial = written?;
        fetched?;
        let (store, Wanted { digest, size }) = (self.store.clone(), self.wanted.clone());
        blocking(move || partial.finish(&store, &digest, size)).await
    }

    async fn fetch(&self, sink: &mut Sink<'_>) -> Result<(), Error> {
        let mut pauses = PAUSES.into_iter();
        let mut pace = Pace::new(self.source.exchange.registry.time_limit());
        while sink.length < self.wanted.size {
            let before = sink.length;
            let error = match self.attempt(sink, &mut pace).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if sink.length > before {
                pauses = PAUSES.into_iter();
            }
            match pauses.next().filter(|_| error.is_temporary() && !pace.is_still()) {
                Some(pause) => pace.pause(pause).await,
                None => return Err(error),
            }
        }
        Ok(())
    }

    async fn attempt(&self, sink: &mut Sink<'_>, pace: &mut Pace) -> Result<(), Error> {
        let url = self.source.url(&format!("blobs/{}", self.wanted.digest));
        let range = (sink.length > 0).then(|| format!("bytes={}-", sink.length));
        let asked = self.source.send(Method::GET, &url, |request| match &range {
            Some(range) => request.header(RANGE, range),
            None => request,
        });
        let answer = pace.next(asked).await.ok_or_else(|| self.still())??;
        match answer.status() {
            StatusCode::PARTIAL_CONTENT if begins_at(answer.headers(), sink.length) => {}
            StatusCode::OK if range.is_none() => {}
            // The registry cannot go on from the middle.
            StatusCode::OK => sink.restart().await?,
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                sink.restart().await?;
                return Err(self.source.exchange.broke("it did not send the part that was asked for"));
            }
            _ => return Err(self.source.refused(answer).await),
        }
        self.stream(answer, sink, pace).await
    }

    async fn stream(&self, mut answer: Response, sink: &mut Sink<'_>, pace: &mut Pace) -> Result<(), Error> {
        let exchange = &self.source.exchange;
        loop {
            let chunk = pace.next(answer.chunk()).await.ok_or_else(|| self.still())?;
            let Some(chunk) = chunk.map_err(|error| exchange.unreachable(&error))? else {
                return Ok(());
            };
            pace.received(chunk.len());
            sink.append(chunk).await?;
        }
    }

    fn still(&self) -> Error {
        let seconds = self.source.exchange.registry.time_limit().as_secs_f32();
        self.source.exchange.broke(&format!("it sent next to nothing for {seconds} s"))
    }
}

/// Where the bytes go on the side of the network.
struct Sink<'a> {
    send: mpsc::Sender<Write>,
    length: u64,
    wanted: &'a Wanted,
    report: &'a (dyn Fn(u64) + Send + Sync),
}

impl Sink<'_> {
    async fn append(&mut self, chunk: Bytes) -> Result<(), Error> {
        let length = self.length + chunk.len() as u64;
        if length > self.wanted.size {
            self.restart().await?;
            let Wanted { digest, size } = self.wanted;
            let message = format!("content `{digest}` has more bytes than the {size} its descriptor says");
            return Err(Error::new(Kind::Invalid, message));
        }
        self.order(Write::Append(chunk)).await?;
        self.length = length;
        (self.report)(length);
        Ok(())
    }

    async fn restart(&mut self) -> Result<(), Error> {
        self.length = 0;
        self.order(Write::Restart).await
    }

    async fn order(&self, order: Write) -> Result<(), Error> {
        let sent = self.send.send(order).await;
        sent.map_err(|_| Error::new(Kind::Internal, "the writer of a download ended"))
    }
}

fn begins_at(headers: &HeaderMap, offset: u64) -> bool {
    let range = text(headers, &CONTENT_RANGE);
    range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")))
}
