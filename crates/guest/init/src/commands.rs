//! What the host asks for.

use crate::control::Received;
use crate::process::Sinks;
use crate::protocol::{Command, Event, Exit, MAIN, Process, Source};
use crate::spawn::NotStarted;
use crate::supervisor::{Phase, Supervisor};
use crate::{power, spawn, stats};

/// Exit code of an exec that comes too late.
const ENDED: i32 = 125;

impl Supervisor {
    pub(crate) fn refuse(&mut self, result: Result<(), String>) {
        if let Err(message) = result {
            self.control.send(&Event::Refused { message });
        }
    }

    pub(crate) fn obey(&mut self, received: Received) {
        match received {
            Received::Command(command) => self.command(command),
            Received::Stdin { id, bytes } => {
                let unread = self.children.get_mut(&id).map_or(bytes.len() as u64, |child| child.take_input(&bytes));
                if unread > 0 {
                    self.control.send(&Event::Consumed { id, bytes: unread });
                }
                self.write_input(id);
            }
            Received::Bad(message) => self.control.send(&Event::Refused { message }),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Hello => self.control.greet(self.started),
            Command::Signal { number } => self.signal(MAIN, number),
            Command::Stop { signal, grace_ms } => self.stop(signal, grace_ms),
            Command::Exec { id, process, stdin } => self.exec(id, &process, stdin),
            Command::ExecResize { id, size } => {
                let result = match self.children.get(&id) {
                    Some(child) => child.resize(size),
                    None => Err(format!("there is no process {id}")),
                };
                self.refuse(result);
            }
            Command::ExecSignal { id, number } => self.signal(id, number),
            Command::Consumed { id, stdout, stderr } => {
                if let Some(child) = self.children.get_mut(&id) {
                    child.consumed(stdout, stderr);
                }
            }
            Command::Freeze => self.freeze(),
            Command::Thaw => {
                self.frozen.thaw();
                self.control.send(&Event::Thawed);
            }
            Command::Stats => self.control.send(&Event::Stats(stats::stats())),
            Command::Processes => self.control.send(&Event::Processes { processes: stats::processes() }),
            Command::PowerOff => {
                if let Phase::Off(_) | Phase::Reporting(_) = self.phase {
                    power::sync();
                    power::off();
                }
                self.refuse(Err("the main process runs".to_owned()));
            }
            Command::Ping { nonce } => self.control.send(&Event::Pong { nonce }),
        }
    }

    fn exec(&mut self, id: u32, process: &Process, stdin: bool) {
        if self.children.contains_key(&id) {
            return self.refuse(Err(format!("there is a process {id} already")));
        }
        let started = match self.phase {
            Phase::Running => spawn::spawn(id, process, stdin, Sinks::Frames),
            _ => Err(NotStarted { code: ENDED, message: "the main process has ended".to_owned() }),
        };
        let event = match started {
            Ok(child) => {
                let pid = child.pid();
                self.children.insert(id, child);
                self.is_alone = false;
                Event::ExecStarted { id, pid }
            }
            Err(NotStarted { code, message }) => {
                let exit = Exit { code, signal: None, oom_kills: 0 };
                Event::ExecExit { id, exit, error: Some(message) }
            }
        };
        self.control.send(&event);
    }

    fn freeze(&mut self) {
        let disks =
            self.config.mounts.iter().filter(|mount| matches!(mount.source, Source::Disk { .. }) && !mount.read_only);
        let mut paths: Vec<_> = disks.map(|mount| mount.target.clone()).collect();
        if !self.config.read_only_root {
            paths.push("/".to_owned());
        }
        let error = if self.frozen.is_frozen() { None } else { self.frozen.freeze(&paths).err() };
        self.control.send(&Event::Frozen { error });
    }
}
