//! What was typed and where, resolved once: nothing below asks the environment or a terminal again.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use hythe_api::paths;
use hythe_client::{Client, Endpoint};

use crate::args::{Color, Global};
use crate::report::Failure;

/// This program is an agent as well.
const HAS_AGENT: bool = cfg!(feature = "agent");

/// Everything that commands need to know besides their own arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Agent to talk to.
    pub(crate) endpoint: Endpoint,
    /// File with the token of that agent; absent: it is looked for where this user's agent has it.
    pub(crate) token_file: Option<PathBuf>,
    /// An agent may be started there: the endpoint is the default one.
    pub(crate) may_start_agent: bool,
    /// State directory of the agent that would be started.
    pub(crate) state_dir: PathBuf,
    /// Data as JSON.
    pub(crate) json: bool,
    /// Colours on stdout.
    pub(crate) color_stdout: bool,
    /// Colours on stderr.
    pub(crate) color_stderr: bool,
    /// Somebody looks at stdout.
    pub(crate) stdout_is_terminal: bool,
    /// Somebody looks at stderr.
    pub(crate) stderr_is_terminal: bool,
    /// Columns of the terminal that stdout is; absent: it is none.
    pub(crate) width: Option<u16>,
    /// Somebody looks at stderr: what moves may be drawn.
    pub(crate) interactive: bool,
}

/// What a process finds around itself.
pub(crate) struct Surroundings<'a> {
    pub(crate) env: paths::Env<'a>,
    pub(crate) is_root: bool,
    pub(crate) stdout_is_terminal: bool,
    pub(crate) stderr_is_terminal: bool,
    pub(crate) terminal_columns: Option<u16>,
}

/// The process's own surroundings.
pub(crate) fn surroundings() -> Surroundings<'static> {
    Surroundings {
        env: &|name| std::env::var(name).ok(),
        is_root: rustix::process::geteuid().is_root(),
        stdout_is_terminal: std::io::stdout().is_terminal(),
        stderr_is_terminal: std::io::stderr().is_terminal(),
        terminal_columns: crate::terminal::size(std::io::stdout()).map(|size| size.columns),
    }
}

impl Settings {
    pub(crate) fn resolve(global: &Global, around: &Surroundings<'_>) -> Result<Self, Failure> {
        let (endpoint, may_start_agent) = match global.host.as_deref().filter(|host| !host.is_empty()) {
            Some(host) => (host.parse().map_err(Failure::Host)?, false),
            None => (Endpoint::Unix(paths::default_socket(around.env, around.is_root)), HAS_AGENT),
        };
        Ok(Self {
            endpoint,
            token_file: global.token_file.clone().filter(|path| !path.as_os_str().is_empty()),
            may_start_agent,
            state_dir: paths::default_state_dir(around.env, around.is_root),
            json: global.json,
            color_stdout: color(global.color, around, around.stdout_is_terminal),
            color_stderr: color(global.color, around, around.stderr_is_terminal),
            stdout_is_terminal: around.stdout_is_terminal,
            stderr_is_terminal: around.stderr_is_terminal,
            width: width(around),
            interactive: around.stderr_is_terminal && (around.env)("TERM").as_deref() != Some("dumb"),
        })
    }
}

impl Settings {
    /// A client of the agent; nothing is connected yet.
    pub(crate) fn client(&self) -> Result<Client, Failure> {
        let client = Client::new(self.endpoint.clone());
        Ok(match self.token()? {
            Some(token) => client.with_token(token),
            None => client,
        })
    }

    /// The token for the agent, where one is needed. What was found without being named is sent to no other host.
    fn token(&self) -> Result<Option<String>, Failure> {
        if matches!(self.endpoint, Endpoint::Unix(_)) {
            return Ok(None);
        }
        let read = |path: &Path| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        match &self.token_file {
            Some(path) => {
                let unreadable = |source| Failure::File { path: path.display().to_string(), source };
                read(path).map(Some).map_err(unreadable)
            }
            None if self.endpoint.is_local() => Ok(read(&self.state_dir.join(paths::TOKEN)).ok()),
            None => Ok(None),
        }
    }
}

/// An explicit answer wins; then <https://no-color.org> and CLICOLOR_FORCE; then the terminal.
fn color(asked: Color, around: &Surroundings<'_>, is_terminal: bool) -> bool {
    let set = |name| (around.env)(name).is_some_and(|value| !value.is_empty());
    match asked {
        Color::Always => true,
        Color::Never => false,
        Color::Auto if set("NO_COLOR") => false,
        Color::Auto if set("CLICOLOR_FORCE") => true,
        Color::Auto => is_terminal && (around.env)("TERM").as_deref() != Some("dumb"),
    }
}

fn width(around: &Surroundings<'_>) -> Option<u16> {
    let columns = (around.env)("COLUMNS").and_then(|text| text.parse().ok());
    columns.filter(|columns| *columns > 0).or(around.terminal_columns.filter(|_| around.stdout_is_terminal))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const GLOBAL: Global = Global { host: None, token_file: None, json: false, color: Color::Auto };

    fn around<'a>(env: paths::Env<'a>) -> Surroundings<'a> {
        Surroundings {
            env,
            is_root: true,
            stdout_is_terminal: true,
            stderr_is_terminal: false,
            terminal_columns: Some(80),
        }
    }

    #[test]
    fn only_the_default_agent_may_be_started() {
        let default = Settings::resolve(&GLOBAL, &around(&|_| None)).unwrap();
        assert_eq!(default.endpoint, Endpoint::Unix("/run/hythe/agent.sock".into()));
        assert_eq!(default.may_start_agent, HAS_AGENT);

        let named = Global { host: Some("/run/hythe/agent.sock".into()), ..GLOBAL };
        assert!(!Settings::resolve(&named, &around(&|_| None)).unwrap().may_start_agent);
    }

    #[test]
    fn a_wrong_host_is_wrong_use() {
        let wrong = Global { host: Some("nonsense".into()), ..GLOBAL };
        let failure = Settings::resolve(&wrong, &around(&|_| None)).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
    }

    #[test]
    fn a_token_file_is_needed_where_it_is_named_and_only_over_tcp() {
        let missing = Some("/nonexistent/token".into());
        let over = |host: &str, token_file| Global { host: Some(host.into()), token_file, ..GLOBAL };
        let client = |global: &Global| Settings::resolve(global, &around(&|_| None)).unwrap().client();
        assert_eq!(client(&over("127.0.0.1:1", missing.clone())).unwrap_err().exit_code(), 2);
        assert!(client(&over("/run/a.sock", missing)).is_ok());
        assert!(client(&over("example.org:1", None)).is_ok());
    }

    #[test]
    fn colours_follow_the_flag_then_the_environment_then_the_terminal() {
        let plain = Settings::resolve(&GLOBAL, &around(&|_| None)).unwrap();
        assert!(plain.color_stdout && !plain.color_stderr);
        let no_color = |name: &str| (name == "NO_COLOR").then(|| "1".to_owned());
        assert!(!Settings::resolve(&GLOBAL, &around(&no_color)).unwrap().color_stdout);
        let always = Global { color: Color::Always, ..GLOBAL };
        assert!(Settings::resolve(&always, &around(&no_color)).unwrap().color_stdout);
    }

    #[test]
    fn tables_are_fitted_to_a_terminal_or_to_columns_and_never_to_a_pipe() {
        assert_eq!(Settings::resolve(&GLOBAL, &around(&|_| None)).unwrap().width, Some(80));
        let pipe = Surroundings { stdout_is_terminal: false, ..around(&|_| None) };
        assert_eq!(Settings::resolve(&GLOBAL, &pipe).unwrap().width, None);
        let columns = |name: &str| (name == "COLUMNS").then(|| "40".to_owned());
        assert_eq!(Settings::resolve(&GLOBAL, &around(&columns)).unwrap().width, Some(40));
    }
}
