//! What workloads wrote.

use crate::files::{one, several, stays};
use crate::scene::Scene;
use crate::trial::trials;
use crate::wait;

trials!("logs":
    keep_streams_and_components_apart Every,
    follow_ends_when_the_workload_does Every,
    go_on_after_a_restart Every,
);

fn keep_streams_and_components_apart(scene: &mut Scene<'_>) {
    let service = scene.service.clone();
    let noisy = |name: &str| format!("trap exit TERM; echo {name}-out; echo {name}-err >&2; sleep 3600 & wait");
    scene.deploy(&several(&service, &[("a", &noisy("a"), ""), ("long", &noisy("long"), "")])).ok();
    let all = wait::until(
        "all lines",
        || scene.hythe(&["logs", &service]),
        |ran| ran.out.lines().count() == 2 && ran.err.lines().count() == 2,
    );
    for (text, stream) in [(&all.out, "out"), (&all.err, "err")] {
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, [format!("{service}-a    | a-{stream}"), format!("{service}-long | long-{stream}")]);
    }
    let alone = scene.hythe(&["logs", &format!("{service}/a")]).ok();
    assert_eq!((alone.out.as_str(), alone.err.as_str()), ("a-out\n", "a-err\n"));
    let timed = scene.hythe(&["logs", "-t", &format!("{service}/a")]).ok().out;
    assert!(timed.starts_with("20") && timed.ends_with("Z a-out\n"), "{timed}");
}

fn follow_ends_when_the_workload_does(scene: &mut Scene<'_>) {
    let counting = "trap exit TERM; for i in 1 2 3 4 5; do echo line $i; sleep 0.3; done; exit 0";
    scene.deploy(&one(&scene.service, counting, "restart = 'no'")).ok();
    let follow = scene.agent.spawn(&["logs", "-f", &scene.service]);
    scene.await_state("completed");
    let all = follow.end().ok();
    assert_eq!(all.out, "line 1\nline 2\nline 3\nline 4\nline 5\n");
    assert_eq!(scene.hythe(&["logs", "-n", "2", &scene.service]).ok().out, "line 4\nline 5\n");
}

fn go_on_after_a_restart(scene: &mut Scene<'_>) {
    scene.deploy(&one(&scene.service, &stays("up"), "")).ok();
    scene.hythe(&["restart", &scene.service]).ok();
    wait::until(
        "both starts are in the log",
        || scene.hythe(&["logs", &scene.service]).ok().out,
        |out| out == "up\nup\n",
    );
    let mut follow = scene.agent.spawn(&["logs", "-f", &scene.service]);
    scene.hythe(&["stop", &scene.service]).ok();
    let over = std::time::Instant::now() + wait::LIMIT;
    while !follow.is_over() && std::time::Instant::now() < over {
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let ended = follow.kill();
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "up\nup\n"), "{ended:?}");
}
