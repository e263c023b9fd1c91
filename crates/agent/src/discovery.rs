//! Discovery on the runtimes that the controller connects.

use std::sync::Arc;

use async_trait::async_trait;
use hythe_controller::Controller;
use hythe_discovery::{Discovery, RuntimeSource};
use hythe_runtime::{Clock, Result, Runtime, watched};

/// The controller's connections.
#[derive(Debug)]
struct Connections(Arc<Controller>);

#[async_trait]
impl RuntimeSource for Connections {
    fn names(&self) -> Vec<String> {
        self.0.runtimes().names()
    }

    fn get(&self, name: &str) -> Result<Arc<dyn Runtime>> {
        self.0.runtimes().get(name)
    }

    fn reason(&self, name: &str) -> Option<String> {
        self.0.runtimes().reason(name)
    }

    fn changed(&self) -> watched::Receiver<u64> {
        self.0.runtimes().changed()
    }

    async fn tried(&self) {
        self.0.runtimes().tried().await;
    }
}

/// Discovery for the agent of this controller.
pub(crate) fn of(controller: &Arc<Controller>) -> Arc<Discovery> {
    let connections = Arc::new(Connections(controller.clone()));
    Arc::new(Discovery::new(controller.owner(), connections, Clock::system()))
}
