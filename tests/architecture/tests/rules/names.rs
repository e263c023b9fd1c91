//! Names that only one place may say.

use hythe_architecture::{Source, sources_below};

use crate::hold;

/// Failure codes that a route may say itself, each with its reason.
const FAILURES_OF_ROUTES: &[(&str, &str, &str)] = &[(
    "crates/agent/src/routes/system.rs",
    "SERVICE_UNAVAILABLE",
    "a health probe that is answered with no is no failed request",
)];
const SUCCESSES: &[&str] = &["OK", "CREATED", "ACCEPTED", "NO_CONTENT"];

/// Rust files below `prefix` that say `word`, except in `places`, with the lines.
fn say(prefix: &str, word: &str, places: &[&str]) -> Vec<String> {
    let elsewhere = |source: &Source| source.is_rust() && !places.iter().any(|place| source.path.starts_with(place));
    let sources = sources_below(prefix).into_iter().filter(elsewhere);
    let lines = |source: Source| {
        source.lines_with(word).into_iter().map(move |line| format!("{}:{line}", source.path)).collect::<Vec<_>>()
    };
    sources.flat_map(lines).collect()
}

#[test]
fn only_the_composition_root_names_drivers() {
    let mut breaches = Vec::new();
    for source in sources_below("crates/").iter().filter(|source| source.path != "crates/agent/src/compose.rs") {
        let is_test = source.path.contains("/tests/") || source.name() == "tests.rs";
        let in_tests = |line: &&str| !(is_test && line.contains("hythe_driver_memory"));
        let naming = source.text.lines().filter(|line| line.contains("hythe_driver_")).filter(in_tests);
        breaches.extend(naming.map(|line| format!("{}: {line}", source.path)));
    }
    hold("crates/agent/src/compose.rs alone names drivers; tests name the in-process one", &breaches);
}

#[test]
fn only_the_agent_command_links_the_agent() {
    hold(
        "crates/cli/src/commands/agent alone names the agent's crate",
        &say("crates/cli/", "hythe_agent", &["crates/cli/src/commands/agent"]),
    );
}

#[test]
fn the_controller_names_no_engine() {
    let mut breaches = Vec::new();
    for source in sources_below("crates/controller/src/") {
        let text = source.text.to_lowercase();
        let engines =
            ["podman", "docker", "bollard", "containerd", "qemu", "kubernetes", "libcontainer", "runtimekind::"];
        breaches.extend(
            engines.iter().filter(|word| text.contains(*word)).map(|word| format!("`{}` says `{word}`", source.path)),
        );
    }
    hold("the controller names no engine and no kind of runtime", &breaches);
}

/// Rule: outside error.rs a status code is a success, and none is made from a number.
#[test]
fn only_error_rs_knows_failure_codes() {
    let mut breaches = say("crates/agent/src/", "StatusCode::from_u16", &["crates/agent/src/error.rs"]);
    for source in sources_below("crates/agent/src/").iter().filter(|source| source.path != "crates/agent/src/error.rs")
    {
        let excused =
            |code: &str| FAILURES_OF_ROUTES.iter().any(|(path, name, _)| *path == source.path && *name == code);
        let code = source.code();
        let codes = code
            .split("StatusCode::")
            .skip(1)
            .map(name)
            .filter(|code| code.chars().all(|c| c.is_ascii_uppercase() || c == '_'));
        let failures = codes.filter(|code| !SUCCESSES.contains(code) && !excused(code));
        breaches.extend(failures.map(|code| format!("`{}` says `{code}`", source.path)));
    }
    hold("crates/agent/src/error.rs alone turns failures into status codes", &breaches);
}

#[test]
fn what_is_pure_touches_nothing() {
    let places = ["crates/spec/src/", "crates/api/src/"];
    let means = [
        "std::fs",
        "std::process",
        "std::env::",
        "std::thread",
        "SystemTime::now",
        "Instant::now",
        "UdpSocket",
        "TcpStream",
        "UnixStream",
    ];
    let mut breaches = Vec::new();
    for source in places.iter().flat_map(|place| sources_below(place)) {
        let code = source.code();
        breaches.extend(
            means.iter().filter(|word| code.contains(*word)).map(|word| format!("`{}` has `{word}`", source.path)),
        );
    }
    hold("spec and api are given values and return values", &breaches);
}

fn name(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}
