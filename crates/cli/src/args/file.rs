//! What is done with a service file.

use std::path::PathBuf;

use clap::{Args, ValueHint};

use super::change::Wait;
use super::image::OnRuntime;

/// Run what a service file describes
///
/// The whole file is checked before anything is sent. What has not changed is not touched. Images with an entry in [build.images] that
/// their registry does not have are built and pushed first. Ctrl-C leaves the agent at work and says how to rejoin.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe deploy shop.toml
  hythe deploy shop.toml --component web
  hythe deploy --dry-run .         what would change, field by field
  hythe deploy --force shop        replace every instance of a service already deployed")]
pub(crate) struct Deploy {
    /// A service file, a directory with a `hythe.toml`, or the name of a deployed service
    #[arg(value_name = "FILE|DIR|NAME", value_hint = ValueHint::AnyPath)]
    pub(crate) target: String,
    /// Only this component; the others stay as they are
    #[arg(long, short, value_name = "NAME")]
    pub(crate) component: Option<String>,
    /// Only say what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Replace every instance, changed or not
    #[arg(long)]
    pub(crate) force: bool,
    /// Do not build images that are missing
    #[arg(long)]
    pub(crate) no_build: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
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

/// Show exactly what a driver would give its engine, secrets masked
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe explain shop.toml\n  hythe explain shop --runtime docker")]
pub(crate) struct Explain {
    /// A service file, a directory with a `hythe.toml`, or the name of a deployed service
    #[arg(value_name = "FILE|DIR|NAME", value_hint = ValueHint::AnyPath)]
    pub(crate) target: String,
    /// For this runtime [default: where placement would put it]
    #[arg(long, short, value_name = "RUNTIME")]
    pub(crate) runtime: Option<String>,
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
    /// Ignore the results of earlier builds
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// Push what was built
    #[arg(long)]
    pub(crate) push: bool,
    #[command(flatten)]
    pub(crate) on: OnRuntime,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` has no `=`"))?;
    Ok((key.to_owned(), value.to_owned()))
}
