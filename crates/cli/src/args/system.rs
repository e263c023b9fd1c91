//! What concerns Hythe itself.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// Deploy a small website and show it, on the best runtime of this host
///
/// The program packs itself into an image, deploys two components of it (a page, and a counter with a volume) with health checks, and prints the
/// page, its URL, status and logs. It goes on until `hythe demo --clean`. Nothing is downloaded.
/// With `--runtime memory`, and where no other runtime answers, a private agent in this process simulates a deploy: no process is started.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe demo
  hythe demo --runtime docker
  hythe demo --clean              remove what it deployed
  hythe demo --file               the service file that is deployed")]
pub(crate) struct Demo {
    /// Name of the runtime, as `hythe runtimes` shows it
    #[arg(long, short, value_name = "RUNTIME")]
    pub(crate) runtime: Option<String>,
    /// Remove what an earlier demo deployed
    #[arg(long, conflicts_with = "runtime")]
    pub(crate) clean: bool,
    /// Print the service file of the demo instead
    #[arg(long)]
    pub(crate) file: bool,
    /// What the demonstration's containers run
    #[arg(long, hide = true, value_name = "ROLE")]
    pub(crate) serve: Option<DemoRole>,
}

/// What a container of the demonstration does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoRole {
    /// Counts visits.
    Counter,
    /// Shows the page.
    Web,
    /// Asks the server in the same container whether it is healthy.
    Probe,
}

impl DemoRole {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Web => "web",
            Self::Probe => "probe",
        }
    }
}

/// Run the agent in the foreground
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe agent
  hythe agent --config /etc/hythe/agent.toml --log-format json")]
pub(crate) struct Agent {
    /// Configuration file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Socket to listen on
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,
    /// Directory for its database
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
    /// Format of its log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Leave the terminal of the command that started it
    #[arg(long, hide = true)]
    pub(crate) background_child: bool,
    /// Print the names of the crash points (`HYTHE_CRASH_AT`), and exit
    #[cfg(debug_assertions)]
    #[arg(long, hide = true)]
    pub(crate) crash_points: bool,
}

/// Stop every running workload before the host stops, dependents first
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe shutdown
  hythe shutdown --resume

Signals and grace periods are those of `hythe stop`. No agent is started for it. The unit hythe-workloads.service of
`hythe units` runs it.")]
pub(crate) struct Shutdown {
    /// Start what `hythe shutdown` stopped, dependencies first
    #[arg(long)]
    pub(crate) resume: bool,
}

/// Print the systemd units of the agent, or write them
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe units
  hythe units --directory /etc/systemd/system
  hythe units --user --directory ~/.config/systemd/user")]
pub(crate) struct Units {
    /// For the service manager of a user: a rootless agent, with a delegated cgroup
    #[arg(long)]
    pub(crate) user: bool,
    /// Write them there instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) directory: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Print the JSON Schema of service files
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe schema > hythe.schema.json

With `#:schema hythe.schema.json` as its first line, editors complete and check a service file.")]
pub(crate) struct Schema {}

/// Print the OpenAPI document of the agent's API
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe openapi > openapi.json")]
pub(crate) struct Openapi {}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe completions bash > /etc/bash_completion.d/hythe
  hythe completions fish > ~/.config/fish/completions/hythe.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the version, and the agent's where one answers
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe version\n  hythe version --json")]
pub(crate) struct Version {}

/// Print this reference as Markdown
#[derive(Debug, Args)]
pub(crate) struct HelpMarkdown {}
