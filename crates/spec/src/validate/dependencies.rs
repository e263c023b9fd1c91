//! `depends_on`: known, without cycles, and possible to fulfil.

use std::collections::BTreeSet;

use super::Problem;
use crate::nearest::nearest;
use crate::{Condition, Restart, Service};

pub(super) fn check(service: &Service) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, component) in service.components.iter().enumerate() {
        for (name, dependency) in &component.depends_on {
            let path = format!("components[{index}].depends_on.{name}");
            if *name == component.name {
                problems.push(Problem::new(path, format!("`{name}` depends on itself")));
            } else {
                problems.extend(one(service, path, name, dependency.condition));
            }
        }
    }
    problems.extend(cycle(service));
    problems
}

fn one(service: &Service, path: String, name: &str, condition: Condition) -> Option<Problem> {
    let Some(at) = service.components.iter().position(|component| component.name == name) else {
        let problem = Problem::new(path, format!("there is no component `{name}`"));
        return Some(match nearest(name, service.components.iter().map(|component| component.name.as_str())) {
            Some(known) => problem.hint(format!("did you mean `{known}`?")),
            None => problem,
        });
    };
    let dependency = &service.components[at];
    if condition == Condition::Healthy && dependency.no_health {
        // Without one of its own it may have its image's, which is not known here.
        let problem = Problem::new(path, format!("`{name}` is not probed, so it never becomes healthy"));
        let problem =
            problem.hint("leave `health = \"none\"` out, give it `[components.health]`, or wait for `started`");
        return Some(problem.related(format!("components[{at}].health"), "this component"));
    }
    let endless = matches!(dependency.restart, Restart::Always | Restart::UnlessStopped);
    if condition == Condition::Completed && endless {
        let problem = Problem::new(path, format!("`{name}` is started again whenever it ends, so it never completes"));
        let problem = problem.hint("give it `restart = \"no\"` or `restart = \"on-failure\"`");
        return Some(problem.related(format!("components[{at}].restart"), "this component"));
    }
    None
}

/// The first cycle of more than one component, named from its first member on.
fn cycle(service: &Service) -> Option<Problem> {
    let mut done = BTreeSet::new();
    for (index, component) in service.components.iter().enumerate() {
        let mut trail = Vec::new();
        if let Some(names) = walk(service, &component.name, &mut trail, &mut done) {
            let start = service.components.iter().position(|one| one.name == names[0]).unwrap_or(index);
            let message = format!("components depend on each other: {}", names.join(" -> "));
            return Some(Problem::new(format!("components[{start}].depends_on"), message));
        }
    }
    None
}

fn walk<'a>(
    service: &'a Service,
    name: &'a str,
    trail: &mut Vec<&'a str>,
    done: &mut BTreeSet<&'a str>,
) -> Option<Vec<&'a str>> {
    if let Some(at) = trail.iter().position(|seen| *seen == name) {
        let names: Vec<&str> = trail[at..].iter().copied().chain([name]).collect();
        return Some(names);
    }
    if !done.insert(name) {
        return None;
    }
    trail.push(name);
    let dependencies = service.component(name).into_iter().flat_map(|component| component.depends_on.keys());
    let found = dependencies.filter(|next| *next != name).find_map(|next| walk(service, next, trail, done));
    trail.pop();
    found
}
