//! Commands written as one string, and what of them only a shell understands.

use hythe_spec::Probe;

use crate::support::{bad, component, good, memory, messages, one};

fn command(line: &str) -> Vec<String> {
    component(&format!("command = '''{line}'''"), &memory([])).command.unwrap_or_default()
}

fn probed(exec: &str) -> Vec<String> {
    match component(&format!("health = {{ exec = {exec} }}"), &memory([])).health.map(|health| health.probe) {
        Some(Probe::Exec { command }) => command,
        other => panic!("{exec}: {other:?}"),
    }
}

#[test]
fn hash_sign_is_an_argument() {
    assert_eq!(command("redis-server --requirepass #x"), ["redis-server", "--requirepass", "#x"]);
    assert_eq!(command("a # b"), ["a", "#", "b"]);
    assert_eq!(command(r##"a#b '#c' \#d "#e""##), ["a#b", "#c", "#d", "#e"]);
    assert_eq!(command("#a"), ["#a"]);
}

#[test]
fn shell_operator_in_a_command_is_refused_with_the_way_to_write_it() {
    for line in ["a && b", "a || b", "a | b", "a; b", "a > /f", "a >/f", "a 2>&1", "a 2>/f", "a &", "a < /f", "a;"] {
        let found = messages(&format!("command = '{line}'"), &memory([]));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(found[0].contains("no shell reads a command"), "{line}: {found:?}");
        assert_eq!(messages(&format!("entrypoint = '{line}'"), &memory([])).len(), 1, "{line}");
    }
    assert_eq!(command("sh -c 'echo hi > /f; exec x && y'"), ["sh", "-c", "echo hi > /f; exec x && y"]);
    assert_eq!(command(r#"sh -c "echo $HOME && x""#), ["sh", "-c", "echo $HOME && x"]);
    assert_eq!(command(r"a \&\& b"), ["a", "&&", "b"]);
}

#[test]
fn what_a_shell_would_replace_is_reported_and_kept() {
    for (line, words) in [
        ("echo $HOME", ["echo", "$HOME"]),
        ("curl http://x/?a=1&b=2", ["curl", "http://x/?a=1&b=2"]),
        ("echo $(id)", ["echo", "$(id)"]),
        ("grep a|b", ["grep", "a|b"]),
    ] {
        let parsed = good(&one(&format!("command = '{line}'")), &memory([]));
        assert_eq!(parsed.service.components[0].command.as_deref(), Some(words.map(str::to_owned).as_slice()));
        assert_eq!(parsed.warnings.len(), 1, "{line}");
    }
    for line in ["ls *.c", "cost 5$", r"echo \$HOME"] {
        assert_eq!(good(&one(&format!("command = '{line}'")), &memory([])).warnings, [], "{line}");
    }
}

#[test]
fn health_command_that_only_a_shell_understands_is_run_by_one() {
    for line in [
        "redis-cli ping || exit 1",
        "wget -q -O /dev/null http://127.0.0.1/ || exit 1",
        "a | b",
        "test -n $HOME",
        r#"test "$X" = 1"#,
        "PGPASSWORD=x psql",
        "! pgrep x",
        "exit 0",
        "ls /run/*.pid",
        "a>b",
    ] {
        assert_eq!(probed(&format!("'''{line}'''")), ["/bin/sh", "-c", line], "{line}");
    }
    assert_eq!(probed("'redis-cli ping'"), ["redis-cli", "ping"]);
    assert_eq!(probed(r#"'sh -c "test $X"'"#), ["sh", "-c", "test $X"]);
}

#[test]
fn health_command_in_the_words_of_compose_is_read_as_compose_reads_it() {
    assert_eq!(probed("['CMD-SHELL', 'a || b']"), ["/bin/sh", "-c", "a || b"]);
    assert_eq!(probed("['CMD', 'a', 'b']"), ["a", "b"]);
    assert_eq!(probed("['a', '||', 'b']"), ["a", "||", "b"]);
    assert_eq!(component("health = { exec = ['NONE'] }", &memory([])).health, None);
    assert_eq!(messages("health = { exec = ['CMD-SHELL'] }", &memory([])).len(), 1);
    assert_eq!(messages("health = { exec = ['CMD'] }", &memory([])).len(), 1);
}

#[test]
fn what_would_fail_late_is_refused() {
    for line in [
        "user = '2147483648'",
        "user = 'app:2147483648'",
        "ulimits = { nofile = -5 }",
        "health = { http = ':80/a b' }",
        "health = { http = { port = 80, path = '/ä' } }",
        "labels = { 'a b' = '1' }",
        "labels = { 'a=b' = '1' }",
        "labels = [\"a\\tb=1\"]",
        "ports = ['0:80-81']",
        "hostname = 'my_host'",
    ] {
        assert_eq!(messages(line, &memory([])).len(), 1, "{line}: {:?}", messages(line, &memory([])));
    }
    let error = bad(&one("hostname = 'my_host'"), &memory([]));
    assert!(error.diagnostics[0].hint.as_deref().is_some_and(|hint| hint.starts_with("write `my-host`")), "{error:?}");
}
