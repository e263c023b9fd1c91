//! The words of the program, kept: whoever changes them sees it.

use insta::assert_snapshot;

use crate::files::{several, stays};
use crate::fixture::Fixture;
use crate::home::Home;
use crate::program::Ran;
use crate::trial::trials;

trials!("words":
    help Memory,
    diagnostics_of_a_faulty_file Memory,
    a_table_of_workloads Memory,
    errors Memory,
);

/// Compares with what is committed, after everything that differs from run to run has been named.
fn kept(name: &str, text: &str, fixture: &Fixture<'_>) {
    let directory = fixture.agent.path("");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(directory.to_str().unwrap().trim_end_matches('/'), "DIR");
    settings.add_filter(&fixture.service, "svc");
    settings.add_filter(r"\b\d+(ms|s)\b( ago)?", "TIME");
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| assert_snapshot!(name, text));
}

fn shown(ran: &Ran) -> String {
    format!("exit code {}\n--- stdout\n{}--- stderr\n{}", ran.code.unwrap_or(-1), ran.out, ran.err)
}

fn help(fixture: &mut Fixture<'_>) {
    kept("help", &fixture.hythe(&["--help"]).ok().out, fixture);
}

fn diagnostics_of_a_faulty_file(fixture: &mut Fixture<'_>) {
    let home = Home::new("");
    let text = "name = \"shop\"\nverison = 2\n\n[[components]]\nname = \"web\"\nimage = \"web:1\"\nports = [\"80:http\"]\ndepends_on = [\"bd\"]\n\n[[components]]\nname = \"db\"\nimage = \"db:1\"\nmemory = \"64q\"\n";
    std::fs::write(home.path("shop.toml"), text).unwrap();
    kept("diagnostics", &shown(&Ran::of(&mut home.command(&["deploy", "shop.toml"]))), fixture);
}

fn a_table_of_workloads(fixture: &mut Fixture<'_>) {
    let script = stays("up");
    fixture
        .deploy(&several(
            &fixture.service,
            &[("db", &script, "health = { exec = 'true' }"), ("web", &script, "ports = ['127.0.0.1:8080:80']")],
        ))
        .ok();
    fixture.hythe(&["stop", &format!("{}/web", fixture.service)]).ok();
    // The width of the first column follows the name, which differs from run to run.
    let table = fixture.hythe(&["ps", "-a"]).ok().out;
    let words: Vec<String> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    kept("ps", &words.join("\n"), fixture);
}

fn errors(fixture: &mut Fixture<'_>) {
    let mut text = String::new();
    for words in [
        &["status", "absent"][..],
        &["exec", "absent", "true"],
        &["deploy", "absent"],
        &["pull", "--runtime", "absent", "x"],
    ] {
        text += &format!("$ hythe {}\n{}\n", words.join(" "), shown(&fixture.hythe(words)));
    }
    fixture.agent.stop();
    text += &format!("$ hythe ps\n{}", shown(&fixture.hythe(&["ps"])));
    kept("errors", &text, fixture);
}
