//! What a script sees: the kind of failure is in the exit code, the cause and the next step on stderr.

use crate::agent::Agent;
use crate::files::{one, several, stays};
use crate::scene::{Scene, unique_name};
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

fn a_one_shot_that_fails_is_failed_with_its_code(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, "echo working; exit 3", "restart = 'no'"));
    let failed = scene.await_state("failed");
    assert_eq!((&failed["exit"]["code"], &failed["restarts"]), (&3.into(), &0.into()));
    assert!(failed["message"].as_str().is_some_and(|message| message.contains("exit code 3")), "{failed:#}");
    let listed = scene.hythe(&["ps"]).ok().out;
    assert!(listed.contains(&scene.service), "a failure is shown without `-a`: {listed}");
    assert_eq!(scene.hythe(&["logs", &scene.service]).ok().out, "working\n");
}

fn a_one_shot_that_succeeds_is_completed(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, "echo done", "restart = 'no'")).ok();
    let completed = scene.await_state("completed");
    assert_eq!(completed["exit"]["code"], 0);
    scene.deploy(&one(&scene.service, "echo done", "restart = 'no'")).ok().says(&["nothing changed"]);
}

fn a_command_that_cannot_be_executed_fails_the_deploy(scene: &mut Scene<'_>) {
    let text = one(&scene.service, "", "").replace("['sh', '-c', '''''']", "['/does/not/exist']");
    scene.deploy(&text).ends_with(1).says(&["error:", "/does/not/exist"]);
    assert_eq!(scene.it()["state"], "failed");
    scene.deploy(&one(&scene.service, &stays("repaired"), "")).ok();
    scene.await_state("running");
    scene.has_instances(1);
}

fn a_missing_image_fails_the_deploy(scene: &mut Scene<'_>) {
    let image = format!("{}/never/pushed:1", scene.environment.registry.as_ref().unwrap().address);
    let text = one(&scene.service, "true", "").replace(crate::files::IMAGE, &image);
    scene.deploy(&text).ends_with(1).says(&["error:", &image, "manifest unknown"]);
    assert_eq!(scene.it()["state"], "failed");
    scene.has_instances(0);
}

fn what_is_not_there_is_3(scene: &mut Scene<'_>) {
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
        scene.hythe(words).ends_with(3).says(&["error:", "`absent", "hint:"]);
    }
}

fn a_name_that_is_taken_is_4(scene: &mut Scene<'_>) {
    let service = scene.service.clone();
    scene.deploy(&several(&service, &[("a-b", &stays("first"), "")])).ok();
    let ids = scene.ids();
    let other = several(&format!("{service}-a"), &[("b", &stays("second"), "")]);
    scene.deploy(&other).ends_with(4).says(&[&format!("{service}-a-b"), "belongs to service", "hint:"]);
    assert_eq!(scene.ids(), ids, "a refused deploy changed something");
}

fn a_runtime_that_does_not_answer_is_5(scene: &mut Scene<'_>) {
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
        let file = scene.file(&one(&unique_name(), "true", ""));
        agent.hythe(&["deploy", &file]).ends_with(5).says(&[name, place]);
        agent.hythe(&["pull", "localhost/x:1"]).ends_with(5);
        agent.hythe(&["images", "--runtime", name]).ends_with(5).says(&[place]);
        let shown = agent.hythe(&["runtimes"]).ok().out;
        assert!(shown.contains(place), "{shown}");
        assert_eq!(agent.hythe(&["services", "--json"]).ok().out, "[]\n", "a refused deploy left a service");
    }
}

fn an_agent_that_does_not_answer_is_5(scene: &mut Scene<'_>) {
    scene.agent.stop();
    scene.hythe(&["ps"]).ends_with(5).says(&["no agent answers", &scene.agent.socket(), "hint:"]);
    scene.hythe(&["version"]).ok();
}

fn wrong_words_are_2(scene: &mut Scene<'_>) {
    scene.hythe(&["deplyo"]).ends_with(2).says(&["deplyo", "deploy"]);
    scene.hythe(&["deploy"]).ends_with(2);
    scene.hythe(&["logs", "--since", "yesterday", "x"]).ends_with(2).says(&["yesterday", "hint:"]);
}
