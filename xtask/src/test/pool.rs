//! Test programs side by side. The output of each is shown in one piece when it has ended.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::interrupt::Interrupt;
use crate::failure::{Context, Result};

/// A program and what it is called.
pub(super) type Job = (String, Command);

/// One that has ended.
pub(super) struct Ended {
    pub(super) name: String,
    pub(super) output: String,
    pub(super) took: Duration,
    pub(super) is_good: bool,
}

/// Runs all, the first ones first, `width` at a time; `read` gets each as it ends. The first program that cannot be run ends the pool.
pub(super) fn run(jobs: Vec<Job>, width: usize, interrupt: &Interrupt, mut read: impl FnMut(&Ended)) -> Result<()> {
    let jobs = Mutex::new(VecDeque::from(jobs));
    std::thread::scope(|scope| {
        let (sender, ended) = mpsc::channel();
        for _ in 0..width {
            let (jobs, sender) = (&jobs, sender.clone());
            scope.spawn(move || work(jobs, interrupt, &sender));
        }
        drop(sender);
        ended.iter().try_for_each(|ended| ended.map(|ended| read(&ended)))
    })
}

fn work(jobs: &Mutex<VecDeque<Job>>, interrupt: &Interrupt, ended: &Sender<Result<Ended>>) {
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    while let Some((name, command)) = next() {
        let outcome = interrupt.check().and_then(|()| one(name, command, interrupt));
        let is_last = outcome.is_err();
        // Nobody reads any more after an error.
        if ended.send(outcome).is_err() || is_last {
            return;
        }
    }
}

/// Its output goes to a file: a process that it leaves behind cannot keep that open.
fn one(name: String, mut command: Command, interrupt: &Interrupt) -> Result<Ended> {
    let running = || format!("running `{name}`");
    let began = Instant::now();
    let mut file = unnamed_file().context(running)?;
    let (out, err) = (file.try_clone().context(running)?, file.try_clone().context(running)?);
    let mut child = command.stdout(out).stderr(err).process_group(0).spawn().context(running)?;
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    interrupt.started(group);
    let status: Result<ExitStatus> = child.wait().context(running);
    interrupt.ended(group);
    let is_good = status?.success();
    let mut output = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut output)).context(running)?;
    let output = String::from_utf8_lossy(&output).into_owned();
    Ok(Ended { name, output, took: began.elapsed(), is_good })
}

fn unnamed_file() -> std::io::Result<File> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!("xtask-output-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    let file = File::options().create_new(true).read(true).append(true).open(&path)?;
    std::fs::remove_file(path)?;
    Ok(file)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn programs_of_pool_run_side_by_side_and_report_how_they_ended() {
        let directory = std::env::temp_dir().join(format!("xtask-pool-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let job = |own: &str, other: &str, code: u32| {
            // Each waits for the other: one after the other, the first would never end.
            let script = format!("touch {own}; until [ -e {other} ]; do sleep 0.01; done; echo {own}; exit {code}");
            let mut command = Command::new("sh");
            command.args(["-c", &script]).current_dir(&directory);
            (own.to_owned(), command)
        };
        let jobs = vec![job("a", "b", 0), job("b", "a", 3)];
        let mut seen = Vec::new();
        run(jobs, 2, &Interrupt::default(), |ended| {
            seen.push((ended.name.clone(), ended.output.clone(), ended.is_good))
        })
        .unwrap();
        std::fs::remove_dir_all(&directory).unwrap();
        seen.sort();
        let row = |name: &str, is_good| (name.to_owned(), format!("{name}\n"), is_good);
        assert_eq!(seen, [row("a", true), row("b", false)]);
    }
}
