//! The demonstration on a runtime that starts real things: pack, load, deploy, look, visit. It stays until `--clean`.

use std::path::Path;
use std::time::Duration;

use hythe_api::{LoadImages, Operation, RemoveImageQuery, Runtime, Undeploy, Workload};
use hythe_client::Client;
use hythe_oci::{Format, Pack, Store};
use hythe_spec::{ImageRef, RuntimeKind};

use super::{SERVICE_FILE, server};
use crate::args::{self, Wait};
use crate::commands::{deploy, logs, ps};
use crate::output::Printer;
use crate::progress;
use crate::report::{Failure, Outcome};

const SERVICE: &str = "hythe-demo";
const WEB: &str = "hythe-demo-web";
const IMAGE: &str = "localhost/hythe-demo:1";
/// The program's place in its image (`hythe image pack` puts programs there) and the words that make it the server.
const ENTRYPOINT: [&str; 3] = ["/usr/bin/hythe", "demo", "--serve"];
/// What the service file asks for and a runtime may lack.
const NEEDS: [&str; 4] = ["bridge-network", "publish-tcp", "volumes", "read-only-root"];
/// An agent that was just started has asked its runtimes by then.
const PATIENCE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(50);

/// The runtime to show it on: the one asked for, else the first that answers, starts real things and has what these need. `None`: there is none.
pub(super) async fn choose(client: &Client, asked: Option<&str>) -> Outcome<Option<String>> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let runtimes = client.runtimes().await?;
        let fits = |runtime: &&Runtime| match asked {
            Some(name) => runtime.name == name,
            None => runtime.healthy && runtime.kind != RuntimeKind::Memory && NEEDS.iter().all(|one| has(runtime, one)),
        };
        match (runtimes.iter().find(fits), asked) {
            (Some(runtime), _) if runtime.healthy => return Ok(Some(runtime.name.clone())),
            (None, Some(name)) => return Err(unknown(name, &runtimes)),
            (Some(runtime), _) if tokio::time::Instant::now() > deadline => return Err(silent(runtime)),
            _ if tokio::time::Instant::now() > deadline || settled(&runtimes) => return Ok(None),
            _ => tokio::time::sleep(POLL).await,
        }
    }
}

fn has(runtime: &Runtime, feature: &str) -> bool {
    runtime.features.iter().any(|one| one.feature == feature && one.supported)
}

/// All have been asked.
fn settled(runtimes: &[Runtime]) -> bool {
    runtimes.iter().all(|runtime| runtime.healthy || runtime.error.as_deref() != Some("not connected yet"))
}

fn unknown(name: &str, runtimes: &[Runtime]) -> Failure {
    let known: Vec<String> = runtimes.iter().map(|runtime| format!("`{}`", runtime.name)).collect();
    let hint = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
    Failure::NotFound { message: format!("the agent has no runtime `{name}`"), hint }
}

fn silent(runtime: &Runtime) -> Failure {
    let reason = runtime.error.as_deref().unwrap_or("it does not answer");
    Failure::NotFound {
        message: format!("runtime `{}` does not answer: {reason}", runtime.name),
        hint: "`hythe runtimes` shows what answers".to_owned(),
    }
}

pub(super) async fn run(client: &Client, runtime: &str, printer: Printer<'_>) -> Outcome {
    let directory = tempfile::tempdir()?;
    let earlier = client.workloads().await?;
    if earlier.iter().any(|workload| workload.service == SERVICE && workload.runtime != runtime) {
        // A volume does not move with its service, and this one is not worth keeping.
        remove(client, printer).await?;
    }
    printer.talk(format_args!("This demonstration deploys a small website on `{runtime}`, for real.\n"));
    give_image(client, runtime, directory.path(), printer).await?;
    let file = directory.path().join("hythe-demo.toml");
    std::fs::write(&file, service_on(runtime, limits_memory(client, runtime).await?))?;
    announce("hythe demo --file > hythe-demo.toml", printer);
    announce("hythe deploy hythe-demo.toml", printer);
    deploy::run(deploy_words(&file), printer).await?;
    announce("hythe ps hythe-demo", printer);
    ps::run(args::Ps { targets: vec![SERVICE.to_owned()], all: false, service: None }, printer).await?;
    visit(client, printer).await?;
    announce("hythe logs hythe-demo", printer);
    logs::run(log_words(), printer).await?;
    printer.talk("\nIt goes on. `hythe demo --clean` removes it; `hythe demo --file` prints the service file.");
    Ok(())
}

/// An unprivileged user's runtime may have no limits to give, and the demonstration can do without.
async fn limits_memory(client: &Client, runtime: &str) -> Outcome<bool> {
    Ok(client.runtimes().await?.iter().any(|one| one.name == runtime && has(one, "memory-limit")))
}

fn service_on(runtime: &str, limits_memory: bool) -> String {
    let named = format!("\nname = \"hythe-demo\"\nruntime = \"{runtime}\"\n");
    let text = SERVICE_FILE.replacen("\nname = \"hythe-demo\"\n", &named, 1);
    let kept = |line: &&str| limits_memory || !line.starts_with("memory =");
    text.split_inclusive('\n').filter(kept).collect()
}

fn image() -> Outcome<ImageRef> {
    IMAGE.parse().map_err(|_| Failure::Output(std::io::Error::other("its image has no name")))
}

/// This very program as an image, with the libraries it needs.
async fn give_image(client: &Client, runtime: &str, directory: &Path, printer: Printer<'_>) -> Outcome {
    let image = image()?;
    let program = directory.join("hythe");
    let itself = std::env::current_exe()?;
    std::fs::copy(&itself, &program)?;
    announce(&pack_command(&itself), printer);
    let (store, archive) = (Store::open(&directory.join("images"))?, directory.join("demo.tar"));
    let pack = Pack {
        binaries: vec![program],
        files: Vec::new(),
        entrypoint: ENTRYPOINT.map(str::to_owned).to_vec(),
        env: vec!["HOME=/tmp".to_owned()],
    };
    store.pack(&pack, &image).await?;
    store.export(&image, &archive, Format::DockerArchive).await?;
    announce(&format!("hythe image load demo.tar --runtime {runtime}"), printer);
    let what = LoadImages { path: archive.display().to_string(), name: None, runtime: Some(runtime.to_owned()) };
    follow(client, client.load(&what).await?, printer).await
}

/// What makes the same image, typed anywhere.
fn pack_command(program: &Path) -> String {
    let program = program.display().to_string();
    let program = shlex::try_quote(&program).map_or(program.clone(), std::borrow::Cow::into_owned);
    let entrypoint = ENTRYPOINT.join(" ");
    format!("hythe image pack {program} --tag {IMAGE} --entrypoint '{entrypoint}' --env HOME=/tmp --output demo.tar")
}

async fn follow(client: &Client, begun: Operation, printer: Printer<'_>) -> Outcome {
    match progress::wait(client, &begun.id, Wait::default(), printer).await? {
        Some(followed) => followed.outcome().map(drop),
        None => Ok(()),
    }
}

/// What a visitor reads, in the terminal.
async fn visit(client: &Client, printer: Printer<'_>) -> Outcome {
    let workloads = client.workloads().await?;
    let port = workloads.iter().find(|workload| workload.name == WEB).and_then(published);
    let port = port.ok_or_else(|| Failure::NotFound {
        message: format!("`{WEB}` publishes no port"),
        hint: format!("`hythe status {SERVICE}` shows why"),
    })?;
    announce(&format!("curl http://127.0.0.1:{port}/"), printer);
    let page = server::get(("127.0.0.1", port), "/").await?;
    printer.data(page)
}

fn published(workload: &Workload) -> Option<u16> {
    workload.ports.iter().find(|port| port.container_port == server::PORT).map(|port| port.host_port)
}

/// Takes everything of it away: what was never there is no harm.
pub(super) async fn clean(client: &Client, printer: Printer<'_>) -> Outcome {
    remove(client, printer).await?;
    let image = image()?;
    for runtime in client.runtimes().await?.into_iter().filter(|runtime| runtime.healthy) {
        let (image, runtime) = (image.clone(), Some(runtime.name));
        client.remove_image(&RemoveImageQuery { image, runtime, ignore_missing: true }).await?;
    }
    printer.talk("the demo is removed");
    Ok(())
}

async fn remove(client: &Client, printer: Printer<'_>) -> Outcome {
    match client.undeploy(SERVICE, &Undeploy { volumes: true }).await {
        Ok(operation) => follow(client, operation, printer).await,
        Err(error) if error.is_not_found() => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn deploy_words(file: &Path) -> args::Deploy {
    args::Deploy {
        target: file.display().to_string(),
        component: None,
        dry_run: false,
        force: false,
        pull: None,
        no_build: false,
        show_secrets: false,
        wait: Wait::default(),
    }
}

fn log_words() -> args::Logs {
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

fn announce(command: &str, printer: Printer<'_>) {
    printer.talk(format_args!("\n$ {command}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_for_no_limit_that_the_runtime_has_not() {
        let (with, without) = (service_on("embedded", true), service_on("embedded", false));
        assert!(with.contains("runtime = \"embedded\"") && without.contains("runtime = \"embedded\""));
        assert_eq!((with.matches("\nmemory =").count(), without.matches("memory =").count()), (2, 0));
    }
}
