//! What our service died in. A create may leave a container in podman's storage that podman itself does not know, and that keeps
//! the name. A start may leave a process that podman does not know of: each further start of it fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Method;
use hythe_runtime::{Error, ErrorKind, OpContext, Result};
use jiff::Timestamp;

use super::path;
use crate::api_types::{Container, ContainerRow};
use crate::client::About;
use crate::driver::Podman;

/// How podman calls what only its storage knows.
const STORAGE: &str = "storage";

/// When a create of that name was begun whose answer never came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupted(Arc<Mutex<HashMap<String, Timestamp>>>);

impl Interrupted {
    fn all(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes how a create ended that began then.
    pub(super) fn note<T>(&self, name: &str, began: Timestamp, outcome: &Result<T>) {
        match outcome.as_ref().map_err(Error::kind) {
            Err(ErrorKind::Unavailable) => _ = self.all().entry(name.to_owned()).or_insert(began),
            Err(ErrorKind::AlreadyExists) => {}
            Ok(_) | Err(_) => _ = self.all().remove(name),
        }
    }
}

impl Podman {
    /// Removes what a create of ours left in the storage when our service died in it; whether there was such a thing.
    /// What was there before that create is not ours.
    pub(super) async fn remove_interrupted(&self, cx: &OpContext, about: About<'_>) -> Result<bool> {
        let began = self.interrupted.all().get(about.subject).copied();
        let Some(began) = began.filter(|_| self.client.service().is_some()) else { return Ok(false) };
        let query = [("all", "true"), ("external", "true")];
        let rows: Vec<ContainerRow> = self.client.listing(cx, about, "/containers/json", &query).await?;
        let left = rows.into_iter().find(|row| is_left(row, about.subject, began));
        let Some(left) = left else { return Ok(false) };
        tracing::warn!(name = about.subject, id = left.id, "a half-made container is removed from podman's storage");
        self.client.act(cx, about, Method::DELETE, &path(&left.id, ""), &[]).await?;
        Ok(true)
    }

    /// Ends the process of a start that our service died in, as a stop does; whether there was one. Podman never learns of it
    /// in another way, and can then start the container again.
    pub(super) async fn end_half_started(&self, cx: &OpContext, about: About<'_>) -> Result<bool> {
        let container: Container = self.client.get(cx, about, &path(about.subject, "/json"), &[]).await?;
        if !container.may_have_started() {
            return Ok(false);
        }
        tracing::warn!(id = container.id, "a start that podman's service died in is ended and begun again");
        self.client.act(cx, about, Method::POST, &path(&container.id, "/stop"), &[]).await?;
        Ok(true)
    }
}

fn is_left(row: &ContainerRow, name: &str, began: Timestamp) -> bool {
    let created = row.created.as_deref().and_then(|time| time.parse::<Timestamp>().ok());
    row.state == STORAGE
        && row.names.iter().any(|other| other == name)
        && created.is_some_and(|created| created >= began)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test stops where it fails")]
mod tests {
    use super::*;

    fn row(state: &str, name: &str) -> ContainerRow {
        let document = serde_json::json!({
            "Id": "9fb8", "Names": [name], "State": state, "Created": "2026-12-01T12:30:05.178359125Z",
        });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn only_what_the_interrupted_create_made_is_left_of_it() {
        let (before, after) = ("2026-12-01T12:30:05Z".parse().unwrap(), "2026-12-01T12:30:09Z".parse().unwrap());
        assert!(is_left(&row("storage", "web-1-1"), "web-1-1", before));
        assert!(!is_left(&row("storage", "web-1-1"), "web-1-1", after), "it was there before");
        assert!(!is_left(&row("created", "web-1-1"), "web-1-1", before), "podman knows it");
        assert!(!is_left(&row("storage", "web-1-2"), "web-1-1", before));
    }

    #[test]
    fn a_create_is_interrupted_until_it_has_an_answer() {
        let interrupted = Interrupted::default();
        let lost = || Err::<(), _>(Error::new(ErrorKind::Unavailable, "run", "lost"));
        interrupted.note("a", Timestamp::from_second(1).unwrap(), &lost());
        interrupted.note("a", Timestamp::from_second(2).unwrap(), &lost());
        assert_eq!(interrupted.all().get("a"), Some(&Timestamp::from_second(1).unwrap()));
        interrupted.note("a", Timestamp::from_second(3).unwrap(), &Ok(()));
        assert!(interrupted.all().is_empty());
    }
}
