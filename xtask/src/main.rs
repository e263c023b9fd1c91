//! The project's chores, run as `cargo xtask <command>`.
//!
//! It starts and stops private engines, runs every test against them and keeps generated files true.
//! It compiles in seconds because it depends on almost nothing, and it is no part of what users install.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a developer's tool talks on its terminal")]

use std::process::ExitCode;

use crate::failure::Result;

mod api;
mod bench;
mod env;
mod failure;
mod fuzz;
mod r#gen;
mod lab;
mod leaks;
mod packages;
mod run;
mod test;

/// One row of the dispatch table; `run` gets the words after the command's name.
struct Command {
    name: &'static str,
    usage: &'static str,
    run: fn(&[String]) -> Result<()>,
}

const COMMANDS: &[Command] = &[
    Command { name: "env", usage: env::USAGE, run: env::main },
    Command { name: "test", usage: test::USAGE, run: test::main },
    Command { name: "lab", usage: lab::USAGE, run: lab::main },
    Command { name: "gen", usage: r#gen::USAGE, run: r#gen::main },
    Command { name: "bench", usage: bench::USAGE, run: bench::main },
    Command { name: "fuzz", usage: fuzz::USAGE, run: fuzz::main },
    Command { name: "api", usage: api::USAGE, run: api::main },
];

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let Some(command) = args.first().and_then(|name| COMMANDS.iter().find(|command| command.name == name)) else {
        eprint!("{}", usage());
        return ExitCode::from(2);
    };
    let words = &args[1..];
    if words.iter().any(|word| word == "--help" || word == "-h") {
        println!("{}", command.usage);
        return ExitCode::SUCCESS;
    }
    match (command.run)(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_reported() {
                eprintln!("xtask {}: {failure}", command.name);
            }
            ExitCode::from(failure.exit_code())
        }
    }
}

fn usage() -> String {
    COMMANDS.iter().map(|command| format!("{}\n", command.usage)).collect()
}
