//! The agent's configuration: one TOML file, every key optional, unknown keys refused.

use std::fs::{self, DirBuilder};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hythe_spec::Millis;
use serde::Deserialize;

use crate::alerts::{self, Hook};
use crate::compose::RuntimeConfig;
use crate::{Options, StartError};

/// Configuration of an agent, resolved.
#[derive(Debug, Clone)]
pub struct Config {
    /// Socket to listen on.
    pub socket: PathBuf,
    /// Group that may use the socket besides its owner.
    pub socket_group: Option<String>,
    /// Loopback address to listen on too, for whoever has the token.
    pub listen: Option<SocketAddr>,
    /// Names besides those of the loopback interface under which the agent is called over TCP, with or without a port.
    pub allowed_hosts: Vec<String>,
    /// Directory for its state.
    pub state_dir: PathBuf,
    /// Whether components are accepted that are privileged, or ask for something else that equals root on the host.
    pub allow_privileged: bool,
    /// Events kept.
    pub keep_events: u64,
    /// How long events are kept at most; absent: however old.
    pub keep_events_for: Option<Duration>,
    /// Operations kept.
    pub keep_operations: u32,
    /// Hooks for alerts.
    pub(crate) alerts: Vec<Hook>,
    /// Time between two scans for orphaned objects; zero: none by itself.
    pub gc_interval: Duration,
    /// Least time that an object must have been orphaned before it is collected.
    pub gc_min_age: Duration,
    /// Least time that an image of this agent must have been unused before it is collected; absent: images stay.
    pub gc_images_older_than: Option<Duration>,
    /// Time between two comparisons for drift; zero: none.
    pub drift_interval: Duration,
    /// Patterns of names whose values are masked too, or with `!` in front are not.
    pub secret_keys: Vec<String>,
    /// Runtimes in order of preference; empty: podman and docker as they are found, then the embedded one.
    pub(crate) runtimes: Vec<RuntimeConfig>,
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    socket: Option<PathBuf>,
    socket_group: Option<String>,
    listen: Option<SocketAddr>,
    allowed_hosts: Vec<String>,
    state_dir: Option<PathBuf>,
    allow_privileged: bool,
    keep_events: u64,
    keep_events_for: String,
    keep_operations: u32,
    alerts: Vec<toml::Table>,
    gc_interval: Span,
    gc_min_age: Span,
    gc_images_older_than: Age,
    drift_interval: Span,
    secret_keys: Vec<String>,
    runtimes: Vec<RuntimeConfig>,
}

/// A duration as it is written in files: `60s`, or a number of seconds.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Span {
    Seconds(u64),
    Text(#[serde(deserialize_with = "written")] Millis),
}

fn written<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Millis, D::Error> {
    String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
}

impl Span {
    const MINUTE: Self = Self::Seconds(60);

    const fn duration(self) -> Duration {
        match self {
            Self::Seconds(seconds) => Duration::from_secs(seconds),
            Self::Text(millis) => millis.duration(),
        }
    }
}

/// A duration, or `never`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Age {
    Never(Never),
    Of(Span),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Never {
    Never,
}

impl Age {
    const fn duration(self) -> Option<Duration> {
        match self {
            Self::Never(Never::Never) => None,
            Self::Of(span) => Some(span.duration()),
        }
    }
}

impl Default for File {
    fn default() -> Self {
        Self {
            socket: None,
            socket_group: None,
            listen: None,
            allowed_hosts: Vec::new(),
            state_dir: None,
            allow_privileged: false,
            keep_events: 10_000,
            keep_events_for: "30d".to_owned(),
            keep_operations: 200,
            alerts: Vec::new(),
            gc_interval: Span::MINUTE,
            gc_min_age: Span::MINUTE,
            gc_images_older_than: Age::Of(Span::Seconds(7 * 24 * 3600)),
            drift_interval: Span::MINUTE,
            secret_keys: Vec::new(),
            runtimes: Vec::new(),
        }
    }
}

impl Config {
    /// Reads the file and fills in what the options and defaults say.
    pub(crate) fn load(options: &Options) -> Result<Self, StartError> {
        let env = |name: &str| std::env::var(name).ok();
        let is_root = rustix::process::geteuid().is_root();
        let default_file = || hythe_api::paths::default_config_file(&env, is_root);
        let path = options.config.clone().unwrap_or_else(default_file);
        let mut file = read(&path, options.config.is_some())?;
        if let Some(address) = file.listen.filter(|address| !address.ip().is_loopback()) {
            return Err(StartError::OpenListener { address });
        }
        let (alerts, keep_events_for) =
            checked(&mut file).map_err(|problems| StartError::Settings { path, problems })?;
        let default_socket = || hythe_api::paths::default_socket(&env, is_root);
        let default_state = || hythe_api::paths::default_state_dir(&env, is_root);
        Ok(Self {
            socket: options.socket.clone().or(file.socket).unwrap_or_else(default_socket),
            socket_group: file.socket_group,
            listen: file.listen,
            allowed_hosts: file.allowed_hosts,
            state_dir: options.state_dir.clone().or(file.state_dir).unwrap_or_else(default_state),
            allow_privileged: file.allow_privileged,
            keep_events: file.keep_events,
            keep_events_for,
            keep_operations: file.keep_operations,
            alerts,
            gc_interval: file.gc_interval.duration(),
            gc_min_age: file.gc_min_age.duration(),
            gc_images_older_than: file.gc_images_older_than.duration(),
            drift_interval: file.drift_interval.duration(),
            secret_keys: file.secret_keys,
            runtimes: file.runtimes,
        })
    }

    pub(crate) fn make_state_dir(&self) -> Result<(), StartError> {
        make_private_dir(&self.state_dir)
    }
}

/// What cannot be checked value by value; every fault is reported.
fn checked(file: &mut File) -> Result<(Vec<Hook>, Option<Duration>), Vec<String>> {
    let age = match file.keep_events_for.as_str() {
        "forever" => Ok(None),
        text => text.parse::<Millis>().map(|age| Some(age.duration())),
    };
    let age = age.map_err(|error| vec![format!("`keep_events_for` {error}; or write `forever`")]);
    match (alerts::parse(std::mem::take(&mut file.alerts)), age) {
        (Ok(hooks), Ok(age)) => Ok((hooks, age)),
        (hooks, age) => Err([age.err(), hooks.err()].into_iter().flatten().flatten().collect()),
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
            [[runtimes]]
            kind = \"embedded\"
            network = \"cni\"
            cni_path = \"/opt/cni/bin\"
        ";
        let file: File = toml::from_str(text).unwrap();
        let names: Vec<_> = file.runtimes.iter().map(RuntimeConfig::name).collect();
        assert_eq!(names, ["pods", "docker", "embedded"]);
    }

    #[test]
    fn all_that_is_wrong_is_reported_at_once() {
        let mut file: File = toml::from_str("keep_events_for = 'a while'\n[[alerts]]\non = ['drift']").unwrap();
        let problems = checked(&mut file).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(problems[0].contains("keep_events_for") && problems[1].contains("alerts[0]"), "{problems:?}");
        let mut file = File { keep_events_for: "forever".to_owned(), ..File::default() };
        assert_eq!(checked(&mut file).unwrap().1, None);
    }

    #[test]
    fn durations_are_written_with_their_unit_or_in_seconds() {
        let file: File = toml::from_str("gc_interval = '1500ms'\ngc_min_age = 0\ndrift_interval = '1m30s'").unwrap();
        assert_eq!(
            [file.gc_interval, file.gc_min_age, file.drift_interval].map(Span::duration),
            [Duration::from_millis(1500), Duration::ZERO, Duration::from_secs(90)]
        );
        assert_eq!(File::default().drift_interval.duration(), Duration::from_secs(60));
        let images = |text: &str| toml::from_str::<File>(text).map(|file| file.gc_images_older_than.duration());
        assert_eq!(images("").unwrap(), Some(Duration::from_secs(7 * 24 * 3600)));
        assert_eq!(images("gc_images_older_than = '36h'").unwrap(), Some(Duration::from_secs(36 * 3600)));
        assert_eq!(images("gc_images_older_than = 'never'").unwrap(), None);
        assert!(images("gc_images_older_than = 'sometimes'").is_err());
        assert!(toml::from_str::<File>("gc_interval = 'soon'").is_err());
    }

    #[test]
    fn an_unknown_key_is_refused() {
        assert!(toml::from_str::<File>("sockett = \"x\"").is_err());
        assert!(toml::from_str::<File>("[[runtimes]]\nkind = \"podman\"\nprogramm = \"x\"").is_err());
    }
}
