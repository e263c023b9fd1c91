//! `hythe explain`: what a driver would give its engine.

use hythe_api::{Explain, Explained, SecretsQuery};
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
    let query = SecretsQuery { show_secrets: args.show_secrets };
    let explained = client.explain(&Explain { service, runtime: args.runtime }, &query).await?;
    if printer.settings.json {
        return printer.json(&explained);
    }
    explained.iter().try_for_each(|one| show(one, printer))
}

fn show(explained: &Explained, printer: Printer<'_>) -> Outcome {
    printer.talk(format_args!("# {} on {}", explained.component, explained.runtime));
    if explained.image_health {
        printer.talk("# health: the check of its image, where that has one");
    }
    match command_line(&explained.native) {
        Some(line) => printer.data(line + "\n"),
        None => printer.json(&explained.native),
    }
}

/// An argument vector as a shell would take it, with the variables it runs under and the files it reads:
/// `{ "argv": […], "env": {…}, "files": { "3": {…} } }` or the vector alone.
fn command_line(native: &Value) -> Option<String> {
    let (argv, env, files) = match native {
        Value::Object(fields) => (fields.get("argv")?, fields.get("env"), fields.get("files")),
        other => (other, None, None),
    };
    let argv = argv.as_array()?.iter().map(Value::as_str);
    let argv = shlex::try_join(argv.collect::<Option<Vec<_>>>()?).ok()?;
    let env = env.and_then(Value::as_object).into_iter().flatten();
    let assignments = env.map(|(name, value)| Some(format!("{name}={} ", shlex::try_quote(value.as_str()?).ok()?)));
    Some(assignments.collect::<Option<String>>()? + &argv + &here_documents(files)?)
}

/// `3<<'END'` for each file, then what is in them.
fn here_documents(files: Option<&Value>) -> Option<String> {
    let (mut redirections, mut documents) = (String::new(), String::new());
    for (number, pairs) in files.and_then(Value::as_object).into_iter().flatten() {
        redirections += &format!(" {number}<<'END'");
        for (key, value) in pairs.as_object()? {
            documents += &format!("\n{key}={}", value.as_str()?);
        }
        documents += "\nEND";
    }
    Some(redirections + &documents)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_argument_vector_is_one_line_with_its_variables() {
        let line = |native| command_line(&native);
        assert_eq!(line(json!(["podman", "create", "a b"])).as_deref(), Some("podman create 'a b'"));
        let with_env = json!({"argv": ["podman", "run"], "env": {"A": "b c"}});
        assert_eq!(line(with_env).as_deref(), Some("A='b c' podman run"));
        let with_file = json!({"argv": ["podman", "--env-file=/dev/fd/3"], "files": {"3": {"A": "b c"}}});
        assert_eq!(line(with_file).as_deref(), Some("podman '--env-file=/dev/fd/3' 3<<'END'\nA=b c\nEND"));
    }

    #[test]
    fn everything_else_stays_json() {
        for native in [json!({"Image": "x"}), json!(["x", 1]), json!({"argv": ["x"], "env": {"A": 1}})] {
            assert_eq!(command_line(&native), None, "{native}");
        }
    }
}
