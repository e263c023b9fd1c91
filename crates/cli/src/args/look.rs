//! What is only looked at.

use clap::Args;

/// List workloads
#[derive(Debug, Args)]
#[command(
    visible_alias = "list",
    after_help = "Examples:
  hythe ps
  hythe ps -a --service shop
  hythe ps --json | jq -r '.[].name'"
)]
pub(crate) struct Ps {
    /// Also those that are stopped or completed
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Only this service's
    #[arg(long, short, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
}

/// List services
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe services")]
pub(crate) struct Services {}

/// Compare what is desired with what is there
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe status\n  hythe status shop")]
pub(crate) struct Status {
    /// Only this service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Option<String>,
}

/// Print what workloads wrote, their stdout to stdout and their stderr to stderr
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe logs shop                 all components, by time
  hythe logs -f shop/web shop/db
  hythe logs --since 10m -t shop-web
  hythe logs -n 20 --until 2026-08-01T12:00:00Z shop")]
pub(crate) struct Logs {
    /// `shop`, `shop/web` or `shop-web`
    #[arg(value_name = "SERVICE|WORKLOAD", required = true)]
    pub(crate) targets: Vec<String>,
    /// Go on until the workloads end
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last so many lines of each workload
    #[arg(long, short = 'n', value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Put the time in front of each line
    #[arg(long, short)]
    pub(crate) timestamps: bool,
    /// Only lines at or after this: RFC 3339, or so long ago (`10m`)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only lines before this
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// Show everything about a workload
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe inspect shop-web\n  hythe inspect shop/web --json | jq .observed.state")]
pub(crate) struct Inspect {
    /// `shop-web`, `shop/web`, or `shop` where that is one workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
}

/// Show what happened
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe events --limit 20
  hythe events -f --service shop
  hythe events -f --after 4711 --json")]
pub(crate) struct Events {
    /// Go on with what happens from now
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only events after this cursor
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<u64>,
    /// Only this service's
    #[arg(long, short, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Only this workload's
    #[arg(long, short, value_name = "WORKLOAD")]
    pub(crate) workload: Option<String>,
    /// At most so many of the newest
    #[arg(long, short = 'n', value_name = "COUNT", conflicts_with = "follow")]
    pub(crate) limit: Option<u32>,
}

/// List everything that runs on this machine, ours or not
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe instances
  hythe instances --foreign -a
  hythe instances --json | jq -r '.instances[] | .display_name + \" \" + .owner'
  hythe instances -f --json | jq -r 'select(.kind == \"started\") | .instance.display_name'")]
pub(crate) struct Instances {
    /// Also those that do not run
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Go on with what starts, stops and changes
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only those of this runtime
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<String>,
    /// Only those that are not this agent's
    #[arg(long)]
    pub(crate) foreign: bool,
}

/// Show resource use
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe stats\n  hythe stats shop-web --json")]
pub(crate) struct Stats {
    /// Only these; all that run when absent
    #[arg(value_name = "SERVICE|WORKLOAD")]
    pub(crate) targets: Vec<String>,
}

/// List runtimes with health, version and what they can honour
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe runtimes\n  hythe runtimes --features")]
pub(crate) struct Runtimes {
    /// Which features each one supports, and why not
    #[arg(long, short)]
    pub(crate) features: bool,
}
