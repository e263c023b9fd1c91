//! Registry credentials from the files that `podman login` and `docker login` write.
//!
//! Files are read at every look-up, so a new login counts at once. An absent file holds nothing; a file that cannot be
//! read or understood is an error that names it, never "no credentials".

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hythe_spec::ImageRef;
use serde::Deserialize;

use crate::helper::Helper;
use crate::{Error, Kind};

const DOCKER_HUB: &str = "docker.io";
/// The key and the server address of Docker Hub in everything that Docker wrote.
const DOCKER_HUB_ADDRESS: &str = "https://index.docker.io/v1/";

/// What a registry is asked with. Its `Debug` shows nothing secret.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name and its password (or an access token used as one).
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: String,
    },
    /// An OAuth2 refresh token, Docker's `identitytoken`.
    Token(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(<redacted>)",
            Self::Token(_) => "Token(<redacted>)",
        })
    }
}

/// The `serveraddress` that the Docker Engine API wants beside a credential for this image.
pub fn server_address(image: &ImageRef) -> &str {
    if image.domain == DOCKER_HUB { DOCKER_HUB_ADDRESS } else { &image.domain }
}

/// Where credentials are looked for, first match first.
#[derive(Debug, Clone, Default)]
pub struct Files {
    paths: Vec<PathBuf>,
    /// The one path was given by its name, and not by custom.
    named: bool,
    helper_path: Option<String>,
}

impl Files {
    /// The places that podman and docker use, by the given environment: `$REGISTRY_AUTH_FILE` alone where it is set;
    /// else the runtime directory's `containers/auth.json`, the one in the configuration directory, and Docker's `config.json`.
    /// Credential helpers are looked for in `$PATH`.
    ///
    /// A usual place in a directory that is closed to us is passed over: nobody logged in there for us. Root's podman
    /// makes `/run/containers` for root alone, where the file of a user without a runtime directory would be.
    pub fn from_env(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let set = |name| env(name).filter(|value| !value.is_empty());
        let directory = |name| set(name).map(PathBuf::from);
        let home = |below: &str| directory("HOME").map(|home| home.join(below));
        let runtime = directory("XDG_RUNTIME_DIR").map_or_else(
            || format!("/run/containers/{}/auth.json", rustix::process::getuid().as_raw()).into(),
            |runtime| runtime.join("containers/auth.json"),
        );
        let config = directory("XDG_CONFIG_HOME").or_else(|| home(".config"));
        let docker = directory("DOCKER_CONFIG").or_else(|| home(".docker"));
        let usual = || {
            [
                Some(runtime),
                config.map(|config| config.join("containers/auth.json")),
                docker.map(|docker| docker.join("config.json")),
            ]
        };
        let only = directory("REGISTRY_AUTH_FILE");
        let named = only.is_some();
        let paths = only.map_or_else(|| usual().into_iter().flatten().collect(), |only| vec![only]);
        Self { paths, named, helper_path: set("PATH") }
    }

    /// The credential for an image: the longest matching `host/namespace/repository` prefix of the first file that has one.
    ///
    /// # Errors
    /// `Invalid` for a file or helper that cannot be read or understood, naming it.
    pub async fn find(&self, image: &ImageRef) -> Result<Option<Credential>, Error> {
        for path in &self.paths {
            if !self.named && is_closed(path).await {
                continue;
            }
            let Some(contents) = Contents::read(path).await? else {
                continue;
            };
            if let Some(credential) = self.find_in(path, &contents, image).await? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// A helper named for the registry comes first, then the file's own entries, then the helper for all registries.
    async fn find_in(&self, path: &Path, contents: &Contents, image: &ImageRef) -> Result<Option<Credential>, Error> {
        let ask = |name, server| Helper { name, server, file: path, search: self.helper_path.as_deref() }.get();
        for server in [image.domain.as_str(), server_address(image)] {
            if let Some(name) = contents.helpers().get(server) {
                return ask(name, server).await;
            }
        }
        if let Some((key, entry)) = contents.entry(image)
            && let Some(credential) = entry.credential(path, key)?
        {
            return Ok(Some(credential));
        }
        match contents.store.as_deref().filter(|name| !name.is_empty()) {
            Some(name) => ask(name, server_address(image)).await,
            None => Ok(None),
        }
    }
}

/// Whether it cannot even be told if there is such a file, since a directory above it may not be searched.
async fn is_closed(path: &Path) -> bool {
    tokio::fs::metadata(path).await.is_err_and(|error| error.kind() == ErrorKind::PermissionDenied)
}

/// The part of `auth.json` and `config.json` that is about credentials.
#[derive(Deserialize)]
struct Contents {
    auths: Option<BTreeMap<String, Entry>>,
    #[serde(rename = "credHelpers")]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
}

impl Contents {
    async fn read(path: &Path) -> Result<Option<Self>, Error> {
        let bytes = match tokio::fs::read(path).await {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(broken(path, &format!("cannot be read: {error}"))),
        };
        // The parser's own text may quote the value it stumbled over, which may be a secret.
        let parsed = serde_json::from_slice(&bytes);
        parsed
            .map(Some)
            .map_err(|error| broken(path, &format!("is malformed at line {}, column {}", error.line(), error.column())))
    }

    fn helpers(&self) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.helpers.as_ref().unwrap_or(&NONE)
    }

    /// Exact keys from the repository up to the host; then keys written as URLs or by another name of the host.
    fn entry(&self, image: &ImageRef) -> Option<(&str, &Entry)> {
        let auths = self.auths.as_ref()?;
        let repository = image.repository();
        let mut key = repository.as_str();
        loop {
            if let Some((key, entry)) = auths.get_key_value(key) {
                return Some((key, entry));
            }
            let Some((shorter, _)) = key.rsplit_once('/') else {
                break;
            };
            key = shorter;
        }
        let same_host = |key: &str| canonical_host(key) == Some(canonical_name(&image.domain));
        auths.iter().find(|(key, _)| same_host(key)).map(|(key, entry)| (key.as_str(), entry))
    }
}

/// The host of a key; of a key that is no URL only where nothing follows the host.
fn canonical_host(key: &str) -> Option<&str> {
    let url = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    match url {
        Some(rest) => rest.split('/').next().map(canonical_name),
        None => (!key.contains('/')).then(|| canonical_name(key)),
    }
}

fn canonical_name(host: &str) -> &str {
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { DOCKER_HUB } else { host }
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Entry {
    /// An empty entry is what Docker leaves behind when a helper holds the secret.
    fn credential(&self, path: &Path, key: &str) -> Result<Option<Credential>, Error> {
        let given = |field: &Option<String>| field.clone().filter(|value| !value.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credential::Token(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let login = decode_login(&auth);
            return login.map(Some).ok_or_else(|| broken(path, &format!("has a malformed `auth` for `{key}`")));
        }
        let login = given(&self.username).zip(given(&self.password));
        Ok(login.map(|(username, password)| Credential::Password { username, password }))
    }
}

fn decode_login(auth: &str) -> Option<Credential> {
    let text = String::from_utf8(STANDARD.decode(auth.trim()).ok()?).ok()?;
    let (username, password) = text.split_once(':')?;
    Some(Credential::Password { username: username.into(), password: password.trim_matches('\0').into() })
}

pub(crate) fn broken(path: &Path, what: &str) -> Error {
    Error::new(Kind::Invalid, format!("registry auth file `{}` {what}", path.display()))
        .hint("repair the file, or remove it and log in again with `podman login` or `docker login`")
}
