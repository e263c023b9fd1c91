//! The demonstration does what it shows, again and again, and leaves nothing when it is told to.

use std::sync::{Mutex, PoisonError};

use hythe_host_leaks::unprivileged::{IDS, USER, give_ids};

use crate::fixture::Fixture;
use crate::home::{Ends, Home};
use crate::program::Ran;
use crate::trial::{caught, trials};

trials!("demo":
    a_website_is_shown_twice_and_cleaned_away Real,
    every_printed_command_works_as_typed Real,
    every_command_of_the_tour_works_as_typed Memory,
    it_wants_a_runtime_that_is_there Every,
    an_unprivileged_user_needs_nothing_installed Memory,
    an_unprivileged_user_with_subordinate_ids_neither Ids,
);

/// The demonstration has one name, and two agents on one engine cannot both have it.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn a_website_is_shown_twice_and_cleaned_away(fixture: &mut Fixture<'_>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = fixture.subject.name;
    for visitor in ["visitor 1.", "visitor 2."] {
        let shown = fixture.hythe(&["demo", "--runtime", runtime]).ok();
        assert!(shown.out.contains(visitor) && shown.out.contains("hythe-demo-web"), "{shown:?}");
        shown.says(&["curl http://127.0.0.1:", "hythe demo --clean"]);
    }
    fixture.hythe(&["demo", "--clean"]).ok().says(&["the demo is removed"]);
    let (engine, label) = (fixture.engine(), fixture.agent.owner_label());
    let left = [engine.instances(&label), engine.networks(&label), engine.volumes(&label)].concat();
    assert!(left.is_empty(), "{left:?}");
    let images = fixture.hythe(&["images"]).ok().out;
    assert!(!images.contains("hythe-demo"), "{images}");
    fixture.hythe(&["demo", "--clean"]).ok();
}

fn every_printed_command_works_as_typed(fixture: &mut Fixture<'_>) {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    types_what_is_printed(fixture);
    fixture.hythe(&["demo", "--clean"]).ok();
}

fn every_command_of_the_tour_works_as_typed(fixture: &mut Fixture<'_>) {
    types_what_is_printed(fixture);
    let left = fixture.hythe(&["services", "--json"]).ok().json();
    assert_eq!(left, serde_json::json!([]));
}

fn types_what_is_printed(fixture: &mut Fixture<'_>) {
    let runtime = fixture.subject.name;
    let shown = fixture.hythe(&["demo", "--runtime", runtime]).ok();
    let printed: Vec<_> = shown.err.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(printed.len() >= 6, "{shown:?}");
    let program = crate::program::path();
    let path = format!("{}:{}", program.parent().unwrap().display(), std::env::var("PATH").unwrap_or_default());
    for command in printed.into_iter().filter(|command| command.starts_with("hythe ")) {
        let mut shell = crate::program::command("sh".as_ref());
        shell.args(["-c", command]).current_dir(fixture.agent.path("")).env("PATH", &path);
        Ran::of(shell.env("HYTHE_HOST", fixture.agent.socket())).ok();
    }
}

fn it_wants_a_runtime_that_is_there(fixture: &mut Fixture<'_>) {
    fixture.hythe(&["demo", "--runtime", "nowhere"]).ends_with(3).says(&["nowhere", fixture.subject.name]);
}

const EMBEDDED: &str = "[[runtimes]]\nkind = \"embedded\"\n";

fn an_unprivileged_user_needs_nothing_installed(_: &mut Fixture<'_>) {
    is_shown_and_cleaned_away(&Home::new(EMBEDDED));
}

fn an_unprivileged_user_with_subordinate_ids_neither(_: &mut Fixture<'_>) {
    // Whoever gives them sees another `/etc` from then on.
    let there = || {
        caught(|| {
            give_ids().unwrap();
            let home = Home::of(USER, EMBEDDED);
            is_shown_and_cleaned_away(&home);
            let ids = std::fs::read_to_string(home.path("state/hythe/embedded/user/ids")).unwrap();
            assert!(ids.contains(&IDS[0].0.to_string()), "{ids}");
        })
    };
    let outcome = std::thread::scope(|scope| scope.spawn(there).join().unwrap());
    assert!(outcome.is_ok(), "{}", outcome.unwrap_err());
}

/// Containers are files and processes of the user alone: both are looked for afterwards.
fn is_shown_and_cleaned_away(home: &Home) {
    let _ends = Ends(home);
    let demo = |words: &[&str]| Ran::of(&mut home.command(&[&["demo"], words].concat())).ok();
    // Of a trial that failed nothing goes on either.
    let _cleans = Cleans(home);
    for visitor in ["visitor 1.", "visitor 2."] {
        let shown = demo(&[]);
        assert!(shown.out.contains(visitor) && shown.out.contains("hythe-demo-web"), "{shown:?}");
    }
    let runtimes = Ran::of(&mut home.command(&["runtimes", "--json"])).ok().json();
    assert_eq!((&runtimes[0]["name"], &runtimes[0]["rootless"]), (&"embedded".into(), &true.into()));
    let root = home.path("state/hythe/embedded");
    let count = |name: &str| std::fs::read_dir(root.join(name)).map_or(0, Iterator::count);
    assert_eq!((count("instances"), count("volumes")), (2, 1));
    // Beside the two supervisors and who holds the namespaces for them, tasks in the user namespace come and go.
    crate::wait::until("two supervisors and one holder", || shims(&root), |count| *count == 3);
    demo(&["--clean"]).says(&["the demo is removed"]);
    for name in ["instances", "volumes", "names", "trash", "making", "images/layers", "networks/networks"] {
        assert_eq!(count(name), 0, "something is left in `{name}`");
    }
    crate::wait::until("no process is left", || shims(&root), |count| *count == 0);
    demo(&["--clean"]);
}

struct Cleans<'a>(&'a Home);

impl Drop for Cleans<'_> {
    fn drop(&mut self) {
        // What is clean already stays so.
        Ran::of(&mut self.0.command(&["demo", "--clean"]));
    }
}

/// Processes that hold something below this root.
fn shims(root: &std::path::Path) -> usize {
    let words = |pid: &std::path::Path| std::fs::read(pid.join("cmdline")).unwrap_or_default();
    let ours = |words: Vec<u8>| {
        let words = String::from_utf8_lossy(&words).into_owned();
        words.contains("\0shim\0") && words.contains(&root.display().to_string())
    };
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    entries.filter(|entry| ours(words(&entry.path()))).count()
}
