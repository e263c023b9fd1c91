//! How it ended, truly.

use hythe_runtime::{ErrorKind, Feature, State};
use hythe_spec::vocabulary::ExitCause;
use hythe_spec::{ByteSize, Signal};

use crate::failure::{Outcome, refused};
use crate::fixture::Fixture;
use crate::need::Need::{Can, EngineCli, Logs, Real};
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
    death_by_a_signal_is_reported [Can(Feature::Init), Logs],
    a_child_killed_is_the_shells_code [Logs],
    killed_from_outside_is_seen [EngineCli],
    hup_from_outside_is_no_stop [EngineCli, Logs],
    int_without_handler_ends_nothing [EngineCli],
    oom_kill_is_reported [Real, Can(Feature::MemoryLimit)],
    a_quick_end_is_not_lost [],
}

async fn code_of(fixture: &Fixture, script: &str) -> Outcome<i32> {
    let finished = fixture.finish(&fixture.script(script)).await?;
    let exit = finished.observed.exit.clone().unwrap();
    assert!(!exit.is_oom(), "{exit:?}");
    assert!(finished.observed.finished.is_some());
    Ok(exit.code.unwrap())
}

async fn zero(fixture: &Fixture) -> Outcome {
    let finished = fixture.finish(&fixture.plan(&["true"])).await?;
    let exit = finished.observed.exit.unwrap();
    assert_eq!((exit.cause, exit.code, exit.signal), (ExitCause::Exited, Some(0), None));
    Ok(())
}

async fn one(fixture: &Fixture) -> Outcome {
    assert_eq!(fixture.finish(&fixture.plan(&["false"])).await?.code(), 1);
    Ok(())
}

async fn thirty_two(fixture: &Fixture) -> Outcome {
    assert_eq!(code_of(fixture, "exit 32").await?, 32);
    Ok(())
}

async fn three_hundred_is_forty_four(fixture: &Fixture) -> Outcome {
    assert_eq!(code_of(fixture, "exit 300").await?, 44);
    Ok(())
}

async fn a_chosen_137_is_no_oom(fixture: &Fixture) -> Outcome {
    assert_eq!(code_of(fixture, "exit 137").await?, 137);
    Ok(())
}

/// Neither way of starting executes it, the message names it, and the code is left to see.
async fn not_executable(fixture: &Fixture, program: &str, code: i32) -> Outcome {
    let plan = fixture.plan(&[program]);
    let error = refused(fixture.runtime().run(&fixture.cx, &plan).await, ErrorKind::Invalid);
    assert!(error.message().contains(program), "{error}");
    let id = fixture.create(&plan).await?;
    let observed = fixture.inspect(&id).await?;
    assert!(matches!(observed.state, State::Created | State::Exited), "{:?}", observed.state);
    let error = refused(fixture.runtime().start(&fixture.cx, &id.to_ref()).await, ErrorKind::Invalid);
    assert!(error.message().contains(program), "{error}");
    let exit = fixture.inspect(&id).await?.exit.expect("an exit");
    assert_eq!((exit.cause, exit.code), (ExitCause::NeverStarted, Some(code)), "{exit:?}");
    Ok(())
}

async fn a_missing_command_is_invalid_and_127(fixture: &Fixture) -> Outcome {
    not_executable(fixture, "no-such-command", 127).await
}

async fn a_missing_path_is_invalid_and_127(fixture: &Fixture) -> Outcome {
    not_executable(fixture, "/no/such/command", 127).await
}

async fn a_directory_is_invalid_and_126(fixture: &Fixture) -> Outcome {
    not_executable(fixture, "/etc", 126).await
}

async fn a_file_without_the_right_is_invalid_and_126(fixture: &Fixture) -> Outcome {
    not_executable(fixture, "/etc/passwd", 126).await
}

async fn a_failed_start_can_be_removed_and_made_again(fixture: &Fixture) -> Outcome {
    let bad = fixture.plan(&["no-such-command"]);
    refused(fixture.runtime().run(&fixture.cx, &bad).await, ErrorKind::Invalid);
    let id = fixture.create(&bad).await?;
    fixture.remove(&id).await?;
    let good = fixture.server();
    assert_eq!(good.name(), bad.name());
    let id = fixture.run(&good).await?;
    assert_eq!(fixture.state(&id).await?, State::Running);
    Ok(())
}

async fn death_by_a_signal_is_reported(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("kill -9 $$");
    plan.init = true;
    let exit = fixture.finish(&plan).await?.observed.exit.unwrap();
    assert_eq!((exit.cause, exit.code, exit.signal), (ExitCause::Signal, Some(137), Some(Signal::KILL)));
    Ok(())
}

async fn a_child_killed_is_the_shells_code(fixture: &Fixture) -> Outcome {
    assert_eq!(code_of(fixture, "sh -c 'kill -15 $$'; exit $?").await?, 143);
    Ok(())
}

async fn killed_from_outside_is_seen(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.plan(&["sleep", "1000"])).await?;
    match fixture.inspect(&id).await?.pid {
        Some(pid) => {
            let pid = rustix::process::Pid::from_raw(i32::try_from(pid)?).expect("a pid");
            rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
        }
        None => fixture.engine_cli().kill(&id.0, "KILL").await?,
    }
    let exit = fixture.until_exited(&id).await?.exit.unwrap();
    assert_eq!((exit.cause, exit.code, exit.signal), (ExitCause::Signal, Some(137), Some(Signal::KILL)));
    Ok(())
}

async fn hup_from_outside_is_no_stop(fixture: &Fixture) -> Outcome {
    let plan = fixture.script("trap 'echo got-hup' HUP; echo ready; while :; do sleep 0.1; done");
    let id = fixture.ready(&plan).await?;
    fixture.engine_cli().kill(&id.0, "HUP").await?;
    fixture.until_line(&id, "got-hup").await?;
    let observed = fixture.inspect(&id).await?;
    assert_eq!((observed.state, observed.exit), (State::Running, None));
    Ok(())
}

async fn int_without_handler_ends_nothing(fixture: &Fixture) -> Outcome {
    let id = fixture.run(&fixture.plan(&["sleep", "1000"])).await?;
    fixture.engine_cli().kill(&id.0, "INT").await?;
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert_eq!(fixture.state(&id).await?, State::Running);
    Ok(())
}

async fn oom_kill_is_reported(fixture: &Fixture) -> Outcome {
    // `tail` keeps everything it reads.
    let mut plan = fixture.plan(&["tail", "/dev/zero"]);
    plan.resources.memory = Some(ByteSize(16 << 20));
    let id = fixture.run(&plan).await?;
    let exit = fixture.until_exited(&id).await?.exit.unwrap();
    assert_eq!((exit.code, exit.is_oom()), (Some(137), true));
    Ok(())
}

async fn a_quick_end_is_not_lost(fixture: &Fixture) -> Outcome {
    for attempt in 1..=5 {
        let mut plan = fixture.script(&format!("exit {attempt}"));
        plan.identity.attempt = attempt;
        let id = fixture.run(&plan).await?;
        let exit = fixture.until_exited(&id).await?.exit.unwrap();
        assert_eq!(exit.code, Some(i32::try_from(attempt)?));
    }
    Ok(())
}
