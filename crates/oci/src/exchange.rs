//! One attempt at one question: ping, authorise, ask for the manifest, judge the answer.

use hythe_spec::ImageRef;
use hythe_spec::causes::root_cause;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderName, LOCATION};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use sha2::Digest as _;

use crate::registry::{Registry, Resolved, Way, base};
use crate::response::{hex, manifest_type, media_type_within, text, words};
use crate::token::Authorization;
use crate::trust::authority;
use crate::{Error, Kind};

pub(crate) const DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const MANIFEST_TYPES: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, \
     application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";
/// What registries themselves accept as a manifest.
const BODY_LIMIT: usize = 4 << 20;
/// More hops than this lead in a circle.
const REDIRECTS: usize = 10;

pub(crate) struct Exchange<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) image: &'a ImageRef,
    pub(crate) base: String,
    way: Way,
    /// What a token is asked for.
    pub(crate) actions: &'static str,
}

impl<'a> Exchange<'a> {
    /// Finds the way in which the registry speaks and learns how it authorises.
    pub(crate) async fn open(
        registry: &'a Registry,
        image: &'a ImageRef,
        actions: &'static str,
    ) -> Result<(Self, Option<Authorization>), Error> {
        if let Some(error) = built_here(image) {
            return Err(error);
        }
        let mut misunderstood = None;
        for way in registry.ways(&image.domain).await? {
            let exchange = Self { registry, image, base: base(&image.domain, *way), way: *way, actions };
            match exchange.ping().await {
                Ok(authorization) => return Ok((exchange, authorization)),
                // It may speak the other way; where it does not, what the first one said counts.
                Err(error) if error.is_misunderstood() => misunderstood = misunderstood.or(Some(error)),
                Err(error) => return Err(misunderstood.unwrap_or(error)),
            }
        }
        Err(misunderstood.unwrap_or_else(|| Error::new(Kind::Invalid, "there is no route to the registry")))
    }

    /// HEAD first, because registries count GETs against a limit; GET where HEAD did not tell enough, or refused without words.
    pub(crate) async fn resolve(registry: &'a Registry, image: &'a ImageRef) -> Result<Resolved, Error> {
        let (exchange, mut authorization) = Self::open(registry, image, "pull").await?;
        let mut head = exchange.manifest(Method::HEAD, authorization.as_ref()).await?;
        if head.status() == StatusCode::UNAUTHORIZED && authorization.is_none() {
            authorization = exchange.authorize(&head).await?;
            head = exchange.manifest(Method::HEAD, authorization.as_ref()).await?;
        }
        let (digest, media_type) = (text(head.headers(), &DIGEST), manifest_type(head.headers()));
        if let (true, Some(digest), Some(media_type)) = (head.status().is_success(), digest, media_type) {
            return exchange.verified(Resolved { digest, media_type });
        }
        let answer = exchange.manifest(Method::GET, authorization.as_ref()).await?;
        if !answer.status().is_success() {
            return Err(exchange.refused(answer, authorization.is_some_and(|used| used.with_credentials)).await);
        }
        exchange.read(answer).await
    }

    /// Whether an address is of the registry itself, and not of a host that it sends to.
    pub(crate) fn is_own(&self, url: &Url) -> bool {
        Url::parse(&self.base).is_ok_and(|base| base.origin() == url.origin())
    }

    pub(crate) fn is_own_text(&self, url: &str) -> bool {
        Url::parse(url).is_ok_and(|url| self.is_own(&url))
    }

    /// Makes sure that a registry answers at all (so that a later 404 is about the image) and learns how it authorises.
    pub(crate) async fn ping(&self) -> Result<Option<Authorization>, Error> {
        let answer = self.send(Method::GET, &format!("{}/v2/", self.base), |request| request).await?;
        match answer.status() {
            StatusCode::UNAUTHORIZED => self.authorize(&answer).await,
            // How servers of TLS answer what is none.
            StatusCode::BAD_REQUEST if self.way == Way::Plain => Err(self.refused(answer, false).await.misunderstood()),
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

    /// Sends a request and follows where the answer leads. `Authorization` is for the origin that is asked first and for no other.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, Error> {
        let start = Url::parse(url).map_err(|error| self.invalid(&format!("`{url}` is not an address: {error}")))?;
        let (mut at, mut is_away) = (start.clone(), false);
        for _ in 0..=REDIRECTS {
            let verify = !(self.way == Way::Unverified && self.is_own(&at));
            let client = self.registry.client_for(&at, verify).await?;
            let request = shape(client.request(method.clone(), at.clone())).build();
            let mut request = request.map_err(|error| self.unreachable(&error))?;
            if is_away {
                request.headers_mut().remove(AUTHORIZATION);
            }
            let answer = client.execute(request).await.map_err(|error| self.unreachable(&error))?;
            let Some(next) = self.next(&method, &start, &answer)? else {
                return Ok(answer);
            };
            is_away |= next.origin() != start.origin();
            at = next;
        }
        Err(self.invalid(&format!("it redirects more than {REDIRECTS} times")))
    }

    /// Where an answer leads. What carries a body (a layer, a refresh token) goes to no other origin.
    fn next(&self, method: &Method, start: &Url, answer: &Response) -> Result<Option<Url>, Error> {
        let (is_read, status) = (matches!(*method, Method::GET | Method::HEAD), answer.status().as_u16());
        let redirects = matches!(status, 307 | 308) || (is_read && matches!(status, 301..=303));
        if !redirects {
            return Ok(None);
        }
        let Some(place) = text(answer.headers(), &LOCATION) else {
            return Ok(None);
        };
        let next =
            answer.url().join(&place).map_err(|error| self.invalid(&format!("it redirects nowhere: {error}")))?;
        self.check_encryption(answer.url(), &next)?;
        Ok((is_read || next.origin() == start.origin()).then_some(next))
    }

    /// What began encrypted stays so, unless the registry is one of those for which that does not matter.
    pub(crate) fn check_encryption(&self, from: &Url, to: &Url) -> Result<(), Error> {
        let is_plain =
            to.scheme() == "http" && (from.scheme() == "http" || self.registry.is_insecure(&self.image.domain));
        if to.scheme() == "https" || is_plain {
            return Ok(());
        }
        let place = authority(to).unwrap_or_default();
        Err(self.invalid(&format!("it sends to `{}://{place}`, which is not encrypted", to.scheme())))
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
        let elsewhere = (!self.is_own(answer.url())).then(|| authority(answer.url()).unwrap_or_default());
        let words = self.body(answer).await.map_or_else(|error| error.to_string(), |body| words(&body));
        let words = if words.is_empty() { status.to_string() } else { format!("{words} ({status})") };
        let (image, host) = (self.image, &self.image.domain);
        if let Some(other) = elsewhere.filter(|_| matches!(status.as_u16(), 401 | 403)) {
            let message = format!("registry `{host}` redirects to `{other}` for `{image}`, which refuses: {words}");
            return Error::new(Kind::Unauthorized, message).hint(format!(
                "credentials of `{host}` are not given to other hosts; the registry must send to what is open"
            ));
        }
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
        let (host, image) = (&self.image.domain, self.image);
        let other = error.url().filter(|url| !self.is_own(url)).and_then(authority);
        let message = match &other {
            Some(other) => format!("cannot reach `{other}`, where registry `{host}` sends for `{image}`: {cause}"),
            None => format!("cannot reach registry `{host}` for `{image}`: {cause}"),
        };
        let place = other.as_ref().unwrap_or(host);
        let told = Error::new(Kind::Unavailable, message);
        if cause.contains("invalid content type") {
            return told
                .misunderstood()
                .hint("it answers plain http; name it among the insecure registries if that is meant");
        }
        if cause.contains("certificate") {
            return told.hint(format!(
                "put the certificate of its CA at `/etc/containers/certs.d/{place}/ca.crt`, or among the system's"
            ));
        }
        let told = match is_refused(error) {
            true => told.hint(format!(
                "nothing listens there: check that the registry `{place}` is up and that the name is right"
            )),
            false => told.temporary().hint(format!("check that this host reaches `{place}`")),
        };
        // Without a port in the name the other way leads to another port.
        let has_port = Url::parse(&self.base).is_ok_and(|base| base.port().is_some());
        let is_silent = is_refused(error) || error.is_timeout();
        if other.is_some() || (has_port && is_silent) { told } else { told.misunderstood() }
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

/// The error for an absent image that no registry can have: `localhost/…` is what Podman and Hythe call those that were built or loaded here.
/// `None` for every other image.
pub fn built_here(image: &ImageRef) -> Option<Error> {
    let told = || {
        Error::new(Kind::NotFound, format!("image `{image}` is on no runtime here"))
            .hint("build it with `hythe build`, or load it with `hythe image load`")
    };
    (image.domain == "localhost").then(told)
}

fn is_refused(error: &reqwest::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;
    use crate::RegistryConfig;

    #[test]
    fn what_began_encrypted_is_not_sent_on_in_plain() {
        let insecure = vec!["lan.test".to_owned()];
        let registry = Registry::new(RegistryConfig { insecure, ..RegistryConfig::default() }).unwrap();
        let cases = [
            ("r.test", "https://cdn.test/x", true),
            ("r.test", "http://cdn.test/x", false),
            ("r.test", "http://r.test/x", false),
            ("r.test", "ftp://cdn.test/x", false),
            ("lan.test", "http://cdn.test/x", true),
            ("127.0.0.1:5000", "http://cdn.test/x", true),
        ];
        for (domain, place, works) in cases {
            let image = format!("{domain}/a").parse().unwrap();
            let base = base(domain, Way::Verified);
            let from = Url::parse(&base).unwrap();
            let exchange = Exchange { registry: &registry, image: &image, base, way: Way::Verified, actions: "pull" };
            let checked = exchange.check_encryption(&from, &Url::parse(place).unwrap());
            assert_eq!(checked.is_ok(), works, "{domain} {place}");
        }
    }
}
