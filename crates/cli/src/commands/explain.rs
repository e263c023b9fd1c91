//! `hythe explain`: what a driver would give its engine.

use hythe_api::{Explain, Explained};
use serde_json::Value;

use super::connect;
use super::deploy::desired;
use crate::args;
use crate::output::Printer;
use crate::report::Outcome;

pub(super) async fn run(args: args::Explain, printer: Printer<'_>) -> Outcome {
    let desired = desired(&args.target, printer)?;
    let client = connect(printer).await?;
    let service = desired.service(&client).await?;
    let explained = client
        .explain(&Explain {
            service,
            runtime: args.runtime,
        })
        .await?;
    if printer.settings.json {
        return printer.json(&explained);
    }
    explained.iter().try_for_each(|one| show(one, printer))
}

fn show(explained: &Explained, printer: Printer<'_>) -> Outcome {
    printer.talk(format_args!(
        "# {} on {}",
        explained.component, explained.runtime
    ));
    match command_line(&explained.native) {
        Some(line) => printer.data(line + "\n"),
        None => printer.json(&explained.native),
    }
}

/// An argument vector as a shell would take it.
fn command_line(native: &Value) -> Option<String> {
    let words: Vec<&str> = native
        .as_array()?
        .iter()
        .map(Value::as_str)
        .collect::<Option<_>>()?;
    shlex::try_join(words).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_argument_vector_is_one_line_and_all_else_is_json() {
        assert_eq!(
            command_line(&json!(["podman", "create", "a b"])).as_deref(),
            Some("podman create 'a b'")
        );
        assert_eq!(command_line(&json!({"Image": "x"})), None);
        assert_eq!(command_line(&json!(["x", 1])), None);
    }
}
