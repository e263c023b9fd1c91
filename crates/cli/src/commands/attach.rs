//! `hythe attach`: the main process of a workload, as if it were here.

use hythe_api::{AttachStart, SecretsQuery};

use super::connect;
use super::exec::{Console, converse};
use crate::args::Attach;
use crate::output::Printer;
use crate::report::Outcome;
use crate::target;
use crate::terminal;

pub(super) async fn run(args: Attach, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let workloads = client.workloads().await?;
    let name = &target::one(&args.workload, &workloads)?.name;
    let desired = client.workload(name, &SecretsQuery::default()).await?.desired;
    let console = Console { stdin: desired.stdin && !args.no_stdin, tty: desired.tty };
    console.must_fit("`hythe attach --no-stdin` does not forward stdin")?;
    let size = terminal::size(std::io::stdout()).filter(|_| desired.tty);
    let session = client.attach(name, &AttachStart { stdin: console.stdin, size }).await?;
    converse(session, console, printer).await
}
