//! What keeps a machine in order: many files at once, what they no longer say, what others left, what was left behind.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::change::Wait;

/// Deploy every service file given; nothing that they do not describe is touched
///
/// All files are checked, and the agent says of each whether it can be placed, before anything is changed; every error of every file is
/// shown at once. What has not changed is not touched. Images are built as `hythe deploy` builds them.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe sync services/               every *.toml there
  hythe sync shop.toml blog.toml
  hythe sync --dry-run services/     what would change, field by field")]
pub(crate) struct Sync {
    /// Service files, and directories whose `*.toml` files are meant
    #[arg(value_name = "FILE|DIR", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not build images that are missing
    #[arg(long)]
    pub(crate) no_build: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Remove the services that no file describes any more; what runs is refused and stays
///
/// A service goes only where all of it is stopped, completed or failed, as the agent knows and as its engines say. Those that run are named, and the
/// exit code is 4. Named volumes stay unless asked otherwise. A file with an error describes nothing, so nothing is purged then.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe purge --dry-run services/    what would go, and what runs
  hythe purge services/
  hythe purge services/ --volumes    with the data")]
pub(crate) struct Purge {
    /// Service files, and directories whose `*.toml` files are meant: what they describe stays
    #[arg(value_name = "FILE|DIR", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also remove the volumes that the services own, with their data
    #[arg(long)]
    pub(crate) volumes: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Take over an existing container without restarting it, and print its service file
///
/// The container keeps its id, its process and its name; from then on it is a workload like any other. Containers of systemd, Kubernetes or another
/// agent are refused. Since its labels cannot be changed, only the agent's database knows that it was adopted.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe adopt web > web.toml
  hythe adopt web --service shop --component front
  hythe adopt shop-web-1 --force     although Compose made it")]
pub(crate) struct Adopt {
    /// Name or id of the container in its engine
    #[arg(value_name = "NAME")]
    pub(crate) instance: String,
    /// Runtime that has it [default: the only one that does]
    #[arg(long, short, value_name = "RUNTIME")]
    pub(crate) runtime: Option<String>,
    /// Service to put it in [default: its Compose project, else its name]
    #[arg(long, short, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Component it becomes [default: its Compose service, else its name]
    #[arg(long, short, value_name = "COMPONENT")]
    pub(crate) component: Option<String>,
    /// Also what Compose made, what its engine restarts by itself, and what its engine removes at its end
    #[arg(long)]
    pub(crate) force: bool,
}

/// Remove what is the agent's own and nobody wants any more
///
/// Instances, networks and old files that nothing refers to: by label, after a minute, and after two agreeing looks. The agent does the same by itself
/// every minute, except for volumes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe gc --dry-run           what is left behind, why, and since when
  hythe gc
  hythe gc --volumes           with volumes of services that are gone, and their data")]
pub(crate) struct Gc {
    /// Only say what is left behind
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Volumes too, with their data
    #[arg(long)]
    pub(crate) volumes: bool,
}
