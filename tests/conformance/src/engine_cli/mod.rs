//! The hand that reaches into an engine past the driver, as an operator does.

mod docker;
mod embedded;
mod memory;
mod podman;

use async_trait::async_trait;
pub(crate) use docker::DockerHand;
pub(crate) use embedded::EmbeddedHand;
use hythe_spec::ImageRef;
pub(crate) use memory::MemoryHand;
pub(crate) use podman::PodmanHand;

use crate::failure::Outcome;

/// What somebody else does to instances, named by id or name.
#[async_trait]
pub(crate) trait EngineCli: Send + Sync {
    /// Starts one without any label of ours, running `sleep 1000`.
    async fn run_foreign(&self, name: &str, image: &ImageRef) -> Outcome;
    /// Removes one, running or not.
    async fn remove(&self, instance: &str) -> Outcome;
    async fn pause(&self, instance: &str) -> Outcome;
    async fn unpause(&self, instance: &str) -> Outcome;
    /// Sends a signal by name, such as `HUP`, through the engine.
    async fn kill(&self, instance: &str, signal: &str) -> Outcome;
    async fn rename(&self, instance: &str, name: &str) -> Outcome;
    /// Joins an instance to a network.
    async fn connect(&self, instance: &str, network: &str) -> Outcome;
    async fn disconnect(&self, instance: &str, network: &str) -> Outcome;
    async fn make_network(&self, name: &str) -> Outcome;
    async fn remove_network(&self, name: &str) -> Outcome;
    async fn make_volume(&self, name: &str) -> Outcome;
    async fn remove_volume(&self, name: &str) -> Outcome;
}
