//! The check that an image brings along, asked for once an instance of it is there.

use hythe_runtime::{Error, Feature, ImageHealth, Observed};
use hythe_store::ImageCheck;

use super::Worker;
use crate::lifecycle::{Input, Outcome, Step};

impl Worker {
    /// After a step that found or made the instance: what its image says of its health, where nobody has asked yet. An engine that does not answer
    /// is asked again with the next look, which fails for that reason.
    pub(super) async fn ask_image(&mut self, step: Step, outcome: Result<Outcome, Error>) -> Result<Outcome, Error> {
        let seen = match (step, &outcome) {
            (Step::Run, Ok(Outcome::Made(_))) => None,
            (Step::Inspect, Ok(Outcome::Seen(Some(seen), _))) => Some(seen.as_ref()),
            _ => return outcome,
        };
        match self.image_check(seen).await {
            Ok(Some(check)) => self.observe(Input::ImageCheck(check)),
            Ok(None) => {}
            Err(error) if step == Step::Inspect => return Err(error),
            Err(error) => tracing::debug!(%error, "the image was not asked for its health check"),
        }
        outcome
    }

    async fn image_check(&self, seen: Option<&Observed>) -> Result<Option<ImageCheck>, Error> {
        let Some(current) = self.observed.current.as_ref().filter(|current| current.asks_image()) else {
            return Ok(None);
        };
        let runtime = self.runtime(&current.runtime)?;
        let Some(images) = runtime.images() else { return Ok(Some(ImageCheck::Absent)) };
        let image = match images.get(&self.context(), &current.spec.component.image).await {
            Ok(image) => image,
            Err(error) if error.is_temporary() => return Err(error),
            Err(error) => return Ok(Some(ImageCheck::Unfit(error.message().to_owned()))),
        };
        let runs = seen.and_then(|seen| seen.image_id.as_ref());
        if runs.is_some_and(|runs| *runs != image.id) {
            return Ok(Some(ImageCheck::Unfit("its name means another image by now".to_owned())));
        }
        Ok(Some(match image.config.and_then(|config| config.health) {
            None => ImageCheck::Absent,
            Some(ImageHealth::Check(_)) if !runtime.capability().supports(Feature::ExecProbe) => {
                ImageCheck::Unfit(format!("`{}` cannot run a command inside", current.runtime))
            }
            Some(ImageHealth::Check(health)) => ImageCheck::Found(health),
            Some(ImageHealth::Unfit(reason)) => ImageCheck::Unfit(reason),
        }))
    }
}
