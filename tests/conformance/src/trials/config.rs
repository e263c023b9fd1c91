//! What a plan says is what the process finds.

use std::collections::BTreeMap;

use hythe_runtime::{ErrorKind, Feature, NetworkMode, Observed, ObservedSeccomp, Plan, PlanNetwork, State};
use hythe_spec::{Millis, Signal};

use crate::failure::{Outcome, refused};
use crate::fixture::{Fixture, words};
use crate::need::Need::{Build, Can, Exec, Images, Logs};
use crate::trial::trials;
use crate::trials::build::built;

trials! { "config":
    the_images_own_command_runs [Logs, Images, Build],
    command_replaces_the_images [Logs, Images, Build],
    entrypoint_drops_the_images_command [Logs, Images, Build],
    entrypoint_and_command_are_joined [Logs, Images, Build],
    an_empty_entrypoint_is_none [Logs, Images, Build],
    the_images_environment_user_workdir_and_signal_hold [Logs, Exec, Images, Build],
    arguments_are_not_touched [Logs],
    env_reaches_the_process [Logs],
    env_keeps_odd_values [Exec],
    env_of_one_mebibyte [Logs],
    env_replaces_the_images [Logs],
    workdir_that_is_there [Logs],
    workdir_that_is_not_is_made [Logs],
    user_by_name_and_number [Logs, Can(Feature::User)],
    an_unknown_user_is_invalid [Can(Feature::User)],
    hostname_is_set [Logs],
    labels_keep_odd_values [],
    the_longest_names [],
    a_terminal_for_the_main_process [Logs, Can(Feature::Tty)],
    no_stdin_is_the_end_of_file [Logs],
    inspect_gives_back_what_was_asked [Can(Feature::User)],
    inspect_reports_how_it_was_set_up [Can(Feature::Tty), Can(Feature::Stdin), Can(Feature::HostNetwork), Can(Feature::CapabilitySet)],
    an_image_reports_what_it_says_of_its_process [Images, Build],
    explain_says_the_same_twice_and_makes_nothing [],
    explain_masks_secrets [],
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

const SPEAKS: &str = "ENTRYPOINT [\"echo\", \"entry\"]\nCMD [\"command\"]\n";

/// What an image that speaks says under these replacements.
async fn spoken(fixture: &Fixture, entrypoint: Option<&[&str]>, command: Option<&[&str]>) -> Outcome<String> {
    let mut plan = fixture.plan(&[]);
    plan.image = built(fixture, SPEAKS).await?;
    plan.entrypoint = entrypoint.map(words);
    plan.command = command.map(words);
    Ok(fixture.output(&plan).await?.trim().to_owned())
}

async fn the_images_own_command_runs(fixture: &Fixture) -> Outcome {
    assert_eq!(spoken(fixture, None, None).await?, "entry command");
    Ok(())
}

async fn command_replaces_the_images(fixture: &Fixture) -> Outcome {
    assert_eq!(spoken(fixture, None, Some(&["other", "words"])).await?, "entry other words");
    Ok(())
}

async fn entrypoint_drops_the_images_command(fixture: &Fixture) -> Outcome {
    assert_eq!(spoken(fixture, Some(&["echo", "mine"]), None).await?, "mine");
    Ok(())
}

async fn entrypoint_and_command_are_joined(fixture: &Fixture) -> Outcome {
    assert_eq!(spoken(fixture, Some(&["echo", "-n", "mine"]), Some(&["and"])).await?, "mine and");
    Ok(())
}

async fn an_empty_entrypoint_is_none(fixture: &Fixture) -> Outcome {
    assert_eq!(spoken(fixture, Some(&[]), Some(&["echo", "bare"])).await?, "bare");
    Ok(())
}

async fn the_images_environment_user_workdir_and_signal_hold(fixture: &Fixture) -> Outcome {
    let image = built(
        fixture,
        "ENV COLOUR=\"deep blue\" OTHER=x\nUSER app\nWORKDIR /home/app\nSTOPSIGNAL USR1\n\
         CMD [\"sh\", \"-c\", \"trap 'exit 11' USR1; echo \\\"$COLOUR $(id -u) $(pwd)\\\"; echo ready; while :; do sleep 0.1; done\"]\n",
    )
    .await?;
    let mut plan = fixture.plan(&[]);
    plan.command = None;
    plan.image = image;
    let id = fixture.ready(&plan).await?;
    fixture.until_line(&id, "deep blue 1000 /home/app").await?;
    fixture.stop(&id, 10_000).await?;
    assert_eq!(fixture.inspect(&id).await?.exit.unwrap().code, Some(11));
    Ok(())
}

async fn arguments_are_not_touched(fixture: &Fixture) -> Outcome {
    let odd = ["a b", "", "\"q'", "$HOME", "*", "--flag=x", "-", "é 漢", "back\\slash", "two\nlines"];
    let mut plan = fixture.plan(&[
        "sh",
        "-c",
        "printf '<%s>' \"$1\" \"$2\" \"$3\" \"$4\" \"$5\" \"$6\" \"$7\" \"$8\" \"$9\"",
        "sh",
    ]);
    plan.command.as_mut().unwrap().extend(words(&odd[..9]));
    let wanted: String = odd[..9].iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(fixture.output(&plan).await?.trim_end(), wanted);
    let output = fixture.output(&second(fixture.plan(&["printf", "[%s]", odd[9]]))).await?;
    assert_eq!(output.trim_end(), "[two\nlines]");
    Ok(())
}

/// The same plan as another attempt, so that both may exist.
fn second(mut plan: hythe_runtime::Plan) -> hythe_runtime::Plan {
    plan.identity.attempt += 1;
    plan
}

async fn env_reaches_the_process(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("echo \"$ONE|$TWO|${MISSING}|$(env | grep -c '^EMPTY=$')\"");
    plan.env = pairs([("ONE", "first"), ("TWO", "a=b c"), ("EMPTY", "")]);
    assert_eq!(fixture.output(&plan).await?.trim(), "first|a=b c||1");
    Ok(())
}

async fn env_keeps_odd_values(fixture: &Fixture) -> Outcome {
    let odd = pairs([
        ("TEXT", "one\ntwo\n\nfour"),
        ("SPACES", "  before and after  "),
        ("QUOTES", "\"double\" 'single' `back` $DOLLAR \\ #hash"),
        ("UNICODE", "é 漢字 🚢"),
        ("EQUALS", "a=b=c"),
        ("TAB", "a\tb\rc"),
        ("lower_case_2", "x"),
    ]);
    let mut plan = fixture.server();
    plan.env = odd.clone();
    let id = fixture.run(&plan).await?;
    for (name, value) in &odd {
        let script = format!("printf %s \"${name}\"");
        let executed = fixture.exec(&id, &["sh", "-c", &script]).await?;
        assert_eq!(String::from_utf8_lossy(&executed.stdout), *value, "{name}");
    }
    let observed = fixture.inspect(&id).await?.env;
    for (name, value) in &odd {
        assert_eq!(observed.get(name), Some(value), "inspect tells {name}");
    }
    Ok(())
}

async fn env_of_one_mebibyte(fixture: &Fixture) -> Outcome {
    const PART: usize = 100 << 10;
    let mut plan = fixture.script("echo $BIG0$BIG1$BIG2$BIG3$BIG4$BIG5$BIG6$BIG7$BIG8$BIG9 | wc -c");
    plan.env = (0..10).map(|number| (format!("BIG{number}"), "v".repeat(PART))).collect();
    let count: usize = fixture.output(&plan).await?.trim().parse()?;
    assert_eq!(count, 10 * PART + 1);
    Ok(())
}

async fn env_replaces_the_images(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&["/bin/sh", "-c", "echo $PATH"]);
    plan.env = pairs([("PATH", "/bin:/mine")]);
    assert_eq!(fixture.output(&plan).await?.trim(), "/bin:/mine");
    Ok(())
}

async fn workdir_that_is_there(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&["pwd"]);
    plan.workdir = Some("/home/app".to_owned());
    assert_eq!(fixture.output(&plan).await?.trim(), "/home/app");
    Ok(())
}

async fn workdir_that_is_not_is_made(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("pwd; touch here && echo made");
    plan.workdir = Some("/srv/deep/down".to_owned());
    assert_eq!(fixture.output(&plan).await?, "/srv/deep/down\nmade\n");
    Ok(())
}

async fn user_by_name_and_number(fixture: &Fixture) -> Outcome {
    let cases = [
        ("app", "1000 1000"),
        ("1000", "1000 1000"),
        ("1000:0", "1000 0"),
        ("app:root", "1000 0"),
        ("7:8", "7 8"),
        ("0", "0 0"),
    ];
    for (attempt, (user, wanted)) in cases.into_iter().enumerate() {
        let mut plan = fixture.script("echo $(id -u) $(id -g)");
        plan.identity.attempt = u32::try_from(attempt)? + 1;
        plan.user = Some(user.to_owned());
        assert_eq!(fixture.output(&plan).await?.trim(), wanted, "{user}");
    }
    Ok(())
}

async fn an_unknown_user_is_invalid(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&["true"]);
    plan.user = Some("nobody-here".to_owned());
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Invalid);
    assert!(error.message().contains("nobody-here"), "{error}");
    assert!(!fixture.states().await?.contains(&State::Running));
    Ok(())
}

async fn hostname_is_set(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&["hostname"]);
    plan.hostname = "quay-7".to_owned();
    assert_eq!(fixture.output(&plan).await?.trim(), "quay-7");
    Ok(())
}

async fn labels_keep_odd_values(fixture: &Fixture) -> Outcome {
    let odd = pairs([
        ("plain", "value"),
        ("empty", ""),
        ("com.example/with.dots-and_more", "a=b, c"),
        ("quotes", "\"double\" 'single' \\ back"),
        ("json", "{\"a\": [1, 2]}"),
        ("unicode", "é 漢 🚢"),
        ("template", "{{ .Names }}"),
        ("lines", "one\ntwo"),
    ]);
    let mut plan = fixture.server();
    plan.annotations = odd;
    let id = fixture.create(&plan).await?;
    assert_eq!(fixture.inspect(&id).await?.labels, plan.labels_and_annotations());
    let rows = fixture.runtime().list(&fixture.cx, &hythe_runtime::Filter::owned_by(&fixture.owner)).await?;
    assert_eq!(rows[0].labels, plan.labels_and_annotations(), "list loses some");
    Ok(())
}

async fn the_longest_names(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    let service = format!("{}-abcdefghijklmnopqrstuvwxyz0123456789", fixture.service);
    plan.identity.service = service.chars().take(39).chain(['x']).collect();
    plan.identity.component = "c0123456789-abcdefghijklmnopqrstuvwxyz-z".to_owned();
    plan.identity.generation = 4_000_000_000;
    plan.identity.attempt = u32::MAX;
    plan.hostname.clone_from(&plan.identity.component);
    let id = fixture.run(&plan).await?;
    let observed = fixture.inspect(&id).await?;
    assert_eq!((observed.name, observed.identity), (plan.name(), Some(plan.identity)));
    Ok(())
}

async fn a_terminal_for_the_main_process(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("test -t 1 && echo terminal; echo err >&2");
    plan.tty = true;
    let finished = fixture.finish(&plan).await?;
    assert!(finished.stdout.contains("terminal") && finished.stdout.contains("err"), "{}", finished.stdout);
    assert_eq!(finished.stderr, "", "a terminal has one stream");
    Ok(())
}

async fn no_stdin_is_the_end_of_file(fixture: &Fixture) -> Outcome {
    assert_eq!(fixture.output(&fixture.script("cat; echo end")).await?, "end\n");
    Ok(())
}

async fn inspect_gives_back_what_was_asked(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&["-c", "sleep 1000"]);
    plan.entrypoint = Some(words(&["/bin/sh"]));
    plan.env = pairs([("A", "1"), ("B", "two words")]);
    plan.user = Some("1000:1000".to_owned());
    plan.workdir = Some("/tmp".to_owned());
    plan.hostname = "quay".to_owned();
    (plan.stop_signal, plan.stop_grace) = (Some(Signal(2)), Millis(3000));
    let id = fixture.create(&plan).await?;
    let observed = fixture.inspect(&id).await?;
    is_set_up(&plan, &observed);
    assert_eq!((Some(observed.entrypoint), Some(observed.command)), (plan.entrypoint, plan.command));
    assert!(plan.env.iter().all(|(key, value)| observed.env.get(key) == Some(value)), "{:?}", observed.env);
    assert_eq!((observed.user, observed.workdir), (plan.user, plan.workdir));
    assert_eq!(observed.hostname.as_deref(), Some("quay"));
    assert_eq!(observed.image, plan.image.to_string());
    assert!(observed.image_id.unwrap().starts_with("sha256:"));
    assert!(!observed.read_only);
    Ok(())
}

/// Who takes over an instance must know it whole.
async fn inspect_reports_how_it_was_set_up(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.network = PlanNetwork::Host;
    plan.stop_signal = Some(Signal(10));
    plan.stop_grace = Millis(7_000);
    (plan.tty, plan.stdin) = (true, true);
    plan.security.capabilities = words(&["CHOWN", "NET_RAW", "SYS_TIME"]);
    plan.security.no_new_privileges = true;
    let seen = fixture.inspect(&fixture.create(&plan).await?).await?;
    is_set_up(&plan, &seen);
    assert_eq!((seen.tty, seen.stdin, seen.stop_grace), (Some(true), Some(true), Some(plan.stop_grace)));
    assert_eq!(seen.security.no_new_privileges, Some(true));

    let mut plain = second(fixture.server());
    plain.security.no_new_privileges = false;
    let seen = fixture.inspect(&fixture.create(&plain).await?).await?;
    is_set_up(&plain, &seen);
    assert_eq!((seen.init, seen.tty, seen.stdin), (Some(false), Some(false), Some(false)));
    assert_eq!(seen.security.no_new_privileges, Some(false));
    Ok(())
}

async fn an_image_reports_what_it_says_of_its_process(fixture: &Fixture) -> Outcome {
    let instructions = "ENV COLOUR=\"deep blue\"\nLABEL team=red\nUSER app\nWORKDIR /home/app\nSTOPSIGNAL USR1\n";
    let image = built(fixture, &format!("{instructions}{SPEAKS}")).await?;
    let config = fixture.images().get(&fixture.cx, &image).await?.config.unwrap_or_default();
    assert_eq!((config.entrypoint, config.command), (words(&["echo", "entry"]), words(&["command"])));
    assert_eq!(config.env.get("COLOUR").map(String::as_str), Some("deep blue"));
    assert_eq!((config.user.as_deref(), config.workdir.as_deref()), (Some("app"), Some("/home/app")));
    assert_eq!((config.stop_signal, config.labels.get("team").map(String::as_str)), (Some(Signal(10)), Some("red")));
    Ok(())
}

/// What an engine says must be so; it need not say everything.
fn is_set_up(plan: &Plan, observed: &Observed) {
    fn said<T: PartialEq + std::fmt::Debug>(asked: T, observed: Option<T>) {
        assert!(observed.as_ref().is_none_or(|observed| *observed == asked), "asked for {asked:?}: {observed:?}");
    }
    let network_mode = match &plan.network {
        PlanNetwork::None => NetworkMode::None,
        PlanNetwork::Host => NetworkMode::Host,
        PlanNetwork::Networks { .. } => NetworkMode::Networks,
    };
    assert_eq!(observed.network_mode, network_mode);
    if plan.stop_signal.is_some() {
        assert_eq!(observed.stop_signal, plan.stop_signal);
    }
    assert!(!observed.auto_remove && observed.unmodelled.is_empty(), "{:?}", observed.unmodelled);
    said(plan.stop_grace, observed.stop_grace);
    said(
        (plan.init, plan.tty, plan.stdin),
        observed.init.zip(observed.tty).zip(observed.stdin).map(|((i, t), s)| (i, t, s)),
    );
    said(plan.security.capabilities.clone(), observed.security.capabilities.clone());
    said(plan.security.no_new_privileges, observed.security.no_new_privileges);
    said(plan.security.privileged, observed.security.privileged);
    said(ObservedSeccomp::Default, observed.security.seccomp);
    said("no".to_owned(), observed.engine_restart.clone());
    if let Some(given) = &observed.explicit_env {
        assert!(given.iter().all(|name| plan.env.contains_key(name)), "{given:?}");
    }
}

async fn explain_masks_secrets(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.env =
        [("DB_PASSWORD", "hunter2"), ("MODE", "plain")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    plan.command = Some(vec!["sleep".to_owned(), "--token".to_owned(), "hunter2".to_owned()]);
    let mut explained = fixture.runtime().explain(&plan)?;
    hythe_spec::mask::document(&mut explained);
    let explained = explained.to_string();
    assert!(explained.contains("DB_PASSWORD") && explained.contains("plain"), "{explained}");
    assert!(!explained.contains("hunter2"), "a secret is shown: {explained}");
    Ok(())
}

async fn explain_says_the_same_twice_and_makes_nothing(fixture: &Fixture) -> Outcome {
    let plan = fixture.server();
    let first = fixture.runtime().explain(&plan)?;
    assert_eq!(fixture.runtime().explain(&plan)?, first);
    assert!(first.to_string().contains(&plan.name()), "{first}");
    assert!(fixture.names().await?.is_empty());
    Ok(())
}
