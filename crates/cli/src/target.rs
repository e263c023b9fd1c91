//! What `shop`, `shop/web` and `shop-web` name.

use hythe_api::Workload;

use crate::report::{Failure, Outcome};

const NAMES_IN_A_HINT: usize = 5;

/// A service or one of its components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) service: String,
    pub(crate) component: Option<String>,
}

/// `shop/web`, which needs no agent to be understood.
pub(crate) fn written_out(text: &str) -> Option<Scope> {
    let (service, component) = text.split_once('/')?;
    Some(Scope { service: service.to_owned(), component: Some(component.to_owned()) })
}

/// What a change applies to: a service before a workload of the same name.
pub(crate) fn scope(text: &str, workloads: &[Workload]) -> Outcome<Scope> {
    if let Some(scope) = written_out(text) {
        return Ok(scope);
    }
    if workloads.iter().any(|workload| workload.service == text) {
        return Ok(Scope { service: text.to_owned(), component: None });
    }
    let named = workloads.iter().find(|workload| workload.name == text).ok_or_else(|| unknown(text))?;
    Ok(Scope { service: named.service.clone(), component: Some(named.component.clone()) })
}

/// All workloads of a service, or the one named.
pub(crate) fn many<'a>(text: &str, workloads: &'a [Workload]) -> Outcome<Vec<&'a Workload>> {
    let scope = scope(text, workloads)?;
    let wanted = |workload: &&Workload| {
        workload.service == scope.service && scope.component.as_ref().is_none_or(|name| *name == workload.component)
    };
    let found: Vec<_> = workloads.iter().filter(wanted).collect();
    if found.is_empty() { Err(unknown(text)) } else { Ok(found) }
}

/// Names of the workloads that are meant by any of these, each once, in the order named; `None`: nothing was named.
pub(crate) fn all_named(targets: &[String], workloads: &[Workload]) -> Outcome<Option<Vec<String>>> {
    let mut names: Vec<String> = Vec::new();
    for text in targets {
        for workload in many(text, workloads)? {
            if !names.contains(&workload.name) {
                names.push(workload.name.clone());
            }
        }
    }
    Ok((!targets.is_empty()).then_some(names))
}

/// Exactly one workload: the one of that name, or the only one of that service.
pub(crate) fn one<'a>(text: &str, workloads: &'a [Workload]) -> Outcome<&'a Workload> {
    if let Some(named) = workloads.iter().find(|workload| workload.name == text) {
        return Ok(named);
    }
    match many(text, workloads)?.as_slice() {
        [only] => Ok(only),
        several => Err(ambiguous(text, several)),
    }
}

pub(crate) fn unknown(text: &str) -> Failure {
    Failure::NotFound {
        message: format!("no service or workload is called `{text}`"),
        hint: "`hythe ps -a` lists all of them".to_owned(),
    }
}

fn ambiguous(text: &str, several: &[&Workload]) -> Failure {
    let names: Vec<_> = several.iter().take(NAMES_IN_A_HINT).map(|workload| format!("`{}`", workload.name)).collect();
    let rest = if several.len() > NAMES_IN_A_HINT { ", ..." } else { "" };
    Failure::Usage {
        message: format!("`{text}` has {} workloads", several.len()),
        hint: format!("name one: {}{rest}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;
    use crate::sample::workload;

    fn shop() -> Vec<Workload> {
        vec![workload("shop", "web"), workload("shop", "db"), workload("blog", "blog"), workload("db", "db")]
    }

    fn names(text: &str) -> Vec<String> {
        many(text, &shop()).unwrap().iter().map(|workload| workload.name.clone()).collect()
    }

    #[test]
    fn three_ways_to_name_one_workload() {
        for text in ["shop/web", "shop-web"] {
            assert_eq!(one(text, &shop()).unwrap().name, "shop-web", "{text}");
            assert_eq!(names(text), ["shop-web"], "{text}");
        }
        assert_eq!(one("blog", &shop()).unwrap().name, "blog");
    }

    #[test]
    fn a_service_is_all_of_its_workloads() {
        assert_eq!(names("shop"), ["shop-web", "shop-db"]);
        let failure = one("shop", &shop()).unwrap_err();
        assert_eq!((failure.exit_code(), failure.to_string().as_str()), (2, "`shop` has 2 workloads"));
    }

    #[test]
    fn several_targets_are_named_once_each_and_in_order() {
        let all = |texts: &[&str]| {
            let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
            all_named(&texts, &shop()).unwrap()
        };
        assert_eq!(all(&["blog", "shop", "shop/web"]).unwrap(), ["blog", "shop-web", "shop-db"]);
        assert_eq!(all(&[]), None);
    }

    #[test]
    fn what_does_not_exist_is_not_found() {
        for text in ["x", "shop/x", "x/web"] {
            assert_eq!(many(text, &shop()).unwrap_err().exit_code(), 3, "{text}");
        }
    }

    #[test]
    fn a_change_of_a_workload_is_one_of_its_component() {
        let expected = Scope { service: "shop".into(), component: Some("db".into()) };
        assert_eq!(scope("shop-db", &shop()).unwrap(), expected);
        assert_eq!(scope("shop", &shop()).unwrap().component, None);
    }
}
