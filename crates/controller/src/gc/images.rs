//! Images that this agent pulled, loaded or built and that are unused now. The store keeps since when: that may be days, longer than an agent runs.

use std::time::Duration;

use hythe_runtime::{Error, Image};
use hythe_store::BroughtImage;

use super::decide::{Candidate, MIN_INTERVAL, Object, ObjectKind};
use crate::Controller;
use crate::images::is_older;

/// The agent itself scans images no more often: a scan is two more calls of each engine.
const SELDOM: Duration = Duration::from_secs(3600);

/// Time between two scans of images.
pub(super) fn scan_interval(age: Duration) -> Duration {
    SELDOM.min(age / 8)
}

impl Controller {
    /// Dangling images of this agent, and records them in the store. A runtime that does not answer is left out.
    pub(super) async fn old_images(&self, age: Duration) -> Result<Vec<Candidate>, Error> {
        let brought = self.store.brought_images().map_err(crate::store_error)?;
        let mut found = Vec::new();
        for runtime in self.runtimes.names() {
            let ours: Vec<&BroughtImage> = brought.iter().filter(|one| one.runtime == runtime).collect();
            if ours.is_empty() {
                continue;
            }
            let unused = match self.unused_images(&runtime).await {
                Ok(unused) => unused,
                Err(error) => {
                    tracing::debug!(runtime, %error, "unused images were not listed");
                    continue;
                }
            };
            for one in ours {
                let dangling = unused.iter().find(|image| image.id == one.id && image.tags.is_empty());
                found.extend(self.note_dangling(one, dangling, age)?);
            }
        }
        Ok(found)
    }

    fn note_dangling(
        &self,
        one: &BroughtImage,
        dangling: Option<&Image>,
        age: Duration,
    ) -> Result<Option<Candidate>, Error> {
        let now = self.now();
        let note = |since| self.store.note_orphaned_image(&one.runtime, &one.id, since).map_err(crate::store_error);
        let Some(image) = dangling else {
            if one.orphaned_since.is_some() {
                note(None)?;
            }
            return Ok(None);
        };
        // A clock that was set back begins anew.
        let known = one.orphaned_since.filter(|since| *since <= now);
        if known.is_none() {
            note(Some(now))?;
        }
        let first_seen = known.unwrap_or(now);
        let observations = if is_older(first_seen, MIN_INTERVAL, now) { 2 } else { 1 };
        let named = image.digests.iter().find(|digest| !digest.starts_with('<'));
        let name = named.unwrap_or(&image.id).clone();
        let object =
            Object { kind: ObjectKind::Image, runtime: one.runtime.clone(), id: image.id.clone(), name, service: None };
        Ok(Some(Candidate {
            object,
            reason: "no tag and no instance refers to it".to_owned(),
            first_seen,
            observations,
            created: image.created,
            eligible: observations >= 2 && is_older(first_seen, age, now),
        }))
    }
}
