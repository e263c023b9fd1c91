//! From raw shapes to the normalised service: units, defaults, paths, profiles; then the rules of [`crate::validate`].

mod component;
mod context;
mod depends_on;
mod environment;
mod grants;
mod health;
mod mounts;
mod permissions;
mod places;
mod resources;
mod secrets;

use std::collections::{BTreeMap, HashSet};

use super::Files;
use super::decode::At;
use super::findings::{Findings, Place};
use super::raw::ServiceFile;
use super::shapes::Or;
use super::tree::Node;
use crate::validate::{MAX_COMPONENTS, too_many_components};
use crate::{Build, Component, Drift, ImageRef, Problem, RuntimeKind, SecretSource, Service};
use context::Context;
use places::Places;

/// The service of a file, checked; nothing where too much is missing to go on.
pub(crate) fn service(
    file: &ServiceFile,
    tree: &Node,
    files: &dyn Files,
    findings: &mut Findings,
) -> Option<(Service, Vec<Build>, Vec<SecretSource>)> {
    let mut cx = Context::new(files, findings, Places::of(tree));
    cx.base = base_dir(file, &mut cx);
    if let Some(node) = &file.node {
        let finding = cx.findings.error(&node.place, "`node` is reserved: a service runs on the agent it is sent to");
        finding.hint("remove the key; choose the agent on the command line");
    }
    let mut service = Service {
        name: file.name.as_ref().map(|name| name.value.clone()).unwrap_or_default(),
        node: None,
        labels: environment::labels(file.labels.as_ref(), &mut cx),
        active: file.active.as_ref().is_none_or(|active| active.value),
        drift: drift(file, &mut cx),
        components: components(file, &mut cx),
    };
    let builds = builds(file, &service.components, &mut cx);
    let secrets = secrets::sources(file, &mut service, &mut cx);
    check(&service, file, &mut cx);
    file.name.as_ref().map(|_| (service, builds, secrets))
}

fn base_dir(file: &ServiceFile, cx: &mut Context<'_>) -> String {
    let resolved = file.path.as_ref().and_then(|path| cx.resolve(path));
    resolved.unwrap_or_else(|| cx.base.clone())
}

fn drift(file: &ServiceFile, cx: &mut Context<'_>) -> Drift {
    let options = [("report", Drift::Report), ("heal", Drift::Heal)];
    file.drift.as_ref().and_then(|drift| cx.choose(drift, "drift policy", &options)).unwrap_or_default()
}

fn components(file: &ServiceFile, cx: &mut Context<'_>) -> Vec<Component> {
    let default: Option<RuntimeKind> = file.runtime.as_ref().and_then(|runtime| cx.parse(runtime));
    let Some(list) = &file.components else {
        return Vec::new();
    };
    if list.value.len() > MAX_COMPONENTS {
        cx.findings.error(&list.value[MAX_COMPONENTS].place, too_many_components()).hint("write several services");
        return Vec::new();
    }
    list.value
        .iter()
        .enumerate()
        .map(|(at, raw)| {
            let mut component = component::component(at, raw, cx);
            component.runtime = component.runtime.or(default);
            component
        })
        .collect()
}

fn builds(file: &ServiceFile, components: &[Component], cx: &mut Context<'_>) -> Vec<Build> {
    let Some(images) = file.build.as_ref().and_then(|build| build.value.images.as_ref()) else {
        return Vec::new();
    };
    let mut builds: BTreeMap<ImageRef, Build> = BTreeMap::new();
    for (key, how) in &images.value.0 {
        let Some(image) = cx.parse::<ImageRef>(key) else {
            continue;
        };
        let (context, dockerfile) = match &how.value {
            Or::First(dockerfile) => (None, Some(At { value: dockerfile.clone(), place: how.place.clone() })),
            Or::Second(table) => (table.context.clone(), table.dockerfile.clone()),
        };
        let base = cx.base.clone();
        let context = context.map_or(Some(base.clone()), |context| cx.resolve(&context));
        let Some(context) = context else { continue };
        cx.base = context.clone();
        let dockerfile = dockerfile.map_or(Some(format!("{context}/Dockerfile")), |file| cx.resolve(&file));
        cx.base = base;
        if !components.iter().any(|component| component.image == image) {
            cx.findings.warn(&key.place, format!("no component uses the image `{image}` that is built here"));
        }
        let build = dockerfile.map(|dockerfile| Build { image: image.clone(), context, dockerfile });
        if build.is_some_and(|build| builds.insert(image, build).is_some()) {
            cx.findings.error(&key.place, "this image is built twice");
        }
    }
    builds.into_values().collect()
}

/// Applies the rules for normalised services, leaving out what only follows from an error that is already known.
fn check(service: &Service, file: &ServiceFile, cx: &mut Context<'_>) {
    let known = Known::new(file, cx);
    let problems: Vec<Problem> =
        service.validate().into_iter().filter(|problem| !known.explains(problem, cx)).collect();
    let mut conflicts = HashSet::new();
    for problem in problems {
        let place = cx.places.find(&problem.path);
        let related: Vec<(Place, String)> =
            problem.related.iter().map(|(path, message)| (cx.places.find(path), message.clone())).collect();
        // Two ranges that overlap conflict in many ports, and once for the reader.
        let conflict = related.first().map(|(other, _)| (place.span.start, other.span.start));
        if conflict.is_none_or(|conflict| conflicts.insert(conflict)) {
            let finding = cx.findings.error(&place, problem.message);
            finding.hint = problem.hint;
            finding.related = related;
        }
    }
}

/// What decoding has found already.
struct Known {
    service_nameless: bool,
    component_nameless: bool,
    components_broken: bool,
}

impl Known {
    fn new(file: &ServiceFile, cx: &Context<'_>) -> Self {
        let mut components = file.components.iter().flat_map(|list| &list.value);
        Self {
            service_nameless: file.name.is_none(),
            component_nameless: components.any(|raw| raw.value.name.is_none()),
            components_broken: file.components.is_none() || cx.findings.broken("components"),
        }
    }

    fn explains(&self, problem: &Problem, cx: &Context<'_>) -> bool {
        let about_names = problem.path.contains("depends_on") || problem.path.ends_with(".name");
        problem.path == "name" && self.service_nameless
            || problem.path == "components" && self.components_broken
            || about_names && self.component_nameless
            || cx.findings.broken(cx.places.path(&problem.path))
            || problem.related.iter().any(|(path, _)| cx.findings.broken(cx.places.path(path)))
    }
}
