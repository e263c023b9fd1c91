//! The embedded runtime's own operator.

use async_trait::async_trait;
use hythe_driver_embedded::Embedded;
use hythe_runtime::{NetworkSpec, Networks, OpContext};
use hythe_spec::ImageRef;

use super::EngineCli;
use crate::failure::{Failure, Outcome};
use crate::fixture::bare_plan;

/// See [`EngineCli`].
pub(crate) struct EmbeddedHand(Embedded);

impl EmbeddedHand {
    pub(crate) fn new(embedded: Embedded) -> Self {
        Self(embedded)
    }
}

#[async_trait]
impl EngineCli for EmbeddedHand {
    async fn run_foreign(&self, name: &str, image: &ImageRef) -> Outcome {
        let mut plan = bare_plan("somebody", name, image.clone());
        plan.command = Some(vec!["sleep".to_owned(), "1000".to_owned()]);
        self.0.run_foreign(name, &plan).await?;
        Ok(())
    }

    async fn remove(&self, instance: &str) -> Outcome {
        Ok(self.0.destroy(instance).await?)
    }

    async fn pause(&self, instance: &str) -> Outcome {
        Ok(self.0.freeze(instance, true).await?)
    }

    async fn unpause(&self, instance: &str) -> Outcome {
        Ok(self.0.freeze(instance, false).await?)
    }

    async fn kill(&self, instance: &str, signal: &str) -> Outcome {
        let signal = signal.parse().map_err(|_| Failure::new(format!("`{signal}` is not a signal")))?;
        Ok(self.0.kill(instance, signal).await?)
    }

    async fn rename(&self, instance: &str, name: &str) -> Outcome {
        Ok(self.0.rename(instance, name).await?)
    }

    async fn connect(&self, instance: &str, network: &str) -> Outcome {
        Ok(self.0.join(instance, network, &[]).await?)
    }

    async fn disconnect(&self, instance: &str, network: &str) -> Outcome {
        Ok(self.0.leave(instance, network).await?)
    }

    async fn make_network(&self, name: &str) -> Outcome {
        let spec = NetworkSpec { name: name.to_owned(), labels: Default::default(), internal: false };
        Ok(Networks::ensure(&self.0, &OpContext::new("outside"), &spec).await?)
    }

    async fn remove_network(&self, name: &str) -> Outcome {
        Ok(self.0.remove_network(name).await?)
    }

    async fn make_volume(&self, name: &str) -> Outcome {
        Ok(self.0.foreign_volume(name).await?)
    }

    async fn remove_volume(&self, name: &str) -> Outcome {
        Ok(self.0.remove_volume(name).await?)
    }
}
