//! One file for each verb: it takes what was typed, asks the agent, prints what came back.

mod adopt;
pub(crate) mod agent;
mod archive;
mod attach;
mod build;
mod completions;
#[cfg(feature = "agent")]
mod cp;
mod data;
mod demo;
mod deploy;
mod events;
mod exec;
mod explain;
mod gc;
mod help_markdown;
mod images;
mod inspect;
mod instances;
mod lifecycle;
mod logs;
mod operations;
#[cfg(feature = "agent")]
mod pack;
mod ps;
mod purge;
mod runtimes;
mod secret;
mod services;
mod shutdown;
mod snapshot;
mod stats;
mod status;
mod sync;
mod transfer;
mod units;
mod validate;
mod version;

use hythe_client::Client;

pub(crate) use agent::shim;

use crate::args::Command;
use crate::autostart;
use crate::output::Printer;
use crate::report::Outcome;
use crate::settings::Settings;

pub(crate) fn run(command: Command, settings: &Settings) -> Outcome {
    let printer = Printer { settings };
    match command {
        Command::Adopt(args) => wait(adopt::run(args, printer)),
        Command::Agent(args) => agent::run(args, printer),
        Command::Attach(args) => wait(attach::run(args, printer)),
        Command::Build(args) => wait(build::run(args, printer)),
        Command::Completions(args) => completions::run(&args, printer),
        #[cfg(feature = "agent")]
        Command::Cp(args) => wait(cp::run(args, printer)),
        #[cfg(not(feature = "agent"))]
        Command::Cp(_) => Err(crate::report::Failure::NoAgent),
        Command::Data(args) => wait(data::run(args, printer)),
        Command::Demo(args) => demo::run(args, printer),
        Command::Deploy(args) => wait(deploy::run(args, printer)),
        Command::Events(args) => wait(events::run(args, printer)),
        Command::Exec(args) => wait(exec::run(args, printer)),
        Command::Explain(args) => wait(explain::run(args, printer)),
        Command::Gc(args) => wait(gc::run(&args, printer)),
        Command::HelpMarkdown(_) => help_markdown::run(printer),
        Command::Images(args) => wait(images::run(args, printer)),
        Command::Inspect(args) => wait(inspect::run(args, printer)),
        Command::Instances(args) => wait(instances::run(args, printer)),
        Command::Kill(args) => wait(lifecycle::kill(args, printer)),
        Command::Logs(args) => wait(logs::run(args, printer)),
        Command::Openapi(_) => printer.json(&hythe_api::document()),
        Command::Operations(args) => wait(operations::run(args, printer)),
        Command::Ps(args) => wait(ps::run(args, printer)),
        Command::Pull(args) => wait(transfer::pull(args, printer)),
        Command::Purge(args) => wait(purge::run(args, printer)),
        Command::Push(args) => wait(transfer::push(args, printer)),
        Command::Restart(args) => wait(lifecycle::restart(args, printer)),
        Command::Runtimes(args) => wait(runtimes::run(args, printer)),
        Command::Schema(_) => printer.json(&hythe_spec::json_schema()),
        Command::Secret(args) => wait(secret::run(args, printer)),
        Command::Services(_) => wait(services::run(printer)),
        Command::Shutdown(args) => wait(shutdown::run(args, printer)),
        Command::Snapshot(args) => wait(snapshot::run(args, printer)),
        Command::Start(args) => wait(lifecycle::start(args, printer)),
        Command::Stats(args) => wait(stats::run(args, printer)),
        Command::Status(args) => wait(status::run(args, printer)),
        Command::Stop(args) => wait(lifecycle::stop(args, printer)),
        Command::Sync(args) => wait(sync::run(args, printer)),
        Command::Undeploy(args) => wait(lifecycle::undeploy(args, printer)),
        Command::Units(args) => units::run(&args, printer),
        Command::Validate(args) => validate::run(&args, printer),
        Command::Version(_) => wait(version::run(printer)),
    }
}

/// One thread is enough to wait for one agent, and starts in no time.
fn wait(work: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    // A thread that still waits for a key on stdin must not hold up the end.
    runtime.shutdown_background();
    outcome
}

/// An agent to talk to, started where that is allowed and needed.
async fn connect(printer: Printer<'_>) -> Outcome<Client> {
    autostart::client(printer).await
}
