//! `hythe exec`: a process inside a workload, as if it were here.

mod console;
mod detach;

use std::collections::BTreeMap;

use hythe_api::ExecStart;

use super::connect;
use crate::args::Exec;
use crate::output::Printer;
use crate::report::Outcome;
use crate::target;
use crate::terminal;

pub(super) use console::{Console, converse};

pub(super) async fn run(args: Exec, printer: Printer<'_>) -> Outcome {
    let console = Console { stdin: args.interactive, tty: args.tty };
    console.must_fit("leave out -t: `hythe exec -i` forwards a pipe and its end-of-file")?;
    let client = connect(printer).await?;
    let workloads = client.workloads().await?;
    let workload = target::one(&args.workload, &workloads)?;
    let start = ExecStart {
        command: args.command,
        env: variables(&args.env),
        user: args.user,
        workdir: args.workdir,
        tty: args.tty,
        stdin: args.interactive,
        size: terminal::size(std::io::stdout()).filter(|_| args.tty),
    };
    let session = client.exec(&workload.name, &start).await?;
    converse(session, console, printer).await
}

/// `KEY=VALUE`, or `KEY` with the value it has here; without one it is not passed.
fn variables(written: &[String]) -> BTreeMap<String, String> {
    let variable = |text: &String| match text.split_once('=') {
        Some((key, value)) => Some((key.to_owned(), value.to_owned())),
        None => std::env::var(text).ok().map(|value| (text.clone(), value)),
    };
    written.iter().filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_without_a_value_is_passed_on_from_here() {
        let variables = variables(&["A=1=2".into(), "EMPTY=".into(), "PATH".into(), "SURELY_NOT_SET_HERE".into()]);
        assert_eq!(variables.keys().collect::<Vec<_>>(), ["A", "EMPTY", "PATH"]);
        assert_eq!((variables["A"].as_str(), variables["EMPTY"].as_str()), ("1=2", ""));
    }
}
