//! A process that the init has started, and its streams.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::control::Control;
use crate::outbox::Outbox;
use crate::protocol::{Channel, Exit, Frame, MAX_DATA, Size, WINDOW};
use crate::spawn;

/// What a terminal takes for the end of the input.
const END_OF_TRANSMISSION: u8 = 4;

/// Where output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sinks {
    /// The two ports of the main process.
    Ports,
    /// Frames on the control port.
    Frames,
}

/// Standard input that the process has not taken yet.
#[derive(Debug)]
pub(crate) struct Input {
    pub(crate) fd: OwnedFd,
    queue: VecDeque<u8>,
    is_terminal: bool,
    ends: bool,
}

impl Input {
    pub(crate) fn new(fd: OwnedFd, is_terminal: bool) -> Self {
        Self { fd, queue: VecDeque::new(), is_terminal, ends: false }
    }
}

/// Standard output or standard error.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) fd: OwnedFd,
    /// Bytes that the host still takes; of no meaning for ports.
    credit: u64,
}

impl Output {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self { fd, credit: WINDOW }
    }
}

#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) id: u32,
    pid: u32,
    pub(crate) input: Option<Input>,
    outputs: [Option<Output>; 2],
    sinks: Sinks,
    pub(crate) exit: Option<Exit>,
}

impl Child {
    pub(crate) fn new(id: u32, pid: u32, input: Option<Input>, outputs: [Option<Output>; 2], sinks: Sinks) -> Self {
        Self { id, pid, input, outputs, sinks, exit: None }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends a signal; a process that has ended gets none, since its pid may be another's.
    pub(crate) fn signal(&self, number: i32) -> Result<(), String> {
        if self.exit.is_some() {
            return Err(format!("process {} has ended", self.id));
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        let (Some(pid), Some(signal)) = (pid, signal(number)) else {
            return Err(format!("{number} is no signal"));
        };
        kill_process(pid, signal).map_err(|error| error.to_string())
    }

    /// Takes bytes of standard input; none for its end. Reports how many nobody will read.
    pub(crate) fn take_input(&mut self, bytes: &[u8]) -> u64 {
        let Some(input) = self.input.as_mut().filter(|input| !input.ends) else {
            return bytes.len() as u64;
        };
        if bytes.is_empty() {
            input.ends = true;
            if input.is_terminal {
                input.queue.push_back(END_OF_TRANSMISSION);
            }
        }
        input.queue.extend(bytes);
        0
    }

    pub(crate) fn wants_to_write(&self) -> bool {
        self.input.as_ref().is_some_and(|input| !input.queue.is_empty())
    }

    /// Writes standard input; reports how many bytes are consumed.
    pub(crate) fn write_input(&mut self) -> u64 {
        let Some(input) = &mut self.input else { return 0 };
        let mut consumed = 0;
        while !input.queue.is_empty() {
            match rustix::io::write(&input.fd, input.queue.as_slices().0) {
                Ok(length) => {
                    input.queue.drain(..length);
                    consumed += length as u64;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return consumed,
                Err(_) => {
                    // Nobody reads it any more.
                    consumed += input.queue.len() as u64;
                    input.queue.clear();
                    input.ends = true;
                }
            }
        }
        if input.ends && !input.is_terminal {
            self.input = None;
        }
        consumed
    }

    pub(crate) fn consumed(&mut self, stdout: u64, stderr: u64) {
        for (output, bytes) in self.outputs.iter_mut().zip([stdout, stderr]) {
            if let Some(output) = output {
                output.credit = (output.credit + bytes).min(WINDOW);
            }
        }
    }

    /// The outputs that may be read now.
    pub(crate) fn readable<'a>(
        &'a self,
        control: &Outbox,
        logs: &[Outbox; 2],
    ) -> impl Iterator<Item = (usize, &'a OwnedFd)> {
        let takes = [self.takes(0, control, logs), self.takes(1, control, logs)];
        let outputs = self.outputs.iter().enumerate().zip(takes);
        outputs.filter_map(|((number, output), takes)| Some((number, &output.as_ref().filter(|_| takes)?.fd)))
    }

    fn takes(&self, number: usize, control: &Outbox, logs: &[Outbox; 2]) -> bool {
        match (self.sinks, &self.outputs[number]) {
            (_, None) => false,
            (Sinks::Ports, _) => !logs[number].is_full(),
            (Sinks::Frames, Some(output)) => output.credit > 0 && !control.is_full(),
        }
    }

    /// Reads an output once. Where the process and all that it started have ended, what is not there now never comes.
    pub(crate) fn read_output(
        &mut self,
        number: usize,
        control: &mut Control,
        logs: &mut [Outbox; 2],
        alone: bool,
    ) -> bool {
        if !self.takes(number, &control.out, logs) {
            return false;
        }
        let Some(output) = &mut self.outputs[number] else { return false };
        let most = match self.sinks {
            Sinks::Ports => MAX_DATA,
            Sinks::Frames => MAX_DATA.min(usize::try_from(output.credit).unwrap_or(MAX_DATA)),
        };
        let mut buffer = vec![0; most];
        let length = match rustix::io::read(&output.fd, &mut buffer[..]) {
            Ok(length) => length,
            Err(Errno::INTR) => return true,
            Err(Errno::AGAIN) if !alone => return false,
            // A terminal that nobody has open any more is an error, not an end.
            Err(_) => 0,
        };
        if length == 0 {
            self.outputs[number] = None;
        } else {
            output.credit -= if self.sinks == Sinks::Frames { length as u64 } else { 0 };
        }
        match self.sinks {
            Sinks::Ports if length > 0 => {
                logs[number].push(buffer[..length].to_vec());
                logs[number].flush();
            }
            Sinks::Ports => {}
            Sinks::Frames => {
                let channel = if number == 0 { Channel::Stdout } else { Channel::Stderr };
                control.push(&Frame::data(channel, self.id, &buffer[..length]));
            }
        }
        true
    }

    /// Whether it has ended and everything that it wrote is sent or in an outbox.
    pub(crate) fn is_over(&self) -> bool {
        self.exit.is_some() && self.outputs.iter().all(Option::is_none)
    }

    pub(crate) fn close(&mut self) {
        self.outputs = [None, None];
        self.input = None;
    }

    pub(crate) fn resize(&self, size: Size) -> Result<(), String> {
        match &self.input {
            Some(input) if input.is_terminal => spawn::resize(&input.fd, size).map_err(|error| error.to_string()),
            _ => Err(format!("process {} has no terminal", self.id)),
        }
    }
}

fn signal(number: i32) -> Option<Signal> {
    Signal::from_named_raw(number)
}
