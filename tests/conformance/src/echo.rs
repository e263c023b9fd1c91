//! Somebody inside an instance's network who answers datagrams: no program of the test image does.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command, ExitCode, Stdio};

use hythe_runtime::InstanceId;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::failure::{Failure, Outcome};
use crate::fixture::Fixture;

/// The word that makes this program [`answer_datagrams`].
const ANSWER: &str = "answer-datagrams";

/// Answers every datagram on a port of an instance, in a process that has gone into its network and ends with the value.
pub(crate) struct EchoInside(Child);

impl EchoInside {
    pub(crate) async fn start(fixture: &Fixture, id: &InstanceId, number: u16) -> Outcome<Self> {
        let pid = fixture.inspect(id).await?.pid.ok_or_else(|| Failure::new("a running instance has no pid"))?;
        let mut child = Command::new(std::env::current_exe()?)
            .args([ANSWER, &pid.to_string(), &number.to_string()])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut ready = [0];
        let stdout = child.stdout.take();
        let echo = Self(child);
        stdout.map_or(Ok(()), |mut stdout| stdout.read_exact(&mut ready))?;
        Ok(echo)
    }
}

impl Drop for EchoInside {
    fn drop(&mut self) {
        // It has nothing to lose.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Where the arguments say so, answers datagrams in the network of a process, and does not return. The process must have one thread.
pub(crate) fn answer_datagrams(mut arguments: impl Iterator<Item = String>) -> Option<ExitCode> {
    if arguments.nth(1)? != ANSWER {
        return None;
    }
    let (pid, number) = (arguments.next()?, arguments.next()?.parse().ok()?);
    Some(match echo(&pid, number) {
        Ok(never) => match never {},
        Err(error) => {
            println!("{error}");
            ExitCode::FAILURE
        }
    })
}

fn echo(pid: &str, number: u16) -> std::io::Result<Infallible> {
    let namespace = |kind: &str| std::fs::File::open(format!("/proc/{pid}/ns/{kind}"));
    let enter = |kind: &str, which| -> std::io::Result<()> {
        Ok(move_into_link_name_space(namespace(kind)?.as_fd(), Some(which))?)
    };
    if !rustix::process::geteuid().is_root() {
        enter("user", LinkNameSpaceType::User)?;
    }
    enter("net", LinkNameSpaceType::Network)?;
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, number))?;
    std::io::stdout().write_all(b"+\n")?;
    let mut buffer = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut buffer)?;
        socket.send_to(&buffer[..length], from)?;
    }
}
