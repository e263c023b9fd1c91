//! What concerns images.

use clap::{Args, Subcommand};

use super::change::Wait;

/// List images in the engines; remove and tag them
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  hythe images
  hythe images tag shop:dev registry.example.com/shop:1.2
  hythe images remove shop:dev"
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
