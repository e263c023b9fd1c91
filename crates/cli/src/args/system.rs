//! What concerns Hythe itself.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

/// Show a deploy from beginning to end; nothing real is started
///
/// An agent of its own runs in this process, with the in-process runtime alone: it starts no process, opens no port and needs no engine.
/// A service of two components is deployed, looked at and taken away again. Nothing is left.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe demo
  hythe demo --file               the service file that is deployed
  hythe demo --file > demo.toml   to go on from there")]
pub(crate) struct Demo {
    /// Print the service file instead
    #[arg(long)]
    pub(crate) file: bool,
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
    /// How to write its log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Leave the terminal of the command that started it
    #[arg(long, hide = true)]
    pub(crate) background_child: bool,
    /// Print the names of the places where a test can end it (`HYTHE_CRASH_AT`), and end
    #[arg(long, hide = true)]
    pub(crate) crash_points: bool,
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
