//! One claimed environment: its places, its state, and what `up` and `down` do to both.

use std::fs::File;
use std::process::Command;
use std::time::Duration;

use super::host_changes::Before;
use super::image;
use super::image::Image;
use super::layout::Layout;
use super::pool::Pool;
use super::process::{self, Process};
use super::state::{Description, State};
use crate::failure::Result;

/// Exclusive use of an environment's directory.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) layout: Layout,
    pub(crate) state: State,
    image: Option<Image>,
    _lock: File,
}

impl Session {
    /// Claims the environment, continuing what an earlier run recorded.
    pub(crate) fn open(layout: Layout) -> Result<Self> {
        let lock = layout.claim()?;
        let state = match State::load(&layout.state()) {
            Some(state) => state,
            None => fresh(&layout)?,
        };
        let session = Self { layout, state, image: None, _lock: lock };
        session.save()?;
        Ok(session)
    }

    pub(crate) fn save(&self) -> Result<()> {
        self.state.save(&self.layout)
    }

    /// The test image, made when first asked for.
    pub(crate) fn image(&mut self) -> Result<&Image> {
        match self.image.take() {
            Some(image) => Ok(self.image.insert(image)),
            None => Ok(self.image.insert(Image::build(&self.layout)?)),
        }
    }

    pub(crate) fn is_running(&self, service: &str) -> bool {
        let process = self.state.processes.get(service);
        process.is_some_and(|process| process.alive())
    }

    /// Starts and records a daemon, so that even a failed `up` can be taken down.
    pub(crate) fn start(&mut self, service: &str, command: &mut Command) -> Result<Process> {
        let process = process::start(&self.layout, service, command)?;
        self.state.processes.insert(service.to_owned(), process);
        self.save()?;
        Ok(process)
    }

    /// Ends a recorded daemon, if it is there.
    pub(crate) fn end(&mut self, service: &str, grace: Duration) -> Result<()> {
        if let Some(process) = self.state.processes.get(service) {
            process.end(grace)?;
        }
        self.state.processes.remove(service);
        self.save()
    }
}

fn fresh(layout: &Layout) -> Result<State> {
    Ok(State {
        pool: Pool::choose(layout)?,
        processes: std::collections::BTreeMap::new(),
        before: Before::note(),
        description: Description { image: image::NAME.to_owned(), ..Description::default() },
    })
}
