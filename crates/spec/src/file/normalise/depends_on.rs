//! `depends_on`.

use std::collections::BTreeMap;

use super::context::Context;
use crate::file::decode::At;
use crate::file::raw::{ComponentFile, DependencyTable};
use crate::file::shapes::Or;
use crate::{Condition, Dependency};

const CONDITIONS: [(&str, Condition); 6] = [
    ("started", Condition::Started),
    ("healthy", Condition::Healthy),
    ("completed", Condition::Completed),
    ("service_started", Condition::Started),
    ("service_healthy", Condition::Healthy),
    ("service_completed_successfully", Condition::Completed),
];

/// The dependencies of a component by name; each one's place is known under its path.
pub(super) fn depends_on(raw: &ComponentFile, cx: &mut Context<'_>) -> BTreeMap<String, Dependency> {
    let Some(raw) = &raw.depends_on else {
        return BTreeMap::new();
    };
    let put = |name: &At<String>, cx: &mut Context<'_>| {
        cx.places.put(format!("{}.{}", raw.place.path, name.value), &name.place);
    };
    let mut out = BTreeMap::new();
    match &raw.value {
        Or::First(table) => {
            for (name, how) in &table.0 {
                put(name, cx);
                out.extend(dependency(how, cx).map(|dependency| (name.value.clone(), dependency)));
            }
        }
        Or::Second(list) => {
            for name in list {
                put(name, cx);
                out.insert(name.value.clone(), Dependency::default());
            }
        }
    }
    out
}

fn dependency(how: &At<Or<String, DependencyTable>>, cx: &mut Context<'_>) -> Option<Dependency> {
    match &how.value {
        Or::First(word) => {
            let word = At { value: word.clone(), place: how.place.clone() };
            cx.choose(&word, "condition", &CONDITIONS).map(Dependency::from)
        }
        Or::Second(table) => {
            let DependencyTable { condition, restart, required } = table;
            if let Some(required) = required.as_ref().filter(|required| !required.value) {
                let finding = cx.findings.error(&required.place, "a dependency cannot be optional");
                finding.hint("leave it out of `depends_on` where the component runs without it");
                return None;
            }
            let condition = match condition {
                Some(word) => cx.choose(word, "condition", &CONDITIONS)?,
                None => Condition::Started,
            };
            Some(Dependency { condition, restart: restart.as_ref().is_some_and(|restart| restart.value) })
        }
    }
}
