//! What is done with a service file.

use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};

use super::change::Wait;
use super::image::OnRuntime;

/// Run what a service file describes
///
/// The whole file is validated before anything is sent. Unchanged components are not touched. Images with an entry in [build.images] that
/// are missing in their registry are built and pushed first. After Ctrl-C the agent continues; the command prints how to rejoin.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe deploy shop.toml
  hythe deploy shop.toml --component web
  hythe deploy --dry-run .         what would change, field by field
  hythe deploy --pull always shop  take newer images under the same tags
  hythe deploy --force shop        replace every instance of a service already deployed")]
pub(crate) struct Deploy {
    /// A service file, a directory with a `hythe.toml`, or the name of a deployed service
    #[arg(value_name = "FILE|DIR|NAME", value_hint = ValueHint::AnyPath)]
    pub(crate) target: String,
    /// Only this component; the others are not changed
    #[arg(long, short, value_name = "NAME")]
    pub(crate) component: Option<String>,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace every instance, also unchanged ones
    #[arg(long)]
    pub(crate) force: bool,
    /// When to pull images in this deploy; overrides the file
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

/// When images are pulled.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum PullWhen {
    /// Always; a newer image replaces the instance
    Always,
    /// If the runtime does not have them
    Missing,
    /// Never: the runtime must have them
    Never,
}

impl PullWhen {
    pub(crate) const fn policy(self) -> hythe_spec::PullPolicy {
        match self {
            Self::Always => hythe_spec::PullPolicy::Always,
            Self::Missing => hythe_spec::PullPolicy::Missing,
            Self::Never => hythe_spec::PullPolicy::Never,
        }
    }
}

/// Check a service file without an agent
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  hythe validate shop.toml\n  hythe validate shop.toml --json      the normalised service"
)]
pub(crate) struct Validate {
    /// A service file, or a directory with a `hythe.toml`
    #[arg(value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
}

/// Show exactly what a driver would pass to its engine; secrets are masked by default
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe explain shop.toml\n  hythe explain shop --runtime docker")]
pub(crate) struct Explain {
    /// A service file, a directory with a `hythe.toml`, or the name of a deployed service
    #[arg(value_name = "FILE|DIR|NAME", value_hint = ValueHint::AnyPath)]
    pub(crate) target: String,
    /// Runtime to explain for [default: the one that placement selects]
    #[arg(long, short, value_name = "RUNTIME")]
    pub(crate) runtime: Option<String>,
    /// Show secrets instead of `********`
    #[arg(long)]
    pub(crate) show_secrets: bool,
}

/// Build the images of a service file's [build.images]
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe build shop.toml
  hythe build shop.toml registry.example.com/shop:1.2 --arg VERSION=1.2
  hythe build . --push")]
pub(crate) struct Build {
    /// A service file, or a directory with a `hythe.toml`
    #[arg(value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub(crate) file: PathBuf,
    /// Only this image
    #[arg(value_name = "IMAGE")]
    pub(crate) image: Option<hythe_spec::ImageRef>,
    /// A build argument
    #[arg(long = "arg", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) args: Vec<(String, String)>,
    /// Do not use the build cache
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Network of the RUN commands: a private one, the host's, or none
    #[arg(long, value_name = "default|host|none", default_value_t)]
    pub(crate) network: hythe_spec::BuildNetwork,
    /// Push the built images
    #[arg(long)]
    pub(crate) push: bool,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`"))?;
    Ok((key.to_owned(), value.to_owned()))
}
