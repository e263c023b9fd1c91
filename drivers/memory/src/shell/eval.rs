//! Running commands.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hythe_runtime::watched;

use super::applets::{Program, look_up};
use super::ast::{Body, Command, Item, Link, Part, Pipeline, Script, Word};
use super::parse::parse;
use super::stdio::{Input, Sink};
use super::{NotExecutable, Setup, User};
use crate::files::View;
use crate::process::{Mailbox, Run};

/// A shell, or a process started by one.
#[derive(Clone)]
pub(super) struct Shell {
    pub(super) env: BTreeMap<String, String>,
    pub(super) vars: BTreeMap<String, String>,
    pub(super) positional: Vec<String>,
    pub(super) workdir: String,
    pub(super) user: User,
    pub(super) hostname: String,
    pub(super) view: View,
    pub(super) run: Arc<Run>,
    pub(super) pid: u32,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) terminal: bool,
    pub(super) stdin: Input,
    pub(super) stdout: Sink,
    pub(super) stderr: Sink,
    pub(super) status: i32,
    pub(super) last_job: Option<u32>,
    pub(super) traps: BTreeMap<u8, String>,
    pub(super) jobs: Vec<Job>,
    /// `exit` was called.
    pub(super) leaving: Option<i32>,
    in_trap: bool,
}

/// A command in the background.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) pid: u32,
    ended: watched::Receiver<Option<i32>>,
}

impl Job {
    pub(super) async fn ended(&mut self) -> i32 {
        match self.ended.wait_for(Option::is_some).await {
            Ok(code) => code.unwrap_or(137),
            Err(_) => 137,
        }
    }
}

impl Shell {
    pub(super) fn new(setup: Setup) -> Self {
        let mut env = setup.env;
        env.entry("HOME".to_owned()).or_insert_with(|| setup.user.home.clone());
        Self {
            env,
            vars: BTreeMap::new(),
            positional: vec!["sh".to_owned()],
            workdir: setup.workdir,
            user: setup.user,
            hostname: setup.hostname,
            view: setup.view,
            run: setup.run,
            pid: setup.pid,
            mailbox: setup.mailbox,
            terminal: setup.terminal,
            stdin: setup.stdin,
            stdout: setup.stdout,
            stderr: setup.stderr,
            status: 0,
            last_job: None,
            traps: BTreeMap::new(),
            jobs: Vec::new(),
            leaving: None,
            in_trap: false,
        }
    }

    /// The same shell for a part of a script that must not change this one.
    pub(super) fn subshell(&self) -> Self {
        Self { jobs: Vec::new(), ..self.clone() }
    }

    /// Runs a program as this very process: what an engine was given as arguments, or what `exec` names.
    pub(super) async fn main(&mut self, arguments: &[String]) -> i32 {
        let name = arguments.first().map(String::as_str).unwrap_or_default();
        match look_up(&self.view, &self.workdir, name) {
            Ok(Program::Applet(applet)) if matches!(applet.as_str(), "sh" | "ash") => {
                match shell_script(arguments, &self.stdin).await {
                    Ok((text, positional)) => {
                        self.positional = positional;
                        self.run_text(&text).await
                    }
                    Err(words) => self.refuse(words).await,
                }
            }
            Ok(Program::Script(text)) => {
                self.positional = arguments.to_vec();
                self.run_text(&text).await
            }
            _ => self.external(arguments).await,
        }
    }

    /// Says what is wrong with the arguments of a shell.
    async fn refuse(&self, words: impl std::fmt::Display) -> i32 {
        self.complain(words).await;
        2
    }

    pub(super) async fn complain(&self, words: impl std::fmt::Display) {
        let line = format!("sh: {words}\n");
        // A closed stderr loses words, as everywhere.
        let _ = self.stderr.write(line).await;
    }

    pub(super) async fn run_text(&mut self, text: &str) -> i32 {
        match parse(text) {
            Ok(script) => self.script(&script).await,
            Err(error) => {
                self.complain(error).await;
                2
            }
        }
    }

    pub(super) fn script<'a>(&'a mut self, script: &'a Script) -> BoxFuture<'a, i32> {
        async move {
            for item in script {
                self.item(item).await;
                self.run_traps().await;
                if self.leaving.is_some() {
                    break;
                }
            }
            self.leaving.unwrap_or(self.status)
        }
        .boxed()
    }

    async fn item(&mut self, item: &Item) {
        if item.background {
            self.background(item);
            self.status = 0;
            return;
        }
        for (link, pipeline) in &item.chain {
            let runs = match link {
                Link::Always => true,
                Link::And => self.status == 0,
                Link::Or => self.status != 0,
            };
            if runs && self.leaving.is_none() {
                self.status = self.pipeline(pipeline).await;
            }
        }
    }

    fn background(&mut self, item: &Item) {
        let mut shell = self.forked();
        shell.stdin = Input::empty();
        self.last_job = Some(shell.pid);
        let script = vec![Item { background: false, ..item.clone() }];
        let (end, ended) = watched::channel(None);
        self.jobs.push(Job { pid: shell.pid, ended });
        tokio::spawn(async move { end.send_replace(Some(shell.run_process(&script).await)) });
    }

    /// A subshell that is a process of its own.
    fn forked(&self) -> Self {
        let (pid, mailbox) = self.run.enter();
        Self { pid, mailbox, traps: BTreeMap::new(), jobs: Vec::new(), ..self.clone() }
    }

    /// Runs a script as a process that signals can end.
    async fn run_process(&mut self, script: &Script) -> i32 {
        let (run, mailbox, pid) = (Arc::clone(&self.run), Arc::clone(&self.mailbox), self.pid);
        let code = tokio::select! {
            biased;
            signal = mailbox.fatal() => 128 + i32::from(signal),
            () = run.ending.cancelled() => 137,
            code = self.script(script) => mailbox.died_of().map_or(code, |signal| 128 + i32::from(signal)),
        };
        run.leave(pid);
        code & 0xff
    }

    async fn pipeline(&mut self, pipeline: &Pipeline) -> i32 {
        let status = match pipeline.commands.as_slice() {
            [command] => self.command(command).await,
            commands => self.piped(commands).await,
        };
        if pipeline.negated { i32::from(status == 0) } else { status }
    }

    async fn piped(&mut self, commands: &[Command]) -> i32 {
        let mut stages = Vec::new();
        let mut stdin = self.stdin.clone();
        for (at, command) in commands.iter().enumerate() {
            let mut shell = self.subshell();
            shell.stdin = stdin;
            stdin = Input::empty();
            if at + 1 < commands.len() {
                (shell.stdout, stdin) = Sink::pipe();
            }
            // Each stage owns its ends, so that its end closes them.
            stages.push(async move { shell.command(command).await }.boxed());
        }
        futures_util::future::join_all(stages).await.last().copied().unwrap_or(0)
    }

    async fn command(&mut self, command: &Command) -> i32 {
        self.run.gate().await;
        let kept = (self.stdin.clone(), self.stdout.clone(), self.stderr.clone());
        let status = match self.redirect(&command.redirects).await {
            Ok(()) => self.body(&command.body).await,
            Err(words) => {
                self.complain(words).await;
                1
            }
        };
        (self.stdin, self.stdout, self.stderr) = kept;
        status
    }

    async fn body(&mut self, body: &Body) -> i32 {
        match body {
            Body::Simple(words) => self.simple(words).await,
            Body::Group(script) => self.script(script).await,
            Body::Subshell(script) => self.forked().run_process(script).await,
            Body::While { until, condition, body } => self.repeat(*until, condition, body).await,
            Body::If { arms, otherwise } => self.choose(arms, otherwise).await,
            Body::For { name, words, body } => {
                for value in self.expand(words).await {
                    self.vars.insert(name.clone(), value);
                    self.status = self.script(body).await;
                    if self.leaving.is_some() {
                        break;
                    }
                }
                self.status
            }
        }
    }

    async fn repeat(&mut self, until: bool, condition: &Script, body: &Script) -> i32 {
        let mut status = 0;
        while (self.script(condition).await == 0) != until && self.leaving.is_none() {
            status = self.script(body).await;
        }
        status
    }

    async fn choose(&mut self, arms: &[(Script, Script)], otherwise: &Script) -> i32 {
        for (condition, body) in arms {
            if self.script(condition).await == 0 && self.leaving.is_none() {
                return self.script(body).await;
            }
        }
        self.status = 0;
        self.script(otherwise).await
    }

    async fn simple(&mut self, words: &[Word]) -> i32 {
        let assigned = words.iter().take_while(|word| is_assignment(word)).count();
        let mut pairs = Vec::new();
        for word in &words[..assigned] {
            let text = self.expand_whole(word).await;
            pairs.extend(text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
        }
        let arguments = self.expand(&words[assigned..]).await;
        if arguments.is_empty() {
            self.assign(pairs);
            return if assigned == words.len() { self.status_of_assignment(words) } else { 0 };
        }
        let kept = self.env.clone();
        self.env.extend(pairs);
        match self.builtin(&arguments).await {
            Some(status) => status,
            None => {
                let status = self.external(&arguments).await;
                self.env = kept;
                status
            }
        }
    }

    /// `x=$(cmd)` has the status of the command, a plain assignment succeeds.
    fn status_of_assignment(&self, words: &[Word]) -> i32 {
        let substitutes = words.iter().flatten().any(|part| matches!(part, Part::Substitution { .. }));
        if substitutes { self.status } else { 0 }
    }

    fn assign(&mut self, pairs: Vec<(String, String)>) {
        for (name, value) in pairs {
            let exported = self.env.contains_key(&name);
            let scope = if exported { &mut self.env } else { &mut self.vars };
            scope.insert(name, value);
        }
    }

    /// Runs a program as a child.
    pub(super) async fn external(&mut self, arguments: &[String]) -> i32 {
        let name = arguments.first().map(String::as_str).unwrap_or_default();
        match look_up(&self.view, &self.workdir, name) {
            Ok(Program::Applet(applet)) => self.applet(&applet, arguments).await,
            Ok(Program::Script(text)) => self.child_shell(&text, arguments.to_vec()).await,
            Err(why) => {
                let words = if why == NotExecutable::Absent { "not found" } else { "Permission denied" };
                self.complain(format!("{name}: {words}")).await;
                why.code()
            }
        }
    }

    /// `sh …` as a child.
    pub(super) async fn nested_shell(&mut self, arguments: &[String]) -> i32 {
        match shell_script(arguments, &self.stdin).await {
            Ok((text, positional)) => self.child_shell(&text, positional).await,
            Err(words) => self.refuse(words).await,
        }
    }

    async fn child_shell(&mut self, text: &str, positional: Vec<String>) -> i32 {
        let mut child = self.forked();
        child.vars.clear();
        child.positional = positional;
        match parse(text) {
            Ok(script) => child.run_process(&script).await,
            Err(error) => self.refuse(error).await,
        }
    }

    async fn run_traps(&mut self) {
        while !self.in_trap && self.leaving.is_none() {
            let Some(signal) = self.mailbox.take() else { return };
            if let Some(text) = self.traps.get(&signal).cloned() {
                let status = self.status;
                self.in_trap = true;
                self.run_text(&text).await;
                self.in_trap = false;
                self.status = status;
            }
        }
    }
}

/// The script and the positional parameters of `sh [-c text [name arguments…]]`; without `-c` it is read from stdin.
async fn shell_script(arguments: &[String], stdin: &Input) -> Result<(String, Vec<String>), String> {
    match arguments.get(1).map(String::as_str) {
        Some("-c" | "-ec" | "-lc") => {
            let text = arguments.get(2).ok_or("-c requires an argument")?.clone();
            let positional = arguments.get(3..).unwrap_or_default().to_vec();
            Ok((text, if positional.is_empty() { vec!["sh".to_owned()] } else { positional }))
        }
        Some(other) if other != "-s" => Err(format!("can't open '{other}'")),
        _ => Ok((String::from_utf8_lossy(&stdin.read_all().await).into_owned(), vec!["sh".to_owned()])),
    }
}

fn is_assignment(word: &Word) -> bool {
    let Some(Part::Literal(text)) = word.first() else { return false };
    text.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    })
}
