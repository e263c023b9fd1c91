//! What workloads wrote.

use crate::files::{one, several, stays};
use crate::fixture::Fixture;
use crate::trial::trials;
use crate::wait;

trials!("logs":
    keep_streams_and_components_apart Every,
    follow_ends_when_the_workload_does Every,
    go_on_after_a_restart Every,
    follow_goes_on_over_a_restart_and_a_replacement Real,
    previous_shows_what_was_written_before_the_last_start Real,
    lines_that_were_rotated_away_unread_are_reported_missing Embedded,
);

fn keep_streams_and_components_apart(fixture: &mut Fixture<'_>) {
    let service = fixture.service.clone();
    let noisy = |name: &str| format!("trap exit TERM; echo {name}-out; echo {name}-err >&2; sleep 3600 & wait");
    fixture.deploy(&several(&service, &[("a", &noisy("a"), ""), ("long", &noisy("long"), "")])).ok();
    let all = wait::until(
        "all lines",
        || fixture.hythe(&["logs", &service]),
        |ran| ran.out.lines().count() == 2 && ran.err.lines().count() == 2,
    );
    for (text, stream) in [(&all.out, "out"), (&all.err, "err")] {
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, [format!("{service}-a    | a-{stream}"), format!("{service}-long | long-{stream}")]);
    }
    let alone = fixture.hythe(&["logs", &format!("{service}/a")]).ok();
    assert_eq!((alone.out.as_str(), alone.err.as_str()), ("a-out\n", "a-err\n"));
    let timed = fixture.hythe(&["logs", "-t", &format!("{service}/a")]).ok().out;
    assert!(timed.starts_with("20") && timed.ends_with("Z a-out\n"), "{timed}");
}

fn follow_ends_when_the_workload_does(fixture: &mut Fixture<'_>) {
    let counting = "trap exit TERM; for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done; exit 0";
    fixture.deploy(&one(&fixture.service, counting, "restart = 'no'")).ok();
    let follow = fixture.agent.spawn(&["logs", "-f", &fixture.service]);
    fixture.await_state("completed");
    let all = follow.end().ok();
    assert_eq!(all.out, "line 1\nline 2\nline 3\nline 4\nline 5\n");
    assert_eq!(fixture.hythe(&["logs", "-n", "2", &fixture.service]).ok().out, "line 4\nline 5\n");
}

fn follow_goes_on_over_a_restart_and_a_replacement(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("one"), "stop_grace = '1s'")).ok();
    let follow = fixture.agent.spawn(&["logs", "-f", &fixture.service]);
    std::thread::sleep(std::time::Duration::from_secs(2));
    fixture.hythe(&["restart", &fixture.service]).ok();
    std::thread::sleep(std::time::Duration::from_secs(4));
    fixture.deploy(&one(&fixture.service, &stays("two"), "stop_grace = '1s'")).ok();
    std::thread::sleep(std::time::Duration::from_secs(4));
    fixture.hythe(&["stop", &fixture.service]).ok();
    let ended = follow.end().ok();
    assert_eq!(ended.out, "one\none\ntwo\n");
    assert!(ended.err.contains("was started again") && ended.err.contains("goes on as"), "{ended:?}");
}

fn previous_shows_what_was_written_before_the_last_start(fixture: &mut Fixture<'_>) {
    let script = "echo x >>/tmp/starts; wc -l </tmp/starts; trap exit TERM; sleep 3600 & wait";
    fixture.deploy(&one(&fixture.service, script, "stop_grace = '1s'")).ok();
    wait::until("the first line", || fixture.hythe(&["logs", &fixture.service]).out, |out| out.lines().count() == 1);
    std::thread::sleep(std::time::Duration::from_secs(1));
    fixture.hythe(&["restart", &fixture.service]).ok();
    wait::until("both lines", || fixture.hythe(&["logs", &fixture.service]).out, |out| out.lines().count() == 2);
    assert_eq!(fixture.hythe(&["logs", "--previous", &fixture.service]).ok().out.trim(), "1");
}

fn go_on_after_a_restart(fixture: &mut Fixture<'_>) {
    fixture.deploy(&one(&fixture.service, &stays("up"), "")).ok();
    fixture.hythe(&["restart", &fixture.service]).ok();
    wait::until(
        "both starts are in the log",
        || fixture.hythe(&["logs", &fixture.service]).ok().out,
        |out| out == "up\nup\n",
    );
    let mut follow = fixture.agent.spawn(&["logs", "-f", &fixture.service]);
    fixture.hythe(&["stop", &fixture.service]).ok();
    let over = std::time::Instant::now() + wait::SILENCE;
    while !follow.is_over() && std::time::Instant::now() < over {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let ended = follow.kill();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "up\nup\n"), "{ended:?}");
}

fn lines_that_were_rotated_away_unread_are_reported_missing(fixture: &mut Fixture<'_>) {
    let much = "yes some forty bytes that nobody can wait for | head -c 8000000; echo; echo end; exit 0";
    let script = format!("trap '{much}' USR1; echo up; while :; do sleep 0.1; done");
    let keys = "restart = 'no'\nlogs = { max_size = '16k', max_files = 2 }";
    fixture.deploy(&one(&fixture.service, &script, keys)).ok();
    let logs = || fixture.hythe(&["logs", &fixture.service]).ok();
    assert_eq!(wait::until("its trap is set", logs, |logs| logs.out.contains("up")).err, "");
    // Nobody takes what it prints until all is written.
    let follow = fixture.agent.spawn(&["logs", "-f", &fixture.service]);
    std::thread::sleep(std::time::Duration::from_secs(1));
    fixture.hythe(&["kill", &fixture.service, "--signal", "USR1"]).ok();
    fixture.await_state("completed");
    let follow = follow.end().ok();
    assert!(follow.out.starts_with("up\n") && follow.out.ends_with("end\n"), "{} bytes", follow.out.len());
    let missing = format!("`{}`: earlier lines are missing", fixture.service);
    assert!(follow.err.contains(&missing), "{}", follow.err);
    let whole = fixture.hythe(&["logs", &fixture.service]).ok();
    assert_eq!((whole.err.matches(&missing).count(), whole.out.contains("up")), (1, false), "{}", whole.err);
    assert_eq!(fixture.hythe(&["logs", "-n", "1", &fixture.service]).ok().err, "");
    let lines = fixture.hythe(&["logs", "--json", &fixture.service]).ok().json_lines();
    assert_eq!(lines.iter().map(|line| line["after_gap"] == true).collect::<Vec<_>>()[..2], [true, false]);
}
