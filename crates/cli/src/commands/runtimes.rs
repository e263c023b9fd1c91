//! `hythe runtimes`: what can run a workload here, and what each can honour.

use comfy_table::Color;
use hythe_api::{FeatureSupport, Runtime};

use super::connect;
use crate::args::Runtimes;
use crate::format;
use crate::output::{Cell, Printer};
use crate::report::Outcome;

const HEAD: [&str; 6] = ["NAME", "KIND", "HEALTH", "ENGINE", "ENDPOINT", "REMARKS"];

pub(super) async fn run(args: Runtimes, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let runtimes = client.runtimes().await?;
    printer.list(&runtimes, &HEAD, row)?;
    // What keeps the agent from using them; those that do not answer are in the table.
    for reason in client.healthz().await?.reasons.iter().filter(|reason| reason.subject == "store") {
        printer.warn(format_args!("{}: {}", reason.subject, reason.message));
    }
    if args.features && !printer.settings.json {
        printer.data("\n")?;
        return features(&runtimes, printer);
    }
    Ok(())
}

fn row(runtime: &Runtime) -> Vec<Cell> {
    vec![
        Cell::new(&runtime.name),
        Cell::new(runtime.kind),
        if runtime.healthy { Cell::new("healthy").fg(Color::Green) } else { Cell::new("down").fg(Color::Red) },
        Cell::new(engine(runtime)),
        Cell::new(runtime.endpoint.as_deref().unwrap_or(format::NOTHING)),
        Cell::new(remarks(runtime)),
    ]
}

fn engine(runtime: &Runtime) -> String {
    let parts: Vec<_> = [&runtime.engine, &runtime.version].into_iter().flatten().map(String::as_str).collect();
    if parts.is_empty() { format::NOTHING.to_owned() } else { parts.join(" ") }
}

fn remarks(runtime: &Runtime) -> String {
    let rootless = runtime.rootless.then(|| "rootless".to_owned());
    let all = rootless.into_iter().chain(runtime.error.clone()).chain(gathered(&runtime.warnings));
    let all: Vec<_> = all.collect();
    if all.is_empty() { format::NOTHING.to_owned() } else { all.join("; ") }
}

/// One remark for all that have the same reason (`what: reason`).
fn gathered(warnings: &[String]) -> Vec<String> {
    let mut remarks: Vec<(Vec<&str>, Option<&str>)> = Vec::new();
    for warning in warnings {
        let (what, reason) =
            warning.split_once(": ").map_or((warning.as_str(), None), |(what, reason)| (what, Some(reason)));
        match remarks.iter_mut().find(|(_, known)| reason.is_some() && *known == reason) {
            Some((all, _)) => all.push(what),
            None => remarks.push((vec![what], reason)),
        }
    }
    let remark = |(what, reason): (Vec<&str>, Option<&str>)| {
        [Some(what.join(", ").as_str()), reason].into_iter().flatten().collect::<Vec<_>>().join(": ")
    };
    remarks.into_iter().map(remark).collect()
}

/// Features down, runtimes across; below it why not.
fn features(runtimes: &[Runtime], printer: Printer<'_>) -> Outcome {
    let head: Vec<_> = ["FEATURE"].into_iter().chain(runtimes.iter().map(|runtime| runtime.name.as_str())).collect();
    let rows = names(runtimes).into_iter().map(|feature| {
        let answers = runtimes.iter().map(|runtime| answer(find(runtime, feature)));
        [Cell::new(feature)].into_iter().chain(answers).collect()
    });
    printer.table(&head, rows.collect())?;
    let reasons: String = runtimes.iter().flat_map(reasons).collect();
    if reasons.is_empty() { Ok(()) } else { printer.data(format!("\n{reasons}")) }
}

fn names(runtimes: &[Runtime]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for feature in runtimes.iter().flat_map(|runtime| &runtime.features) {
        if !names.contains(&feature.feature.as_str()) {
            names.push(&feature.feature);
        }
    }
    names
}

fn find<'a>(runtime: &'a Runtime, feature: &str) -> Option<&'a FeatureSupport> {
    runtime.features.iter().find(|support| support.feature == feature)
}

fn answer(support: Option<&FeatureSupport>) -> Cell {
    match support.map(|support| support.supported) {
        Some(true) => Cell::new("yes").fg(Color::Green),
        Some(false) => Cell::new("no").fg(Color::Red),
        None => Cell::new("?"),
    }
}

fn reasons(runtime: &Runtime) -> impl Iterator<Item = String> {
    runtime.features.iter().filter(|support| !support.supported).map(|support| {
        let reason = support.reason.as_deref().unwrap_or(&support.description);
        format!("{} {}: {reason}\n", runtime.name, support.feature)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_one_reason_is_one_remark() {
        let warnings =
            ["memory limit: no cgroups", "odd", "cpu limit: no cgroups", "ports: no tun", "odd"].map(str::to_owned);
        assert_eq!(gathered(&warnings), ["memory limit, cpu limit: no cgroups", "odd", "ports: no tun", "odd"]);
    }
}
