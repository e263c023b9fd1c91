//! `hythe stop|start|restart|kill|undeploy`: one change of a service, followed to its end.

use hythe_api::{Kill, Operation, Scope, Undeploy};
use hythe_client::Client;
use hythe_spec::Millis;

use super::connect;
use crate::args::{self, Wait};
use crate::output::Printer;
use crate::progress;
use crate::report::Outcome;
use crate::target;

pub(super) async fn stop(args: args::Stop, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let (service, scope) = scope(&args.scope.target, args.grace, &client).await?;
    let operation = client.stop(&service, &scope).await?;
    see(&client, operation, args.scope.wait, printer).await
}

pub(super) async fn start(args: args::Start, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let (service, scope) = scope(&args.scope.target, None, &client).await?;
    let operation = client.start(&service, &scope).await?;
    see(&client, operation, args.scope.wait, printer).await
}

pub(super) async fn restart(args: args::Restart, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let (service, scope) = scope(&args.scope.target, args.grace, &client).await?;
    let operation = client.restart(&service, &scope).await?;
    see(&client, operation, args.scope.wait, printer).await
}

pub(super) async fn kill(args: args::Kill, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let (service, scope) = scope(&args.scope.target, None, &client).await?;
    let operation = client.kill(&service, &Kill { component: scope.component, signal: args.signal }).await?;
    see(&client, operation, args.scope.wait, printer).await
}

pub(super) async fn undeploy(args: args::Undeploy, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let operation = client.undeploy(&args.service, &Undeploy { volumes: args.volumes }).await?;
    see(&client, operation, args.wait, printer).await?;
    if !args.wait.detach {
        super::snapshot::tell_what_stays(&client, &args.service, printer).await;
    }
    Ok(())
}

async fn scope(text: &str, grace: Option<Millis>, client: &Client) -> Outcome<(String, Scope)> {
    let scope = match target::written_out(text) {
        Some(scope) => scope,
        None => target::scope(text, &client.workloads().await?)?,
    };
    Ok((scope.service, Scope { component: scope.component, grace: grace.map(|grace| grace.0) }))
}

/// Follows an operation as far as the user asked, and prints it where JSON is wanted.
pub(super) async fn see(client: &Client, begun: Operation, wait: Wait, printer: Printer<'_>) -> Outcome {
    let operation = match progress::wait(client, &begun.id, wait, printer).await? {
        Some(followed) => followed.outcome(),
        None => Ok(begun),
    };
    super::operations::print(operation, printer)
}
