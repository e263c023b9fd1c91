//! What can be typed, and nothing about what it means.

mod change;
mod data;
mod file;
mod image;
mod look;
mod maintenance;
mod secret;
mod session;
mod snapshot;
mod system;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

pub(crate) use change::{Kill, Operations, OperationsCommand, Restart, Start, Stop, Undeploy, Wait};
pub(crate) use data::{Cp, Data, DataCommand, ExportData, ImportData};
pub(crate) use file::{Build, Deploy, Explain, PullWhen, Validate};
#[cfg(feature = "agent")]
pub(crate) use image::{ArchiveFormat, PackImage};
pub(crate) use image::{Images, ImagesCommand, LoadImages, OnRuntime, PruneImages, Pull, Push};
pub(crate) use look::{Events, Inspect, Instances, Logs, Ps, Runtimes, Services, Stats, Status};
pub(crate) use maintenance::{Adopt, Gc, Purge, Sync};
pub(crate) use secret::{InspectSecret, RemoveSecrets, Secret, SecretCommand, SetSecret};
pub(crate) use session::{Attach, Exec};
pub(crate) use snapshot::{
    CreateSnapshot, InspectSnapshot, ListSnapshots, RemoveSnapshots, RestoreSnapshot, Snapshot, SnapshotCommand,
};
#[cfg(feature = "agent")]
pub(crate) use system::LogFormat;
pub(crate) use system::{Agent, Completions, Demo, DemoRole, HelpMarkdown, Openapi, Schema, Shutdown, Units, Version};

/// Runs a described workload on whatever container runtime a host has.
#[derive(Debug, Parser)]
#[command(
    name = "hythe",
    version,
    propagate_version = false,
    disable_help_subcommand = true,
    after_help = "Examples:
  hythe deploy shop.toml      run what the file describes
  hythe ps                    list workloads
  hythe logs -f shop          follow its logs
  hythe undeploy shop         remove it

Exit codes: 0 done, 1 the workload failed, 2 wrong usage or an invalid file, 3 not found, 4 conflict, 5 no agent or runtime."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Address of the agent: a socket's path, or tcp://host:port [default: the socket of this user's agent, which is started when needed]
    #[arg(long, global = true, value_name = "ADDRESS", env = "HYTHE_HOST", hide_env_values = true)]
    pub(crate) host: Option<String>,
    /// File with the token of an agent at tcp://host:port [default: `token` in the state directory of this user's agent]
    #[arg(long, global = true, value_name = "FILE", env = "HYTHE_TOKEN_FILE", hide_env_values = true, value_hint = ValueHint::FilePath)]
    pub(crate) token_file: Option<PathBuf>,
    /// Print JSON: one document, or one document a line for a stream
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = false)]
    pub(crate) color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Deploy(Deploy),
    Sync(Sync),
    Purge(Purge),
    Adopt(Adopt),
    Gc(Gc),
    Ps(Ps),
    Services(Services),
    Status(Status),
    Logs(Logs),
    Exec(Exec),
    Attach(Attach),
    Inspect(Inspect),
    Events(Events),
    Instances(Instances),
    Stop(Stop),
    Start(Start),
    Restart(Restart),
    Kill(Kill),
    Undeploy(Undeploy),
    Stats(Stats),
    Validate(Validate),
    Explain(Explain),
    Runtimes(Runtimes),
    Images(Images),
    Pull(Pull),
    Push(Push),
    Build(Build),
    Snapshot(Snapshot),
    Cp(Cp),
    Data(Data),
    Secret(Secret),
    Operations(Operations),
    Demo(Demo),
    Agent(Agent),
    Shutdown(Shutdown),
    Units(Units),
    Schema(Schema),
    Openapi(Openapi),
    Completions(Completions),
    Version(Version),
    #[command(hide = true)]
    HelpMarkdown(HelpMarkdown),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_visible_command_explains_itself_and_has_examples() {
        for command in Cli::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            assert!(command.get_about().is_some(), "{} has no help", command.get_name());
            let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(examples.contains("hythe "), "{} has no examples", command.get_name());
        }
    }

    #[test]
    fn options_after_the_command_of_exec_belong_to_it() {
        let cli = Cli::try_parse_from(["hythe", "exec", "-it", "shop-web", "ls", "-l", "--json"]);
        let Ok(Cli { command: Command::Exec(exec), global }) = cli else { panic!("{cli:?}") };
        assert!(exec.interactive && exec.tty && !global.json);
        assert_eq!(exec.command, ["ls", "-l", "--json"]);
    }
}
