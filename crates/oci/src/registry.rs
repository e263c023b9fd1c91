//! A registry asked about images: bounded, retried, over the right transport.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hythe_spec::ImageRef;
use hythe_spec::causes::root_cause;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::OnceCell;

use crate::exchange::Exchange;
use crate::store::blocking;
use crate::trust::{Trust, authority, usual_directories};
use crate::{Error, Kind, auth};

/// Pauses before the second and the third attempt; there is no fourth.
const RETRY_PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_millis(500)];

const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// How registries are asked.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// Registries (`host[:port]`) spoken to over TLS whose certificate is not checked, or over plain http where they speak no TLS.
    /// Loopback registries always are, plain http first.
    pub insecure: Vec<String>,
    /// Registries (`host[:port]`) asked before the one of an image, by that one's host: the first that answers with the image serves a pull.
    pub mirrors: BTreeMap<String, Vec<String>>,
    /// Bound for making one connection.
    pub connect_timeout: Duration,
    /// Bound for one question, retries included, and for standing still in the middle of a transfer.
    pub timeout: Duration,
    /// Where credentials come from.
    pub auth: auth::Files,
    /// Directories like `/etc/docker/certs.d`, which say by `<host[:port]>` whom to trust.
    pub certs: Vec<PathBuf>,
}

impl Default for RegistryConfig {
    /// https, 5 s to connect, 30 s in all, no credentials, the `certs.d` of Podman, Docker and containerd.
    fn default() -> Self {
        Self {
            insecure: Vec::new(),
            mirrors: BTreeMap::new(),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            auth: auth::Files::default(),
            certs: usual_directories(),
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
    /// Clients of hosts with a trust of their own, remade when what is said about them changes.
    special: Mutex<HashMap<String, (Trust, Client)>>,
}

/// One way to speak to a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Verified,
    Unverified,
    Plain,
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
        Ok(Self { config, plain, secure: OnceCell::new(), special: Mutex::default() })
    }

    /// Digest and media type of an image, without fetching a layer.
    ///
    /// # Errors
    /// `NotFound` only when the registry itself says so; `Unauthorized`, `Unavailable`, `Invalid`.
    pub async fn resolve(&self, image: &ImageRef) -> Result<Resolved, Error> {
        self.bounded(image, retried(|| Exchange::resolve(self, image))).await
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

    /// How long a registry may stand still.
    pub(crate) fn time_limit(&self) -> Duration {
        self.config.timeout
    }

    pub(crate) fn auth(&self) -> &auth::Files {
        &self.config.auth
    }

    /// How to try to speak to a registry, best first.
    pub(crate) async fn ways(&self, domain: &str) -> Result<&'static [Way], Error> {
        let trust = self.trust(domain).await?;
        let insecure = self.config.insecure.iter().any(|host| host.eq_ignore_ascii_case(domain));
        Ok(match (insecure, is_loopback(domain)) {
            (true, _) => &[Way::Unverified, Way::Plain],
            // Whoever names a CA for it means TLS.
            (false, true) if !trust.names_a_ca() => &[Way::Plain, Way::Unverified],
            _ if trust.skip_verify => &[Way::Unverified],
            _ => &[Way::Verified],
        })
    }

    /// Whether a registry may send on to what is not encrypted.
    pub(crate) fn is_insecure(&self, domain: &str) -> bool {
        is_loopback(domain) || self.config.insecure.iter().any(|host| host.eq_ignore_ascii_case(domain))
    }

    async fn trust(&self, domain: &str) -> Result<Trust, Error> {
        let (directories, domain) = (self.config.certs.clone(), domain.to_owned());
        blocking(move || Trust::read(&directories, &domain)).await
    }

    pub(crate) async fn client_for(&self, url: &Url, verify: bool) -> Result<Client, Error> {
        if url.scheme() == "http" {
            return Ok(self.plain.clone());
        }
        let host = authority(url).unwrap_or_default();
        let domain = if host == DOCKER_HUB_HOST { "docker.io" } else { &host };
        let mut trust = self.trust(domain).await?;
        trust.skip_verify |= !verify;
        if trust == Trust::default() {
            let make = || async { client(&self.config).build().map_err(|error| set_up_failed(&error)) };
            return self.secure.get_or_try_init(make).await.cloned();
        }
        let mut special = self.special.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = special.get(domain).filter(|(known, _)| *known == trust) {
            return Ok(client.clone());
        }
        let mut made = trust.apply(client(&self.config), domain)?;
        if trust.skip_verify {
            made = made.tls_danger_accept_invalid_certs(true);
        }
        if is_loopback(domain) {
            made = made.no_proxy();
        }
        let made = made.build().map_err(|error| set_up_failed(&error))?;
        special.insert(domain.to_owned(), (trust, made.clone()));
        Ok(made)
    }
}

/// The registry's address: `https://registry-1.docker.io` for `docker.io`.
pub(crate) fn base(domain: &str, way: Way) -> String {
    let scheme = if way == Way::Plain { "http" } else { "https" };
    let host = if domain == "docker.io" { DOCKER_HUB_HOST } else { domain };
    format!("{scheme}://{host}")
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
    // Redirects are followed by `Exchange`, which knows what may go where.
    Client::builder().connect_timeout(config.connect_timeout).user_agent(agent).redirect(Policy::none())
}

fn set_up_failed(error: &reqwest::Error) -> Error {
    let message = format!("cannot set up a client for registries: {}", root_cause(error));
    Error::new(Kind::Invalid, message).hint("install the system's CA certificates (package `ca-certificates`)")
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

    #[tokio::test]
    async fn ways_of_loopback_and_named_registries_are_insecure() {
        let certs = tempfile::tempdir().unwrap();
        for domain in ["own.test:5000", "localhost:5001"] {
            std::fs::create_dir(certs.path().join(domain)).unwrap();
            std::fs::write(certs.path().join(domain).join("ca.crt"), "a certificate").unwrap();
        }
        let insecure = vec!["lan.test:5000".to_owned()];
        let config = RegistryConfig { insecure, certs: vec![certs.path().to_owned()], ..RegistryConfig::default() };
        let registry = Registry::new(config).unwrap();
        let (verified, named, loopback) =
            (&[Way::Verified][..], &[Way::Unverified, Way::Plain][..], &[Way::Plain, Way::Unverified][..]);
        let cases = [
            ("docker.io", verified),
            ("lan.test:5000", named),
            ("lan.test", verified),
            ("localhost.test", verified),
            ("localhost:5000", loopback),
            ("127.8.8.8", loopback),
            ("[::1]:5000", loopback),
            ("10.0.0.1:5000", verified),
            ("own.test:5000", verified),
            ("localhost:5001", verified),
        ];
        for (domain, ways) in cases {
            assert_eq!(registry.ways(domain).await.unwrap(), ways, "{domain}");
        }
        assert_eq!(base("docker.io", Way::Verified), "https://registry-1.docker.io");
        assert_eq!(base("[::1]:5000", Way::Plain), "http://[::1]:5000");
    }
}
