//! What a script sees: the kind of failure is in the exit code, the cause and the next step on stderr.

use crate::agent::Agent;
use crate::files::{one, several, stays};
use crate::fixture::{Fixture, unique_name};
use crate::trial::trials;

trials!("exit_codes":
    a_one_shot_that_fails_is_failed_with_its_code Every,
    a_one_shot_that_succeeds_is_completed Every,
    a_command_that_cannot_be_executed_fails_the_deploy Every,
    a_missing_image_fails_the_deploy Registry,
    what_is_not_there_is_3 Every,
    a_name_that_is_taken_is_4 Every,
    a_runtime_that_does_not_answer_is_5 Memory,
    an_agent_that_does_not_answer_is_5 Memory,
    wrong_words_are_2 Memory,
);

fn a_one_shot_that_fails_is_failed_with_its_code(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, "echo working; exit 3", "restart = 'no'"));
    let failed = fixture.await_state("failed");
    assert_eq!((&failed["exit"]["code"], &failed["restarts"]), (&3.into(), &0.into()));
    assert!(failed["message"].as_str().is_some_and(|message| message.contains("exit code 3")), "{failed:#}");
    let listed = fixture.hythe(&["ps"]).ok().out;
    assert!(listed.contains(&fixture.service), "a failure is shown without `-a`: {listed}");
    assert_eq!(fixture.hythe(&["logs", &fixture.service]).ok().out, "working\n");
}

fn a_one_shot_that_succeeds_is_completed(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, "echo done", "restart = 'no'")).ok();
    let completed = fixture.await_state("completed");
    assert_eq!(completed["exit"]["code"], 0);
    fixture.deploy(&one(&fixture.service, "echo done", "restart = 'no'")).ok().says(&["nothing changed"]);
}

fn a_command_that_cannot_be_executed_fails_the_deploy(fixture: &mut Fixture<'_>) {
    let text = one(&fixture.service, "", "").replace("['sh', '-c', '''''']", "['/does/not/exist']");
    fixture.deploy(&text).ends_with(1).says(&["error:", "/does/not/exist"]);
    assert_eq!(fixture.it()["state"], "failed");
    fixture.deploy(&one(&fixture.service, &stays("repaired"), "")).ok();
    fixture.await_state("running");
    fixture.has_instances(1);
}

fn a_missing_image_fails_the_deploy(fixture: &mut Fixture<'_>) {
    let image = format!("{}/never/pushed:1", fixture.environment.registry.as_ref().unwrap().address);
    let text = one(&fixture.service, "true", "").replace(crate::files::IMAGE, &image);
    fixture.deploy(&text).ends_with(1).says(&["error:", &image, "manifest unknown"]);
    assert_eq!(fixture.it()["state"], "failed");
    fixture.has_instances(0);
}

fn what_is_not_there_is_3(fixture: &mut Fixture<'_>) {
    let absent: [&[&str]; 9] = [
        &["undeploy", "absent"],
        &["status", "absent"],
        &["logs", "absent"],
        &["stop", "absent"],
        &["start", "absent/part"],
        &["exec", "absent", "true"],
        &["inspect", "absent"],
        &["deploy", "absent"],
        &["operations", "join", "absent"],
    ];
    for words in absent {
        fixture.hythe(words).ends_with(3).says(&["error:", "`absent", "hint:"]);
    }
    let remove = ["image", "rm", "localhost/absent:1"];
    fixture.hythe(&remove).ends_with(3).says(&["no image `localhost/absent:1`", fixture.subject.name, "hint:"]);
    fixture.hythe(&[&remove[..], &["--ignore-missing"]].concat()).ok();
}

fn a_name_that_is_taken_is_4(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    fixture.deploy(&several(&service, &[("a-b", &stays("first"), "")])).ok();
    let ids = fixture.ids();
    let other = several(&format!("{service}-a"), &[("b", &stays("second"), "")]);
    fixture.deploy(&other).ends_with(4).says(&[&format!("{service}-a-b"), "belongs to service", "hint:"]);
    assert_eq!(fixture.ids(), ids, "a refused deploy changed something");
}

fn a_runtime_that_does_not_answer_is_5(fixture: &mut Fixture<'_>) {
    let dead = [
        ("podman", "[[runtimes]]\nkind = \"podman\"\nprogram = \"/nonexistent/podman\"\n", "/nonexistent/podman"),
        (
            "docker",
            "[[runtimes]]\nkind = \"docker\"\nhost = \"unix:///nonexistent/docker.sock\"\n",
            "/nonexistent/docker.sock",
        ),
    ];
    for (name, config, place) in dead {
        let agent = Agent::start(config);
        let file = fixture.file(&one(&unique_name(), "true", ""));
        agent.hythe(&["deploy", &file]).ends_with(5).says(&[name, place]);
        agent.hythe(&["pull", "localhost/x:1"]).ends_with(5);
        agent.hythe(&["images", "--runtime", name]).ends_with(5).says(&[place]);
        let shown = agent.hythe(&["runtimes"]).ok().out;
        assert!(shown.contains(place), "{shown}");
        assert_eq!(agent.hythe(&["services", "--json"]).ok().out, "[]\n", "a refused deploy left a service");
    }
}

fn an_agent_that_does_not_answer_is_5(fixture: &mut Fixture<'_>) {
    fixture.agent.stop();
    fixture.hythe(&["ps"]).ends_with(5).says(&["no agent answers", &fixture.agent.socket(), "hint:"]);
    fixture.hythe(&["version"]).ok();
}

fn wrong_words_are_2(fixture: &mut Fixture<'_>) {
    fixture.hythe(&["deplyo"]).ends_with(2).says(&["deplyo", "deploy"]);
    fixture.hythe(&["deploy"]).ends_with(2);
    fixture.hythe(&["logs", "--since", "yesterday", "x"]).ends_with(2).says(&["yesterday", "hint:"]);
    fixture.hythe(&["exec", "-it", "x", "sh"]).ends_with(2).says(&["stdin is not a terminal", "exec -i"]);
    fixture.deploy(&one(&fixture.service, &stays("up"), "stdin = true\ntty = true")).ok();
    let attach = ["attach", &fixture.service];
    fixture.hythe(&attach).ends_with(2).says(&["stdin is not a terminal", "--no-stdin"]);
}
