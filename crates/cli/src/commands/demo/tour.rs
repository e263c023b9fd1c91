//! What is shown: a deploy, what the looking commands say of it, and its removal, each by the command itself.

use std::path::Path;
use std::time::Duration;

use hythe_client::Client;

use crate::args::{self, Wait};
use crate::commands::{deploy, events, lifecycle, logs, ps, status};
use crate::output::Printer;
use crate::report::{Failure, Outcome};

const SERVICE: &str = "demo";
const EVENTS: u32 = 4;
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(5);

const OPENING: &str = "This is a demo on the in-process runtime: no process is started, no engine is used.";
const CLOSING: &str = "
Nothing of this is left.
Where a runtime answers that starts real things (`hythe runtimes` lists them), the next command shows the same for real:

$ hythe demo";

/// Deploys this file on an agent that is just starting, and goes on to its removal.
pub(super) async fn run(file: &Path, printer: Printer<'_>) -> Outcome {
    printer.talk(OPENING);
    ready(&Client::new(printer.settings.endpoint.clone())).await?;
    deploy(file, printer).await?;
    look(printer).await?;
    announce("hythe undeploy demo --volumes", printer);
    let undeploy = args::Undeploy { service: SERVICE.to_owned(), volumes: true, wait: Wait::default() };
    lifecycle::undeploy(undeploy, printer).await?;
    printer.talk(format_args!("{CLOSING}"));
    Ok(())
}

async fn deploy(file: &Path, printer: Printer<'_>) -> Outcome {
    announce("hythe demo --runtime memory --file > demo.toml", printer);
    announce("hythe deploy demo.toml", printer);
    let deploy = args::Deploy {
        target: file.display().to_string(),
        component: None,
        dry_run: false,
        force: false,
        pull: None,
        no_build: false,
        show_secrets: false,
        wait: Wait::default(),
    };
    deploy::run(deploy, printer).await
}

async fn look(printer: Printer<'_>) -> Outcome {
    announce("hythe ps", printer);
    ps::run(args::Ps { targets: Vec::new(), all: false, service: None }, printer).await?;
    announce("hythe status demo", printer);
    status::run(args::Status { targets: vec![SERVICE.to_owned()] }, printer).await?;
    announce("hythe logs demo", printer);
    logs::run(all_logs(), printer).await?;
    announce(&format!("hythe events --limit {EVENTS}"), printer);
    events::run(newest_events(), printer).await
}

fn all_logs() -> args::Logs {
    args::Logs {
        previous: false,
        targets: vec![SERVICE.to_owned()],
        follow: false,
        tail: None,
        timestamps: false,
        since: None,
        until: None,
        raw: false,
    }
}

fn newest_events() -> args::Events {
    args::Events { targets: Vec::new(), follow: false, after: None, service: None, workload: None, limit: Some(EVENTS) }
}

fn announce(command: &str, printer: Printer<'_>) {
    printer.talk(format_args!("\n$ {command}"));
}

/// Until the agent answers and has its runtime.
async fn ready(client: &Client) -> Outcome {
    let has_runtime = async {
        loop {
            let runtimes = client.runtimes().await;
            if runtimes.is_ok_and(|runtimes| runtimes.iter().any(|runtime| runtime.healthy)) {
                return;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    if tokio::time::timeout(PATIENCE, has_runtime).await.is_ok() {
        return Ok(());
    }
    // What stands in the way is what an answer says now.
    client.runtimes().await?;
    Err(Failure::NotFound {
        message: "the in-process runtime does not answer".to_owned(),
        hint: "`hythe agent` with this runtime in its configuration shows why in its log".to_owned(),
    })
}
