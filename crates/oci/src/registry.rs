//! A registry asked about images: bounded, retried, over the right transport.

use std::collections::BTreeMap;
use std::time::Duration;

use hythe_spec::ImageRef;
use reqwest::{Client, Url};
use tokio::sync::OnceCell;

use crate::exchange::Exchange;
use crate::{Error, Kind, auth};

/// Pauses before the second and the third attempt; there is no fourth.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(500)];

/// How registries are asked.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Registries (`host[:port]`) spoken to over plain http. Loopback registries always are.
    pub insecure: Vec<String>,
    /// Registries (`host[:port]`) asked before the one of an image, by that one's host: the first that answers with the image serves a pull.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Bound for making one connection.
    pub connect_timeout: Duration,
    /// Bound for one question, retries included.
    pub timeout: Duration,
    /// Where credentials come from.
    pub auth: auth::Files,
}

impl Default for RegistryConfig {
    /// https, 5 s to connect, 30 s in all, no credentials.
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: BTreeMap::new(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            auth: auth::Files::default(),
        }
    }
}

/// What a registry says an image reference means now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Digest of the manifest or index: `sha256:…`.
    pub digest: String,
    /// Media type of the manifest or index.
    pub media_type: String,
}

/// A client for image registries. Plain http never goes through a proxy; https obeys the usual proxy variables.
#[derive(Debug)]
pub struct Registry {
    config: RegistryConfig,
    plain: Client,
    /// Made when first needed: a machine without CA certificates can still use plain registries.
    secure: OnceCell<Client>,
}

impl Registry {
    /// A client; nothing is contacted yet.
    ///
    /// # Errors
    /// `Invalid` if the HTTP client cannot be set up.
    pub fn new(config: RegistryConfig) -> Result<Self, Error> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Losing this race means that somebody else installed one, which serves as well.
            rustls::crypto::ring::default_provider().install_default().ok();
        }
        let plain = client(&config).no_proxy().tls_certs_only([]).build();
        let plain = plain.map_err(|error| set_up_failed(&error))?;
        Ok(Self { config, plain, secure: OnceCell::new() })
    }

    /// Digest and media type of an image, without fetching a layer.
    ///
    /// # Errors
    /// `NotFound` only when the registry itself says so; `Unauthorized`, `Unavailable`, `Invalid`.
    pub async fn resolve(&self, image: &ImageRef) -> Result<Resolved, Error> {
        self.bounded(image, retried(|| async { Exchange::new(self, image).resolve().await })).await
    }

    /// Whether the registry has the image; `false` only when the registry itself says that it has not.
    ///
    /// # Errors
    /// As [`Registry::resolve`], without `NotFound`.
    pub async fn exists(&self, image: &ImageRef) -> Result<bool, Error> {
        match self.resolve(image).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// One question, within the bound for it.
    pub(crate) async fn bounded<T>(
        &self,
        image: &ImageRef,
        question: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let bound = self.config.timeout;
        tokio::time::timeout(bound, question).await.unwrap_or_else(|_| {
            let (host, seconds) = (&image.domain, bound.as_secs_f32());
            let message = format!("registry `{host}` gave no answer about `{image}` within {seconds} s");
            Err(Error::new(Kind::Unavailable, message).temporary())
        })
    }

    /// Where an image may be pulled from: the mirrors of its registry, then the registry itself.
    pub(crate) fn sources(&self, image: &ImageRef) -> Vec<ImageRef> {
        let mirrors = self.config.mirrors.get(&image.domain).into_iter().flatten();
        let mirrored = mirrors.map(|mirror| ImageRef { domain: mirror.clone(), ..image.clone() });
        mirrored.chain([image.clone()]).collect()
    }

    pub(crate) fn auth(&self) -> &auth::Files {
        &self.config.auth
    }

    /// The registry's address: `https://registry-1.docker.io` for `docker.io`.
    pub(crate) fn base(&self, domain: &str) -> String {
        let insecure = self.config.insecure.iter().any(|host| host.eq_ignore_ascii_case(domain));
        let scheme = if insecure || is_loopback(domain) { "http" } else { "https" };
        let host = if domain == "docker.io" { "registry-1.docker.io" } else { domain };
        format!("{scheme}://{host}")
    }

    pub(crate) async fn client_for(&self, url: &Url) -> Result<&Client, Error> {
        if url.scheme() == "http" {
            return Ok(&self.plain);
        }
        let make = || async { client(&self.config).build().map_err(|error| set_up_failed(&error)) };
        self.secure.get_or_try_init(make).await
    }
}

/// Asks again where the answer says that it may help.
pub(crate) async fn retried<T, A: Future<Output = Result<T, Error>>>(
    mut attempt: impl FnMut() -> A,
) -> Result<T, Error> {
    let mut pauses = RETRY_PAUSES.into_iter();
    loop {
        let error = match attempt().await {
            Err(error) if error.is_temporary() => error,
            settled => return settled,
        };
        match pauses.next() {
            Some(pause) => tokio::time::sleep(pause).await,
            None => return Err(error),
        }
    }
}

fn client(config: &RegistryConfig) -> reqwest::ClientBuilder {
    let agent = concat!("hythe/", env!("CARGO_PKG_VERSION"));
    Client::builder().connect_timeout(config.connect_timeout).user_agent(agent)
}

fn set_up_failed(error: &reqwest::Error) -> Error {
    let message = format!("cannot set up a client for registries: {}", root_cause(error));
    Error::new(Kind::Invalid, message).hint("install the system's CA certificates (package `ca-certificates`)")
}

/// The innermost words: the outer layers of an HTTP error say only that there is one.
pub(crate) fn root_cause(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn is_loopback(domain: &str) -> bool {
    let host = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => domain.split(':').next().unwrap_or(domain),
    };
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_named_registries_are_spoken_to_in_plain() {
        let insecure = vec!["lan.test:5000".to_owned()];
        let config = RegistryConfig { insecure, ..RegistryConfig::default() };
        let registry = Registry::new(config).unwrap();
        let cases = [
            ("docker.io", "https://registry-1.docker.io"),
            ("lan.test:5000", "http://lan.test:5000"),
            ("lan.test", "https://lan.test"),
            ("localhost.test", "https://localhost.test"),
            ("localhost:5000", "http://localhost:5000"),
            ("127.8.8.8", "http://127.8.8.8"),
            ("[::1]:5000", "http://[::1]:5000"),
            ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ];
        for (domain, base) in cases {
            assert_eq!(registry.base(domain), base);
        }
    }
}
