//! Builds: the common instructions of a Dockerfile, run in this process.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use hythe_runtime::{BuildRequest, Error, ErrorKind, ImageHealth, ProgressSink, Result};

use crate::Memory;
use crate::catalogue::Content;
use crate::engine::hex_digest;
use crate::files::{Node, SharedTree, Tree, View, clean};
use crate::images::{content, report};
use crate::process::Run;
use crate::shell::{self, Input, Setup, Sink};

/// Lines of a failing step that are quoted.
const QUOTED: usize = 20;

fn invalid(words: impl Into<String>) -> Error {
    Error::new(ErrorKind::Invalid, "build", words)
}

/// Builds an image, step by step.
pub(crate) async fn build(memory: &Memory, request: &BuildRequest, progress: &ProgressSink) -> Result<Content> {
    let path = request.dockerfile.display();
    let text = std::fs::read_to_string(&request.dockerfile)
        .map_err(|error| invalid(format!("cannot read `{path}`")).source(error))?;
    let mut build = Build { memory, request, args: request.args.clone(), content: Content::default(), begun: false };
    for (at, step) in steps(&text).iter().enumerate() {
        report(progress, "", &format!("STEP {}: {step}", at + 1), None);
        build.step(step, progress).await?;
    }
    build.content.config.labels.extend(request.labels.clone());
    Ok(build.content)
}

/// Instructions without comments, continued lines joined.
fn steps(text: &str) -> Vec<String> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

struct Build<'a> {
    memory: &'a Memory,
    request: &'a BuildRequest,
    args: BTreeMap<String, String>,
    content: Content,
    begun: bool,
}

impl Build<'_> {
    async fn step(&mut self, step: &str, progress: &ProgressSink) -> Result<()> {
        let (instruction, rest) = step.split_once(char::is_whitespace).unwrap_or((step, ""));
        let rest = rest.trim();
        let instruction = instruction.to_ascii_uppercase();
        if !self.begun && !matches!(instruction.as_str(), "FROM" | "ARG") {
            return Err(invalid(format!("`{instruction}` comes before `FROM`")));
        }
        match instruction.as_str() {
            "FROM" => self.from(&self.expand(rest))?,
            "ARG" => {
                let (name, default) = rest.split_once('=').unwrap_or((rest, ""));
                self.args.entry(name.to_owned()).or_insert_with(|| default.to_owned());
            }
            "ENV" => self.content.config.env.extend(pairs(&self.expand(rest))),
            "LABEL" => self.content.config.labels.extend(pairs(&self.expand(rest))),
            "ENTRYPOINT" => {
                self.content.config.entrypoint = arguments(rest);
                self.content.config.command.clear();
            }
            "CMD" => self.content.config.command = arguments(rest),
            "USER" => self.content.config.user = Some(self.expand(rest)),
            "WORKDIR" => self.workdir(&self.expand(rest)),
            "STOPSIGNAL" => {
                let signal = rest.parse().map_err(|error: hythe_spec::ParseError| invalid(error.message))?;
                self.content.config.stop_signal = Some(signal);
            }
            "COPY" | "ADD" => self.copy(&self.expand(rest))?,
            "RUN" => self.run(rest, progress).await?,
            "HEALTHCHECK" => {
                let check =
                    ImageHealth::instruction(rest).map_err(|why| invalid(format!("`HEALTHCHECK {rest}`: {why}")))?;
                self.content.config.health = ImageHealth::read(&check);
            }
            "EXPOSE" | "MAINTAINER" => {}
            other => return Err(invalid(format!("unknown instruction `{other}`"))),
        }
        Ok(())
    }

    /// Puts the values of build arguments and environment in place of `$name` and `${name}`.
    fn expand(&self, text: &str) -> String {
        let mut expanded = text.to_owned();
        for (name, value) in self.args.iter().chain(&self.content.config.env) {
            expanded = expanded.replace(&format!("${{{name}}}"), value).replace(&format!("${name}"), value);
        }
        expanded
    }

    fn from(&mut self, name: &str) -> Result<()> {
        self.begun = true;
        if name != "scratch" {
            let image = name.parse().map_err(|error: hythe_spec::ParseError| invalid(error.message))?;
            self.content = content(self.memory, "build", &image)?;
        }
        Ok(())
    }

    fn workdir(&mut self, path: &str) {
        let path = clean(self.content.config.workdir.as_deref().unwrap_or_default(), path);
        self.content.tree.put(&path, Node::Directory);
        self.content.config.workdir = Some(path);
    }

    fn copy(&mut self, rest: &str) -> Result<()> {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let [sources @ .., target] = words.as_slice() else { return Err(invalid("`COPY` wants two paths")) };
        let base = self.content.config.workdir.clone().unwrap_or_default();
        for source in sources {
            let from = self.request.context.join(clean("", source).trim_start_matches('/'));
            let mut to = clean(&base, target);
            if target.ends_with('/') && from.is_file() {
                to = format!("{to}/{}", from.file_name().unwrap_or_default().to_string_lossy());
            }
            copy_in(&mut self.content.tree, &from, &to)
                .map_err(|error| invalid(format!("cannot copy `{source}`")).source(error))?;
        }
        Ok(())
    }

    async fn run(&mut self, rest: &str, progress: &ProgressSink) -> Result<()> {
        let output = Arc::new(Mutex::new(Vec::new()));
        let root = SharedTree::new(self.content.tree.clone().into());
        let arguments = arguments(rest);
        let setup = self.setup(arguments, View::new(Arc::clone(&root), false, Vec::new()), &output)?;
        let code = shell::execute(setup).await;
        let output = std::mem::take(&mut *output.lock().unwrap_or_else(PoisonError::into_inner));
        let output = String::from_utf8_lossy(&output).into_owned();
        for line in output.lines() {
            report(progress, "", line, None);
        }
        if code != 0 {
            let lines: Vec<&str> = output.lines().collect();
            let last = lines[lines.len().saturating_sub(QUOTED)..].join("\n");
            return Err(invalid(format!("the step `RUN {rest}` ended with {code}: {last}")));
        }
        self.content.tree = root.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(())
    }

    fn setup(&self, arguments: Vec<String>, view: View, output: &Arc<Mutex<Vec<u8>>>) -> Result<Setup> {
        let config = &self.content.config;
        let user =
            shell::find_user(&view, config.user.as_deref()).map_err(|name| invalid(format!("no user `{name}`")))?;
        let run = Run::new(false);
        let mut env = self.args.clone();
        env.extend(config.env.clone());
        Ok(Setup {
            arguments,
            env,
            workdir: config.workdir.clone().unwrap_or_default(),
            user,
            hostname: hex_digest(self.request.image.to_string().as_bytes())[..12].to_owned(),
            view,
            pid: run.main_pid(),
            mailbox: Arc::clone(&run.main),
            run,
            terminal: false,
            stdin: Input::empty(),
            stdout: Sink::Buffer(Arc::clone(output)),
            stderr: Sink::Buffer(Arc::clone(output)),
        })
    }
}

fn copy_in(tree: &mut Tree, from: &Path, to: &str) -> std::io::Result<()> {
    if !from.is_dir() {
        use std::os::unix::fs::PermissionsExt;
        let executable = std::fs::metadata(from)?.permissions().mode() & 0o111 != 0;
        tree.put_file(to, &std::fs::read(from)?, executable);
        return Ok(());
    }
    tree.put(to, Node::Directory);
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        copy_in(tree, &entry.path(), &format!("{to}/{}", entry.file_name().to_string_lossy()))?;
    }
    Ok(())
}

/// The JSON form, or a line for the shell.
fn arguments(rest: &str) -> Vec<String> {
    serde_json::from_str(rest).unwrap_or_else(|_| vec!["/bin/sh".to_owned(), "-c".to_owned(), rest.to_owned()])
}

/// `a=b c="d e"`, or `a b`.
fn pairs(rest: &str) -> Vec<(String, String)> {
    if let Some((name, value)) = rest.split_once(char::is_whitespace).filter(|(name, _)| !name.contains('=')) {
        return vec![(name.to_owned(), value.trim().to_owned())];
    }
    let mut pairs = Vec::new();
    let mut rest = rest.trim();
    while let Some((name, after)) = rest.split_once('=') {
        let (value, left) = match after.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => after.split_once(char::is_whitespace).unwrap_or((after, "")),
        };
        pairs.push((name.trim().to_owned(), value.to_owned()));
        rest = left.trim();
    }
    pairs
}
