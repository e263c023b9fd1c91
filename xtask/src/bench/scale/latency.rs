//! How long an engine's event takes to a reader, through the agent and through the engine's own command line.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::bench::agent::Agent;
use crate::bench::engine::Engine;
use crate::bench::report::Row;
use crate::bench::rounds::quietly;
use crate::bench::summary::Summary;
use crate::failure::{Context, Failure, Result};

/// Twice as many events are measured.
const ROUNDS: usize = 100;
const PATIENCE: Duration = Duration::from_secs(10);

/// When an event happened, and when it was read.
type Seen = (Timestamp, Timestamp);

/// A row for the agent's stream and one for the engine's own.
pub(super) fn measure(agent: &Agent, engine: &Engine, workload: &str) -> Result<Vec<Row>> {
    let instance = agent.get(&format!("/v1/workloads/{workload}"))?;
    let id = find_id(&instance).ok_or_else(|| Failure::new(format!("`{workload}` has no instance")))?;
    let ours = follow(agent.stream(&format!("/v1/events?follow=true&workload={workload}"))?, of_ours);
    let mut command = engine.command(&["events", "--format", "{{json .}}", "--filter", &format!("container={id}")]);
    let mut peer = Peer(command.stdout(Stdio::piped()).spawn().context(|| "following `docker events`".into())?);
    let output = peer.0.stdout.take().ok_or_else(|| Failure::new("no output to read"))?;
    let theirs = follow(output, of_docker);
    // Both subscriptions stand once each has told one event.
    let (mut our_times, mut their_times) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        for act in ["pause", "unpause"] {
            quietly(engine.command(&[act, &id]))?;
            let (mine, peers) = (next(&ours, round)?, next(&theirs, round)?);
            if round > 0 {
                our_times.extend(mine);
                their_times.extend(peers);
            }
        }
    }
    let row = |label: &str, times: &[Duration]| {
        let summary = Summary::of(times).ok_or_else(|| Failure::new("no event was told"))?;
        Ok(Row { label: format!("{label} (p99 {:.1})", p99(times)), summary, ratio: None })
    };
    Ok(vec![row("the agent's stream", &our_times)?, row("docker events", &their_times)?])
}

/// The delay of the next event. In the first round a reader may have come too late.
fn next(seen: &Receiver<Seen>, round: usize) -> Result<Option<Duration>> {
    match seen.recv_timeout(if round == 0 { Duration::from_secs(1) } else { PATIENCE }) {
        Ok((happened, read)) => Ok(Some(Duration::try_from(read.duration_since(happened)).unwrap_or_default())),
        Err(_) if round == 0 => Ok(None),
        Err(_) => Err(Failure::new("an event was not told")),
    }
}

#[expect(clippy::disallowed_methods, reason = "it is compared with the time that the agent, another process, says")]
fn follow(input: impl Read + Send + 'static, parse: fn(&str) -> Option<Timestamp>) -> Receiver<Seen> {
    let (sender, receiver): (Sender<Seen>, _) = channel();
    thread::spawn(move || {
        for line in BufReader::new(input).lines().map_while(std::result::Result::ok) {
            let read = Timestamp::now();
            let told = parse(&line).is_none_or(|happened| sender.send((happened, read)).is_ok());
            if !told {
                break;
            }
        }
    });
    receiver
}

fn of_ours(line: &str) -> Option<Timestamp> {
    let event: Value = serde_json::from_str(line.strip_prefix("data:")?).ok()?;
    let kind = event["kind"].as_str()?;
    ["paused", "unpaused"].contains(&kind).then(|| event["time"].as_str()?.parse().ok()).flatten()
}

fn of_docker(line: &str) -> Option<Timestamp> {
    let event: Value = serde_json::from_str(line).ok()?;
    let known = ["pause", "unpause"].contains(&event["status"].as_str()?);
    known.then(|| Timestamp::from_nanosecond(event["timeNano"].as_i64()?.into()).ok()).flatten()
}

fn find_id(detail: &Value) -> Option<String> {
    let id = detail.pointer("/workload/instance/id").or_else(|| detail.pointer("/instance/id"))?;
    id.as_str().map(str::to_owned)
}

/// Milliseconds that one in a hundred exceeds.
fn p99(times: &[Duration]) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(place).map_or(0.0, |time| time.as_secs_f64() * 1e3)
}

/// Ends with this value.
#[derive(Debug)]
struct Peer(Child);

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_in_a_hundred_exceeds_it() {
        let times: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(p99(&times), 198.0);
        assert_eq!(p99(&[]), 0.0);
    }
}
