//! Limits that the kernel really has.

use hythe_runtime::{Feature, Plan};
use hythe_spec::{ByteSize, Millicores, Ulimit};

use crate::failure::Outcome;
use crate::fixture::Fixture;
use crate::need::Need::{Can, FirstProcess, Logs, Real};
use crate::trial::trials;

trials! { "limits":
    memory_is_limited [Real, Logs, Can(Feature::MemoryLimit)],
    memory_has_no_swap_on_top [Real, Logs, Can(Feature::MemoryLimit)],
    processor_time_is_limited [Real, Logs, Can(Feature::CpuLimit)],
    processes_are_limited [Real, Logs, Can(Feature::PidsLimit)],
    a_fork_beyond_the_limit_fails [Real, Logs, Can(Feature::PidsLimit)],
    shared_memory_has_its_size [Real, Logs, Can(Feature::ShmSize)],
    ulimits_are_set [Real, Logs, Can(Feature::Ulimits)],
    inspect_reports_them [Can(Feature::MemoryLimit), Can(Feature::CpuLimit), Can(Feature::PidsLimit)],
    an_init_is_pid_one [Real, Logs, Can(Feature::Init)],
    an_init_reaps [Real, Logs, Can(Feature::Init)],
    without_an_init_the_command_is_pid_one [Logs, FirstProcess],
}

/// Prints a file of the control group, in version 2 or 1.
async fn group_file(fixture: &Fixture, plan: Plan, two: &str, one: &str) -> Outcome<String> {
    let mut plan = plan;
    let script = format!("cat /sys/fs/cgroup/{two} 2>/dev/null || cat /sys/fs/cgroup/{one}");
    plan.command = Some(vec!["sh".to_owned(), "-c".to_owned(), script]);
    Ok(fixture.output(&plan).await?.trim().to_owned())
}

async fn memory_is_limited(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.resources.memory = Some(ByteSize(48 << 20));
    let limit = group_file(fixture, plan, "memory.max", "memory/memory.limit_in_bytes").await?;
    assert_eq!(limit, (48u64 << 20).to_string());
    Ok(())
}

async fn memory_has_no_swap_on_top(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.resources.memory = Some(ByteSize(48 << 20));
    // A kernel without swap accounting has neither file, and nothing to limit.
    let one = "memory/memory.memsw.limit_in_bytes 2>/dev/null || echo none";
    let limit = group_file(fixture, plan, "memory.swap.max", one).await?;
    assert!(["0", "none", &(48u64 << 20).to_string()].contains(&limit.as_str()), "{limit}");
    Ok(())
}

async fn processor_time_is_limited(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.resources.cpus = Some(Millicores(750));
    let one = "cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu/cpu.cfs_period_us";
    let text = group_file(fixture, plan, "cpu.max", one).await?;
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let [quota, period] = numbers.as_slice() else { panic!("{text}") };
    assert!((quota / period - 0.75).abs() < 0.001, "{text}");
    Ok(())
}

async fn processes_are_limited(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.plan(&[]);
    plan.resources.pids = Some(33);
    assert_eq!(group_file(fixture, plan, "pids.max", "pids/pids.max").await?, "33");
    Ok(())
}

async fn a_fork_beyond_the_limit_fails(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("for n in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 5 & done; echo end");
    plan.resources.pids = Some(8);
    let finished = fixture.finish(&plan).await?;
    assert!(finished.stderr.contains("fork") || finished.code() != 0, "{}", finished.stderr);
    Ok(())
}

async fn shared_memory_has_its_size(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("grep ' /dev/shm ' /proc/mounts");
    plan.resources.shm_size = Some(ByteSize(3 << 20));
    let mounts = fixture.output(&plan).await?;
    assert!(mounts.contains("size=3072k"), "{mounts}");
    Ok(())
}

async fn ulimits_are_set(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("ulimit -Sn; ulimit -Hn; ulimit -Sc");
    let nofile = Ulimit { name: "nofile".to_owned(), soft: 512, hard: 1024 };
    let core = Ulimit { name: "core".to_owned(), soft: 0, hard: 0 };
    plan.resources.ulimits = vec![core, nofile];
    assert_eq!(fixture.output(&plan).await?, "512\n1024\n0\n");
    Ok(())
}

async fn inspect_reports_them(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.server();
    plan.resources.memory = Some(ByteSize(64 << 20));
    plan.resources.cpus = Some(Millicores(500));
    plan.resources.pids = Some(100);
    let id = fixture.create(&plan).await?;
    let told = fixture.inspect(&id).await?.resources;
    assert_eq!((told.memory, told.cpus, told.pids), (plan.resources.memory, plan.resources.cpus, plan.resources.pids));
    Ok(())
}

async fn an_init_is_pid_one(fixture: &Fixture) -> Outcome {
    let mut plan = fixture.script("echo $$; tr '\\0' ' ' < /proc/1/cmdline");
    plan.init = true;
    let output = fixture.output(&plan).await?;
    assert!(!output.starts_with("1\n"), "{output}");
    let first = output.lines().nth(1).unwrap_or_default();
    assert!(!first.starts_with("sh "), "pid 1 is `{first}`");
    Ok(())
}

async fn an_init_reaps(fixture: &Fixture) -> Outcome {
    let mut plan =
        fixture.script("sh -c 'sleep 0.2 & exit 0'; sleep 1.5; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l");
    plan.init = true;
    assert_eq!(fixture.output(&plan).await?.trim(), "0");
    Ok(())
}

async fn without_an_init_the_command_is_pid_one(fixture: &Fixture) -> Outcome {
    assert_eq!(fixture.output(&fixture.script("echo $$")).await?.trim(), "1");
    Ok(())
}
