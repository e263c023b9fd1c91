//! What this machine says about the TLS of one registry: the `certs.d` directories of Podman, Docker and containerd.
//!
//! In `<directory>/<host[:port]>/`, `*.crt` are CA certificates, `<name>.cert` with `<name>.key` is a client certificate, and `hosts.toml` is
//! containerd's form: `ca`, `client` and `skip_verify`, for all or in `[host."https://…"]` of this registry.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, ClientBuilder, Identity, Url};
use serde::Deserialize;

use crate::{Error, Kind};

/// More than any certificate with its chain, or any `hosts.toml`, has.
const FILE_LIMIT: u64 = 1 << 20;
const HOSTS: &str = "hosts.toml";

/// Where the tools of the field look, first one first; those of an unprivileged user come before those of the machine.
pub(crate) fn usual_directories() -> Vec<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let own = own.map(|config| config.join("containers/certs.d"));
    let machine = ["/etc/containers/certs.d", "/etc/docker/certs.d", "/etc/containerd/certs.d"].map(PathBuf::from);
    own.into_iter().chain(machine).collect()
}

/// What the directories hold about one registry; equal values make equal clients.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Trust {
    roots: Vec<Vec<u8>>,
    /// Certificate and key, one after the other.
    identity: Option<Vec<u8>>,
    pub(crate) skip_verify: bool,
}

/// Shows no key.
impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Trust({} CAs, skip_verify: {})", self.roots.len(), self.skip_verify)
    }
}

impl Trust {
    /// The first directory that has something about `domain` counts. Blocks.
    pub(crate) fn read(directories: &[PathBuf], domain: &str) -> Result<Self, Error> {
        // A domain is part of a parsed reference or URL, but no reason to leave the directory.
        if domain.is_empty() || domain.contains('/') || domain.starts_with('.') {
            return Ok(Self::default());
        }
        for directory in directories {
            let found = Self::read_one(&directory.join(domain), domain)?;
            if found != Self::default() {
                return Ok(found);
            }
        }
        Ok(Self::default())
    }

    fn read_one(home: &Path, domain: &str) -> Result<Self, Error> {
        let mut found = Self::default();
        let entries = match std::fs::read_dir(home) {
            Ok(entries) => entries,
            // What an unprivileged user may not look into was not put there for them.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::PermissionDenied
                ) =>
            {
                return Ok(found);
            }
            Err(error) => return Err(broken(home, &format!("cannot be read: {error}"))),
        };
        let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => found.roots.push(file(&path)?),
                Some("cert") => found.identity = Some(pair(&path, &path.with_extension("key"))?),
                Some("toml") if path.ends_with(HOSTS) => found.take_hosts(&path, home, domain)?,
                _ => {}
            }
        }
        Ok(found)
    }

    fn take_hosts(&mut self, path: &Path, home: &Path, domain: &str) -> Result<(), Error> {
        let text = String::from_utf8_lossy(&file(path)?).into_owned();
        let hosts: Hosts = toml::from_str(&text).map_err(|error| {
            broken(path, &format!("is no `hosts.toml` of containerd: {}", error.message().replace('\n', " ")))
        })?;
        let is_own = |address: &str| Url::parse(address).is_ok_and(|url| authority(&url).as_deref() == Some(domain));
        let named = hosts.host.into_iter().filter(|(address, _)| is_own(address)).map(|(_, options)| options);
        for options in [hosts.all].into_iter().chain(named) {
            self.skip_verify |= options.skip_verify;
            for root in options.ca.map(Several::into_list).unwrap_or_default() {
                self.roots.push(file(&home.join(root))?);
            }
            match options.client {
                Some(Client::One(both)) => self.identity = Some(file(&home.join(both))?),
                Some(Client::Pairs(pairs)) => {
                    for [certificate, key] in pairs {
                        self.identity = Some(pair(&home.join(certificate), &home.join(key))?);
                    }
                }
                Some(Client::Files(files)) => {
                    for both in files {
                        self.identity = Some(file(&home.join(both))?);
                    }
                }
                None => {}
            }
        }
        Ok(())
    }

    /// Whether a CA is named, so that TLS is meant.
    pub(crate) fn names_a_ca(&self) -> bool {
        !self.roots.is_empty()
    }

    pub(crate) fn apply(&self, mut client: ClientBuilder, domain: &str) -> Result<ClientBuilder, Error> {
        let unusable = |what: &str| {
            Error::new(Kind::Invalid, format!("the {what} of registry `{domain}` in `certs.d` cannot be used"))
                .hint("they are PEM files: `*.crt` for CAs, `<name>.cert` with `<name>.key` for a client")
        };
        for root in &self.roots {
            let certificates = Certificate::from_pem_bundle(root).map_err(|_| unusable("CA certificates"))?;
            if certificates.is_empty() {
                return Err(unusable("CA certificates"));
            }
            client = client.tls_certs_merge(certificates);
        }
        if let Some(identity) = &self.identity {
            client = client.identity(Identity::from_pem(identity).map_err(|_| unusable("client certificate"))?);
        }
        Ok(client)
    }
}

/// `host[:port]` as references write it.
pub(crate) fn authority(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
}

fn file(path: &Path) -> Result<Vec<u8>, Error> {
    let read = || -> std::io::Result<Vec<u8>> {
        let found = std::fs::metadata(path)?;
        if !found.is_file() || found.len() > FILE_LIMIT {
            return Err(std::io::Error::other("it is no small file"));
        }
        std::fs::read(path)
    };
    read().map_err(|error| broken(path, &format!("cannot be read: {error}")))
}

fn pair(certificate: &Path, key: &Path) -> Result<Vec<u8>, Error> {
    let mut both = file(certificate)?;
    both.push(b'\n');
    both.extend(file(key)?);
    Ok(both)
}

fn broken(path: &Path, what: &str) -> Error {
    Error::new(Kind::Invalid, format!("`{}`, which says how to trust a registry, {what}", path.display()))
        .hint("repair or remove it")
}

#[derive(Deserialize)]
struct Hosts {
    #[serde(flatten)]
    all: Options,
    #[serde(default)]
    host: std::collections::BTreeMap<String, Options>,
}

#[derive(Deserialize)]
struct Options {
    #[serde(default)]
    skip_verify: bool,
    ca: Option<Several>,
    client: Option<Client>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Several {
    One(PathBuf),
    Many(Vec<PathBuf>),
}

impl Several {
    fn into_list(self) -> Vec<PathBuf> {
        match self {
            Self::One(path) => vec![path],
            Self::Many(paths) => paths,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Client {
    One(PathBuf),
    Files(Vec<PathBuf>),
    Pairs(Vec<[PathBuf; 2]>),
}
