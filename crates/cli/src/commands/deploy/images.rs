//! Images of a service that can be built: those that their registry does not have are built and pushed.

use hythe_api::ImageQuery;
use hythe_client::Client;
use hythe_spec::{Build, Component, Service};

use crate::commands::build::{Job, build_and_push};
use crate::output::Printer;
use crate::report::Outcome;

/// What is deployed of a service and how its images are built.
pub(in crate::commands) struct Wanted<'a> {
    pub(in crate::commands) service: &'a Service,
    pub(in crate::commands) component: Option<&'a str>,
    pub(in crate::commands) builds: &'a [Build],
}

impl Wanted<'_> {
    /// Builds of the images of the components in question, once each, with the component that asks for it.
    fn builds(&self) -> Vec<(&Component, &Build)> {
        let mut found: Vec<(&Component, &Build)> = Vec::new();
        let components =
            self.service.components.iter().filter(|component| self.component.is_none_or(|name| name == component.name));
        for component in components {
            let build = self.builds.iter().find(|build| build.image == component.image);
            if let Some(build) = build.filter(|build| found.iter().all(|(_, other)| other != build)) {
                found.push((component, build));
            }
        }
        found
    }
}

/// Sees that every image that can be built is at its registry. A dry run only says what is missing there.
pub(in crate::commands) async fn provide(
    client: &Client,
    wanted: &Wanted<'_>,
    dry_run: bool,
    printer: Printer<'_>,
) -> Outcome {
    for (component, build) in wanted.builds() {
        if is_at_registry(client, build).await? {
            continue;
        }
        if dry_run {
            printer.talk(format_args!("`{}` would be built and pushed", build.image));
            continue;
        }
        let runtime = runtime_for(client, component).await?;
        build_and_push(client, &Job::of(build, runtime), printer).await?;
    }
    Ok(())
}

async fn is_at_registry(client: &Client, build: &Build) -> Outcome<bool> {
    let query = ImageQuery { image: build.image.clone(), runtime: None };
    match client.remote_image(&query).await {
        Ok(_) => Ok(true),
        Err(error) if error.is_not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// A healthy runtime of the kind that the component asks for.
async fn runtime_for(client: &Client, component: &Component) -> Outcome<Option<String>> {
    let Some(kind) = component.runtime else {
        return Ok(None);
    };
    let runtimes = client.runtimes().await?;
    Ok(runtimes.into_iter().find(|runtime| runtime.kind == kind && runtime.healthy).map(|runtime| runtime.name))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use hythe_spec::{Drift, ImageRef};

    use super::*;

    fn image(text: &str) -> ImageRef {
        text.parse().unwrap()
    }

    #[test]
    fn an_image_is_built_once_and_only_where_a_wanted_component_runs_it() {
        let component = |name, of: &str| Component::new(name, image(of));
        let service = Service {
            name: "shop".into(),
            node: None,
            labels: Default::default(),
            active: true,
            drift: Drift::Report,
            components: vec![component("web", "shop:1"), component("job", "shop:1"), component("db", "postgres")],
        };
        let build = |of| Build { image: image(of), context: "/".into(), dockerfile: "/Dockerfile".into() };
        let builds = [build("shop:1"), build("other:1")];
        let count = |component| Wanted { service: &service, component, builds: &builds }.builds().len();
        assert_eq!((count(None), count(Some("job")), count(Some("db"))), (1, 1, 0));
    }
}
