//! What is only looked at.

use clap::Args;

/// List workloads
#[derive(Debug, Args)]
#[command(
    visible_alias = "list",
    after_help = "Examples:
  hythe ps
  hythe ps -a shop
  hythe ps --json | jq -r '.[].name'"
)]
pub(crate) struct Ps {
    /// `shop`, `shop/web` or `shop-web`; all when absent
    #[arg(value_name = "SERVICE|WORKLOAD")]
    pub(crate) targets: Vec<String>,
    /// Also stopped and completed ones
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Only of this service
    #[arg(long, short, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
}

/// List services
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe services")]
pub(crate) struct Services {}

/// Compare desired with observed state
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe status\n  hythe status shop\n  hythe status shop/web blog")]
pub(crate) struct Status {
    /// `shop`, `shop/web` or `shop-web`; all services when absent
    #[arg(value_name = "SERVICE|WORKLOAD")]
    pub(crate) targets: Vec<String>,
}

/// Print the logs of workloads, stdout to stdout and stderr to stderr
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
    /// Follow until the workloads end, over restarts and replacements
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only logs from before the last start
    #[arg(long, short, conflicts_with = "follow")]
    pub(crate) previous: bool,
    /// Only the last lines of each workload
    #[arg(long, short = 'n', value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Prefix each line with its time
    #[arg(long, short)]
    pub(crate) timestamps: bool,
    /// Only lines at or after this time: RFC 3339, or an age (`10m`)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only lines before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// Do not escape control characters on a terminal
    #[arg(long)]
    pub(crate) raw: bool,
}

/// Show everything about a workload
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe inspect shop-web\n  hythe inspect shop/web --json | jq .observed.state")]
pub(crate) struct Inspect {
    /// `shop-web`, `shop/web`, or `shop` where that is one workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
    /// Show secrets instead of `********`
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

/// Show events
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe events --limit 20
  hythe events -f shop
  hythe events -f --after 4711 --json")]
pub(crate) struct Events {
    /// `shop`, `shop/web` or `shop-web`; everything when absent
    #[arg(value_name = "SERVICE|WORKLOAD")]
    pub(crate) targets: Vec<String>,
    /// Follow new events
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only events after this cursor
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<u64>,
    /// Only of this service
    #[arg(long, short, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Only of this workload
    #[arg(long, short, value_name = "WORKLOAD")]
    pub(crate) workload: Option<String>,
    /// Number of newest events
    #[arg(long, short = 'n', value_name = "COUNT", conflicts_with = "follow")]
    pub(crate) limit: Option<u32>,
}

/// List everything that runs on this host, managed by Hythe or not
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe instances
  hythe instances --foreign -a
  hythe instances --json | jq -r '.instances[] | .display_name + \" \" + .owner'
  hythe instances -f --json | jq -r 'select(.kind == \"started\") | .instance.display_name'")]
pub(crate) struct Instances {
    /// Also those that are not running
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Follow changes
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only of this runtime
    #[arg(long, value_name = "NAME")]
    pub(crate) runtime: Option<String>,
    /// Only those that are not managed by this agent
    #[arg(long)]
    pub(crate) foreign: bool,
    /// Show secrets in labels instead of `********`
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

/// Show resource use
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe stats\n  hythe stats shop-web --json")]
pub(crate) struct Stats {
    /// Only these; all running ones when absent
    #[arg(value_name = "SERVICE|WORKLOAD")]
    pub(crate) targets: Vec<String>,
}

/// List runtimes with health, version and supported features
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe runtimes\n  hythe runtimes --features")]
pub(crate) struct Runtimes {
    /// Show which features each one supports, and why not
    #[arg(long, short)]
    pub(crate) features: bool,
}
