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
  hythe images tag shop:dev registry.example.com/shop:1.2
  hythe images remove shop:dev
  hythe image pack target/release/shop -t shop:dev -o shop.tar
  hythe image load shop.tar"
)]
pub(crate) struct Images {
    #[command(subcommand)]
    pub(crate) command: Option<ImagesCommand>,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImagesCommand {
    /// Remove an image's name
    #[command(visible_alias = "rm", after_help = "Examples:\n  hythe images remove shop:dev")]
    Remove {
        /// The image
        #[arg(value_name = "IMAGE")]
        image: hythe_spec::ImageRef,
        #[command(flatten)]
        on: OnRuntime,
    },
    /// Give an image one more name
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
    #[cfg(feature = "agent")]
    Pack(PackImage),
}

/// Take the images of an archive that `docker save`, `podman save` or `hythe image pack` wrote
///
/// The archive is read on the agent's machine. The images have the names they have in it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe image load shop.tar
  hythe image load --runtime docker shop.tar --json")]
pub(crate) struct LoadImages {
    /// The archive
    #[arg(value_name = "FILE")]
    pub(crate) file: std::path::PathBuf,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Make a minimal image of ELF programs, the shared libraries they need, and given files
///
/// Programs go to /usr/bin and are read, never run. Their interpreter and libraries are found as the dynamic linker finds them; what a
/// program opens by itself while running is not seen: give it with --file. The same files give the same digest.
#[cfg(feature = "agent")]
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe image pack target/release/shop -t shop:dev
  hythe image pack ./shop --file ./shop.conf:/etc/shop.conf --env MODE=dev --entrypoint '/usr/bin/shop --listen :80' -t shop:dev -o shop.tar
  docker load -i shop.tar")]
pub(crate) struct PackImage {
    /// The programs; the first one is run
    #[arg(value_name = "BINARY", required = true)]
    pub(crate) binaries: Vec<std::path::PathBuf>,
    /// A file, or a directory with all that is in it, and its absolute place in the image
    #[arg(long = "file", value_name = "SOURCE:PATH")]
    pub(crate) files: Vec<String>,
    /// What is run instead of the first program, split as a shell does
    #[arg(long, value_name = "COMMAND")]
    pub(crate) entrypoint: Option<String>,
    /// A variable of the image
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) env: Vec<String>,
    /// Name of the image
    #[arg(long = "tag", short = 't', value_name = "NAME")]
    pub(crate) name: hythe_spec::ImageRef,
    /// Write an archive and ask no agent; without it the image is loaded into an engine, by the agent of this machine
    #[arg(long, short, value_name = "FILE", conflicts_with = "runtime")]
    pub(crate) output: Option<std::path::PathBuf>,
    /// How the archive is written
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
    /// As `docker save` writes it
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
    after_help = "Examples:\n  hythe pull alpine:3.20\n  hythe pull --runtime docker registry.example.com/shop:1.2"
)]
pub(crate) struct Pull {
    /// The image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: hythe_spec::ImageRef,
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
