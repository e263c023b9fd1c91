//! `hythe version`: this program's version, and the agent's where one answers. None is started for it.

use hythe_api::Version;
use hythe_client::ClientError;
use serde::Serialize;

use crate::output::Printer;
use crate::report::Outcome;

#[derive(Debug, Serialize)]
struct Versions {
    client: &'static str,
    agent: Option<Version>,
}

pub(super) async fn run(printer: Printer<'_>) -> Outcome {
    let agent = match printer.settings.client()?.version().await {
        Ok(version) => Some(version),
        Err(ClientError::Unreachable { .. }) => None,
        Err(error) => return Err(error.into()),
    };
    let versions = Versions { client: env!("CARGO_PKG_VERSION"), agent };
    if printer.settings.json {
        return printer.json(&versions);
    }
    printer.data(text(&versions))?;
    for warning in versions.agent.iter().flat_map(|agent| &agent.warnings) {
        printer.warn(warning);
    }
    Ok(())
}

fn text(versions: &Versions) -> String {
    let agent = match &versions.agent {
        Some(agent) => format!("{} (pid {}, state `{}`)", agent.version, agent.pid, agent.state_dir),
        None => "none answers".to_owned(),
    };
    format!("hythe {}\nagent {agent}\n", versions.client)
}
