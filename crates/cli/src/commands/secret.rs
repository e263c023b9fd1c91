//! `hythe secret`: values that components read as files, and nobody else.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hythe_api::{SecretRow, SecretsQuery, SetSecret};
use hythe_client::{Client, ClientError};
use hythe_spec::{SecretFrom, SecretSource};

use super::connect;
use crate::args::{self, SecretCommand};
use crate::format;
use crate::output::{Cell, Printer};
use crate::report::{Failure, Outcome};

const HEAD: [&str; 4] = ["SECRET", "SIZE", "UPDATED", "WORKLOADS"];

pub(super) async fn run(args: args::Secret, printer: Printer<'_>) -> Outcome {
    match args.command {
        SecretCommand::Set(args) => set(args, printer).await,
        SecretCommand::List(_) => list(printer).await,
        SecretCommand::Inspect(args) => inspect(args, printer).await,
        SecretCommand::Remove(args) => remove(args, printer).await,
    }
}

async fn set(args: args::SetSecret, printer: Printer<'_>) -> Outcome {
    let value = match &args.file {
        Some(path) => {
            std::fs::read(path).map_err(|source| Failure::File { path: path.display().to_string(), source })?
        }
        None => stdin()?,
    };
    let client = connect(printer).await?;
    let outcome = client.set_secret(&args.name, &SetSecret { value: STANDARD.encode(value) }).await?;
    if printer.settings.json {
        return printer.json(&outcome);
    }
    let workloads = &outcome.secret.workloads;
    if outcome.changed && !workloads.is_empty() {
        printer.talk(format_args!("deploy again what uses the old value: {}", workloads.join(", ")));
    }
    Ok(())
}

fn stdin() -> Outcome<Vec<u8>> {
    let mut value = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut value);
    read.map_err(|source| Failure::File { path: "-".to_owned(), source })?;
    Ok(value)
}

async fn list(printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    printer.list(&client.secrets().await?, &HEAD, row)
}

fn row(secret: &SecretRow) -> Vec<Cell> {
    let workloads = secret.workloads.join(", ");
    vec![
        Cell::new(&secret.name),
        Cell::new(format::bytes(secret.size)),
        Cell::new(secret.updated.strftime("%Y-%m-%d %H:%M:%S")),
        Cell::new(if workloads.is_empty() { format::NOTHING } else { workloads.as_str() }),
    ]
}

async fn inspect(args: args::InspectSecret, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let found = client.secret(&args.name, &SecretsQuery { show_secrets: args.show }).await?;
    match &found.value {
        Some(value) if !printer.settings.json => printer.bytes(STANDARD.decode(value).unwrap_or_default()),
        _ => printer.json(&found),
    }
}

async fn remove(args: args::RemoveSecrets, printer: Printer<'_>) -> Outcome {
    let client = connect(printer).await?;
    let mut failures = Vec::new();
    for name in &args.names {
        match client.remove_secret(name).await {
            Ok(()) => {}
            Err(error @ ClientError::Problem(_)) => failures.push(Failure::from(error)),
            Err(error) => return Err(error.into()),
        }
    }
    Failure::all(failures)
}

/// Reads the values that a service file names, all before any is sent.
pub(super) fn read(sources: &[SecretSource]) -> Outcome<Vec<(String, SetSecret)>> {
    let mut values = Vec::new();
    for SecretSource { name, from } in sources {
        let value = match from {
            SecretFrom::File(path) => {
                std::fs::read(path).map_err(|source| Failure::File { path: path.clone(), source })?
            }
            SecretFrom::Environment(variable) => variable_of(variable)?,
        };
        values.push((name.clone(), SetSecret { value: STANDARD.encode(value) }));
    }
    Ok(values)
}

fn variable_of(name: &str) -> Outcome<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    std::env::var_os(name).map(OsStringExt::into_vec).ok_or_else(|| Failure::Usage {
        message: format!("the variable `{name}`, which a secret is read from, is not set"),
        hint: "set it where the service is deployed".to_owned(),
    })
}

/// Names of a service's own secrets, separated by commas; `None`: it has none.
pub(super) fn names(sources: &[SecretSource]) -> Option<String> {
    let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// Hands the values of a service's own secrets to the agent, before what uses them is deployed.
pub(super) async fn send(client: &Client, values: Vec<(String, SetSecret)>) -> Outcome {
    for (name, value) in values {
        client.set_secret(&name, &value).await?;
    }
    Ok(())
}
