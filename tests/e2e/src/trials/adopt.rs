//! A container of somebody else becomes a workload without noticing.

use std::time::Duration;

use crate::files::stays;
use crate::fixture::Fixture;
use crate::foreign::Foreign;
use crate::http;
use crate::trial::trials;
use crate::wait;

trials!("adopt":
    it_runs_on_and_is_a_workload_like_any_other Commanded,
    its_printed_file_describes_it_and_can_be_changed Commanded,
    it_is_kept_by_an_agent_that_is_killed Real,
    an_adoption_cut_short_is_whole_or_not_at_all Real,
    what_belongs_to_somebody_else_is_refused_untouched Real,
    what_its_engine_would_interfere_with_is_refused_unless_forced Commanded,
    what_is_absent_at_rest_or_taken_is_refused Real,
    nothing_to_adopt_on_no_runtime Memory,
);

/// Takes it over; the printed file.
#[track_caller]
fn adopt(fixture: &Fixture<'_>, foreign: &Foreign, options: &[&str]) -> String {
    fixture.hythe(&[&["adopt", &foreign.name], options].concat()).ok().out
}

fn it_runs_on_and_is_a_workload_like_any_other(fixture: &mut Fixture<'_>) {
    let port = http::free_port();
    let page = "mkdir -p /www; echo here >/www/index.html; echo up; trap exit TERM; httpd -f -p 80 -h /www & wait";
    let (published, memory) = (format!("127.0.0.1:{port}:80"), "--memory=64m");
    let options = ["-p", &published, "-e", "MODE=theirs", "--label", "team=red", "--tmpfs", "/www:size=1m", memory];
    let foreign = Foreign::start(fixture, &fixture.service, &options, page);
    let life = foreign.life();
    let file = adopt(fixture, &foreign, &[]);
    assert_eq!(foreign.life(), life, "it was touched");
    for line in ["MODE", "team", &published, "/www", "64MiB", "httpd"] {
        assert!(file.contains(line), "the file must say `{line}`:\n{file}");
    }
    let it = fixture.await_state("running");
    assert_eq!((&it["instance"]["id"], &it["generation"]), (&foreign.id.as_str().into(), &1.into()), "{it:#}");
    assert!(fixture.differences().is_empty(), "{:#?}", fixture.differences());
    assert_eq!(fixture.hythe(&["logs", &fixture.service]).ok().out, "up\n");
    assert_eq!(fixture.hythe(&["exec", &fixture.service, "sh", "-c", "echo $MODE"]).ok().out, "theirs\n");
    assert!(fixture.events().iter().any(|event| event["kind"] == "adopted"));
    for named in [foreign.name.as_str(), &foreign.id, &foreign.id[..12]] {
        fixture.hythe(&["adopt", named]).ends_with(4).says(&["already", &fixture.service]);
    }
    assert_eq!(foreign.life(), life, "it was touched");

    fixture.hythe(&["stop", &fixture.service]).ok();
    assert_eq!(foreign.ask("{{.State.Running}}"), "false");
    assert!(fixture.differences().is_empty(), "{:#?}", fixture.differences());
    fixture.hythe(&["start", &fixture.service]).ok();
    assert_eq!(foreign.ask("{{.State.Running}}"), "true");
    fixture.hythe(&["restart", &fixture.service]).ok();
    let it = fixture.await_state("running");
    assert_eq!(it["instance"]["id"], foreign.id.as_str(), "another instance: {it:#}");
    wait::until(
        "the page is served",
        || http::get(&format!("127.0.0.1:{port}"), "/"),
        |answer| answer.ends_with("here\n"),
    );

    fixture.hythe(&["undeploy", &fixture.service]).ok();
    assert!(foreign.is_gone(), "undeploy left it");
}

fn its_printed_file_describes_it_and_can_be_changed(fixture: &mut Fixture<'_>) {
    let volume = format!("{}-theirs", fixture.service);
    fixture.engine().run(&["volume", "create", &volume]);
    let mounted = format!("{volume}:/data");
    let options = ["-v", &mounted, "-e", "MODE=theirs", "--user", "0:0", "--cap-add", "SYS_TIME", "--read-only"];
    let foreign = Foreign::start(fixture, &fixture.service, &options, &stays("first"));
    let file = adopt(fixture, &foreign, &[]);
    fixture.hythe(&["validate", &fixture.file(&file)]).ok();
    fixture.deploy(&file).ok().says(&["nothing changed"]);
    assert!(!foreign.is_gone() && fixture.it()["generation"] == 1, "{:#}", fixture.it());
    fixture.hythe(&["exec", &fixture.service, "sh", "-c", "echo kept >/data/x"]).ok();
    fixture
        .deploy(
            &file
                .replace("theirs\"", "ours\"")
                .replace(&format!("\"{}-ours\"", fixture.service), &format!("\"{volume}\"")),
        )
        .ok();
    let it = fixture.await_state("running");
    assert_ne!(it["instance"]["id"], foreign.id.as_str(), "a changed file makes another instance");
    assert!(foreign.is_gone(), "what was replaced is left");
    let said = fixture.hythe(&["exec", &fixture.service, "sh", "-c", "cat /data/x; echo $MODE"]).ok().out;
    assert_eq!(said, "kept\nours\n", "a volume of somebody else is used on");
    fixture.has_instances(1);
    assert!(fixture.differences().is_empty(), "{:#?}", fixture.differences());
    fixture.hythe(&["undeploy", "--volumes", &fixture.service]).ok();
    fixture.engine().run(&["volume", "rm", &volume]);
}

fn it_is_kept_by_an_agent_that_is_killed(fixture: &mut Fixture<'_>) {
    let foreign = Foreign::start(fixture, &fixture.service, &[], &stays("here"));
    let life = foreign.life();
    adopt(fixture, &foreign, &["--service", "kept", "--component", "part"]);
    for _ in 0..2 {
        fixture.agent.crash(Duration::from_millis(100));
        let found = wait::until("it runs", || fixture.workload("kept-part"), |it| it["state"] == "running");
        assert_eq!(found["instance"]["id"], foreign.id.as_str(), "{found:#}");
        assert_eq!(foreign.life(), life, "it was touched");
    }
    let status = fixture.hythe(&["status", "kept", "--json"]).ok().json();
    assert_eq!(status["workloads"][0]["differences"], serde_json::json!([]), "{status:#}");
    // What ends while nobody looks is known afterwards.
    fixture.agent.kill();
    fixture.engine().run(&["kill", &foreign.id]);
    fixture.agent.start_again();
    let ended = wait::until("its end is known", || fixture.workload("kept-part"), |it| it["state"] == "failed");
    assert_eq!(ended["exit"]["code"], 137, "{ended:#}");
}

/// Killed at another moment in each round, from before the container is looked at to after it was committed.
fn an_adoption_cut_short_is_whole_or_not_at_all(fixture: &mut Fixture<'_>) {
    for round in 0..6u64 {
        let foreign = Foreign::start(fixture, &format!("{}-{round}", fixture.service), &[], &stays("here"));
        let life = foreign.life();
        let adopting = fixture.agent.spawn(&["adopt", &foreign.name]);
        let delay = Duration::from_millis(round * round * 12);
        std::thread::sleep(delay);
        fixture.agent.crash(Duration::from_millis(50));
        let ran = adopting.end();
        let known = fixture.workload(&foreign.name);
        assert!(
            ran.code != Some(0) || !known.is_null(),
            "told as adopted and forgotten, killed after {delay:?}: {ran:?}"
        );
        if known.is_null() {
            adopt(fixture, &foreign, &[]);
        }
        let name = foreign.name.clone();
        let it = wait::until("it runs", || fixture.workload(&name), |it| it["state"] == "running");
        assert_eq!(it["instance"]["id"], foreign.id.as_str(), "{it:#}");
        assert_eq!(foreign.life(), life, "it was touched, killed after {delay:?}");
        fixture.hythe(&["undeploy", &name]).ok();
        assert!(foreign.is_gone());
    }
}

fn what_belongs_to_somebody_else_is_refused_untouched(fixture: &mut Fixture<'_>) {
    let owners = [
        ("com.docker.compose.project=shop", "Compose"),
        ("PODMAN_SYSTEMD_UNIT=web.service", "systemd"),
        ("io.kubernetes.pod.name=web", "Kubernetes"),
        ("hythe.owner=0123456789abcdef", "Hythe"),
    ];
    for (at, (label, tool)) in owners.into_iter().enumerate() {
        let labels = ["--label", label, "--label", "com.docker.compose.service=web"];
        let options = if tool == "Compose" { &labels[..] } else { &labels[..2] };
        let foreign = Foreign::start(fixture, &format!("{}-{at}", fixture.service), options, &stays("theirs"));
        let life = foreign.life();
        fixture.hythe(&["adopt", &foreign.name]).ends_with(4).says(&[tool, "hint:"]);
        assert_eq!(foreign.life(), life, "a refused one was touched");
        if tool == "Compose" {
            let file = fixture.hythe(&["adopt", "--force", &foreign.name]).ok().says(&["warning:", "Compose"]).out;
            assert!(!file.contains("com.docker.compose"), "labels that make it Compose's:\n{file}");
            assert_eq!(fixture.workload("shop-web")["instance"]["id"], foreign.id.as_str());
            fixture.hythe(&["undeploy", "shop"]).ok();
        } else {
            fixture.hythe(&["adopt", "--force", &foreign.name]).ends_with(4).says(&[tool]);
            assert_eq!(foreign.life(), life, "a refused one was touched");
        }
    }
    assert_eq!(fixture.workloads(), [] as [serde_json::Value; 0]);
}

fn what_its_engine_would_interfere_with_is_refused_unless_forced(fixture: &mut Fixture<'_>) {
    let foreign = Foreign::start(fixture, &fixture.service, &["--restart", "on-failure:3"], &stays("up"));
    let life = foreign.life();
    fixture.hythe(&["adopt", &foreign.name]).ends_with(4).says(&["restarts", "on-failure:3", "--force"]);
    let file = fixture.hythe(&["adopt", &foreign.name, "--force"]).ok().says(&["warning:"]).out;
    assert!(file.contains("restart = \"on-failure:3\""), "{file}");
    assert_eq!(foreign.life(), life, "it was touched");
    fixture.hythe(&["stop", &fixture.service]).ok();
    wait::stays(
        "stopped",
        Duration::from_secs(2),
        || (foreign.ask("{{.State.Running}}"), fixture.it()["state"].clone()),
        |(running, state)| running == "false" && state == "stopped",
    );
    let brief = Foreign::start(fixture, &format!("{}-rm", fixture.service), &["--rm"], &stays("up"));
    fixture.hythe(&["adopt", &brief.name]).ends_with(4).says(&["removed by its engine"]);
}

fn what_is_absent_at_rest_or_taken_is_refused(fixture: &mut Fixture<'_>) {
    fixture.hythe(&["adopt", "absent"]).ends_with(3).says(&["absent", "hint:"]);
    let over = Foreign::start(fixture, &format!("{}-over", fixture.service), &[], "true");
    wait::until("it has ended", || over.ask("{{.State.Running}}"), |running| running == "false");
    fixture.hythe(&["adopt", &over.name]).ends_with(4).says(&["exited", "hint:"]);
    fixture.deploy(&crate::files::one(&fixture.service, &stays("ours"), "")).ok();
    let ids = fixture.ids();
    let foreign = Foreign::start(fixture, &format!("{}-other", fixture.service), &[], &stays("theirs"));
    let (life, service) = (foreign.life(), fixture.service.clone());
    fixture
        .hythe(&["adopt", &foreign.name, "--service", &service, "--component", &service])
        .ends_with(4)
        .says(&["exists already", "--component"]);
    fixture.hythe(&["adopt", &foreign.name, "--service", "Not A Label"]).ends_with(2).says(&["Not A Label"]);
    assert_eq!((foreign.life(), fixture.ids()), (life, ids), "a refused one changed something");
    // Beside what the service has already.
    let file = adopt(fixture, &foreign, &["--service", &service, "--component", "theirs"]);
    assert!(file.matches("[[components]]").count() == 2, "{file}");
    fixture.hythe(&["validate", &fixture.file(&file)]).ok();
    fixture.deploy(&file).ok().says(&["nothing changed"]);
}

fn nothing_to_adopt_on_no_runtime(fixture: &mut Fixture<'_>) {
    fixture.hythe(&["adopt", "absent"]).ends_with(3).says(&["no runtime has `absent`"]);
    fixture.hythe(&["adopt", "absent", "--runtime", "other"]).ends_with(3).says(&["no runtime is named `other`"]);
    fixture.hythe(&["adopt"]).ends_with(2);
}
