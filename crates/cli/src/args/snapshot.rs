//! What concerns snapshots.

use clap::{Args, Subcommand};

use super::change::Wait;
use super::image::OnRuntime;

/// Save the files of a workload as an image, to go back to
#[derive(Debug, Args)]
#[command(
    visible_alias = "snapshots",
    after_help = "Examples:
  hythe snapshot create shop/web
  hythe snapshot create shop/web --name before-2.0
  hythe snapshot ls shop
  hythe snapshot inspect shop/web:1
  hythe snapshot restore shop/web@1
  hythe snapshot rm shop/web:1"
)]
pub(crate) struct Snapshot {
    #[command(subcommand)]
    pub(crate) command: SnapshotCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    Create(CreateSnapshot),
    Restore(RestoreSnapshot),
    Ls(ListSnapshots),
    Inspect(InspectSnapshot),
    Rm(RemoveSnapshots),
}

/// Save the current files of a workload's instance, without volumes and other mounts
///
/// A running instance is paused while its files are copied, where the engine supports it. The image is on the workload's runtime only.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe snapshot create shop/web                       as localhost/hythe/shop/web:1, then :2, ...
  hythe snapshot create shop/web --name before-2.0
  hythe snapshot create shop --json | jq -r .result.image")]
pub(crate) struct CreateSnapshot {
    /// `shop` where it has one component, `shop/web` or `shop-web`
    #[arg(value_name = "SERVICE[/COMPONENT]")]
    pub(crate) target: String,
    /// Name, as an image's tag [default: the next number]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Go back: replace a workload's instance with one made of its snapshot
///
/// The instance before stays until the new one is healthy, and comes back where it is not. Later deploys of the same file keep the snapshot; one that
/// names another image ends that. Volumes are not part of a snapshot and stay as they are.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe snapshot restore shop/web                      the newest snapshot
  hythe snapshot restore shop/web@2
  hythe snapshot restore shop/web@before-2.0")]
pub(crate) struct RestoreSnapshot {
    /// `shop` where it has one component, `shop/web` or `shop-web`; with the name of a snapshot or the newest one
    #[arg(value_name = "SERVICE[/COMPONENT][@NAME]")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// List snapshots
#[derive(Debug, Args)]
#[command(visible_alias = "list", after_help = "Examples:\n  hythe snapshot ls\n  hythe snapshot ls shop --json")]
pub(crate) struct ListSnapshots {
    /// Only of this service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
}

/// Show a snapshot and the mount command with which the host can read its files
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe snapshot inspect shop/web:1\n  hythe snapshot inspect shop/web:1 --json")]
pub(crate) struct InspectSnapshot {
    /// `shop/web:1` or the whole image, `localhost/hythe/shop/web:1`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
}

/// Remove snapshots; one that a workload uses is refused and stays
#[derive(Debug, Args)]
#[command(visible_alias = "remove", after_help = "Examples:\n  hythe snapshot rm shop/web:1 shop/web:2")]
pub(crate) struct RemoveSnapshots {
    /// `shop/web:1` or the whole image, `localhost/hythe/shop/web:1`
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
}
