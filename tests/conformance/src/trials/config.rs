//! What a plan says is what the process finds.

use std::collections::BTreeMap;

use hythe_runtime::{ErrorKind, Feature, NetworkMode, Observed, ObservedSeccomp, Plan, PlanNetwork, State};
use hythe_spec::{Millis, Signal};

use crate::failure::{Outcome, refused};
use crate::need::Need::{Can, Exec, Images, Logs};
use crate::scene::{Scene, words};
use crate::trial::trials;
use crate::trials::build::built;

trials! { "config":
    the_images_own_command_runs [Logs, Images],
    command_replaces_the_images [Logs, Images],
    entrypoint_drops_the_images_command [Logs, Images],
    entrypoint_and_command_are_joined [Logs, Images],
    an_empty_entrypoint_is_none [Logs, Images],
    the_images_environment_user_workdir_and_signal_hold [Logs, Exec, Images],
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
    inspect_tells_how_it_was_set_up [Can(Feature::Tty), Can(Feature::Stdin), Can(Feature::HostNetwork), Can(Feature::CapabilitySet)],
    an_image_tells_what_it_says_of_its_process [Images],
    explain_says_the_same_twice_and_makes_nothing [],
    explain_masks_secrets [],
}

fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

const SPEAKS: &str = "ENTRYPOINT [\"echo\", \"entry\"]\nCMD [\"command\"]\n";

/// What an image that speaks says under these replacements.
async fn spoken(scene: &Scene, entrypoint: Option<&[&str]>, command: Option<&[&str]>) -> Outcome<String> {
    let mut plan = scene.plan(&[]);
    plan.image = built(scene, SPEAKS).await?;
    plan.entrypoint = entrypoint.map(words);
    plan.command = command.map(words);
    Ok(scene.output(&plan).await?.trim().to_owned())
}

async fn the_images_own_command_runs(scene: &Scene) -> Outcome {
    assert_eq!(spoken(scene, None, None).await?, "entry command");
    Ok(())
}

async fn command_replaces_the_images(scene: &Scene) -> Outcome {
    assert_eq!(spoken(scene, None, Some(&["other", "words"])).await?, "entry other words");
    Ok(())
}

async fn entrypoint_drops_the_images_command(scene: &Scene) -> Outcome {
    assert_eq!(spoken(scene, Some(&["echo", "mine"]), None).await?, "mine");
    Ok(())
}

async fn entrypoint_and_command_are_joined(scene: &Scene) -> Outcome {
    assert_eq!(spoken(scene, Some(&["echo", "-n", "mine"]), Some(&["and"])).await?, "mine and");
    Ok(())
}

async fn an_empty_entrypoint_is_none(scene: &Scene) -> Outcome {
    assert_eq!(spoken(scene, Some(&[]), Some(&["echo", "bare"])).await?, "bare");
    Ok(())
}

async fn the_images_environment_user_workdir_and_signal_hold(scene: &Scene) -> Outcome {
    let image = built(
        scene,
        "ENV COLOUR=\"deep blue\" OTHER=x\nUSER app\nWORKDIR /home/app\nSTOPSIGNAL USR1\n\
         CMD [\"sh\", \"-c\", \"trap 'exit 11' USR1; echo \\\"$COLOUR $(id -u) $(pwd)\\\"; echo ready; while :; do sleep 0.1; done\"]\n",
    )
    .await?;
    let mut plan = scene.plan(&[]);
    plan.command = None;
    plan.image = image;
    let id = scene.ready(&plan).await?;
    scene.until_line(&id, "deep blue 1000 /home/app").await?;
    scene.stop(&id, 10_000).await?;
    assert_eq!(scene.inspect(&id).await?.exit.unwrap().code, 11);
    Ok(())
}

async fn arguments_are_not_touched(scene: &Scene) -> Outcome {
    let odd = ["a b", "", "\"q'", "$HOME", "*", "--flag=x", "-", "é 漢", "back\\slash", "two\nlines"];
    let mut plan =
        scene.plan(&["sh", "-c", "printf '<%s>' \"$1\" \"$2\" \"$3\" \"$4\" \"$5\" \"$6\" \"$7\" \"$8\" \"$9\"", "sh"]);
    plan.command.as_mut().unwrap().extend(words(&odd[..9]));
    let wanted: String = odd[..9].iter().map(|word| format!("<{word}>")).collect();
    assert_eq!(scene.output(&plan).await?.trim_end(), wanted);
    let output = scene.output(&second(scene.plan(&["printf", "[%s]", odd[9]]))).await?;
    assert_eq!(output.trim_end(), "[two\nlines]");
    Ok(())
}

/// The same plan as another attempt, so that both may exist.
fn second(mut plan: hythe_runtime::Plan) -> hythe_runtime::Plan {
    plan.identity.attempt += 1;
    plan
}

async fn env_reaches_the_process(scene: &Scene) -> Outcome {
    let mut plan = scene.script("echo \"$ONE|$TWO|${MISSING}|$(env | grep -c '^EMPTY=$')\"");
    plan.env = pairs([("ONE", "first"), ("TWO", "a=b c"), ("EMPTY", "")]);
    assert_eq!(scene.output(&plan).await?.trim(), "first|a=b c||1");
    Ok(())
}

async fn env_keeps_odd_values(scene: &Scene) -> Outcome {
    let odd = pairs([
        ("TEXT", "one\ntwo\n\nfour"),
        ("SPACES", "  before and after  "),
        ("QUOTES", "\"double\" 'single' `back` $DOLLAR \\ #hash"),
        ("UNICODE", "é 漢字 🚢"),
        ("EQUALS", "a=b=c"),
        ("TAB", "a\tb\rc"),
        ("lower_case_2", "x"),
    ]);
    let mut plan = scene.server();
    plan.env = odd.clone();
    let id = scene.run(&plan).await?;
    for (name, value) in &odd {
        let script = format!("printf %s \"${name}\"");
        let executed = scene.exec(&id, &["sh", "-c", &script]).await?;
        assert_eq!(String::from_utf8_lossy(&executed.stdout), *value, "{name}");
    }
    let observed = scene.inspect(&id).await?.env;
    for (name, value) in &odd {
        assert_eq!(observed.get(name), Some(value), "inspect tells {name}");
    }
    Ok(())
}

async fn env_of_one_mebibyte(scene: &Scene) -> Outcome {
    const PART: usize = 100 << 10;
    let mut plan = scene.script("echo $BIG0$BIG1$BIG2$BIG3$BIG4$BIG5$BIG6$BIG7$BIG8$BIG9 | wc -c");
    plan.env = (0..10).map(|number| (format!("BIG{number}"), "v".repeat(PART))).collect();
    let count: usize = scene.output(&plan).await?.trim().parse()?;
    assert_eq!(count, 10 * PART + 1);
    Ok(())
}

async fn env_replaces_the_images(scene: &Scene) -> Outcome {
    let mut plan = scene.plan(&["/bin/sh", "-c", "echo $PATH"]);
    plan.env = pairs([("PATH", "/bin:/mine")]);
    assert_eq!(scene.output(&plan).await?.trim(), "/bin:/mine");
    Ok(())
}

async fn workdir_that_is_there(scene: &Scene) -> Outcome {
    let mut plan = scene.plan(&["pwd"]);
    plan.workdir = Some("/home/app".to_owned());
    assert_eq!(scene.output(&plan).await?.trim(), "/home/app");
    Ok(())
}

async fn workdir_that_is_not_is_made(scene: &Scene) -> Outcome {
    let mut plan = scene.script("pwd; touch here && echo made");
    plan.workdir = Some("/srv/deep/down".to_owned());
    assert_eq!(scene.output(&plan).await?, "/srv/deep/down\nmade\n");
    Ok(())
}

async fn user_by_name_and_number(scene: &Scene) -> Outcome {
    let cases = [
        ("app", "1000 1000"),
        ("1000", "1000 1000"),
        ("1000:0", "1000 0"),
        ("app:root", "1000 0"),
        ("7:8", "7 8"),
        ("0", "0 0"),
    ];
    for (attempt, (user, wanted)) in cases.into_iter().enumerate() {
        let mut plan = scene.script("echo $(id -u) $(id -g)");
        plan.identity.attempt = u32::try_from(attempt)? + 1;
        plan.user = Some(user.to_owned());
        assert_eq!(scene.output(&plan).await?.trim(), wanted, "{user}");
    }
    Ok(())
}

async fn an_unknown_user_is_invalid(scene: &Scene) -> Outcome {
    let mut plan = scene.plan(&["true"]);
    plan.user = Some("nobody-here".to_owned());
    let error = refused(scene.runtime().run(&scene.cx, &plan).await, ErrorKind::Invalid);
    assert!(error.message().contains("nobody-here"), "{error}");
    assert!(!scene.states().await?.contains(&State::Running));
    Ok(())
}

async fn hostname_is_set(scene: &Scene) -> Outcome {
    let mut plan = scene.plan(&["hostname"]);
    plan.hostname = "quay-7".to_owned();
    assert_eq!(scene.output(&plan).await?.trim(), "quay-7");
    Ok(())
}

async fn labels_keep_odd_values(scene: &Scene) -> Outcome {
    let odd = pairs([
        ("plain", "value"),
        ("empty", ""),
        ("com.example/with.dots-and_more", "a=b, c"),
        ("quotes", "\"double\" 'single' \\ back"),
        ("lines", "one\ntwo"),
        ("json", "{\"a\": [1, 2]}"),
        ("unicode", "é 漢 🚢"),
        ("template", "{{ .Names }}"),
    ]);
    let mut plan = scene.server();
    plan.labels = odd.clone();
    let id = scene.create(&plan).await?;
    assert_eq!(scene.inspect(&id).await?.labels, plan.all_labels());
    let rows = scene.runtime().list(&scene.cx, &hythe_runtime::Filter::owned_by(&scene.owner)).await?;
    assert_eq!(rows[0].labels, plan.all_labels(), "list loses some");
    Ok(())
}

async fn the_longest_names(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    let service = format!("{}-abcdefghijklmnopqrstuvwxyz0123456789", scene.service);
    plan.identity.service = service.chars().take(39).chain(['x']).collect();
    plan.identity.component = "c0123456789-abcdefghijklmnopqrstuvwxyz-z".to_owned();
    plan.identity.generation = 4_000_000_000;
    plan.identity.attempt = u32::MAX;
    plan.hostname.clone_from(&plan.identity.component);
    let id = scene.run(&plan).await?;
    let observed = scene.inspect(&id).await?;
    assert_eq!((observed.name, observed.identity), (plan.name(), Some(plan.identity)));
    Ok(())
}

async fn a_terminal_for_the_main_process(scene: &Scene) -> Outcome {
    let mut plan = scene.script("test -t 1 && echo terminal; echo err >&2");
    plan.tty = true;
    let finished = scene.finish(&plan).await?;
    assert!(finished.stdout.contains("terminal") && finished.stdout.contains("err"), "{}", finished.stdout);
    assert_eq!(finished.stderr, "", "a terminal has one stream");
    Ok(())
}

async fn no_stdin_is_the_end_of_file(scene: &Scene) -> Outcome {
    assert_eq!(scene.output(&scene.script("cat; echo end")).await?, "end\n");
    Ok(())
}

async fn inspect_gives_back_what_was_asked(scene: &Scene) -> Outcome {
    let mut plan = scene.plan(&["-c", "sleep 1000"]);
    plan.entrypoint = Some(words(&["/bin/sh"]));
    plan.env = pairs([("A", "1"), ("B", "two words")]);
    plan.user = Some("1000:1000".to_owned());
    plan.workdir = Some("/tmp".to_owned());
    plan.hostname = "quay".to_owned();
    (plan.stop_signal, plan.stop_grace) = (Some(Signal(2)), Millis(3000));
    let id = scene.create(&plan).await?;
    let observed = scene.inspect(&id).await?;
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
async fn inspect_tells_how_it_was_set_up(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.network = PlanNetwork::Host;
    plan.stop_signal = Some(Signal(10));
    plan.stop_grace = Millis(7_000);
    (plan.tty, plan.stdin) = (true, true);
    plan.security.capabilities = words(&["CHOWN", "NET_RAW", "SYS_TIME"]);
    plan.security.no_new_privileges = true;
    let seen = scene.inspect(&scene.create(&plan).await?).await?;
    is_set_up(&plan, &seen);
    assert_eq!((seen.tty, seen.stdin, seen.stop_grace), (Some(true), Some(true), Some(plan.stop_grace)));
    assert_eq!(seen.security.no_new_privileges, Some(true));

    let mut plain = second(scene.server());
    plain.security.no_new_privileges = false;
    let seen = scene.inspect(&scene.create(&plain).await?).await?;
    is_set_up(&plain, &seen);
    assert_eq!((seen.init, seen.tty, seen.stdin), (Some(false), Some(false), Some(false)));
    assert_eq!(seen.security.no_new_privileges, Some(false));
    Ok(())
}

async fn an_image_tells_what_it_says_of_its_process(scene: &Scene) -> Outcome {
    let instructions = "ENV COLOUR=\"deep blue\"\nLABEL team=red\nUSER app\nWORKDIR /home/app\nSTOPSIGNAL USR1\n";
    let image = built(scene, &format!("{instructions}{SPEAKS}")).await?;
    let config = scene.images().get(&scene.cx, &image).await?.config.unwrap_or_default();
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
        PlanNetwork::Bridged { .. } => NetworkMode::Bridged,
    };
    assert_eq!(observed.network_mode, network_mode);
    if plan.stop_signal.is_some() {
        assert_eq!(observed.stop_signal, plan.stop_signal);
    }
    assert!(!observed.auto_remove && observed.beyond.is_empty(), "{:?}", observed.beyond);
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
    if let Some(given) = &observed.given_env {
        assert!(given.iter().all(|name| plan.env.contains_key(name)), "{given:?}");
    }
}

async fn explain_masks_secrets(scene: &Scene) -> Outcome {
    let mut plan = scene.server();
    plan.env =
        [("DB_PASSWORD", "hunter2"), ("MODE", "plain")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let explained = scene.runtime().explain(&plan)?.to_string();
    assert!(explained.contains("DB_PASSWORD") && explained.contains("plain"), "{explained}");
    assert!(!explained.contains("hunter2"), "a secret is shown: {explained}");
    Ok(())
}

async fn explain_says_the_same_twice_and_makes_nothing(scene: &Scene) -> Outcome {
    let plan = scene.server();
    let first = scene.runtime().explain(&plan)?;
    assert_eq!(scene.runtime().explain(&plan)?, first);
    assert!(first.to_string().contains(&plan.name()), "{first}");
    assert!(scene.names().await?.is_empty());
    Ok(())
}
