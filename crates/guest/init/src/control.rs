//! The control port: frames in and out.

use std::fs::File;
use std::io::Read as _;
use std::time::{Duration, Instant};

use crate::outbox::Outbox;
use crate::protocol::{Channel, Command, Decoder, Event, Frame, VERSION};

const BUFFER: usize = 64 << 10;

/// A host sends a frame at once: half of one that is this old was left by a host that has gone.
const STALE: Duration = Duration::from_secs(1);

/// What the host has sent.
#[derive(Debug)]
pub(crate) enum Received {
    Command(Command),
    /// Bytes of a process's standard input; none for its end.
    Stdin {
        id: u32,
        bytes: Vec<u8>,
    },
    Bad(String),
}

#[derive(Debug)]
pub(crate) struct Control {
    pub(crate) out: Outbox,
    decoder: Decoder,
    last_read: Instant,
}

impl Control {
    pub(crate) fn new(port: File) -> Self {
        Self { out: Outbox::new(port), decoder: Decoder::default(), last_read: Instant::now() }
    }

    pub(crate) fn send(&mut self, event: &Event) {
        match Frame::message(event) {
            Ok(frame) => self.push(&frame),
            Err(error) => eprintln!("hythe-init: an event cannot be sent: {error}"),
        }
    }

    pub(crate) fn push(&mut self, frame: &Frame) {
        self.out.push(frame.encode());
        self.out.flush();
    }

    /// The first event of a connection.
    pub(crate) fn greet(&mut self, started: Option<u32>) {
        let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
        self.send(&Event::Boot { version: VERSION, kernel, started });
    }

    /// Everything that is there to be read.
    pub(crate) fn receive(&mut self) -> Vec<Received> {
        let mut buffer = vec![0; BUFFER];
        let mut received = Vec::new();
        if let Ok(length @ 1..) = self.out.port.read(&mut buffer) {
            // A busy host may take longer for the rest of a frame, but the rest is not this.
            if self.last_read.elapsed() > STALE && buffer[..length].starts_with(&hello()) {
                self.decoder.clear();
            }
            self.last_read = Instant::now();
            self.decoder.push(&buffer[..length]);
        }
        loop {
            match self.decoder.next_frame() {
                Ok(Some(frame)) => received.push(read(frame)),
                Ok(None) => return received,
                Err(error) => received.push(Received::Bad(error.to_string())),
            }
        }
    }
}

fn read(frame: Frame) -> Received {
    match frame.channel {
        Channel::Message => match frame.read() {
            Ok(command) => Received::Command(command),
            Err(error) => Received::Bad(error.to_string()),
        },
        Channel::Stdin => Received::Stdin { id: frame.id, bytes: frame.payload },
        Channel::Stdout | Channel::Stderr => Received::Bad("output comes from the guest alone".to_owned()),
    }
}

fn hello() -> Vec<u8> {
    Frame::message(&Command::Hello).map(|frame| frame.encode()).unwrap_or_else(|_| vec![0])
}
