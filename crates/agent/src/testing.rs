//! An agent for tests of this crate: nothing deployed, nothing on disk, the in-process runtime.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use hythe_controller::Controller;
use hythe_store::Store;
use tokio_util::sync::CancellationToken;

use crate::guard::Guard;
use crate::{App, Config, Options, compose, discovery, routes};

/// What every request needs, behind this guard.
pub(crate) fn app(guard: Arc<Guard>) -> App {
    app_of(guard, Store::in_memory().unwrap())
}

/// The same with what is in this store.
pub(crate) fn app_of(guard: Arc<Guard>, store: Store) -> App {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agent.toml");
    std::fs::write(&file, "[[runtimes]]\nkind = \"memory\"\n").unwrap();
    let config = Config::load(&Options { config: Some(file), ..Options::default() }).unwrap();
    let settings = hythe_controller::Settings::new("0123456789abcdef".to_owned());
    let controller = Controller::start(settings, Arc::new(store), compose::connectors(&config).unwrap()).unwrap();
    App {
        discovery: discovery::of(&controller),
        alerts: Arc::default(),
        controller,
        config: Arc::new(config),
        started: hythe_runtime::Clock::system().now(),
        warnings: Arc::default(),
        samples: routes::Samples::default(),
        closing: CancellationToken::new(),
        guard,
    }
}
