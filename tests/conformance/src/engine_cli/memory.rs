//! The in-process runtime's own control.

use async_trait::async_trait;
use hythe_driver_memory::MemoryControl;
use hythe_spec::ImageRef;

use super::EngineCli;
use crate::failure::{Failure, Outcome};
use crate::fixture::bare_plan;

/// See [`EngineCli`].
pub(crate) struct MemoryHand(MemoryControl);

impl MemoryHand {
    pub(crate) fn new(control: MemoryControl) -> Self {
        Self(control)
    }
}

#[async_trait]
impl EngineCli for MemoryHand {
    async fn run_foreign(&self, name: &str, image: &ImageRef) -> Outcome {
        let mut plan = bare_plan("somebody", name, image.clone());
        plan.command = Some(vec!["sleep".to_owned(), "1000".to_owned()]);
        self.0.run_foreign(name, &plan)?;
        Ok(())
    }

    async fn remove(&self, instance: &str) -> Outcome {
        Ok(self.0.remove(instance).await?)
    }

    async fn pause(&self, instance: &str) -> Outcome {
        Ok(self.0.pause(instance)?)
    }

    async fn unpause(&self, instance: &str) -> Outcome {
        Ok(self.0.unpause(instance)?)
    }

    async fn kill(&self, instance: &str, signal: &str) -> Outcome {
        let signal = signal.parse().map_err(|_| Failure::new(format!("`{signal}` is not a signal")))?;
        Ok(self.0.kill(instance, signal)?)
    }

    async fn rename(&self, instance: &str, name: &str) -> Outcome {
        Ok(self.0.rename(instance, name)?)
    }

    async fn connect(&self, instance: &str, network: &str) -> Outcome {
        Ok(self.0.connect(instance, network)?)
    }

    async fn disconnect(&self, instance: &str, network: &str) -> Outcome {
        Ok(self.0.disconnect(instance, network)?)
    }

    async fn make_network(&self, name: &str) -> Outcome {
        self.0.foreign_network(name);
        Ok(())
    }

    async fn remove_network(&self, name: &str) -> Outcome {
        self.0.remove_network(name);
        Ok(())
    }

    async fn make_volume(&self, name: &str) -> Outcome {
        self.0.foreign_volume(name);
        Ok(())
    }

    async fn remove_volume(&self, name: &str) -> Outcome {
        self.0.remove_volume(name);
        Ok(())
    }
}
