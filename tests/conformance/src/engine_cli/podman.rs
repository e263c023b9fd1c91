//! The podman program.

use std::path::PathBuf;

use async_trait::async_trait;
use hythe_spec::ImageRef;
use tokio::process::Command;

use super::EngineCli;
use crate::failure::{Failure, Outcome};

/// See [`EngineCli`].
pub(crate) struct PodmanHand {
    program: PathBuf,
}

impl PodmanHand {
    pub(crate) fn new(program: PathBuf) -> Self {
        Self { program }
    }

    async fn run(&self, arguments: &[&str]) -> Outcome {
        let output = Command::new(&self.program).args(arguments).kill_on_drop(true).output().await?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(Failure::new(format!("`podman {}`: {words}", arguments.join(" "))))
    }
}

#[async_trait]
impl EngineCli for PodmanHand {
    async fn run_foreign(&self, name: &str, image: &ImageRef) -> Outcome {
        let image = image.to_string();
        self.run(&["run", "-d", "--pull=never", "--network=none", "--name", name, &image, "sleep", "1000"]).await
    }

    async fn remove(&self, instance: &str) -> Outcome {
        self.run(&["rm", "-f", "-t", "0", instance]).await
    }

    async fn pause(&self, instance: &str) -> Outcome {
        self.run(&["pause", instance]).await
    }

    async fn unpause(&self, instance: &str) -> Outcome {
        self.run(&["unpause", instance]).await
    }

    async fn kill(&self, instance: &str, signal: &str) -> Outcome {
        self.run(&["kill", "--signal", signal, instance]).await
    }

    async fn rename(&self, instance: &str, name: &str) -> Outcome {
        self.run(&["rename", instance, name]).await
    }

    async fn connect(&self, instance: &str, network: &str) -> Outcome {
        self.run(&["network", "connect", network, instance]).await
    }

    async fn disconnect(&self, instance: &str, network: &str) -> Outcome {
        self.run(&["network", "disconnect", network, instance]).await
    }

    async fn make_network(&self, name: &str) -> Outcome {
        self.run(&["network", "create", name]).await
    }

    async fn remove_network(&self, name: &str) -> Outcome {
        self.run(&["network", "rm", name]).await
    }

    async fn make_volume(&self, name: &str) -> Outcome {
        self.run(&["volume", "create", name]).await
    }

    async fn remove_volume(&self, name: &str) -> Outcome {
        self.run(&["volume", "rm", name]).await
    }
}
