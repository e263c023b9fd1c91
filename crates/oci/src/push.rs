//! From the store into a registry.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::try_join_all;
use hythe_spec::ImageRef;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use reqwest::{Body, Method, StatusCode, Url};
use tokio::sync::{Semaphore, watch};
use tokio_util::io::ReaderStream;

use crate::digest::Digest;
use crate::error::Local as _;
use crate::exchange::DIGEST;
use crate::pull::source::Source;
use crate::pull::{Phase, Progress, Report};
use crate::registry::{Registry, retried};
use crate::response::text;
use crate::store::{Store, Stored, blocking};
use crate::{Error, Kind};

const BUFFER: usize = 256 << 10;
/// How long a registry may think about a layer that it has whole.
const SETTLE: Duration = Duration::from_secs(300);

impl Store {
    /// Uploads an image to the registry that its name says, what is there already excepted; gives the digest of its manifest.
    ///
    /// # Errors
    /// `NotFound` when the image is not in the store; as [`Registry::resolve`] where the registry is the cause; `Internal`.
    pub async fn push(
        &self,
        registry: &Registry,
        image: &ImageRef,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<String, Error> {
        let _using = self.using_async().await?;
        let (store, name) = (self.clone(), image.clone());
        let stored = blocking(move || store.get(&name)).await?;
        let source = Source::connect(registry, image, "pull,push").await?;
        let push =
            Push { store: self, source, report: &progress, uploads: Semaphore::new(self.options().downloads.max(1)) };
        push.run(&stored).await
    }
}

struct Push<'a> {
    store: &'a Store,
    source: Source<'a>,
    report: Report<'a>,
    uploads: Semaphore,
}

impl Push<'_> {
    /// Content before what refers to it.
    async fn run(&self, stored: &Stored) -> Result<String, Error> {
        let id = Digest::parse(&stored.id)?;
        let blobs: Result<Vec<_>, _> = stored.layers.iter().map(|layer| Digest::parse(&layer.digest)).collect();
        let mut blobs = blobs?;
        blobs.push(id);
        blobs.sort();
        blobs.dedup();
        try_join_all(blobs.iter().map(|blob| self.blob(blob))).await?;
        self.manifest(stored).await
    }

    async fn blob(&self, digest: &Digest) -> Result<(), Error> {
        let closed = |_| Error::new(Kind::Internal, "a push was ended from within");
        let _permit = self.uploads.acquire().await.map_err(closed)?;
        let path = self.store.blob_path(digest);
        let total = tokio::fs::metadata(&path).await.local("look at", &path)?.len();
        let tell = |phase, current| (self.report)(Progress { layer: digest.to_string(), phase, current, total });
        if !self.is_there(digest).await? {
            tell(Phase::Transferring, 0);
            let (counter, mut counted) = watch::channel(0);
            let upload = retried(|| self.upload(digest, &path, total, counter.clone()));
            tokio::pin!(upload);
            loop {
                let time_limit =
                    if *counted.borrow() < total { self.source.exchange.registry.time_limit() } else { SETTLE };
                tokio::select! {
                    outcome = &mut upload => break outcome?,
                    Ok(()) = counted.changed() => tell(Phase::Transferring, *counted.borrow_and_update()),
                    () = tokio::time::sleep(time_limit) => {
                        let seconds = time_limit.as_secs_f32();
                        return Err(self.source.exchange.broke(&format!("it took nothing for {seconds} s")));
                    }
                }
            }
        }
        tell(Phase::Done, total);
        Ok(())
    }

    async fn is_there(&self, digest: &Digest) -> Result<bool, Error> {
        let url = self.source.url(&format!("blobs/{digest}"));
        let asked = retried(|| self.source.send(Method::HEAD, &url, |request| request));
        let answer = self.source.exchange.registry.bounded(self.source.image(), asked).await?;
        Ok(answer.status().is_success())
    }

    async fn upload(
        &self,
        digest: &Digest,
        path: &PathBuf,
        size: u64,
        counter: watch::Sender<u64>,
    ) -> Result<(), Error> {
        let begin = self.source.url("blobs/uploads/");
        let answer = self.source.send(Method::POST, &begin, |request| request.header(CONTENT_LENGTH, 0)).await?;
        if answer.status() != StatusCode::ACCEPTED {
            return Err(self.source.refused(answer).await);
        }
        let place = text(answer.headers(), &LOCATION)
            .ok_or_else(|| self.source.exchange.invalid("it names no place to upload to"))?;
        let place = answer.url().join(&place);
        let mut place: Url =
            place.map_err(|error| self.source.exchange.invalid(&format!("its place to upload to: {error}")))?;
        self.source.exchange.check_encryption(answer.url(), &place)?;
        place.query_pairs_mut().append_pair("digest", digest.as_str());
        let file = File::open(path).local("open", path)?;
        let shape = |request: reqwest::RequestBuilder| {
            let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, size);
            match file.try_clone() {
                Ok(file) => request.body(body(file, counter.clone())),
                Err(_) => request,
            }
        };
        let answer = self.source.send(Method::PUT, place.as_str(), shape).await?;
        match answer.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::ACCEPTED => Ok(()),
            _ => Err(self.source.refused(answer).await),
        }
    }

    async fn manifest(&self, stored: &Stored) -> Result<String, Error> {
        let image = self.source.image();
        let version = image.tag.as_deref().or(image.digest.as_deref()).unwrap_or("latest");
        let url = self.source.url(&format!("manifests/{version}"));
        let bytes = self.store.read_blob(&Digest::parse(&stored.digest)?)?;
        let shape =
            |request: reqwest::RequestBuilder| request.header(CONTENT_TYPE, &stored.media_type).body(bytes.clone());
        let sent = retried(|| self.source.send(Method::PUT, &url, shape));
        let answer = self.source.exchange.registry.bounded(self.source.image(), sent).await?;
        if !answer.status().is_success() {
            return Err(self.source.refused(answer).await);
        }
        match text(answer.headers(), &DIGEST).filter(|said| *said != stored.digest) {
            Some(said) => Err(self
                .source
                .exchange
                .invalid(&format!("it took the manifest as `{said}`, not as `{}`", stored.digest))),
            None => Ok(stored.digest.clone()),
        }
    }
}

/// The file from its start, counted as it goes.
fn body(mut file: File, counter: watch::Sender<u64>) -> Body {
    // A file that cannot be rewound fails when it is read.
    std::io::Seek::rewind(&mut file).ok();
    let mut sent = 0;
    let counted = ReaderStream::with_capacity(tokio::fs::File::from_std(file), BUFFER).inspect(move |chunk| {
        sent += chunk.as_ref().map_or(0, |chunk| chunk.len() as u64);
        counter.send_replace(sent);
    });
    Body::wrap_stream(counted)
}
