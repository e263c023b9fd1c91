//! Ends this process on purpose between two steps of the controller: how tests prove that a crash anywhere loses nothing.
//!
//! It is in debug builds alone; a release build does not look at these variables.
//!
//! - `HYTHE_CRASH_TRACE=<file>`: the name of every crash point is appended to the file, a line each, when it is passed.
//! - `HYTHE_CRASH_AT=<name>:<n>`: the process ends, as by `kill -9`, when it passes that point for the nth time.
//! - `HYTHE_CRASH_AT=@<file>`: the same with `<name>:<n>` in a file, counted from when the file is there; so one agent can be prepared in peace
//!   and then be armed.
//!
//! `hythe agent --crash-points` lists the names.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hythe_controller::CrashHook;
use rustix::process::{Signal, getpid, kill_process};

const TRACE: &str = "HYTHE_CRASH_TRACE";
const AT: &str = "HYTHE_CRASH_AT";

/// Where to end.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    nth: u32,
}

/// Where that is said.
#[derive(Debug)]
enum Order {
    Fixed(Place),
    InFile(PathBuf),
}

/// An order and how often its place was passed since it was first seen.
#[derive(Debug)]
struct CrashTrigger {
    order: Order,
    passed: Mutex<(Option<Place>, u32)>,
}

/// What the environment asks for; `None` where it asks for nothing.
///
/// # Errors
/// What is wrong with it: a test that is not understood must not look as if it had passed.
pub(crate) fn hook() -> Result<CrashHook, String> {
    if !cfg!(debug_assertions) {
        return Ok(None);
    }
    let trace = std::env::var_os(TRACE).map(PathBuf::from);
    let trigger = std::env::var(AT).ok().map(|text| CrashTrigger::parse(&text)).transpose()?;
    if trace.is_none() && trigger.is_none() {
        return Ok(None);
    }
    tracing::warn!("this agent exits at the crash point in `{AT}`: for tests only");
    Ok(Some(Arc::new(move |point| {
        if let Some(path) = &trace {
            append(path, point);
        }
        trigger.as_ref().is_some_and(|trigger| trigger.fires(point)) && end()
    })))
}

/// One write, so that the line is whole even if the next instruction is the last. A trace that cannot be written fails the test that reads it.
fn append(path: &Path, point: &str) {
    if let Ok(mut file) = File::options().create(true).append(true).open(path) {
        let _ = file.write_all(format!("{point}\n").as_bytes());
    }
}

/// True once the end is on its way.
fn end() -> bool {
    kill_process(getpid(), Signal::KILL).is_ok()
}

impl CrashTrigger {
    fn parse(text: &str) -> Result<Self, String> {
        let order = match text.strip_prefix('@') {
            Some(path) => Order::InFile(path.into()),
            None => Order::Fixed(Place::parse(text)?),
        };
        Ok(Self { order, passed: Mutex::new((None, 0)) })
    }

    /// Whether this is the place and the time.
    fn fires(&self, point: &str) -> bool {
        let place = self.place();
        let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
        if passed.0 != place {
            *passed = (place, 0);
        }
        let (Some(place), count) = &mut *passed else { return false };
        if place.name != point {
            return false;
        }
        *count += 1;
        *count == place.nth
    }

    fn place(&self) -> Option<Place> {
        match &self.order {
            Order::Fixed(place) => Some(place.clone()),
            Order::InFile(path) => Place::parse(fs::read_to_string(path).ok()?.trim()).ok(),
        }
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{AT}`: `{text}` is not `<name>:<n>`");
        let (name, nth) = text.rsplit_once(':').ok_or_else(wrong)?;
        let nth = nth.parse().map_err(|_| wrong())?;
        Ok(Self { name: name.to_owned(), nth })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn it_burns_at_the_nth_passing_and_only_there() {
        let trigger = CrashTrigger::parse("run.acted:2").unwrap();
        let burnt: Vec<bool> = ["run.acted", "stop.acted", "run.acted", "run.acted"].map(|p| trigger.fires(p)).into();
        assert_eq!(burnt, [false, false, true, false]);
    }

    #[test]
    fn what_is_passed_before_the_file_is_there_does_not_count() {
        let path = std::env::temp_dir().join(format!("hythe-trigger-{}", std::process::id()));
        let trigger = CrashTrigger::parse(&format!("@{}", path.display())).unwrap();
        assert!(!trigger.fires("stop.stored"));
        fs::write(&path, "stop.stored:1").unwrap();
        let fires = trigger.fires("stop.stored");
        fs::remove_file(&path).unwrap();
        assert!(fires);
    }

    #[test]
    fn an_order_that_cannot_be_read_is_an_error() {
        assert!(CrashTrigger::parse("run.acted").is_err());
        assert!(CrashTrigger::parse("run.acted:soon").is_err());
    }
}
