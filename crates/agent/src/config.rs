//! The agent's configuration: one TOML file, every key optional, unknown keys refused.

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hythe_spec::Millis;
use serde::{Deserialize, Deserializer};

use crate::compose::RuntimeConfig;
use crate::{Options, StartError};

/// Configuration of an agent, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Socket to listen on.
    pub socket: PathBuf,
    /// Group that may use the socket besides its owner.
    pub socket_group: Option<String>,
    /// Loopback address to listen on too.
    pub listen: Option<SocketAddr>,
    /// Directory for its state.
    pub state_dir: PathBuf,
    /// Whether `privileged` components are accepted.
    pub allow_privileged: bool,
    /// Events kept.
    pub keep_events: u64,
    /// Operations kept.
    pub keep_operations: u32,
    /// Time between two looks for changes made by hand; zero: none is taken.
    pub drift_interval: Duration,
    /// Runtimes in order of preference; empty: podman and docker as they are found.
    pub(crate) runtimes: Vec<RuntimeConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    socket: Option<PathBuf>,
    socket_group: Option<String>,
    listen: Option<SocketAddr>,
    state_dir: Option<PathBuf>,
    allow_privileged: bool,
    keep_events: u64,
    keep_operations: u32,
    #[serde(deserialize_with = "duration")]
    drift_interval: Duration,
    runtimes: Vec<RuntimeConfig>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            socket: None,
            socket_group: None,
            listen: None,
            state_dir: None,
            allow_privileged: false,
            keep_events: 10_000,
            keep_operations: 200,
            drift_interval: Duration::from_secs(60),
            runtimes: Vec::new(),
        }
    }
}

/// As in a service file: `90s`, `1m30s`.
fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let millis: Millis = String::deserialize(from)?.parse().map_err(serde::de::Error::custom)?;
    Ok(millis.duration())
}

impl Config {
    /// Reads the file and fills in what the options and defaults say.
    pub(crate) fn load(options: &Options) -> Result<Self, StartError> {
        let env = |name: &str| std::env::var(name).ok();
        let is_root = rustix::process::geteuid().is_root();
        let file = match &options.config {
            Some(path) => read(path, true)?,
            None => read(&hythe_api::paths::default_config_file(&env, is_root), false)?,
        };
        if let Some(address) = file.listen.filter(|address| !address.ip().is_loopback()) {
            return Err(StartError::OpenListener { address });
        }
        let default_socket = || hythe_api::paths::default_socket(&env, is_root);
        let default_state = || hythe_api::paths::default_state_dir(&env, is_root);
        Ok(Self {
            socket: options.socket.clone().or(file.socket).unwrap_or_else(default_socket),
            socket_group: file.socket_group,
            listen: file.listen,
            state_dir: options.state_dir.clone().or(file.state_dir).unwrap_or_else(default_state),
            allow_privileged: file.allow_privileged,
            keep_events: file.keep_events,
            keep_operations: file.keep_operations,
            drift_interval: file.drift_interval,
            runtimes: file.runtimes,
        })
    }

    pub(crate) fn make_state_dir(&self) -> Result<(), StartError> {
        make_private_dir(&self.state_dir)
    }
}

pub(crate) fn make_private_dir(path: &Path) -> Result<(), StartError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| StartError::Io { path: path.to_owned(), source })
}

fn read(path: &Path, must_exist: bool) -> Result<File, StartError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !must_exist => String::new(),
        Err(source) => {
            return Err(StartError::Io { path: path.to_owned(), source });
        }
    };
    toml::from_str(&text).map_err(|source| StartError::Config { path: path.to_owned(), source: Box::new(source) })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn runtimes_are_read_with_their_driver_s_own_keys() {
        let text = "
            allow_privileged = true
            [[runtimes]]
            kind = \"podman\"
            name = \"pods\"
            program = \"/opt/podman\"
            [[runtimes]]
            kind = \"docker\"
            host = \"unix:///run/d.sock\"
        ";
        let file: File = toml::from_str(text).unwrap();
        let names: Vec<_> = file.runtimes.iter().map(RuntimeConfig::name).collect();
        assert_eq!(names, ["pods", "docker"]);
    }

    #[test]
    fn the_interval_is_a_duration() {
        let file: File = toml::from_str("drift_interval = \"1m30s\"").unwrap();
        assert_eq!((file.drift_interval, File::default().drift_interval.as_secs()), (Duration::from_secs(90), 60));
        assert!(toml::from_str::<File>("drift_interval = \"often\"").is_err());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<File>("sockett = \"x\"").is_err());
        assert!(toml::from_str::<File>("[[runtimes]]\nkind = \"podman\"\nprogramm = \"x\"").is_err());
    }
}
