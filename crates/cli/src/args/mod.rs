//! What can be typed, and nothing about what it means.

mod change;
mod file;
mod image;
mod keep;
mod look;
mod session;
mod snapshot;
mod system;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use change::{Operations, OperationsCommand, Restart, Start, Stop, Undeploy, Wait};
pub(crate) use file::{Build, Deploy, Explain, Validate};
#[cfg(feature = "agent")]
pub(crate) use image::{ArchiveFormat, PackImage};
pub(crate) use image::{Images, ImagesCommand, LoadImages, OnRuntime, Pull, Push};
pub(crate) use keep::{Adopt, Gc, Purge, Sync};
pub(crate) use look::{Events, Inspect, Instances, Logs, Ps, Runtimes, Services, Stats, Status};
pub(crate) use session::{Attach, Exec};
pub(crate) use snapshot::{CreateSnapshot, InspectSnapshot, ListSnapshots, RemoveSnapshots, Snapshot, SnapshotCommand};
#[cfg(feature = "agent")]
pub(crate) use system::LogFormat;
pub(crate) use system::{Agent, Completions, Demo, DemoRole, HelpMarkdown, Openapi, Schema, Version};

/// Runs a described workload on whatever runtime a machine has.
#[derive(Debug, Parser)]
#[command(
    name = "hythe",
    version,
    propagate_version = false,
    disable_help_subcommand = true,
    after_help = "Examples:
  hythe deploy shop.toml      run what the file describes
  hythe ps                    what runs
  hythe logs -f shop          what it says
  hythe undeploy shop         take it away

Exit codes: 0 done, 1 the workload failed, 2 wrong use or an invalid file, 3 not found, 4 conflict, 5 no agent or runtime."
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
    /// Agent to talk to: a socket's path, or tcp://host:port [default: the socket of this user's agent, which is started when needed]
    #[arg(long, global = true, value_name = "ADDRESS", env = "HYTHE_HOST", hide_env_values = true)]
    pub(crate) host: Option<String>,
    /// Print JSON: one document, or one document a line where things arrive over time
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
    Operations(Operations),
    Demo(Demo),
    Agent(Agent),
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
