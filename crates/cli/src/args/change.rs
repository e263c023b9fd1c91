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
    /// Time until KILL, over the component's own grace
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
    /// Time until KILL, over the component's own grace
    #[arg(long, value_name = "DURATION", value_parser = millis)]
    pub(crate) grace: Option<hythe_spec::Millis>,
}

/// Remove a service; its snapshots stay, and its named volumes unless asked otherwise
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

/// List what the agent is doing and has done; join or cancel it
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
    /// Follow an operation from its beginning until it ends
    #[command(after_help = "Examples:\n  hythe operations join 42")]
    Join {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// Wait at most so long, then fail; the agent goes on
        #[arg(long, value_name = "DURATION", value_parser = millis)]
        timeout: Option<hythe_spec::Millis>,
    },
    /// Ask an operation to stop
    #[command(after_help = "Examples:\n  hythe operations cancel 42")]
    Cancel {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// How long to stay with an operation.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Wait {
    /// Wait for the outcome (the default)
    #[arg(long, conflicts_with = "detach")]
    pub(crate) wait: bool,
    /// Return as soon as the agent has accepted
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Wait at most so long, then fail; the agent goes on
    #[arg(long, value_name = "DURATION", conflicts_with = "detach", value_parser = millis)]
    pub(crate) timeout: Option<hythe_spec::Millis>,
}

fn millis(text: &str) -> Result<hythe_spec::Millis, hythe_spec::ParseError> {
    text.parse()
}
