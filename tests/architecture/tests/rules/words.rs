//! The field's words: phrases that docs, help and messages avoid, and names that code avoids, each with what to write instead.
//!
//! For: readers who know OCI, Docker, Kubernetes and systemd, and nothing of this project.
//! To add a word: remove it everywhere, then add a row.

use hythe_architecture::{Source, sources, sources_below};

use crate::hold;

/// Phrases in prose, in lower case, matched as whole words, also over the end of a line.
const PHRASES: &[(&str, &str)] = &[
    ("another machine", "another host, or another platform"),
    ("are had", "are prepared"),
    ("as ever", "as before"),
    ("by hand", "out of band"),
    ("control group", "cgroup"),
    ("control groups", "cgroups"),
    ("for want of", "because ... is missing; OOM-killed"),
    ("held still", "frozen, paused"),
    ("is had", "is prepared"),
    ("keeper", "manager, stdin holder"),
    ("kind of machine", "platform"),
    ("last words", "last log lines"),
    ("lead out", "have egress"),
    ("leads out", "has egress"),
    ("left behind", "orphaned; leftovers"),
    ("lines for the hosts file", "extra hosts"),
    ("lines of the hosts file", "extra hosts"),
    ("mend", "repair, fix, heal"),
    ("mended", "repaired, fixed, healed"),
    ("nobody wants", "orphaned"),
    ("ordinary user", "unprivileged user, or rootless"),
    ("other ids", "subordinate ids"),
    ("other machines", "other hosts"),
    ("somebody else's", "not managed by Hythe"),
    ("system call filter", "seccomp profile"),
    ("takes up", "copy-up"),
    ("tell", "report, emit, print or configure: say which"),
    ("tells", "reports, emits, prints or configures: say which"),
    ("the machine", "the host"),
    ("the way out", "egress, outbound NAT"),
    ("the witness", "the source of truth"),
    ("this machine", "this host"),
    ("told", "reported, emitted, printed or configured: say which"),
    ("two agreeing looks", "seen orphaned in two consecutive scans"),
    ("whoever", "the process or user that"),
    ("without a word", "silently, without notice"),
    ("wrong use", "wrong usage"),
];

/// Words of names: of files, types, traits and functions. A row matches where its words follow each other in a name.
const NAMES: &[(&str, &str)] = &[
    ("are told", "are_reported, are_distinguished"),
    ("assembler", "partial_lines"),
    ("bed", "harness"),
    ("break hold", "release_freeze"),
    ("calm", "clear_error"),
    ("ceilings", "rlimits"),
    ("complaint", "RegistryError"),
    ("contest", "rounds"),
    ("creator", "create"),
    ("disguise", "credentials, nested user namespace"),
    ("distrust layers", "drop_unsynced_layers"),
    ("dress", "apply_metadata"),
    ("errand", "userns_exec"),
    ("evidence", "oom, start_error"),
    ("freed", "Pruned"),
    ("fuse", "CrashTrigger"),
    ("guise", "credentials, nested user namespace"),
    ("halted", "stop_handled"),
    ("held still", "frozen"),
    ("insist", "inspect_with_retry"),
    ("is told", "is_reported, is_distinguished"),
    ("keeper", "manager, stdin_holder"),
    ("kick", "restart_requested"),
    ("last words", "last_log_lines"),
    ("logfile", "k8s_file"),
    ("mendable", "healable"),
    ("ordinary user", "unprivileged user"),
    ("patience", "reconnect, timeout"),
    ("plumbing", "links"),
    ("proven", "ready_once"),
    ("reaper", "gc"),
    ("recipe", "ComponentSpec"),
    ("remains", "leftovers, orphans"),
    ("renew", "replace_requested"),
    ("retold", "event_dedup"),
    ("ripe", "eligible"),
    ("say goodbye", "flush_and_close"),
    ("scene", "fixture"),
    ("settle later", "sync_in_background"),
    ("take up", "copy_up"),
    ("tell last", "report_and_close"),
    ("the machine", "the_host"),
    ("this machine", "this_host"),
    ("watchdog", "timers"),
    ("went wrong", "on_error"),
    ("witness", "reader"),
];

/// Markdown that is written by code or by others.
const GENERATED: &[&str] = &[
    "docs/reference/benchmarks.md",
    "docs/reference/cli.md",
    "docs/reference/conformance.md",
    "docs/reference/isolation.md",
    "docs/reference/scale.md",
    "patches/",
];
/// Where the help of the command line is written.
const HELP: &str = "crates/cli/src/args/";
/// Where strings are values of the API and of the database.
const WIRE: &str = "crates/spec/src/vocabulary/";
/// Where strings are messages for users.
const MESSAGES: &[&str] = &[
    "crates/agent/src/",
    "crates/cli/src/",
    "crates/client/src/",
    "crates/controller/src/",
    "crates/discovery/src/",
    "crates/network/src/",
    "crates/oci/src/",
    "crates/runtime/src/",
    "crates/shim/src/",
    "crates/spec/src/",
    "crates/store/src/",
    "crates/local/src/",
    "drivers/containerd/src/",
    "drivers/docker/src/",
    "drivers/embedded/src/",
    "drivers/memory/src/",
    "drivers/podman/src/",
];

#[test]
fn docs_use_the_words_of_the_field() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| is_prose(source)) {
        breaches.extend(prose(source, &outside_code(&source.text)));
    }
    hold("docs use the words of the field", &breaches);
}

#[test]
fn help_uses_the_words_of_the_field() {
    let breaches: Vec<_> = sources_below(HELP).iter().flat_map(|source| prose(source, &help(&source.text))).collect();
    hold("the help of the command line uses the words of the field", &breaches);
}

#[test]
fn messages_use_the_words_of_the_field() {
    let below = |source: &Source| MESSAGES.iter().any(|place| source.path.starts_with(place));
    let shipped = |source: &Source| {
        let not = ["/tests/", "tests.rs", WIRE];
        source.is_rust() && !not.iter().any(|part| source.path.contains(part))
    };
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| below(source) && shipped(source)) {
        breaches.extend(prose(source, &strings(&source.text)));
    }
    hold("messages use the words of the field", &breaches);
}

#[test]
fn names_use_the_words_of_the_field() {
    let mut breaches = Vec::new();
    for source in sources().iter().filter(|source| source.is_rust() && !source.path.starts_with("patches/")) {
        let file = source.name().trim_end_matches(".rs");
        let file =
            banned(file).map(|(word, instead)| format!("{}: `{word}` in its name; write {instead}", source.path));
        let lines = (1..).zip(source.text.lines());
        let defined = lines.filter_map(|(line, text)| Some((line, banned(defined(text)?)?)));
        let defined = defined.map(|(line, (word, instead))| say(source, line, word, instead));
        breaches.extend(file.into_iter().chain(defined));
    }
    hold("names use the words of the field", &breaches);
}

#[test]
fn a_phrase_is_found_over_the_end_of_a_line() {
    let lines = |text: &str| phrases(text).map(|(line, phrase, _)| (line, phrase)).collect::<Vec<_>>();
    assert_eq!(lines("one\nheld\n  still, and\n"), [(2, "held still")]);
    assert_eq!(lines("Held Still"), [(1, "held still")]);
    assert!(lines("upheld still; by handle").is_empty());
}

#[test]
fn a_name_is_split_into_words() {
    assert_eq!(words("LastWords"), ["last", "words"]);
    assert_eq!(words("say_goodbye"), ["say", "goodbye"]);
    assert!(banned("undressed_up").is_none() && banned("SayGoodbye").is_some());
}

fn is_prose(source: &Source) -> bool {
    source.name().ends_with(".md") && !GENERATED.iter().any(|path| source.path.starts_with(path))
}

fn prose(source: &Source, text: &str) -> Vec<String> {
    phrases(text).map(|(line, phrase, instead)| say(source, line, phrase, instead)).collect()
}

fn say(source: &Source, line: usize, word: &str, instead: &str) -> String {
    format!("{}:{line}: `{word}`; write {instead}", source.path)
}

/// Every banned phrase in a text, with the line where it begins.
fn phrases(text: &str) -> impl Iterator<Item = (usize, &'static str, &'static str)> {
    let lines: Vec<String> = text.lines().map(str::to_lowercase).collect();
    let next = lines.iter().skip(1).map(String::as_str).chain([""]);
    let joined = lines.iter().zip(next).map(|(line, next)| (line.len(), format!("{line} {}", begun(next))));
    let joined: Vec<_> = (1..).zip(joined).collect();
    joined.into_iter().flat_map(|(number, (end, text))| {
        let here = PHRASES.iter().filter(move |(phrase, _)| finds(&text, phrase, end));
        here.map(move |(phrase, instead)| (number, *phrase, *instead)).collect::<Vec<_>>()
    })
}

/// A line without what marks it as the next line of a list, a comment or a string.
fn begun(line: &str) -> &str {
    line.trim_start().trim_start_matches(['/', '!', '>']).trim_start()
}

/// Whether a phrase begins before `end`, as whole words.
fn finds(text: &str, phrase: &str, end: usize) -> bool {
    let is_edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (text[..at].chars().next_back(), text[at + phrase.len()..].chars().next());
        at < end && is_edge(before) && is_edge(after)
    })
}

/// A Markdown text without code, line by line.
fn outside_code(text: &str) -> String {
    let mut fenced = false;
    let mut keep = |line: &str| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fenced && !fence
    };
    let prose = |line: &str| line.split('`').step_by(2).collect::<Vec<_>>().join("`");
    text.lines().map(|line| if keep(line) { prose(line) } else { String::new() }).collect::<Vec<_>>().join("\n")
}

/// The string literals of a Rust text without placeholders, line by line; comments and attributes are left out.
fn strings(text: &str) -> String {
    let literal = |part: &str| part.split(['{', '}']).step_by(2).collect::<Vec<_>>().join("…");
    let quoted = |line: &str| {
        let is_code = !line.trim_start().starts_with("//") && !line.trim_start().starts_with("#[");
        let parts = line.split('"').skip(1).step_by(2).map(literal);
        if is_code { parts.collect::<Vec<_>>().join(" … ") } else { String::new() }
    };
    text.lines().map(quoted).collect::<Vec<_>>().join("\n")
}

/// What clap shows of a Rust text, line by line: doc comments and strings.
fn help(text: &str) -> String {
    let strings = strings(text);
    let documented = |line: &str| line.trim_start().strip_prefix("///").map(str::to_owned);
    let lines = text.lines().zip(strings.lines());
    lines.map(|(line, quoted)| documented(line).unwrap_or(quoted.to_owned())).collect::<Vec<_>>().join("\n")
}

/// The name that a line of Rust defines.
fn defined(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| !["struct", "enum", "trait", "fn"].contains(word));
    let name = words.nth(1).filter(|_| !line.trim_start().starts_with("//"))?;
    Some(&name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len())])
}

fn banned(name: &str) -> Option<(&'static str, &'static str)> {
    let name = format!(" {} ", words(name).join(" "));
    NAMES.iter().find(|(row, _)| name.contains(&format!(" {row} "))).copied()
}

/// `LastWords` and `last_words` are `last words`.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for letter in name.chars() {
        if letter == '_' || letter.is_uppercase() {
            words.push(String::new());
        }
        if let (true, Some(word)) = (letter != '_', words.last_mut()) {
            word.extend(letter.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}
