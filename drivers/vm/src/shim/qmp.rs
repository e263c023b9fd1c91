//! QEMU's monitor: one line of JSON for each command, answer and event.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use super::control::{Wire, read_some};

/// The longest line that is accepted.
const LONGEST: usize = 1 << 20;

/// What QEMU says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    /// The answer to the oldest command of this purpose, or its error.
    Answer(Purpose, Result<Value, String>),
    /// An event, with its data.
    Event(String, Value),
}

/// What a command is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Ends the greeting.
    Capabilities,
    /// Stops the processors, for this client.
    Pause(u64),
    /// Lets them go on, for this client.
    Resume(Option<u64>),
    /// Hands a port on to the guest.
    Forward,
    /// Ends QEMU.
    Quit,
}

/// A monitor.
#[derive(Debug)]
pub(super) struct Qmp {
    wire: Wire,
    buffer: Vec<u8>,
    asked: VecDeque<Purpose>,
}

impl Qmp {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        let mut qmp = Self { wire: Wire::new(socket)?, buffer: Vec::new(), asked: VecDeque::new() };
        qmp.ask(Purpose::Capabilities, "qmp_capabilities", &Value::Null);
        Ok(qmp)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.wire.socket.as_fd()
    }

    pub(super) fn is_behind(&self) -> bool {
        self.wire.is_behind()
    }

    pub(super) fn flush(&mut self) {
        self.wire.flush();
    }

    /// Sends a command.
    pub(super) fn ask(&mut self, purpose: Purpose, command: &str, arguments: &Value) {
        let mut document = json!({ "execute": command });
        if !arguments.is_null() {
            document["arguments"] = arguments.clone();
        }
        self.asked.push_back(purpose);
        self.wire.send(format!("{document}\n").as_bytes());
    }

    /// Listens for a protocol's port in QEMU's own network, and hands it on to the guest's.
    pub(super) fn forward(&mut self, protocol: &str, port: u16) {
        let line = format!("hostfwd_add {} {protocol}::{port}-:{port}", crate::translate::NETDEV);
        self.ask(Purpose::Forward, "human-monitor-command", &json!({ "command-line": line }));
    }

    /// Reads what came; `false`: the monitor is closed.
    pub(super) fn read(&mut self, said: &mut Vec<Said>) -> bool {
        let alive = read_some(&mut self.wire.socket, &mut self.buffer);
        while let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.buffer.drain(..=end).collect();
            if let Ok(document) = serde_json::from_slice(&line) {
                said.extend(self.understand(&document));
            }
        }
        alive && self.buffer.len() < LONGEST
    }

    fn understand(&mut self, document: &Value) -> Option<Said> {
        if let Some(event) = document["event"].as_str() {
            return Some(Said::Event(event.to_owned(), document["data"].clone()));
        }
        let outcome = match (document.get("return"), document.get("error")) {
            (Some(value), _) => Ok(value.clone()),
            (None, Some(error)) => Err(error["desc"].as_str().unwrap_or("an error without words").to_owned()),
            // The greeting.
            (None, None) => return None,
        };
        Some(Said::Answer(self.asked.pop_front()?, outcome))
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};

    use super::*;

    #[test]
    fn answers_are_those_of_the_commands_in_order_and_events_are_no_answers() {
        let (ours, mut qemu) = UnixStream::pair().unwrap();
        let mut qmp = Qmp::new(ours).unwrap();
        qmp.ask(Purpose::Pause(7), "stop", &Value::Null);
        let mut lines = BufReader::new(qemu.try_clone().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), r#"{"execute":"qmp_capabilities"}"#);
        assert_eq!(lines.next().unwrap().unwrap(), r#"{"execute":"stop"}"#);
        let text = concat!(
            r#"{"QMP": {"version": {}}}"#,
            "\n",
            r#"{"return": {}}"#,
            "\n",
            r#"{"event": "STOP", "timestamp": {}}"#,
            "\n",
            r#"{"error": {"class": "GenericError", "desc": "no"}}"#,
            "\n",
        );
        qemu.write_all(text.as_bytes()).unwrap();
        let mut said = Vec::new();
        assert!(qmp.read(&mut said));
        let wanted = [
            Said::Answer(Purpose::Capabilities, Ok(json!({}))),
            Said::Event("STOP".to_owned(), Value::Null),
            Said::Answer(Purpose::Pause(7), Err("no".to_owned())),
        ];
        assert_eq!(said, wanted);
        drop(qemu);
        drop(lines);
        assert!(!qmp.read(&mut said));
    }
}
