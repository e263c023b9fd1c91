//! Building images: the instructions of a Dockerfile, each `RUN` in an instance whose layer becomes the image's.
//!
//! Of one stage; a `RUN` is isolated like any workload, in a network that is there for this build alone. Nothing is reused of earlier builds.

mod dockerfile;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;

use hythe_oci::Stored;
use hythe_runtime::context::run_blocking;
use hythe_runtime::{BuildRequest, Error, ErrorKind, ImageHealth, Progress, ProgressSink, Result};
use hythe_spec::ImageRef;
use serde_json::{Map, Value, json};

use crate::driver::Embedded;
use crate::error::of_store;
use crate::userns_exec::Commit;
use dockerfile::{Step, arguments, expand, invalid, join, pairs, set_env, steps};
use worker::Worker;

pub(crate) use worker::{PREFIX, sweep_networks};

/// Docker's format has it and OCI's has not.
const HEALTHCHECK: &str = "Healthcheck";

struct Build<'a> {
    embedded: &'a Embedded,
    request: &'a BuildRequest,
    progress: &'a ProgressSink,
    args: BTreeMap<String, String>,
    config: Map<String, Value>,
    base: Stored,
    worker: Option<Worker>,
}

/// Builds an image, step by step; it has its name once it is whole.
pub(crate) async fn build(embedded: &Embedded, request: &BuildRequest, progress: &ProgressSink) -> Result<Stored> {
    let path = request.dockerfile.display();
    let text = std::fs::read_to_string(&request.dockerfile)
        .map_err(|error| invalid(format!("cannot read `{path}`: {error}")).source(error))?;
    let (base, args, rest) = begin(embedded, request, &steps(&text)).await?;
    let config = serde_json::to_value(base.config.config()).ok().and_then(|config| config.as_object().cloned());
    let mut config = config.unwrap_or_default();
    if !base.healthcheck.is_null() {
        config.insert(HEALTHCHECK.to_owned(), base.healthcheck.clone());
    }
    let mut build = Build { embedded, request, progress, args, config, base, worker: None };
    let outcome = build.all(&rest).await;
    let worker = build.worker.take();
    let outcome = match outcome {
        Ok(()) => build.publish(worker.as_ref()).await,
        Err(error) => Err(error),
    };
    match worker {
        Some(worker) => worker.discard(embedded, outcome).await,
        None => outcome,
    }
}

/// What comes before the first layer: arguments and `FROM`.
async fn begin(
    embedded: &Embedded,
    request: &BuildRequest,
    steps: &[Step],
) -> Result<(Stored, BTreeMap<String, String>, Vec<Step>)> {
    let mut args = request.args.clone();
    for (at, step) in steps.iter().enumerate() {
        match step.name.as_str() {
            "ARG" => argument(&mut args, &step.rest),
            "FROM" => {
                let name = expand(&step.rest, &args);
                if name.split_whitespace().count() != 1 || name == "scratch" {
                    let message = format!("`FROM {name}` is not supported: one stage, on a base image");
                    return Err(Error::new(ErrorKind::Unsupported, "build", message).hint(
                        "build it with Podman or Docker and import it, or pack programs with `hythe image pack`",
                    ));
                }
                let image: ImageRef = name.parse().map_err(|error| invalid(format!("`FROM {name}`: {error}")))?;
                let store = embedded.context.store.clone();
                let base = run_blocking("build", move || store.get(&image).map_err(of_store("build"))).await?;
                return Ok((base, args, steps[at + 1..].to_vec()));
            }
            other => return Err(invalid(format!("`{other}` comes before `FROM`"))),
        }
    }
    Err(invalid("there is no `FROM`"))
}

fn argument(args: &mut BTreeMap<String, String>, rest: &str) {
    let (name, otherwise) = rest.split_once('=').unwrap_or((rest, ""));
    let otherwise = otherwise.trim_matches('"').to_owned();
    args.entry(name.to_owned()).or_insert(otherwise);
}

impl Build<'_> {
    async fn all(&mut self, steps: &[Step]) -> Result<()> {
        for (at, step) in steps.iter().enumerate() {
            self.report(format!("STEP {}: {} {}", at + 2, step.name, step.rest));
            self.step(step).await?;
        }
        let mut labels = self.config.get("Labels").and_then(Value::as_object).cloned().unwrap_or_default();
        labels.extend(self.request.labels.iter().map(|(name, value)| (name.clone(), json!(value))));
        self.config.insert("Labels".to_owned(), labels.into());
        Ok(())
    }

    fn report(&self, status: String) {
        // A full channel drops the report.
        let _ = self.progress.try_send(Progress { item: String::new(), status, current: None, total: None });
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        let rest = &step.rest;
        match step.name.as_str() {
            "ARG" => argument(&mut self.args, rest),
            "ENV" => {
                for (name, value) in pairs(&self.expand(rest))? {
                    set_env(&mut self.config, &name, &value);
                }
            }
            "LABEL" => {
                for (name, value) in pairs(&self.expand(rest))? {
                    self.nested("Labels", name, json!(value));
                }
            }
            "EXPOSE" => {
                for port in self.expand(rest).split_whitespace() {
                    let port = if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") };
                    self.nested("ExposedPorts", port, json!({}));
                }
            }
            "VOLUME" => {
                let text = self.expand(rest);
                let words = || text.split_whitespace().map(str::to_owned).collect();
                let paths: Vec<String> = serde_json::from_str(&text).unwrap_or_else(|_| words());
                for path in paths {
                    self.nested("Volumes", join("/", &path), json!({}));
                }
            }
            "ENTRYPOINT" => {
                self.set("Entrypoint", json!(arguments(rest)));
                self.config.remove("Cmd");
            }
            "CMD" => self.set("Cmd", json!(arguments(rest))),
            "USER" => self.set("User", json!(self.expand(rest))),
            "STOPSIGNAL" => self.set("StopSignal", json!(self.expand(rest))),
            "WORKDIR" => {
                let path = join(&self.workdir(), &self.expand(rest));
                self.set("WorkingDir", json!(path));
                self.worker().await?.make_directory(path).await?;
            }
            "HEALTHCHECK" => {
                let check =
                    ImageHealth::instruction(rest).map_err(|why| invalid(format!("`HEALTHCHECK {rest}`: {why}")))?;
                self.set(HEALTHCHECK, check);
            }
            "COPY" => self.copy(rest).await?,
            "RUN" => self.run(rest).await?,
            "MAINTAINER" => {}
            other => return Err(invalid(format!("the instruction `{other}` is not supported"))),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: Value) {
        self.config.insert(key.to_owned(), value);
    }

    fn nested(&mut self, key: &str, name: String, value: Value) {
        let entry = self.config.entry(key).or_insert_with(|| json!({}));
        entry[name] = value;
    }

    fn env(&self) -> BTreeMap<String, String> {
        let lines = self.config.get("Env").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Arguments, and over them the image's environment.
    fn expand(&self, text: &str) -> String {
        let mut values = self.args.clone();
        values.extend(self.env());
        expand(text, &values)
    }

    fn workdir(&self) -> String {
        self.config.get("WorkingDir").and_then(Value::as_str).filter(|path| !path.is_empty()).unwrap_or("/").to_owned()
    }

    async fn worker(&mut self) -> Result<&Worker> {
        if self.worker.is_none() {
            let worker = Worker::new(self.embedded, &self.base, self.request.network).await?;
            if let Some(reason) = worker.lacks_network(self.request.network) {
                self.report(format!("`RUN` has no network: {reason}"));
            }
            self.worker = Some(worker);
        }
        self.worker.as_ref().ok_or_else(|| invalid("there is no instance to build in"))
    }

    async fn run(&mut self, rest: &str) -> Result<()> {
        let (command, workdir) = (arguments(rest), self.workdir());
        let user = self.config.get("User").and_then(Value::as_str).filter(|user| !user.is_empty()).map(str::to_owned);
        let mut env = self.args.clone();
        env.extend(self.env());
        let (embedded, progress) = (self.embedded, self.progress);
        self.worker().await?.run(embedded, progress, command, env, user, workdir).await
    }

    async fn copy(&mut self, rest: &str) -> Result<()> {
        let rest = self.expand(rest);
        let words: Vec<String> =
            serde_json::from_str(&rest).unwrap_or_else(|_| rest.split_whitespace().map(str::to_owned).collect());
        if let Some(flag) = words.iter().find(|word| word.starts_with("--")) {
            return Err(invalid(format!("`COPY {flag}` is not supported")));
        }
        let [sources @ .., target] = words.as_slice() else { return Err(invalid("`COPY` wants two paths")) };
        let into = target.ends_with('/') || sources.len() > 1;
        let to = join(&self.workdir(), target);
        let mut copies = Vec::new();
        for source in sources {
            let from = self.in_context(source)?;
            let name = from.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let inside = into && !from.is_dir();
            copies.push((from, if inside { join(&to, &name) } else { to.clone() }));
        }
        self.worker().await?.copy(copies).await
    }

    /// A path of the context; one that leads out of it is refused.
    fn in_context(&self, source: &str) -> Result<PathBuf> {
        let wrong = |error: std::io::Error| invalid(format!("`COPY {source}`: {error}")).source(error);
        let context = self.request.context.canonicalize().map_err(wrong)?;
        let path = context.join(join("", source).trim_start_matches('/')).canonicalize().map_err(wrong)?;
        if path.starts_with(&context) {
            Ok(path)
        } else {
            Err(invalid(format!("`COPY {source}` is outside of the build context")))
        }
    }

    async fn publish(&self, worker: Option<&Worker>) -> Result<Stored> {
        let (store, name) = (&self.embedded.context.store, self.request.image.clone());
        let base = match worker {
            None => self.base.clone(),
            Some(worker) => {
                let (context, base) = (self.embedded.context.clone(), self.base.digest.clone());
                let image = worker.image().clone();
                let commit = Commit { upper: worker.upper(), base, image, labels: BTreeMap::new() };
                run_blocking("build", move || context.commit("build", commit)).await?
            }
        };
        let (store, config) = (store.clone(), self.config.clone());
        let working = worker.map(|worker| worker.image().clone());
        run_blocking("build", move || {
            let built = store.configure(&base, &name, |had| *had = config.into()).map_err(of_store("build"))?;
            if let Some(working) = working {
                store.remove(&working).map_err(of_store("build"))?;
            }
            Ok(built)
        })
        .await
    }
}
