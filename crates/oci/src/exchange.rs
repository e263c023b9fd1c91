//! One attempt at one question: ping, authorise, ask for the manifest, judge the answer.

use hythe_spec::ImageRef;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderName};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use sha2::Digest as _;

use crate::answer::{hex, manifest_type, media_type_within, text, words};
use crate::registry::{Registry, Resolved, root_cause};
use crate::token::Authorization;
use crate::{Error, Kind};

pub(crate) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// What registries themselves accept as a manifest.
const BODY_LIMIT: usize = 4 << 20;

pub(crate) struct Exchange<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) image: &'a ImageRef,
    pub(crate) base: String,
    /// What a token is asked for.
    pub(crate) actions: &'static str,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(registry: &'a Registry, image: &'a ImageRef) -> Self {
        Self { registry, image, base: registry.base(&image.domain), actions: "pull" }
    }

    /// HEAD first, because registries count GETs against a limit; GET where HEAD did not tell enough, or refused without words.
    pub(crate) async fn resolve(&self) -> Result<Resolved, Error> {
        let mut authorization = self.ping().await?;
        let mut head = self.manifest(Method::HEAD, authorization.as_ref()).await?;
        if head.status() == StatusCode::UNAUTHORIZED && authorization.is_none() {
            authorization = self.authorize(head.headers()).await?;
            head = self.manifest(Method::HEAD, authorization.as_ref()).await?;
        }
        let (digest, media_type) = (text(head.headers(), &DIGEST), manifest_type(head.headers()));
        if let (true, Some(digest), Some(media_type)) = (head.status().is_success(), digest, media_type) {
            return self.verified(Resolved { digest, media_type });
        }
        let answer = self.manifest(Method::GET, authorization.as_ref()).await?;
        if !answer.status().is_success() {
            return Err(self.refused(answer, authorization.is_some_and(|used| used.with_credentials)).await);
        }
        self.read(answer).await
    }

    /// Makes sure that a registry answers at all (so that a later 404 is about the image) and learns how it authorises.
    pub(crate) async fn ping(&self) -> Result<Option<Authorization>, Error> {
        let answer = self.send(Method::GET, &format!("{}/v2/", self.base), |request| request).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED => self.authorize(answer.headers()).await,
            status if status.is_success() => Ok(None),
            StatusCode::NOT_FOUND => {
                let message = format!(
                    "`{}` is not a registry (asked about `{}`): its `/v2/` is not found",
                    self.image.domain, self.image
                );
                Err(Error::new(Kind::Invalid, message).hint("check the host and the port of the image reference"))
            }
            _ => Err(self.refused(answer, false).await),
        }
    }

    async fn manifest(&self, method: Method, authorization: Option<&Authorization>) -> Result<Response, Error> {
        let ImageRef { path, tag, digest, .. } = self.image;
        let version = digest.as_deref().or(tag.as_deref()).unwrap_or("latest");
        let url = format!("{}/v2/{path}/manifests/{version}", self.base);
        self.send(method, &url, |request| {
            let request = request.header(ACCEPT, MANIFEST_TYPES);
            match authorization {
                Some(authorization) => request.header(AUTHORIZATION, authorization.header.clone()),
                None => request,
            }
        })
        .await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        shape: impl FnOnce(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let url = Url::parse(url).map_err(|error| self.invalid(&format!("`{url}` is not an address: {error}")))?;
        let client = self.registry.client_for(&url).await?;
        let answer = shape(client.request(method, url)).send().await;
        answer.map_err(|error| self.unreachable(&error))
    }

    /// The whole body, or an error where it is larger than any manifest.
    pub(crate) async fn body(&self, mut answer: Response) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > BODY_LIMIT {
                return Err(self.invalid("the answer is larger than 4 MiB"));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    async fn read(&self, answer: Response) -> Result<Resolved, Error> {
        let headers = answer.headers().clone();
        let body = self.body(answer).await?;
        let computed = format!("sha256:{}", hex(&sha2::Sha256::digest(&body)));
        let said = text(&headers, &DIGEST);
        if let Some(said) = said.as_deref().filter(|said| said.starts_with("sha256:") && **said != computed) {
            return Err(self.invalid(&format!("the manifest has digest `{computed}`, the registry says `{said}`")));
        }
        let media_type = manifest_type(&headers).or_else(|| media_type_within(&body));
        let media_type = media_type.ok_or_else(|| self.invalid("the answer is not an image manifest"))?;
        self.verified(Resolved { digest: said.unwrap_or(computed), media_type })
    }

    /// An image named by digest resolves to that digest or not at all.
    fn verified(&self, resolved: Resolved) -> Result<Resolved, Error> {
        let algorithm = |digest: &str| digest.split(':').next().map(str::to_owned);
        match &self.image.digest {
            Some(asked) if algorithm(asked) == algorithm(&resolved.digest) && *asked != resolved.digest => {
                Err(self.invalid(&format!("the registry answered with digest `{}`", resolved.digest)))
            }
            _ => Ok(resolved),
        }
    }

    /// The error for an answer that is not a success.
    pub(crate) async fn refused(&self, answer: Response, with_credentials: bool) -> Error {
        let status = answer.status();
        let words = self.body(answer).await.map_or_else(|error| error.to_string(), |body| words(&body));
        let words = if words.is_empty() { status.to_string() } else { format!("{words} ({status})") };
        let (image, host) = (self.image, &self.image.domain);
        match status.as_u16() {
            404 => Error::new(Kind::NotFound, format!("`{image}` is not in its registry: {words}")),
            401 | 403 => {
                let how = if with_credentials { "with the stored credentials" } else { "without credentials" };
                let message = format!("registry `{host}` refuses `{image}` {how}: {words}");
                Error::new(Kind::Unauthorized, message).hint(format!(
                    "log in with `podman login {host}` or `docker login {host}`; hythe reads the auth files of both"
                ))
            }
            429 => Error::new(Kind::Unavailable, format!("registry `{host}` limits requests for `{image}`: {words}"))
                .hint("wait, or log in for a higher limit"),
            408 | 500.. => {
                Error::new(Kind::Unavailable, format!("registry `{host}` failed for `{image}`: {words}")).temporary()
            }
            _ => self.invalid(&words),
        }
    }

    pub(crate) fn unreachable(&self, error: &reqwest::Error) -> Error {
        let cause = if error.is_timeout() { "timed out".to_owned() } else { root_cause(error) };
        let message = format!("cannot reach registry `{}` for `{}`: {cause}", self.image.domain, self.image);
        let speaks_plain = cause.contains("InvalidContentType");
        match (speaks_plain, cause.contains("certificate")) {
            (true, _) => Error::new(Kind::Unavailable, message)
                .hint("it answers plain http; name it among the insecure registries if that is meant"),
            (_, true) => Error::new(Kind::Unavailable, message).hint("add its CA to the system's certificates"),
            _ => Error::new(Kind::Unavailable, message).temporary(),
        }
    }

    /// For a transfer that may go better the next time.
    pub(crate) fn broke(&self, what: &str) -> Error {
        let message = format!("registry `{}` broke off about `{}`: {what}", self.image.domain, self.image);
        Error::new(Kind::Unavailable, message).temporary()
    }

    pub(crate) fn invalid(&self, what: &str) -> Error {
        Error::new(Kind::Invalid, format!("registry `{}` cannot resolve `{}`: {what}", self.image.domain, self.image))
    }
}
