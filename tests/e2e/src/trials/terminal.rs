//! What a terminal is given: nothing that others chose is obeyed by it.

use crate::files::one;
use crate::fixture::Fixture;
use crate::terminal::shown;
use crate::trial::trials;

trials!("terminal":
    hostile_output_reaches_a_terminal_escaped Every,
    hostile_names_reach_a_terminal_escaped Memory,
);

/// The clipboard (OSC 52), the title (OSC 0), a clear screen, a carriage return, a colour.
const SCRIPT: &str = r"trap exit TERM; printf '\033]52;c;aGk=\007\033]0;owned\007\033[2Jbad\rgood \033[31mred\033[0m\n'; sleep 3600 & wait";
/// It fails while it runs, so that its last log lines are shown.
const SICK: &str = "health = { exec = 'false', interval = '500ms', retries = 2 }";

/// What no terminal may be told by others.
#[track_caller]
fn assert_harmless(text: &str) {
    let rest = text.replace("\r\n", "\n");
    for sequence in ["\x1b]", "\x07", "\x1b[2J", "bad\rgood", "\u{9b}", "\u{202e}"] {
        assert!(!rest.contains(sequence), "{sequence:?} in {rest:?}");
    }
}

fn hostile_output_reaches_a_terminal_escaped(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    let file = fixture.file(&one(&service, SCRIPT, SICK));
    let deploy = shown(&mut fixture.agent.command(&["deploy", "--wait", &file]));
    assert_harmless(&deploy);
    assert_eq!(deploy.matches(r"\x1b]52").count(), 1, "the last log lines are shown once: {deploy}");
    for words in [&["status", &service][..], &["events"], &["ps"], &["inspect", &service], &["logs", &service]] {
        assert_harmless(&shown(&mut fixture.agent.command(words)));
    }
    let status = shown(&mut fixture.agent.command(&["status", &service]));
    assert_eq!(status.matches(r"\x1b]52").count(), 1, "the last log lines are shown once: {status}");
    let logs = shown(&mut fixture.agent.command(&["logs", &service]));
    assert!(logs.contains(r"\x1b]52;c;aGk=\x07") && logs.contains("\x1b[31mred\x1b[0m"), "{logs:?}");
    let raw = shown(&mut fixture.agent.command(&["logs", "--raw", &service]));
    assert!(raw.contains("\x1b]52;c;aGk=\x07"), "{raw:?}");
    let piped = fixture.hythe(&["logs", &service]).ok().out;
    assert_eq!(piped, "\x1b]52;c;aGk=\x07\x1b]0;owned\x07\x1b[2Jbad\rgood \x1b[31mred\x1b[0m\n");
}

fn hostile_names_reach_a_terminal_escaped(fixture: &mut Fixture<'_>) {
    let file = fixture
        .file("name = \"a\\u001B]0;x\\u0007\"\n\n[[components]]\nname = \"\\u202Eweb\"\nimage = \"a\u{9b}31m\"\n");
    for words in [&["validate", &file][..], &["deploy", &file], &["status", "a\x1b]0;x\x07"], &["pull", "a\u{202e}b"]] {
        assert_harmless(&shown(&mut fixture.agent.command(words)));
    }
}
