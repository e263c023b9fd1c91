//! What host and guest say to each other, as bytes.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::BTreeSet;
use std::path::Path;

use hythe_guest::protocol::{Channel, Command, Config, Decoder, Event, Exit, Frame, Process};

#[test]
fn frames_cut_anywhere_are_read_whole() {
    let event = Event::Exit(Exit { code: 7, signal: None, oom_kills: 0 });
    let frames = [
        Frame::message(&event).unwrap(),
        Frame::data(Channel::Stdout, 3, b"HYHY"),
        Frame::data(Channel::Stderr, 4, b""),
    ];
    let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
    for size in [1, 5, 12, bytes.len()] {
        let mut decoder = Decoder::default();
        let mut read = Vec::new();
        for chunk in bytes.chunks(size) {
            decoder.push(chunk);
            while let Some(frame) = decoder.next_frame().unwrap() {
                read.push(frame);
            }
        }
        assert_eq!(read, frames, "in pieces of {size}");
        let found: Event = read[0].read().unwrap();
        assert_eq!(found, event);
        assert!(read[1].read::<Event>().is_err(), "data is no message");
    }
}

#[test]
fn bytes_that_are_no_frame_are_skipped_to_the_next() {
    let good = Frame::message(&Command::Ping { nonce: 1 }).unwrap();
    let too_long = [*b"HY\0\0", [0; 4], [0xff; 4]].concat();
    for noise in [&b"half a frame of another connection"[..], b"H", b"HHHHHHHHHHHHHY", &too_long] {
        let mut decoder = Decoder::default();
        decoder.push(noise);
        decoder.push(&good.encode());
        let mut errors = 0;
        let frame = loop {
            match decoder.next_frame() {
                Ok(frame) => break frame,
                Err(_) => errors += 1,
            }
        };
        assert_eq!(frame, Some(good.clone()));
        assert!(errors > 0, "it is reported");
    }
}

#[test]
fn messages_are_json_with_a_name() {
    let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let stop = serde_json::to_value(Command::Stop { signal: Some(15), grace_ms: None }).unwrap();
    assert_eq!(stop, json(r#"{"command":"stop","signal":15,"grace_ms":null}"#));
    let exit = serde_json::to_value(Event::Exit(Exit { code: 137, signal: Some(9), oom_kills: 1 })).unwrap();
    assert_eq!(exit, json(r#"{"event":"exit","code":137,"signal":9,"oom_kills":1}"#));
    let config: Config = serde_json::from_str(r#"{"version":1,"process":{"args":["true"]}}"#).unwrap();
    assert_eq!(config, Config::new(Process { args: vec!["true".to_owned()], ..Process::default() }));
    assert!(serde_json::from_str::<Config>(r#"{"version":1,"process":{"args":[]},"typo":1}"#).is_err());
}

/// A host that can build the workspace without a network can build the init too.
#[test]
fn init_needs_no_package_that_the_workspace_has_not() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let own = packages(&folder.join("init/Cargo.lock"));
    let shared = packages(&folder.join("../../Cargo.lock"));
    let missing: Vec<_> =
        own.iter().filter(|(name, _)| name != "hythe-init").filter(|row| !shared.contains(row)).collect();
    assert!(missing.is_empty(), "run `cargo update --precise` in crates/guest/init for {missing:?}");
    assert!(own.len() > 5);
}

fn packages(path: &Path) -> BTreeSet<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let value = |block: &str, key: &str| {
        block.lines().find_map(|line| line.strip_prefix(key)?.strip_suffix('"').map(str::to_owned)).unwrap()
    };
    text.split("[[package]]").skip(1).map(|block| (value(block, "name = \""), value(block, "version = \""))).collect()
}
