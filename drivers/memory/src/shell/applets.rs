//! Builtins and programs.

use std::sync::Arc;
use std::time::Duration;

use super::NotExecutable;
use super::eval::{Job, Shell};
use crate::files::{FileError, Node, View, clean};

/// The programs in `/bin`.
pub(crate) const APPLETS: [&str; 38] = [
    "ash",
    "cat",
    "chmod",
    "chown",
    "cp",
    "date",
    "echo",
    "env",
    "expr",
    "false",
    "grep",
    "head",
    "hostname",
    "id",
    "kill",
    "ls",
    "mkdir",
    "mv",
    "nproc",
    "printenv",
    "printf",
    "pwd",
    "rm",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "sort",
    "stty",
    "tail",
    "test",
    "touch",
    "tr",
    "true",
    "tty",
    "wc",
    "whoami",
    "yes",
];

/// What a name leads to.
#[derive(Debug)]
pub(crate) enum Program {
    Applet(String),
    Script(String),
}

pub(super) fn look_up(view: &View, workdir: &str, name: &str) -> Result<Program, NotExecutable> {
    if !name.contains('/') {
        let found = ["/bin", "/sbin", "/usr/bin", "/usr/local/bin"].iter().find_map(|directory| {
            let path = format!("{directory}/{name}");
            matches!(view.get(&path), Some(Node::File { .. })).then_some(path)
        });
        return if name.is_empty() {
            Err(NotExecutable::Absent)
        } else {
            open(view, &found.ok_or(NotExecutable::Absent)?)
        };
    }
    open(view, &clean(workdir, name))
}

fn open(view: &View, path: &str) -> Result<Program, NotExecutable> {
    match view.get(path).ok_or(NotExecutable::Absent)? {
        Node::File { bytes, executable: true } if bytes == b"applet" => {
            Ok(Program::Applet(path.rsplit('/').next().unwrap_or_default().to_owned()))
        }
        Node::File { bytes, executable: true } => Ok(Program::Script(String::from_utf8_lossy(&bytes).into_owned())),
        Node::File { .. } | Node::Directory => Err(NotExecutable::Denied),
    }
}

type Done = Result<i32, String>;

fn no_file(path: &str, error: FileError) -> String {
    format!("{path}: {error}")
}

impl Shell {
    /// Commands that change the shell itself; `None`: not one of them.
    pub(super) async fn builtin(&mut self, arguments: &[String]) -> Option<i32> {
        let rest = &arguments[1..];
        let done = match arguments[0].as_str() {
            ":" => Ok(0),
            "exit" => {
                let code = rest.first().and_then(|text| text.parse::<i32>().ok()).unwrap_or(self.status);
                self.leaving = Some(code & 0xff);
                Ok(code & 0xff)
            }
            "cd" => self.change_directory(rest.first().map_or("/", String::as_str)),
            "export" => self.export(rest),
            "unset" => {
                for name in rest {
                    self.vars.remove(name);
                    self.env.remove(name);
                }
                Ok(0)
            }
            "set" => Ok(0),
            "trap" => self.trap(rest),
            "kill" => self.kill(rest),
            "wait" => Ok(self.wait(rest).await),
            "read" => Ok(self.read_variable(rest).await),
            "[" | "test" => self.test(arguments),
            "exec" => {
                let code = self.main(rest).await;
                self.leaving = Some(code);
                Ok(code)
            }
            _ => return None,
        };
        Some(self.settle(&arguments[0], done).await)
    }

    async fn settle(&mut self, name: &str, done: Done) -> i32 {
        match done {
            Ok(status) => status,
            Err(words) => {
                self.complain(format!("{name}: {words}")).await;
                if matches!(name, "test" | "[") { 2 } else { 1 }
            }
        }
    }

    /// A program of `/bin`.
    pub(super) async fn applet(&mut self, applet: &str, arguments: &[String]) -> i32 {
        let rest = arguments.get(1..).unwrap_or_default();
        let done = match applet {
            // Files have no owner here.
            "true" | "chown" => Ok(0),
            "false" => Ok(1),
            "sh" | "ash" => Ok(Box::pin(self.nested_shell(arguments)).await),
            "kill" => self.kill(rest),
            "test" => self.test(arguments),
            "sleep" => self.sleep(rest).await,
            "env" => Box::pin(self.run_env(rest)).await,
            "id" => self.id(rest).await,
            "pwd" => self.say(if self.workdir.is_empty() { "/" } else { &self.workdir }).await,
            "hostname" => self.say(&self.hostname).await,
            "whoami" => self.say(&self.user.name).await,
            "nproc" => self.say("1").await,
            "tty" | "stty" => self.show_terminal(applet, rest).await,
            "mkdir" => self.make_directories(rest),
            "rm" => self.remove(rest),
            "touch" => self.touch(rest),
            "chmod" => self.make_executable(rest),
            "cp" | "mv" => self.copy(applet, rest),
            "ls" => self.list(rest).await,
            _ => self.text_applet(applet, rest).await,
        };
        self.settle(applet, done).await
    }

    /// Writes a line.
    pub(super) async fn say(&self, line: &str) -> Done {
        self.put(format!("{line}\n")).await
    }

    pub(super) async fn put(&self, bytes: impl Into<bytes::Bytes>) -> Done {
        match self.stdout.write(bytes).await {
            Ok(()) => Ok(0),
            Err(error) => Err(format!("write error: {error}")),
        }
    }

    fn change_directory(&mut self, path: &str) -> Done {
        let path = clean(&self.workdir, path);
        match self.view.get(&path) {
            Some(Node::Directory) => {
                self.workdir = path;
                Ok(0)
            }
            Some(Node::File { .. }) => Err(format!("can't cd to {path}: {}", FileError::NotDirectory)),
            None => Err(format!("can't cd to {path}: {}", FileError::NotFound)),
        }
    }

    fn export(&mut self, arguments: &[String]) -> Done {
        for argument in arguments {
            match argument.split_once('=') {
                Some((name, value)) => drop(self.env.insert(name.to_owned(), value.to_owned())),
                None => self.env.extend(self.vars.remove(argument).map(|value| (argument.clone(), value))),
            }
        }
        Ok(0)
    }

    fn trap(&mut self, arguments: &[String]) -> Done {
        let (action, names) = arguments.split_first().ok_or("an action is missing")?;
        for name in names.iter().filter(|name| *name != "EXIT" && *name != "0") {
            let signal = number_of(name)?;
            match action.as_str() {
                "-" => {
                    self.traps.remove(&signal);
                    self.mailbox.default_action(signal);
                }
                "" => self.mailbox.ignore(signal),
                action => {
                    self.traps.insert(signal, action.to_owned());
                    self.mailbox.handle(signal);
                }
            }
        }
        Ok(0)
    }

    fn kill(&self, arguments: &[String]) -> Done {
        let (signal, pids) = match arguments.split_first() {
            Some((flag, rest)) if flag == "-s" => (number_of(rest.first().ok_or("a signal is missing")?)?, &rest[1..]),
            Some((flag, rest)) if flag.starts_with('-') => (number_of(&flag[1..])?, rest),
            _ => (15, arguments),
        };
        for text in pids {
            let process = text.parse().ok().and_then(|pid| self.run.process(pid));
            let process = process.ok_or_else(|| format!("can't kill pid {text}: No such process"))?;
            if signal != 0 {
                process.deliver_inside(signal);
            }
        }
        Ok(0)
    }

    /// `wait` is what a trapped signal interrupts.
    async fn wait(&mut self, arguments: &[String]) -> i32 {
        let named = |pid: &u32| arguments.is_empty() || arguments.contains(&pid.to_string());
        let jobs: Vec<Job> = self.jobs.iter().filter(|job| named(&job.pid)).cloned().collect();
        let mailbox = Arc::clone(&self.mailbox);
        let mut status = 0;
        for mut job in jobs {
            tokio::select! {
                biased;
                () = mailbox.pending() => return 128 + 15,
                code = job.ended() => status = code,
            }
        }
        if arguments.is_empty() { 0 } else { status }
    }

    async fn read_variable(&mut self, arguments: &[String]) -> i32 {
        let name = arguments.iter().find(|argument| !argument.starts_with('-')).cloned();
        match self.stdin.read_line().await {
            Some(line) => {
                self.vars.insert(name.unwrap_or_else(|| "REPLY".to_owned()), line.trim().to_owned());
                0
            }
            None => 1,
        }
    }

    async fn sleep(&mut self, arguments: &[String]) -> Done {
        for argument in arguments {
            let (number, unit) = argument.split_at(argument.trim_end_matches(char::is_alphabetic).len());
            let scale = match unit {
                "" | "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                "d" => 86_400.0,
                _ => return Err(format!("invalid number '{argument}'")),
            };
            let seconds: f64 = number.parse().map_err(|_| format!("invalid number '{argument}'"))?;
            tokio::time::sleep(Duration::try_from_secs_f64(seconds * scale).unwrap_or(Duration::MAX)).await;
        }
        self.run.gate().await;
        Ok(0)
    }

    async fn run_env(&mut self, arguments: &[String]) -> Done {
        let assigned = arguments.iter().take_while(|word| word.contains('=')).count();
        let mut env = self.env.clone();
        let pairs = arguments[..assigned].iter().filter_map(|word| word.split_once('='));
        env.extend(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if assigned == arguments.len() {
            let lines: String = env.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
            return self.put(lines).await;
        }
        let mut child = self.subshell();
        child.env = env;
        Ok(child.external(&arguments[assigned..]).await)
    }

    async fn id(&self, arguments: &[String]) -> Done {
        let user = &self.user;
        match arguments.first().map(String::as_str) {
            Some("-u") => self.say(&user.uid.to_string()).await,
            Some("-g") => self.say(&user.gid.to_string()).await,
            Some("-un") => self.say(&user.name).await,
            _ => self.say(&format!("uid={}({}) gid={}", user.uid, user.name, user.gid)).await,
        }
    }

    async fn show_terminal(&self, applet: &str, arguments: &[String]) -> Done {
        let size = *self.run.terminal.borrow();
        match (applet, self.terminal) {
            ("tty", true) => self.say("/dev/pts/0").await,
            ("tty", false) => {
                self.say("not a tty").await?;
                Ok(1)
            }
            ("stty", true) if arguments == ["size"] => self.say(&format!("{} {}", size.rows, size.columns)).await,
            ("stty", true) => Ok(0),
            _ => Err("standard input: Not a tty".to_owned()),
        }
    }

    fn make_directories(&self, arguments: &[String]) -> Done {
        let parents = arguments.iter().any(|flag| flag == "-p");
        for path in arguments.iter().filter(|path| !path.starts_with('-')) {
            match self.view.make_directory(&clean(&self.workdir, path)) {
                Err(FileError::Exists) if parents => {}
                made => made.map_err(|error| format!("can't create directory '{path}': {error}"))?,
            }
        }
        Ok(0)
    }

    fn remove(&self, arguments: &[String]) -> Done {
        let force = arguments.iter().any(|flag| flag.starts_with('-') && flag.contains('f'));
        for path in arguments.iter().filter(|path| !path.starts_with('-')) {
            match self.view.remove(&clean(&self.workdir, path)) {
                Err(FileError::NotFound) if force => {}
                removed => removed.map_err(|error| format!("can't remove '{path}': {error}"))?,
            }
        }
        Ok(0)
    }

    fn touch(&self, arguments: &[String]) -> Done {
        for path in arguments {
            self.view.write(&clean(&self.workdir, path), b"", true).map_err(|error| no_file(path, error))?;
        }
        Ok(0)
    }

    fn make_executable(&self, arguments: &[String]) -> Done {
        let (mode, paths) = arguments.split_first().ok_or("a mode is missing")?;
        let executable = mode.contains('x') || mode.contains('7') || mode.contains('5');
        for path in paths.iter().filter(|_| executable) {
            let path = clean(&self.workdir, path);
            if self.view.get(&path) != Some(Node::Directory) {
                self.view.make_executable(&path).map_err(|error| no_file(&path, error))?;
            }
        }
        Ok(0)
    }

    fn copy(&self, applet: &str, arguments: &[String]) -> Done {
        let [from, to] = arguments else { return Err("two paths are wanted".to_owned()) };
        let (source, mut target) = (clean(&self.workdir, from), clean(&self.workdir, to));
        if self.view.get(&target) == Some(Node::Directory) {
            target = format!("{target}/{}", source.rsplit('/').next().unwrap_or_default());
        }
        let bytes = self.view.read(&source).map_err(|error| no_file(from, error))?;
        self.view.write(&target, &bytes, false).map_err(|error| no_file(to, error))?;
        if applet == "mv" {
            self.view.remove(&source).map_err(|error| no_file(from, error))?;
        }
        Ok(0)
    }

    async fn list(&self, arguments: &[String]) -> Done {
        let mut names = Vec::new();
        let paths: Vec<&String> = arguments.iter().filter(|path| !path.starts_with('-')).collect();
        let here = ".".to_owned();
        for path in if paths.is_empty() { vec![&here] } else { paths } {
            let clean = clean(&self.workdir, path);
            match self.view.get(&clean) {
                Some(Node::Directory) => names.extend(self.view.names(&clean).map_err(|error| no_file(path, error))?),
                Some(Node::File { .. }) => names.push(path.clone()),
                None => return Err(no_file(path, FileError::NotFound)),
            }
        }
        self.put(names.iter().map(|name| format!("{name}\n")).collect::<String>()).await
    }
}

fn number_of(name: &str) -> Result<u8, String> {
    if name == "0" {
        return Ok(0);
    }
    let signal: hythe_spec::Signal = name.parse().map_err(|_| format!("bad signal name '{name}'"))?;
    Ok(signal.0)
}
