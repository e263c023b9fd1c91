//! What can be typed, and nothing about what it means.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

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
    Ps(Ps),
    Services(Services),
    Status(Status),
    Logs(Logs),
    Exec(Exec),
    Attach(Attach),
    Inspect(Inspect),
    Events(Events),
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
    Operations(Operations),
    Agent(Agent),
    Schema(Schema),
    Openapi(Openapi),
    Completions(Completions),
    Version(Version),
    #[command(hide = true)]
    HelpMarkdown(HelpMarkdown),
}

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

/// How long to stay with an operation.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct Wait {
    /// Wait for the outcome (the default)
    #[arg(long, conflicts_with = "detach")]
    pub(crate) wait: bool,
    /// Return as soon as the agent has accepted
    #[arg(long, short)]
    pub(crate) detach: bool,
    /// Wait at most so long, then fail; the agent goes on
    #[arg(long, value_name = "DURATION", conflicts_with = "detach", value_parser = millis)]
    pub(crate) timeout: Option<hythe_spec::Millis>,
}

fn millis(text: &str) -> Result<hythe_spec::Millis, hythe_spec::ParseError> {
    text.parse()
}

/// List workloads
#[derive(Debug, Args)]
#[command(visible_alias = "list", after_help = "Examples:
  hythe ps
  hythe ps -a --service shop
  hythe ps --json | jq -r '.[].name'")]
pub(crate) struct Ps {
    /// Also those that are stopped or completed
    #[arg(long, short)]
    pub(crate) all: bool,
    /// Only this service's
    #[arg(long, short, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
}

/// List services
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe services")]
pub(crate) struct Services {}

/// Compare what is desired with what is there
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe status\n  hythe status shop")]
pub(crate) struct Status {
    /// Only this service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: Option<String>,
}

/// Print what workloads wrote, their stdout to stdout and their stderr to stderr
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe logs shop                 all components, by time
  hythe logs -f shop/web shop/db
  hythe logs --since 10m -t shop-web
  hythe logs -n 20 --until 2026-08-01T12:00:00Z shop")]
pub(crate) struct Logs {
    /// `shop`, `shop/web` or `shop-web`
    #[arg(value_name = "SERVICE|WORKLOAD", required = true)]
    pub(crate) targets: Vec<String>,
    /// Go on until the workloads end
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only the last so many lines of each workload
    #[arg(long, short = 'n', value_name = "LINES")]
    pub(crate) tail: Option<u64>,
    /// Put the time in front of each line
    #[arg(long, short)]
    pub(crate) timestamps: bool,
    /// Only lines at or after this: RFC 3339, or so long ago (`10m`)
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Only lines before this
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
}

/// Run a process inside a workload; its exit code becomes this command's
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe exec shop-web ls /
  hythe exec -it shop/web sh
  hythe exec -i shop-db psql -U app < dump.sql
  hythe exec -e LANG=C -w /tmp shop-web env

In a terminal, ctrl-p ctrl-q leaves the process running.")]
pub(crate) struct Exec {
    /// Connect stdin
    #[arg(long, short)]
    pub(crate) interactive: bool,
    /// Give the process a terminal
    #[arg(long, short)]
    pub(crate) tty: bool,
    /// As this user
    #[arg(long, short, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<String>,
    /// In this directory
    #[arg(long, short, value_name = "DIR")]
    pub(crate) workdir: Option<String>,
    /// With this variable; without `=` its value here is passed on
    #[arg(long, short, value_name = "KEY[=VALUE]")]
    pub(crate) env: Vec<String>,
    /// `shop-web`, `shop/web`, or `shop` where that is one workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
    /// Program and arguments
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<String>,
}

/// Connect to a workload's main process
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe attach shop-web
  hythe attach --no-stdin shop/web

In a terminal, ctrl-p ctrl-q leaves the workload running.")]
pub(crate) struct Attach {
    /// Only listen
    #[arg(long)]
    pub(crate) no_stdin: bool,
    /// `shop-web`, `shop/web`, or `shop` where that is one workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
}

/// Show everything about a workload
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe inspect shop-web\n  hythe inspect shop/web --json | jq .observed.state")]
pub(crate) struct Inspect {
    /// `shop-web`, `shop/web`, or `shop` where that is one workload
    #[arg(value_name = "WORKLOAD")]
    pub(crate) workload: String,
}

/// Show what happened
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe events --limit 20
  hythe events -f --service shop
  hythe events -f --after 4711 --json")]
pub(crate) struct Events {
    /// Go on with what happens from now
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// Only events after this cursor
    #[arg(long, value_name = "CURSOR")]
    pub(crate) after: Option<u64>,
    /// Only this service's
    #[arg(long, short, value_name = "SERVICE")]
    pub(crate) service: Option<String>,
    /// Only this workload's
    #[arg(long, short, value_name = "WORKLOAD")]
    pub(crate) workload: Option<String>,
    /// At most so many of the newest
    #[arg(long, short = 'n', value_name = "COUNT", conflicts_with = "follow")]
    pub(crate) limit: Option<u32>,
}

/// A service or one of its components.
#[derive(Debug, Args)]
pub(crate) struct Scope {
    /// `shop`, `shop/web` or `shop-web`
    #[arg(value_name = "SERVICE[/COMPONENT]")]
    pub(crate) target: String,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Stop a service or component; it stays stopped until it is started
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe stop shop\n  hythe stop shop/web --grace 30s")]
pub(crate) struct Stop {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Time until KILL, over the component's own grace
    #[arg(long, value_name = "DURATION", value_parser = millis)]
    pub(crate) grace: Option<hythe_spec::Millis>,
}

/// Start a stopped service or component
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe start shop\n  hythe start shop/web")]
pub(crate) struct Start {
    #[command(flatten)]
    pub(crate) scope: Scope,
}

/// Restart a service or component
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe restart shop\n  hythe restart shop/web --grace 1s")]
pub(crate) struct Restart {
    #[command(flatten)]
    pub(crate) scope: Scope,
    /// Time until KILL, over the component's own grace
    #[arg(long, value_name = "DURATION", value_parser = millis)]
    pub(crate) grace: Option<hythe_spec::Millis>,
}

/// Remove a service; its named volumes stay unless asked otherwise
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe undeploy shop\n  hythe undeploy shop --volumes")]
pub(crate) struct Undeploy {
    /// Name of the service
    #[arg(value_name = "SERVICE")]
    pub(crate) service: String,
    /// Also remove the volumes that the service owns, with their data
    #[arg(long)]
    pub(crate) volumes: bool,
    #[command(flatten)]
    pub(crate) wait: Wait,
}

/// Show resource use
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe stats\n  hythe stats shop-web --json")]
pub(crate) struct Stats {
    /// Only these; all that run when absent
    #[arg(value_name = "SERVICE|WORKLOAD")]
    pub(crate) targets: Vec<String>,
}

/// Check a service file without an agent
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe validate shop.toml\n  hythe validate shop.toml --json      the normalised service")]
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

/// List runtimes with health, version and what they can honour
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe runtimes\n  hythe runtimes --features")]
pub(crate) struct Runtimes {
    /// Which features each one supports, and why not
    #[arg(long, short)]
    pub(crate) features: bool,
}

/// List images in the engines; remove and tag them
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = "Examples:
  hythe images
  hythe images tag shop:dev registry.example.com/shop:1.2
  hythe images remove shop:dev")]
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
#[command(after_help = "Examples:\n  hythe pull alpine:3.20\n  hythe pull --runtime docker registry.example.com/shop:1.2")]
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

/// List what the agent is doing and has done; join or cancel it
#[derive(Debug, Args)]
#[command(visible_alias = "ops", after_help = "Examples:
  hythe operations
  hythe operations join 42
  hythe operations cancel 42")]
pub(crate) struct Operations {
    #[command(subcommand)]
    pub(crate) command: Option<OperationsCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperationsCommand {
    /// Follow an operation from its beginning until it ends
    #[command(after_help = "Examples:\n  hythe operations join 42")]
    Join {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
        /// Wait at most so long, then fail; the agent goes on
        #[arg(long, value_name = "DURATION", value_parser = millis)]
        timeout: Option<hythe_spec::Millis>,
    },
    /// Ask an operation to stop
    #[command(after_help = "Examples:\n  hythe operations cancel 42")]
    Cancel {
        /// Its id
        #[arg(value_name = "ID")]
        id: String,
    },
}

/// Run the agent in the foreground
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe agent
  hythe agent --config /etc/hythe/agent.toml --log-format json")]
pub(crate) struct Agent {
    /// Configuration file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) config: Option<PathBuf>,
    /// Socket to listen on
    #[arg(long, value_name = "PATH", value_hint = ValueHint::FilePath)]
    pub(crate) socket: Option<PathBuf>,
    /// Directory for its database
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub(crate) state_dir: Option<PathBuf>,
    /// How to write its log
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Leave the terminal of the command that started it
    #[arg(long, hide = true)]
    pub(crate) background_child: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Print the JSON Schema of service files
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe schema > hythe.schema.json

With `#:schema hythe.schema.json` as its first line, editors complete and check a service file.")]
pub(crate) struct Schema {}

/// Print the OpenAPI document of the agent's API
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe openapi > openapi.json")]
pub(crate) struct Openapi {}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  hythe completions bash > /etc/bash_completion.d/hythe
  hythe completions fish > ~/.config/fish/completions/hythe.fish")]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// Print the version, and the agent's where one answers
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  hythe version\n  hythe version --json")]
pub(crate) struct Version {}

/// Print this reference as Markdown
#[derive(Debug, Args)]
pub(crate) struct HelpMarkdown {}

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
