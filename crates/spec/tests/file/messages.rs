//! What is said about what people write.

use crate::support::{bad, memory, one};

/// The messages of a file and their hints, one a line.
fn told(text: &str) -> String {
    let told = bad(text, &memory([])).diagnostics.into_iter();
    let lines = told.map(|one| {
        let place = format!("{}:{}", one.position.line, one.position.column);
        format!("{place} {}\n    {}", one.message, one.hint.unwrap_or_else(|| "-".to_owned()))
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn of_component(lines: &[&str]) -> String {
    lines.iter().map(|line| format!("{line}\n{}\n\n", told(&one(line)))).collect()
}

#[test]
fn value_without_quotes_says_how_to_write_it() {
    insta::assert_snapshot!(
        "bare_values",
        of_component(&[
            "hostname = nginx",
            "hostname = infra",
            "workdir = /srv/www",
            "hostname = web # the name",
            "tty = True",
            "init = yes",
            "memory = 64m",
            "env = { A = b }",
            "restart = unless-stopped\nuser = app",
        ])
    );
}

#[test]
fn other_formats_are_recognised() {
    let told = |text: &str| format!("{text}\n{}\n", told(text));
    insta::assert_snapshot!(
        "formats",
        [
            told("version: \"3\"\nservices:\n  web:\n    image: nginx\n"),
            told("# a\n---\nname: shop\ncomponents:\n  - name: web\n"),
            told("{ \"name\": \"shop\" }\n"),
        ]
        .concat()
    );
}

#[test]
fn value_of_the_wrong_kind_says_how_to_write_it() {
    let component = of_component(&[
        "tty = 'yes'",
        "tty = 1",
        "memory_mb = '64'",
        "memory_mb = '64m'",
        "memory_mb = 1.5",
        "ports = '80:80'",
        "ports = 80",
        "hostname = 1",
        "workdir = true",
        "workdir = ['/x']",
        "health = 'curl localhost'",
        "[[components.health]]\ntcp = 1",
        "[components.volumes]\na = 'b'",
    ]);
    let service = told("name = 'shop'\n[components]\nname = 'web'\nimage = 'x'\n");
    insta::assert_snapshot!("kinds", component + &service);
}

#[test]
fn key_of_another_tool_or_table_says_what_it_is_called_here() {
    insta::assert_snapshot!(
        "keys",
        of_component(&[
            "gpus = 'all'",
            "pid = 'host'",
            "cap_add = ['NET_RAW']",
            "privileged = true",
            "environment = { A = '1' }",
            "healthcheck = { test = 'x' }",
            "health = { test = 'x', exec = 'x' }",
            "interval = '1s'",
            "networks = ['a']",
            "mem_limit = '1g'",
            "drift = 'heal'",
            "comand = 'x'",
        ]) + &told(
            "name = 'shop'\nimage = 'x'\nservices = {}\nversion = '3'\n[[components]]\nname = 'a'\nimage = 'x'\n"
        )
    );
}

#[test]
fn strings_say_what_was_meant() {
    insta::assert_snapshot!(
        "strings",
        of_component(&[
            "volumes = ['$HOME/a:/b']",
            "volumes = ['a/b:/c']",
            "volumes = ['../odd/a:b:/x']",
            "volumes = ['/a:/b:c:/d']",
            "volumes = ['/a:/b:U']",
            "ports = ['99999:80']",
            "ports = ['80:99999']",
            "runtime = 'dokcer'",
            "ulimits = { nofiles = 1 }",
        ]) + &told(
            "name = 'shop'\n[[components]]\nname = 'a'\nimage = 'Nginx:latest'\n[[components]]\nname = 'b'\nimage = 'localhost:5000/Web@sha256:0000000000000000000000000000000000000000000000000000000000000000'\n"
        )
    );
}
