//! Many services at once, and cleaning up: sync, purge, adopt, gc.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::change::Wait;
use super::file::PullWhen;

/// Deploy every given service file; services that no file describes are not changed
///
/// All files are validated, and the agent checks the placement of each, before anything is changed. All errors of all files are
/// shown at once. Unchanged components are not touched. Images are built as in `hythe deploy`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe sync services/               every *.toml there
  hythe sync shop.toml blog.toml
  hythe sync --dry-run services/     what would change, field by field
  hythe sync --pull always services/ take newer images under the same tags")]
pub(crate) struct Sync {
    /// Service files, and directories of `*.toml` files
    #[arg(value_name = "FILE|DIR", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// When to pull images in this sync; overrides the files
    #[arg(long, value_name = "POLICY", value_enum)]
    pub(crate) pull: Option<PullWhen>,
    /// Do not build missing images
    #[arg(long)]
    pub(crate) no_build: bool,
    /// Show secrets instead of `********`
    #[arg(long)]
    pub(crate) show_secrets: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Remove services that no file describes; running ones are refused and stay
///
/// A service is removed only if all its components are stopped, completed or failed, in the agent's state and in the engine's. Running services are
/// named, and the exit code is 4. Named volumes stay unless --volumes is given. If a file has an error, nothing is purged.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe purge --dry-run services/    what would be removed, and what runs
  hythe purge services/
  hythe purge services/ --volumes    with the data")]
pub(crate) struct Purge {
    /// Service files, and directories of `*.toml` files: the services that they describe stay
    #[arg(value_name = "FILE|DIR", required = true, value_hint = ValueHint::AnyPath)]
    pub(crate) files: Vec<PathBuf>,
    /// Only show what would be done
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
/// The container keeps its id, process and name. From then on it is a workload like any other. Containers of systemd, Kubernetes or another
/// agent are refused. The labels of a container cannot change, so only the agent's database records the adoption.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe adopt web > web.toml
  hythe adopt web --service shop --component front
  hythe adopt shop-web-1 --force     although it belongs to Compose")]
pub(crate) struct Adopt {
    /// Name or id of the container
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
    /// Also adopt containers of Compose, with a restart policy of the engine, or with --rm
    #[arg(long)]
    pub(crate) force: bool,
}

/// Remove orphaned resources of this agent
///
/// Instances, networks and old files with this agent's label that nothing refers to, once they were seen orphaned in two consecutive scans, for at
/// least a minute. The agent does the same every minute, except for volumes.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe gc --dry-run           what is orphaned, why, and since when
  hythe gc
  hythe gc --volumes           with volumes of removed services, and their data")]
pub(crate) struct Gc {
    /// Only show what is orphaned
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also remove volumes, with their data
    #[arg(long)]
    pub(crate) volumes: bool,
    /// Minimum time that an image of Hythe (pulled, loaded or built) must have been unused [default: as configured]
    #[arg(long, value_name = "DURATION", value_parser = super::change::millis)]
    pub(crate) images_older_than: Option<hythe_spec::Millis>,
}
