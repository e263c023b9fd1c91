//! What connects to a process inside a workload.

use clap::Args;

/// Run a process in a workload; its exit code is this command's
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe exec shop-web ls /
  hythe exec -it shop/web sh
  hythe exec -i shop-db psql -U app < dump.sql
  hythe exec -e LANG=C -w /tmp shop-web env

In a terminal, ctrl-p ctrl-q detaches; the process goes on. With -it stdin must be a terminal; -i alone forwards a pipe
and its end-of-file.")]
pub(crate) struct Exec {
    /// Forward stdin
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Allocate a terminal
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// Run as this user
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// Working directory
    #[arg(long, short, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// Variable of the process; without `=` the caller's value is used
    #[arg(long, short, value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// `shop-web`, `shop/web`, or `shop` where that is one workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
    /// Program and arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// Attach to a workload's main process
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe attach shop-web
  hythe attach --no-stdin shop/web

In a terminal, ctrl-p ctrl-q detaches; the workload goes on. Where the workload has a terminal and an open stdin, stdin must be a
terminal too.")]
pub(crate) struct Attach {
    /// Do not forward stdin
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// `shop-web`, `shop/web`, or `shop` where that is one workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
}
