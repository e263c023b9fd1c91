//! The agent: puts store, controller and drivers together and serves them over HTTP on a private socket.
//!
//! For: configuration, listening, and turning requests into the controller's words. Not for: deciding anything (see
//! `controller`). `compose.rs` alone names every driver; `error.rs` alone knows status codes.

mod alerts;
mod body;
mod compose;
mod config;
mod crash;
mod discovery;
mod error;
mod guard;
mod instance_view;
mod listen;
mod masked;
mod memory;
mod metrics;
mod owner;
mod routes;
mod serve;
mod socket_group;
#[cfg(test)]
mod testing;
mod token;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hythe_controller::Controller;
use hythe_discovery::Discovery;
use hythe_store::{Secrets, Store};
use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

pub use compose::shim;
pub use config::Config;
pub use error::StartError;
pub use routes::router;

/// Time that requests in flight have to end when the agent is stopped.
const DRAIN: Duration = Duration::from_secs(3);

/// How to run an agent; what is not given comes from its configuration file, then from the defaults of [`hythe_api::paths`].
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Configuration file; absent: the default one, which need not exist.
    pub config: Option<PathBuf>,
    /// Socket to listen on.
    pub socket: Option<PathBuf>,
    /// Directory for its state.
    pub state_dir: Option<PathBuf>,
}

/// What every request needs.
#[derive(Debug, Clone)]
pub struct App {
    pub(crate) controller: Arc<Controller>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) alerts: Arc<alerts::Counts>,
    pub(crate) config: Arc<Config>,
    pub(crate) started: Timestamp,
    pub(crate) warnings: Arc<Vec<String>>,
    pub(crate) samples: routes::Samples,
    pub(crate) closing: CancellationToken,
    pub(crate) guard: Arc<guard::Guard>,
}

/// Names of the places where a test can end an agent; see `HYTHE_CRASH_AT` in the crate's `crash` module.
#[cfg(debug_assertions)]
pub fn crash_points() -> Vec<String> {
    Controller::crash_points()
}

/// Runs an agent until SIGTERM or SIGINT. Workloads go on running when it ends.
///
/// # Errors
/// When it cannot start: configuration, state directory, store or socket; each error names the file.
pub async fn run(options: Options) -> Result<(), StartError> {
    run_until(options, terminated()).await
}

/// Runs an agent until `shutdown` is done, whatever signals the process receives. Workloads go on running when it ends.
///
/// # Errors
/// As [`run`].
pub async fn run_until(options: Options, shutdown: impl Future<Output = ()>) -> Result<(), StartError> {
    let config = Config::load(&options)?;
    hythe_spec::mask::configure(config.secret_keys.clone());
    config.make_state_dir()?;
    let opened = Store::open(&config.state_dir.join("hythe.db"))?;
    let mut warnings = Vec::new();
    if let Some(aside) = &opened.damaged {
        let warning = format!(
            "the store was damaged: it was renamed to `{}`, and workloads are adopted from their labels",
            aside.display()
        );
        tracing::error!("{warning}");
        warnings.push(warning);
    }
    let owner = owner::load_or_make(&config.state_dir)?;
    let settings = hythe_controller::Settings {
        keep_events: config.keep_events,
        keep_events_for: config.keep_events_for,
        keep_operations: config.keep_operations,
        allow_privileged: config.allow_privileged,
        own: [&config.state_dir, &config.socket].map(|path| path.display().to_string()).to_vec(),
        gc: hythe_controller::GcSettings {
            interval: config.gc_interval,
            min_age: config.gc_min_age,
            images_older_than: config.gc_images_older_than,
            state_dir: Some(config.state_dir.clone()),
        },
        // Empty where the kernel does not tell.
        boot: hythe_host::boot_id().unwrap_or_default(),
        crash: crash::hook().map_err(StartError::TestAid)?,
        drift_interval: config.drift_interval,
        secrets: Some(Arc::new(hythe_controller::SecretFiles::new(
            Secrets::open(&config.state_dir)?,
            memory::directory(&owner),
        ))),
        ..hythe_controller::Settings::new(owner)
    };
    let token = config.listen.map(|_| token::Token::load_or_make(&config.state_dir)).transpose()?;
    let guard = guard::Guard::new(token, &config.allowed_hosts);
    let listeners = listen::bind(&config).await?;
    // Alerts are about what happens from here on, the first steps of the controller included.
    let (_, newest) = opened.store.event_bounds()?;
    let controller = Controller::start(settings, Arc::new(opened.store), compose::connectors(&config)?)?;
    let stopped = CancellationToken::new();
    let alerts = alerts::start(&controller, config.alerts.clone(), newest, stopped.clone());
    let app = App {
        controller: controller.clone(),
        discovery: discovery::of(&controller),
        alerts,
        config: Arc::new(config),
        started: controller.now(),
        warnings: Arc::new(warnings),
        samples: routes::Samples::default(),
        closing: CancellationToken::new(),
        guard,
    };
    tell_systemd(sd_notify::NotifyState::Ready);
    tracing::info!(owner = controller.owner(), "the agent listens");
    listen::log(&app.config, &listeners);
    serve(app, listeners, shutdown).await;
    stopped.cancel();
    controller.shutdown();
    Ok(())
}

async fn serve(app: App, listeners: Vec<listen::Listener>, shutdown: impl Future<Output = ()>) {
    let router = router(app.clone());
    let mut servers = tokio::task::JoinSet::new();
    for listener in listeners {
        servers.spawn(serve::serve(listener, router.clone(), app.closing.clone()));
    }
    tokio::select! {
        () = shutdown => {}
        Some(_) = servers.join_next() => tracing::error!("a listener ended"),
    }
    tracing::info!("the agent stops; workloads go on");
    tell_systemd(sd_notify::NotifyState::Stopping);
    app.closing.cancel();
    let drained = async { while servers.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, drained).await.is_err() {
        tracing::info!("requests in flight were cut off");
    }
}

async fn terminated() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        tracing::error!("signals cannot be received");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Outside systemd there is nobody to notify.
fn tell_systemd(state: sd_notify::NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd was not notified");
    }
}
