//! What concerns images.

use clap::{Args, Subcommand};

use super::change::Wait;

/// List images in the engines; remove and tag them, and pack programs into new ones
#[derive(Debug, Args)]
#[command(
    visible_alias = "image",
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  hythe images
  hythe images --dangling        images that nothing refers to
  hythe images prune --older-than 7d
  hythe images tag shop:dev registry.example.com/shop:1.2
  hythe images remove shop:dev
  hythe image pack target/release/shop -t shop:dev -o shop.tar
  hythe image load shop.tar"
)]
pub(crate) struct Images {
    #[command(subcommand)]
    pub(crate) command: Option<ImagesCommand>,
    /// Only images that no tag, no instance and no component refers to
    #[arg(long)]
    pub(crate) dangling: bool,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImagesCommand {
    /// List images, as `hythe images` does
    #[command(visible_alias = "list", after_help = "Examples:\n  hythe image ls --dangling")]
    Ls {
        /// Only images that no tag, no instance and no component refers to
        #[arg(long)]
        dangling: bool,
        #[command(flatten)]
        on: OnRuntime,
    },
    /// Show an image and its process configuration; secret-looking values are masked
    #[command(
        after_help = "Examples:\n  hythe image inspect shop:dev\n  hythe image inspect shop:dev --json | jq .labels"
    )]
    Inspect {
        /// The image
        #[arg(value_name = "IMAGE")]
        image: hythe_spec::ImageRef,
        #[command(flatten)]
        on: OnRuntime,
    },
    /// Remove names of images; an image is removed with its last name
    #[command(visible_alias = "rm", after_help = "Examples:\n  hythe images remove shop:dev shop:old")]
    Remove {
        /// The images
        #[arg(value_name = "IMAGE", required = true)]
        images: Vec<hythe_spec::ImageRef>,
        /// Ignore missing images
        #[arg(long)]
        ignore_missing: bool,
        #[command(flatten)]
        on: OnRuntime,
    },
    /// Add a name to an image
    #[command(after_help = "Examples:\n  hythe images tag shop:dev shop:1.2")]
    Tag {
        /// The image
        #[arg(value_name = "IMAGE")]
        image: hythe_spec::ImageRef,
        /// Its new name
        #[arg(value_name = "NAME")]
        name: hythe_spec::ImageRef,
        #[command(flatten)]
        on: OnRuntime,
    },
    Load(LoadImages),
    Prune(PruneImages),
    #[cfg(feature = "agent")]
    Pack(PackImage),
}

/// Load the images of an archive of `docker save`, `podman save` or `hythe image pack`
///
/// The archive is read on the agent's host. Images keep their names; --name is for an image without one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe image load shop.tar
  hythe image load --name shop:dev unnamed.tar
  hythe image load --runtime docker shop.tar --json")]
pub(crate) struct LoadImages {
    /// The archive
    #[arg(value_name = "FILE")]
    pub(crate) file: std::path::PathBuf,
    /// Name for the one image that has no name in the archive
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<hythe_spec::ImageRef>,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Remove images that no instance and no component uses
///
/// Without --all, only untagged images. Images of any instance stay, running or not, managed by Hythe or not; so do
/// snapshots and the images of deployed components. On a terminal it asks for confirmation.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe images prune --dry-run
  hythe images prune --older-than 24h
  hythe images prune --all --runtime docker --yes")]
pub(crate) struct PruneImages {
    /// Also remove tagged images
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Minimum age of an image, since its build or, if later, since Hythe pulled it; images of unknown age stay
    #[arg(long, value_name = "DURATION", value_parser = super::change::millis)]
    pub(crate) older_than: Option<hythe_spec::Millis>,
    /// Only show what would be removed
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask for confirmation
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
}

/// Create a minimal image of ELF programs, their shared libraries, and given files
///
/// Programs go to /usr/bin. They are parsed, never executed. Their interpreter and libraries are found as the dynamic linker does. Files that a
/// program opens while it runs are not detected: add them with --file. The same files give the same digest.
#[cfg(feature = "agent")]
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe image pack target/release/shop -t shop:dev
  hythe image pack ./shop --file ./shop.conf:/etc/shop.conf --env MODE=dev --entrypoint '/usr/bin/shop --listen :80' -t shop:dev -o shop.tar
  docker load -i shop.tar")]
pub(crate) struct PackImage {
    /// The programs; the first one is the entrypoint
    #[arg(value_name = "BINARY", required = true)]
    pub(crate) binaries: Vec<std::path::PathBuf>,
    /// A file or directory, and its absolute path in the image
    #[arg(long = "file", value_name = "SOURCE:PATH")]
    pub(crate) files: Vec<String>,
    /// Entrypoint instead of the first program; split into words as by a shell
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// A variable of the image
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Name of the image
    #[arg(long = "tag", short = 't', value_name = "NAME")]
    pub(crate) name: hythe_spec::ImageRef,
    /// Write an archive, without an agent; otherwise the local agent loads the image into an engine
    #[arg(long, short, value_name = "FILE", conflicts_with = "runtime")]
    pub(crate) output: Option<std::path::PathBuf>,
    /// Format of the archive
    #[arg(long, value_name = "FORMAT", default_value = "oci")]
    pub(crate) format: ArchiveFormat,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
}

#[cfg(feature = "agent")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ArchiveFormat {
    /// An OCI layout that `docker load` reads too
    Oci,
    /// The format of `docker save`
    Docker,
}

/// Which runtime.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct OnRuntime {
    /// Name of the runtime, as `hythe runtimes` shows it
    #[arg(long, short, value_name = "RUNTIME")]
    pub(crate) runtime: Option<String>,
}

/// Pull an image
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hythe pull alpine:3.20\n  hythe pull --runtime docker registry.example.com/shop:1.2\n  hythe pull --platform linux/arm64 alpine:3.20"
)]
pub(crate) struct Pull {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: hythe_spec::ImageRef,
    /// Platform of the image (`linux/arm64`) [default: the host's]
    #[arg(long, value_name = "PLATFORM")]
    pub(crate) platform: Option<hythe_spec::Platform>,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Push an image to its registry
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe push registry.example.com/shop:1.2")]
pub(crate) struct Push {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: hythe_spec::ImageRef,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
    #[command(flatten)]
    pub(crate) wait: Wait,
}
