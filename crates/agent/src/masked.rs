//! What leaves the agent with its secrets masked, unless they are asked for.

use hythe_api::FieldProblem;
use hythe_runtime::{Error, ErrorKind};
use hythe_spec::diff::Change;
use hythe_spec::{Component, Probe, Service, mask};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The value itself where secrets are shown, else with its secrets masked.
pub(crate) fn unless<T: Serialize + DeserializeOwned>(shown: bool, value: T) -> Result<T, Error> {
    if shown {
        return Ok(value);
    }
    mask::masked(&value)
        .map_err(|cause| Error::new(ErrorKind::Internal, "mask", "an answer cannot be masked").source(cause))
}

/// The document itself where secrets are shown, else with its secrets masked.
pub(crate) fn document_unless(shown: bool, mut document: Value) -> Value {
    if !shown {
        mask::document(&mut document);
    }
    document
}

/// Changes whose secrets are masked before and after: that they differ stays visible.
pub(crate) fn changes_unless(shown: bool, mut changes: Vec<Change>) -> Vec<Change> {
    if !shown {
        for change in &mut changes {
            change.old.iter_mut().chain(&mut change.new).for_each(|value| mask::field(&change.path, value));
        }
    }
    changes
}

/// A service that was read with masked secrets and sent back would lose them.
pub(crate) fn sent_back(service: &Service) -> Vec<FieldProblem> {
    let named = |component: &Component| {
        let env = component.env.iter().map(|(key, value)| ("env", key.clone(), value.clone()));
        let headers = match component.health.as_ref().map(|health| &health.probe) {
            Some(Probe::Http(http)) => Some(&http.headers),
            _ => None,
        };
        let headers = headers.into_iter().flatten();
        let headers = headers.map(|(key, value)| ("health.probe.headers", key.clone(), value.clone()));
        env.chain(headers).map(|found| (component.name.clone(), found)).collect::<Vec<_>>()
    };
    let masked = service.components.iter().flat_map(named).filter(|(_, (_, key, value))| mask::is_masked(key, value));
    masked
        .map(|(component, (map, key, _))| FieldProblem {
            path: format!("components.{component}.{map}.{key}"),
            message: format!("the value of `{key}` is the mask that stands for a secret"),
            hint: Some("read the service with `show_secrets=true` before it is sent back".to_owned()),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn service(password: &str) -> Service {
        let mut component = Component::new("web", "localhost/x:1".parse().expect("a reference"));
        component.env = BTreeMap::from([
            ("DB_PASSWORD".to_owned(), password.to_owned()),
            ("DATABASE_URL".to_owned(), format!("postgres://u:{password}@db/x")),
            ("STARS".to_owned(), mask::MASK.to_owned()),
        ]);
        component.command = Some(["a", "--token", password].map(str::to_owned).into());
        Service {
            name: "shop".to_owned(),
            node: None,
            labels: BTreeMap::new(),
            active: true,
            drift: hythe_spec::Drift::Report,
            components: vec![component],
        }
    }

    #[test]
    fn unless_shown_a_service_has_no_secret() {
        let shown = unless(false, service("hunter2")).expect("masked");
        assert!(!format!("{shown:?}").contains("hunter2"), "{shown:?}");
        assert_eq!(unless(true, service("hunter2")).expect("itself"), service("hunter2"));
    }

    #[test]
    fn changes_show_that_a_secret_differs_and_not_how() {
        let changes = hythe_spec::diff::diff(&service("old-hunter"), &service("new-hunter"));
        assert_eq!(changes.len(), 3);
        let shown = serde_json::to_string(&changes_unless(false, changes)).expect("JSON");
        assert!(!shown.contains("hunter") && shown.contains("env.DB_PASSWORD"), "{shown}");
    }

    #[test]
    fn sent_back_masks_are_problems() {
        let masked = unless(false, service("hunter2")).expect("masked");
        let paths: Vec<String> = sent_back(&masked).into_iter().map(|problem| problem.path).collect();
        assert_eq!(paths, ["components.web.env.DATABASE_URL", "components.web.env.DB_PASSWORD"]);
        assert!(sent_back(&service("hunter2")).is_empty());
    }
}
