//! Variables and labels.

use std::collections::BTreeMap;
use std::io::ErrorKind;

use super::context::{Context, at};
use crate::env_file;
use crate::file::decode::At;
use crate::file::findings::Place;
use crate::file::raw::{ComponentFile, EnvFileTable, TableOrList};
use crate::file::shapes::{Or, Scalar};

/// Environment of a component: its files in order, then `env`.
pub(super) fn environment(path: &str, raw: &ComponentFile, cx: &mut Context<'_>) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    let files = raw.env_file.iter().flat_map(|files| match &files.value {
        Or::First(one) => vec![at(one.clone(), &files.place)],
        Or::Second(list) => list.clone(),
    });
    for file in files {
        let place = file.place.clone();
        let entries = match file.value {
            Or::First(path) => read_file(&at(path, &place), &EnvFileTable::default(), cx),
            Or::Second(table) => match table.path.clone() {
                Some(path) => read_file(&path, &table, cx),
                None => Vec::new(),
            },
        };
        // What is wrong with a variable is shown where its file is named.
        cx.places.put(format!("{path}.env"), &place);
        for (name, _) in &entries {
            cx.places.put(format!("{path}.env.{name}"), &place);
        }
        variables.extend(entries);
    }
    if let Some(env) = &raw.env {
        cx.places.put(format!("{path}.env"), &env.place);
    }
    variables.extend(pairs(raw.env.as_ref(), true, cx));
    variables
}

/// Labels of a service or component.
pub(super) fn labels(raw: Option<&At<TableOrList<Scalar>>>, cx: &mut Context<'_>) -> BTreeMap<String, String> {
    pairs(raw, false, cx).into_iter().collect()
}

fn read_file(path: &At<String>, table: &EnvFileTable, cx: &mut Context<'_>) -> env_file::Entries {
    let format =
        table.format.as_ref().and_then(|format| cx.choose(format, "format", &[("dotenv", false), ("raw", true)]));
    let Some(full) = cx.resolve(path) else {
        return Vec::new();
    };
    let text = match cx.files.read(&full) {
        Ok(text) => text,
        Err(error) => {
            let required = table.required.as_ref().is_none_or(|required| required.value);
            if required || error.kind() != ErrorKind::NotFound {
                cx.findings.error(&path.place, format!("cannot read `{full}`: {error}"));
            }
            return Vec::new();
        }
    };
    let files = cx.files;
    let lookup = |name: &str| files.env(name);
    let entries = if format == Some(true) { env_file::plain(&text, &lookup) } else { env_file::dotenv(&text, &lookup) };
    entries.unwrap_or_else(|error| {
        let message = format!("`{}`, {error}", path.value);
        cx.findings.error(&path.place, message).hint = error.error.hint;
        Vec::new()
    })
}

fn pairs(raw: Option<&At<TableOrList<Scalar>>>, inherit: bool, cx: &mut Context<'_>) -> Vec<(String, String)> {
    let Some(raw) = raw else { return Vec::new() };
    match &raw.value {
        Or::First(table) => table.0.iter().map(|(key, value)| (key.value.clone(), value.value.text())).collect(),
        Or::Second(list) => list.iter().filter_map(|item| pair(item, &raw.place, inherit, cx)).collect(),
    }
}

fn pair(item: &At<String>, list: &Place, inherit: bool, cx: &mut Context<'_>) -> Option<(String, String)> {
    if let Some((key, value)) = item.value.split_once('=') {
        cx.places.put(format!("{}.{key}", list.path), &item.place);
        return Some((key.to_owned(), value.to_owned()));
    }
    if !inherit {
        cx.findings.error(&item.place, format!("`{}` has no value", item.value)).hint("write `KEY=VALUE`");
        return None;
    }
    match cx.files.env(&item.value) {
        Some(value) => Some((item.value.clone(), value)),
        None => {
            cx.findings.warn(&item.place, format!("`{}` is not set here, so it is left out", item.value));
            None
        }
    }
}
