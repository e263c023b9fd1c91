//! A registry as the place that one image comes from or goes to.

use std::sync::{Mutex, PoisonError};

use hythe_spec::ImageRef;
use reqwest::header::{ACCEPT, AUTHORIZATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode};

use crate::digest::Digest;
use crate::document::{Shape, shape};
use crate::exchange::{DIGEST, Exchange, MANIFEST_TYPES};
use crate::registry::{Registry, retried};
use crate::response::{manifest_type, media_type_within, text};
use crate::token::Authorization;
use crate::{Error, Kind};

/// A manifest or an index, as it came.
pub(crate) struct Document {
    pub(crate) bytes: Vec<u8>,
    pub(crate) digest: Digest,
    pub(crate) media_type: String,
    pub(crate) shape: Shape,
}

pub(crate) struct Source<'a> {
    pub(crate) exchange: Exchange<'a>,
    authorization: Mutex<Option<Authorization>>,
}

impl<'a> Source<'a> {
    /// Makes sure that there is a registry and learns how it authorises for `actions`.
    pub(crate) async fn connect(
        registry: &'a Registry,
        image: &'a ImageRef,
        actions: &'static str,
    ) -> Result<Self, Error> {
        let open = retried(|| Exchange::open(registry, image, actions));
        let (exchange, authorization) = registry.bounded(image, open).await?;
        Ok(Self { exchange, authorization: Mutex::new(authorization) })
    }

    pub(crate) fn image(&self) -> &ImageRef {
        self.exchange.image
    }

    /// The address of something of this image's repository.
    pub(crate) fn url(&self, below: &str) -> String {
        format!("{}/v2/{}/{below}", self.exchange.base, self.exchange.image.path)
    }

    /// Sends a request; a token that is refused is asked for once more, since tokens expire.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let answer = self.attempt(method.clone(), url, &shape).await?;
        if answer.status() != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let Some(again) = self.exchange.authorize(&answer).await? else {
            return Ok(answer);
        };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(again);
        self.attempt(method, url, &shape).await
    }

    async fn attempt(
        &self,
        method: Method,
        url: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        // A place to upload to may be on another host, which has no business with the registry's credentials.
        let authorization = self.authorization().filter(|_| self.exchange.is_own_text(url));
        let shaped = |request| match &authorization {
            Some(authorization) => shape(request).header(AUTHORIZATION, authorization.header.clone()),
            None => shape(request),
        };
        self.exchange.send(method, url, shaped).await
    }

    fn authorization(&self) -> Option<Authorization> {
        self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The error for an answer that is no success.
    pub(crate) async fn refused(&self, answer: Response) -> Error {
        let with_credentials = self.authorization().is_some_and(|used| used.with_credentials);
        self.exchange.refused(answer, with_credentials).await
    }

    /// A manifest or index by tag or digest, checked against the digest and against the type that a descriptor gives it.
    pub(crate) async fn document(&self, version: &str, claimed: Option<&str>) -> Result<Document, Error> {
        let question = retried(|| self.document_once(version, claimed));
        self.exchange.registry.bounded(self.exchange.image, question).await
    }

    async fn document_once(&self, version: &str, claimed: Option<&str>) -> Result<Document, Error> {
        let url = self.url(&format!("manifests/{version}"));
        let answer = self.send(Method::GET, &url, |request| request.header(ACCEPT, MANIFEST_TYPES)).await?;
        if !answer.status().is_success() {
            return Err(self.refused(answer).await);
        }
        let headers = answer.headers().clone();
        let bytes = self.exchange.body(answer).await?;
        let digest = Digest::of(&bytes);
        let said = text(&headers, &DIGEST);
        for said in said.as_deref().into_iter().chain([version]).filter(|said| said.starts_with("sha256:")) {
            if said != digest.as_str() {
                return Err(self.exchange.invalid(&format!("the manifest has digest `{digest}`, not `{said}`")));
            }
        }
        let (within, told) = (media_type_within(&bytes), manifest_type(&headers));
        self.check_type(within.as_deref().or(told.as_deref()).unwrap_or_default(), &bytes)?;
        let shaped = |claimed| {
            shape(&bytes, claimed)
                .map_err(|why| self.exchange.invalid(&format!("its answer `{digest}` cannot be used: {why}")))
        };
        shaped(claimed)?;
        let shape = shaped(told.as_deref())?;
        // An OCI document need not say what it is.
        let media_type = within.or(told).unwrap_or_else(|| plain_type(shape).to_owned());
        Ok(Document { bytes, digest, media_type, shape })
    }

    fn check_type(&self, media_type: &str, bytes: &[u8]) -> Result<(), Error> {
        let value: serde_json::Value = serde_json::from_slice(bytes)
            .map_err(|error| self.exchange.invalid(&format!("the answer is not an image manifest: {error}")))?;
        if media_type.contains("distribution.manifest.v1+") || value.get("schemaVersion") == Some(&1.into()) {
            let message =
                format!("`{}` is an image of docker schema 1, a format that was withdrawn", self.exchange.image);
            return Err(Error::new(Kind::Invalid, message).hint("push the image again with a newer tool"));
        }
        Ok(())
    }
}

fn plain_type(shape: Shape) -> &'static str {
    match shape {
        Shape::Index => "application/vnd.oci.image.index.v1+json",
        Shape::Manifest => "application/vnd.oci.image.manifest.v1+json",
    }
}
