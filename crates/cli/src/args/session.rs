//! What connects to a process inside a workload.

use clap::Args;

/// Run a process inside a workload; its exit code becomes this command's
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe exec shop-web ls /
  hythe exec -it shop/web sh
  hythe exec -i shop-db psql -U app < dump.sql
  hythe exec -e LANG=C -w /tmp shop-web env

In a terminal, ctrl-p ctrl-q leaves the process running.")]
pub(crate) struct Exec {
    /// Connect stdin
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Give the process a terminal
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// As this user
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// In this directory
    #[arg(long, short, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// With this variable; without `=` its value here is passed on
    #[arg(long, short, value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// `shop-web`, `shop/web`, or `shop` where that is one workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
    /// Program and arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// Connect to a workload's main process
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe attach shop-web
  hythe attach --no-stdin shop/web

In a terminal, ctrl-p ctrl-q leaves the workload running.")]
pub(crate) struct Attach {
    /// Only listen
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// `shop-web`, `shop/web`, or `shop` where that is one workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
}
