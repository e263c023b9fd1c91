//! What the guest and QEMU's monitor say.

use std::time::{Duration, Instant};

use hythe_guest::protocol::{self, Channel, Event, Frame, MAIN};
use hythe_shim::files::replace_json;
use hythe_shim::journal::Kind;
use hythe_shim::record::Phase;
use hythe_shim::{Doing as _, Report, ShimError, ShimErrorKind, report_and_close};
use serde_json::Value;

use super::machine::{Machine, log_line};
use super::qmp::{Purpose, Said};

/// Time that a guest has to power off after the exit of its main process.
const POWER_OFF: Duration = Duration::from_secs(10);

impl Machine<'_> {
    pub(super) fn hear_guest(&mut self) -> Result<(), ShimError> {
        self.qemu.control.flush();
        let mut frames = Vec::new();
        self.open[3] = self.qemu.control.read(&mut frames);
        for frame in frames {
            self.take_frame(&frame)?;
        }
        Ok(())
    }

    fn take_frame(&mut self, frame: &Frame) -> Result<(), ShimError> {
        match frame.channel {
            Channel::Message => match frame.read::<Event>() {
                Ok(event) => return self.on_event(event),
                Err(error) => log_line(&format!("the guest says what is no event: {error}")),
            },
            Channel::Stdout | Channel::Stderr => {
                self.execs.output(frame.channel, frame.id, &frame.payload, &mut self.clients);
            }
            Channel::Stdin => {}
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), ShimError> {
        match event {
            Event::Boot { version, .. } if version != protocol::VERSION => {
                log_line(&format!("the guest speaks version {version} of the protocol"));
            }
            Event::Boot { .. } => {}
            Event::Started { .. } => return self.on_started(),
            Event::Listening { port, protocol } => {
                let protocol = match protocol {
                    protocol::Protocol::Tcp => "tcp",
                    protocol::Protocol::Udp => "udp",
                };
                if self.launch.shim.own_network {
                    self.qemu.qmp.forward(protocol, port);
                }
            }
            Event::Exit(exit) => {
                self.reported.exit = Some(exit);
                self.end_by = Some(Instant::now() + POWER_OFF);
            }
            Event::Error { message } => self.reported.error = Some(message),
            Event::ExecStarted { id, .. } => self.execs.started(id, &mut self.clients),
            Event::ExecExit { id, exit, error } => self.execs.ended(id, exit, error, &mut self.clients),
            Event::Consumed { id: MAIN, bytes } => self.stdin.consumed(bytes, &mut self.qemu.control),
            Event::Consumed { id, bytes } => self.execs.consumed(id, bytes, &mut self.qemu.control),
            Event::Stats(stats) => self.reply_stats(&stats),
            Event::Refused { message } => log_line(&format!("the guest refuses a command: {message}")),
            Event::PowerButton
            | Event::Processes { .. }
            | Event::Frozen { .. }
            | Event::Thawed
            | Event::Pong { .. } => {}
        }
        Ok(())
    }

    /// The main process was executed.
    fn on_started(&mut self) -> Result<(), ShimError> {
        if self.is_running() {
            return Ok(());
        }
        self.end_by = None;
        self.state.pid = Some(self.qemu.pid);
        self.state.phase = Phase::Running;
        self.state.started = Some(hythe_host::now());
        // A host that stops before this is on the disk finds `starting` there, and knows the machine dead all the same.
        replace_json(&self.directory.state(), &self.state, false).doing("record the start")?;
        self.event(Kind::Started);
        report_and_close(&Report::Done);
        Ok(())
    }

    pub(super) fn hear_qemu(&mut self) -> Result<(), ShimError> {
        self.qemu.qmp.flush();
        let mut said = Vec::new();
        self.open[4] = self.qemu.qmp.read(&mut said);
        for one in said {
            match one {
                Said::Event(name, data) => match name.as_str() {
                    "GUEST_PANICKED" => self.reported.panicked = true,
                    "SHUTDOWN" => self.reported.shutdown = data["reason"].as_str().map(str::to_owned),
                    _ => {}
                },
                Said::Answer(purpose, outcome) => self.on_answer(purpose, outcome)?,
            }
        }
        Ok(())
    }

    fn on_answer(&mut self, purpose: Purpose, outcome: Result<Value, String>) -> Result<(), ShimError> {
        let failed = |error: &str| ShimError::new(ShimErrorKind::Internal, format!("QEMU: {error}"));
        match (purpose, outcome) {
            (Purpose::Pause(client), outcome) => {
                if outcome.is_ok() {
                    self.set_paused(true)?;
                }
                self.reply_to(client, outcome.map(drop).map_err(|error| failed(&error)));
            }
            (Purpose::Resume(client), outcome) => {
                if outcome.is_ok() && self.state.paused {
                    self.set_paused(false)?;
                }
                if let Some(client) = client {
                    self.reply_to(client, outcome.map(drop).map_err(|error| failed(&error)));
                }
            }
            (Purpose::Forward, Ok(Value::String(words))) if !words.trim().is_empty() => {
                log_line(&format!("a port cannot be handed on: {}", words.trim()));
            }
            (_, Err(error)) => log_line(&format!("QEMU refuses a command: {error}")),
            (Purpose::Capabilities | Purpose::Forward | Purpose::Quit, Ok(_)) => {}
        }
        Ok(())
    }

    fn set_paused(&mut self, paused: bool) -> Result<(), ShimError> {
        self.state.paused = paused;
        replace_json(&self.directory.state(), &self.state, false).doing("record the pause")?;
        self.event(if paused { Kind::Paused } else { Kind::Unpaused });
        Ok(())
    }
}
