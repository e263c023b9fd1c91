//! What changes a service that is deployed, and following it.

use clap::{Args, Subcommand};

/// A service or one of its components.
#[derive(Debug, Args)]
pub(crate) struct Scope {
    /// `shop`, `shop/web` or `shop-web`
    #[arg(value_name = "SERVICE[/COMPONENT]")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Stop a service or component; it stays stopped until it is started
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe stop shop\n  hythe stop shop/web --grace 30s")]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Time until SIGKILL; overrides the component's `stop_grace`
    #[arg(long, value_name = "DURATION", value_parser = millis)]
    pub(crate) grace: Option<hythe_spec::Millis>,
}

/// Start a stopped service or component
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe start shop\n  hythe start shop/web")]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// Restart a service or component
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe restart shop\n  hythe restart shop/web --grace 1s")]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Time until SIGKILL; overrides the component's `stop_grace`
    #[arg(long, value_name = "DURATION", value_parser = millis)]
    pub(crate) grace: Option<hythe_spec::Millis>,
}

/// Send a signal to a service or component; default KILL
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe kill shop/web
  hythe kill shop/web --signal HUP
  hythe kill shop -s USR1

A process that exits is restarted according to its restart policy, as after a crash. To stop it, use `hythe stop`.")]
pub(crate) struct Kill {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Name or number of the signal
    #[arg(long, short, value_name = "SIGNAL", default_value = "KILL", value_parser = signal)]
    pub(crate) signal: hythe_spec::Signal,
}

/// Remove a service; snapshots stay, and named volumes unless --volumes is given
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe undeploy shop\n  hythe undeploy shop --volumes")]
pub(crate) struct Undeploy {
    /// Name of the service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    /// Also remove the volumes that the service owns, with their data
    #[arg(long)]
    pub(crate) volumes: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// List running and past operations of the agent; join or cancel one
#[derive(Debug, Args)]
#[command(
    visible_alias = "ops",
    after_help = "Examples:
  hythe operations
  hythe operations join 42
  hythe operations cancel 42"
)]
pub(crate) struct Operations {
    #[command(subcommand)]
    pub(crate) command: Option<OperationsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperationsCommand {
    /// Show the progress of an operation from its beginning until it ends
    #[command(after_help = "Examples:\n  hythe operations join 42")]
    Join {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// Maximum time to wait, then fail; the agent continues
        #[arg(long, value_name = "DURATION", value_parser = millis)]
        timeout: Option<hythe_spec::Millis>,
    },
    /// Cancel an operation
    #[command(after_help = "Examples:\n  hythe operations cancel 42")]
    Cancel {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// How long to wait for an operation.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Wait {
    /// Wait for the result (default)
    #[arg(long, conflicts_with = "detach")]
    pub(crate) wait: bool,
    /// Return as soon as the agent has accepted the request
    #[arg(long, short, visible_alias = "no-wait")]
    pub(crate) detach: bool,
    /// Maximum time to wait, then fail; the agent continues
    #[arg(long, value_name = "DURATION", conflicts_with = "detach", value_parser = millis)]
    pub(crate) timeout: Option<hythe_spec::Millis>,
}

pub(super) fn millis(text: &str) -> Result<hythe_spec::Millis, hythe_spec::ParseError> {
    text.parse()
}

fn signal(text: &str) -> Result<hythe_spec::Signal, String> {
    let message = |error: hythe_spec::ParseError| match error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message,
    };
    text.parse().map_err(message)
}
