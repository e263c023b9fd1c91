//! How it ended, truly.

use hythe_runtime::{ErrorKind, Feature, State};
use hythe_spec::{ByteSize, Signal};

use crate::failure::{Outcome, refused};
use crate::need::Need::{Can, Logs, Outside, Real};
use crate::scene::Scene;
use crate::trial::trials;

trials! { "exit":
    zero [Logs],
    one [Logs],
    thirty_two [Logs],
    three_hundred_is_forty_four [Logs],
    a_chosen_137_is_no_oom [Logs],
    a_missing_command_is_invalid_and_127 [],
    a_missing_path_is_invalid_and_127 [],
    a_directory_is_invalid_and_126 [],
    a_file_without_the_right_is_invalid_and_126 [],
    a_failed_start_can_be_removed_and_made_again [],
    death_by_a_signal_is_told [Can(Feature::Init), Logs],
    a_child_killed_is_the_shells_code [Logs],
    killed_from_outside_is_seen [Outside],
    hup_from_outside_is_no_stop [Outside, Logs],
    int_without_handler_ends_nothing [Outside],
    want_of_memory_is_told_apart [Real, Can(Feature::MemoryLimit)],
    a_quick_end_is_not_lost [],
}

async fn code_of(scene: &Scene, script: &str) -> Outcome<i32> {
    let finished = scene.finish(&scene.script(script)).await?;
    let exit = finished.observed.exit.clone().unwrap();
    assert!(!exit.oom, "{exit:?}");
    assert!(finished.observed.finished.is_some());
    Ok(exit.code)
}

async fn zero(scene: &Scene) -> Outcome {
    let finished = scene.finish(&scene.plan(&["true"])).await?;
    let exit = finished.observed.exit.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom), (0, None, false));
    Ok(())
}

async fn one(scene: &Scene) -> Outcome {
    assert_eq!(scene.finish(&scene.plan(&["false"])).await?.code(), 1);
    Ok(())
}

async fn thirty_two(scene: &Scene) -> Outcome {
    assert_eq!(code_of(scene, "exit 32").await?, 32);
    Ok(())
}

async fn three_hundred_is_forty_four(scene: &Scene) -> Outcome {
    assert_eq!(code_of(scene, "exit 300").await?, 44);
    Ok(())
}

async fn a_chosen_137_is_no_oom(scene: &Scene) -> Outcome {
    assert_eq!(code_of(scene, "exit 137").await?, 137);
    Ok(())
}

/// Neither way of starting executes it, the message names it, and the code is left to see.
async fn not_executable(scene: &Scene, program: &str, code: i32) -> Outcome {
    let plan = scene.plan(&[program]);
    let error = refused(scene.runtime().run(&scene.cx, &plan).await, ErrorKind::Invalid);
    assert!(error.message().contains(program), "{error}");
    let id = scene.create(&plan).await?;
    let observed = scene.inspect(&id).await?;
    assert!(matches!(observed.state, State::Created | State::Exited), "{:?}", observed.state);
    let error = refused(scene.runtime().start(&scene.cx, &id).await, ErrorKind::Invalid);
    assert!(error.message().contains(program), "{error}");
    let exit = scene.inspect(&id).await?.exit.expect("an exit");
    assert_eq!(exit.code, code, "{exit:?}");
    Ok(())
}

async fn a_missing_command_is_invalid_and_127(scene: &Scene) -> Outcome {
    not_executable(scene, "no-such-command", 127).await
}

async fn a_missing_path_is_invalid_and_127(scene: &Scene) -> Outcome {
    not_executable(scene, "/no/such/command", 127).await
}

async fn a_directory_is_invalid_and_126(scene: &Scene) -> Outcome {
    not_executable(scene, "/etc", 126).await
}

async fn a_file_without_the_right_is_invalid_and_126(scene: &Scene) -> Outcome {
    not_executable(scene, "/etc/passwd", 126).await
}

async fn a_failed_start_can_be_removed_and_made_again(scene: &Scene) -> Outcome {
    let bad = scene.plan(&["no-such-command"]);
    refused(scene.runtime().run(&scene.cx, &bad).await, ErrorKind::Invalid);
    let id = scene.create(&bad).await?;
    scene.remove(&id).await?;
    let good = scene.server();
    assert_eq!(good.name(), bad.name());
    let id = scene.run(&good).await?;
    assert_eq!(scene.state(&id).await?, State::Running);
    Ok(())
}

async fn death_by_a_signal_is_told(scene: &Scene) -> Outcome {
    let mut plan = scene.script("kill -9 $$");
    plan.init = true;
    let exit = scene.finish(&plan).await?.observed.exit.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom), (137, Some(Signal::KILL), false));
    Ok(())
}

async fn a_child_killed_is_the_shells_code(scene: &Scene) -> Outcome {
    assert_eq!(code_of(scene, "sh -c 'kill -15 $$'; exit $?").await?, 143);
    Ok(())
}

async fn killed_from_outside_is_seen(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(&["sleep", "1000"])).await?;
    match scene.inspect(&id).await?.pid {
        Some(pid) => {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).expect("a pid");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        }
        None => scene.outside().kill(&id.0, "KILL").await?,
    }
    let exit = scene.until_exited(&id).await?.exit.unwrap();
    assert_eq!((exit.code, exit.signal, exit.oom), (137, Some(Signal::KILL), false));
    Ok(())
}

async fn hup_from_outside_is_no_stop(scene: &Scene) -> Outcome {
    let plan = scene.script("trap 'echo got-hup' HUP; echo ready; while :; do sleep 0.1; done");
    let id = scene.ready(&plan).await?;
    scene.outside().kill(&id.0, "HUP").await?;
    scene.until_line(&id, "got-hup").await?;
    let observed = scene.inspect(&id).await?;
    assert_eq!((observed.state, observed.exit), (State::Running, None));
    Ok(())
}

async fn int_without_handler_ends_nothing(scene: &Scene) -> Outcome {
    let id = scene.run(&scene.plan(&["sleep", "1000"])).await?;
    scene.outside().kill(&id.0, "INT").await?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(scene.state(&id).await?, State::Running);
    Ok(())
}

async fn want_of_memory_is_told_apart(scene: &Scene) -> Outcome {
    // `tail` keeps everything it reads.
    let mut plan = scene.plan(&["tail", "/dev/zero"]);
    plan.resources.memory = Some(ByteSize(16 << 20));
    let id = scene.run(&plan).await?;
    let exit = scene.until_exited(&id).await?.exit.unwrap();
    assert_eq!((exit.code, exit.oom), (137, true));
    Ok(())
}

async fn a_quick_end_is_not_lost(scene: &Scene) -> Outcome {
    for attempt in 1..=5 {
        let mut plan = scene.script(&format!("exit {attempt}"));
        plan.identity.attempt = attempt;
        let id = scene.run(&plan).await?;
        let exit = scene.until_exited(&id).await?.exit.unwrap();
        assert_eq!(exit.code, i32::try_from(attempt)?);
    }
    Ok(())
}
