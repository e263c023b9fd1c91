//! A user without an agent gets one.

use crate::fixture::Fixture;
use crate::home::{Ends, Home};
use crate::program::{Ran, Running};
use crate::trial::trials;

trials!("autostart":
    the_first_command_starts_an_agent_and_says_so Memory,
    of_two_commands_at_once_one_starts_it Memory,
    an_agent_that_cannot_start_is_5_and_says_why Memory,
);

const CONFIG: &str = "[[runtimes]]\nkind = \"memory\"\n";

fn the_first_command_starts_an_agent_and_says_so(_: &mut Fixture<'_>) {
    let home = Home::new(CONFIG);
    let _ends = Ends(&home);
    let first =
        Ran::of(&mut home.command(&["ps", "--json"])).ok().says(&["started an agent in the background", "agent.log"]);
    assert_eq!(first.out, "[]\n");
    assert!(home.path("run/hythe/agent.sock").exists(), "it listens elsewhere");
    let second = Ran::of(&mut home.command(&["ps", "--json"])).ok();
    assert_eq!(second.err, "", "the second command found no agent");
    let agent = Ran::of(&mut home.command(&["version", "--json"])).ok().json()["agent"].clone();
    assert_eq!(agent["state_dir"], home.path("state/hythe").display().to_string());
}

fn of_two_commands_at_once_one_starts_it(_: &mut Fixture<'_>) {
    let home = Home::new(CONFIG);
    let _ends = Ends(&home);
    let commands: Vec<_> = (0..3).map(|_| Running::start(&mut home.command(&["ps"]))).collect();
    let ended: Vec<_> = commands.into_iter().map(|command| command.end().ok()).collect();
    let starters = ended.iter().filter(|ran| ran.err.contains("started an agent")).count();
    assert_eq!(starters, 1, "{ended:#?}");
}

fn an_agent_that_cannot_start_is_5_and_says_why(_: &mut Fixture<'_>) {
    let home = Home::new("sockett = \"x\"\n");
    Ran::of(&mut home.command(&["ps"])).ends_with(5).says(&["sockett", "agent.toml", "hint:"]);
}
