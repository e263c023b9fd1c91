//! A relay that runs out of descriptors serves everybody in turn, and does not burn the processor meanwhile.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use hythe_network::{ports, relay::Relay};
use hythe_spec::Protocol;
use rustix::process::{Resource, Rlimit, setrlimit};

use crate::fixture::{PATIENCE, port};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
/// Enough for about ten connections.
const DESCRIPTORS: u64 = 32;
const CALLERS: usize = 40;
const TARGET: &str = "HYTHE_TEST_TARGET";

/// Not a test of its own: the process with the relay.
#[test]
#[ignore = "started by the test of descriptors"]
fn relay() {
    let target = std::env::var(TARGET).unwrap().parse().unwrap();
    let relay = Relay::new(ports::reserve(&[port(Some(LOOPBACK), target, Protocol::Tcp)]).unwrap(), LOOPBACK).unwrap();
    let limit = Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) };
    setrlimit(Resource::Nofile, limit).unwrap();
    writeln!(std::io::stdout(), "port {}", relay.ports()[0].host_port.unwrap()).unwrap();
    let Err(error) = relay.serve();
    panic!("{error}");
}

#[test]
fn everybody_is_served_in_turn() {
    let inside = TcpListener::bind((LOOPBACK, 0)).unwrap();
    let target = inside.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in inside.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let mut byte = [0];
                while stream.read_exact(&mut byte).is_ok() && stream.write_all(&byte).is_ok() {}
            });
        }
    });
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "starved::relay", "--ignored", "--nocapture"])
        .env(TARGET, target.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let number: u16 = lines
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("port ").map(|port| port.parse().unwrap()))
        .unwrap();
    let mut callers: Vec<TcpStream> = (0..CALLERS).map(|_| TcpStream::connect((LOOPBACK, number)).unwrap()).collect();
    for caller in &mut callers {
        caller.set_read_timeout(Some(PATIENCE)).unwrap();
        caller.write_all(b"x").unwrap();
    }
    let before = processor_time(child.id());
    // The first ones are served; nothing ends meanwhile, so the others wait.
    std::thread::sleep(std::time::Duration::from_millis(500));
    let spent = processor_time(child.id()) - before;
    assert!(spent <= 10, "{spent} hundredths of a second were spent on waiting");
    for mut caller in callers {
        let mut byte = [0];
        caller.read_exact(&mut byte).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Hundredths of a second that a process ran.
fn processor_time(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}
