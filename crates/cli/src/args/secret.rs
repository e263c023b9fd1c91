//! What concerns secrets.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

/// Manage secrets, which components read as files in /run/secrets
#[derive(Debug, Args)]
#[command(
    visible_alias = "secrets",
    after_help = "Examples:
  hythe secret set db_password --file password.txt
  openssl rand -hex 16 | hythe secret set db_password
  hythe secret list
  hythe secret remove db_password

To use one, write `secrets = [\"db_password\"]` in a component of the service file and deploy it."
)]
pub(crate) struct Secret {
    #[command(subcommand)]
    pub(crate) command: SecretCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretCommand {
    Set(SetSecret),
    List(ListSecrets),
    Inspect(InspectSecret),
    Remove(RemoveSecrets),
}

/// Set a secret; workloads get its new value when their service is deployed again
///
/// The value is read from stdin or from a file, unchanged. It is never an argument: all users of a host can read arguments.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe secret set db_password < password.txt
  hythe secret set db_password --file password.txt
  printf %s \"$PASSWORD\" | hythe secret set db_password")]
pub(crate) struct SetSecret {
    /// Letters, digits, `.`, `_` and `-`
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// File with the value [default: stdin]
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) file: Option<PathBuf>,
}

/// List secrets and the workloads that use them; no value is shown
#[derive(Debug, Args)]
#[command(visible_alias = "ls", after_help = "Examples:\n  hythe secret list\n  hythe secret list --json")]
pub(crate) struct ListSecrets {}

/// Show a secret; its value only with --show
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe secret inspect db_password
  hythe secret inspect db_password --show     the value, unchanged")]
pub(crate) struct InspectSecret {
    /// Name of the secret
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Print the value, and nothing else; with --json in base64
    #[arg(long)]
    pub(crate) show: bool,
}

/// Remove secrets that no workload uses
#[derive(Debug, Args)]
#[command(visible_alias = "rm", after_help = "Examples:\n  hythe secret remove db_password")]
pub(crate) struct RemoveSecrets {
    /// Names of secrets
    #[arg(value_name = "NAME", required = true)]
    pub(crate) names: Vec<String>,
}
