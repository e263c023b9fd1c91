//! A machine, containers on it, and neighbours.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use hythe_network::relay::Relay;
use hythe_network::{AttachRequest, Attached, Networks, ports};
use hythe_runtime::{Attachment, NetworkSpec, Result};
use hythe_spec::{Port, Protocol};
use nix::sched::{CloneFlags, unshare};

use crate::kernel;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// Long enough for a packet that is going to arrive.
pub(crate) const SHORT: Duration = Duration::from_millis(400);

/// A machine with a state directory.
pub(crate) struct Machine {
    pub(crate) networks: Networks,
    pub(crate) directory: tempfile::TempDir,
}

/// Runs a test on a machine of its own, and looks for what is left afterwards.
pub(crate) fn on_a_host(test: impl FnOnce(&Machine) + Send + 'static) {
    on_a_host_with(Networks::open, test);
}

/// The same, with networks opened in one's own way.
pub(crate) fn on_a_host_with(
    open: impl FnOnce(&Path) -> Result<Networks> + Send + 'static,
    test: impl FnOnce(&Machine) + Send + 'static,
) {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: not root, so no network namespace can be made");
        return;
    }
    let played = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        kernel::raise("lo");
        let directory = tempfile::tempdir().unwrap();
        let networks = open(directory.path()).unwrap();
        let machine = Machine { networks, directory };
        test(&machine);
        machine.is_clean();
    });
    if let Err(panic) = played.join() {
        std::panic::resume_unwind(panic);
    }
}

impl Machine {
    pub(crate) fn network(&self, name: &str, internal: bool) {
        self.networks.ensure(&spec(name, internal)).unwrap();
    }

    pub(crate) fn try_attach(&self, place: &Place, id: &str, networks: &[&str]) -> Result<Attached> {
        attach(&self.networks, place, id, networks)
    }

    /// A container in networks.
    pub(crate) fn container(&self, id: &str, networks: &[&str]) -> Container {
        let place = Place::new();
        let attached = self.try_attach(&place, id, networks).unwrap();
        Container { place, attached }
    }

    /// A machine beside this one, at .2 of a link on which this one is .1, with IPv6 too.
    pub(crate) fn neighbour(&self) -> Place {
        let place = Place::new();
        kernel::pair("lan0", "eth0", &place.path);
        kernel::address("lan0", HOST_V4, 24);
        kernel::address("lan0", HOST_V6, 64);
        place.run(|| {
            kernel::raise("eth0");
            kernel::address("eth0", NEIGHBOUR_V4, 24);
            kernel::address("eth0", NEIGHBOUR_V6, 64);
        });
        kernel::default_route("lan0", NEIGHBOUR_V4);
        kernel::default_route("lan0", NEIGHBOUR_V6);
        place
    }

    /// Detaches, removes, and finds nothing of ours.
    pub(crate) fn is_clean(&self) {
        self.networks.gc(&[]).unwrap();
        for network in self.networks.list().unwrap() {
            self.networks.remove(&network.name).unwrap();
        }
        let left: Vec<_> = kernel::links().into_iter().filter(|name| name.starts_with("hythe")).collect();
        assert!(left.is_empty(), "links are left: {left:?}");
        let left: Vec<_> = kernel::tables().into_iter().filter(|name| name.starts_with("hythe")).collect();
        assert!(left.is_empty(), "tables are left: {left:?}");
        let files = |directory: &str| std::fs::read_dir(self.directory.path().join(directory)).unwrap().count();
        assert_eq!([files("instances"), files("members"), files("networks")], [0, 0, 0]);
    }
}

/// Connects a place; in each network it is called like the id and `-alias`.
pub(crate) fn attach(state: &Networks, place: &Place, id: &str, networks: &[&str]) -> Result<Attached> {
    let attachment =
        |network: &&str| Attachment { network: (*network).to_owned(), aliases: vec![format!("{id}-alias")] };
    let attachments: Vec<_> = networks.iter().map(attachment).collect();
    let namespace = &place.path;
    state.attach(&AttachRequest { instance: id, namespace, attachments: &attachments, hostname: id, extra_hosts: &[] })
}

pub(crate) const HOST_V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
pub(crate) const NEIGHBOUR_V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));
pub(crate) const HOST_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
pub(crate) const NEIGHBOUR_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));

pub(crate) fn spec(name: &str, internal: bool) -> NetworkSpec {
    let labels = [("hythe.owner".to_owned(), "tests".to_owned())].into();
    NetworkSpec { name: name.to_owned(), labels, internal }
}

/// A connected container.
pub(crate) struct Container {
    pub(crate) place: Place,
    pub(crate) attached: Attached,
}

impl Container {
    /// Its addresses in its first network: IPv4, then IPv6.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.attached.networks[0].addresses.clone()
    }

    pub(crate) fn hosts(&self) -> String {
        std::fs::read_to_string(&self.attached.hosts).unwrap()
    }

    /// Addresses of a name, as its hosts file says.
    pub(crate) fn resolve(&self, name: &str) -> Vec<IpAddr> {
        let hosts = self.hosts();
        let lines = hosts.lines().filter_map(|line| line.split_once('\t'));
        lines
            .filter(|(_, names)| names.split(' ').any(|one| one == name))
            .map(|(address, _)| address.parse().unwrap())
            .collect()
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// A thread in a network namespace of its own.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    work: Sender<Work>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let (work, orders) = channel::<Work>();
        let (ready, path) = channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            let id = rustix::thread::gettid().as_raw_nonzero();
            ready.send(PathBuf::from(format!("/proc/{}/task/{id}/ns/net", std::process::id()))).unwrap();
            orders.into_iter().for_each(|work| work());
        });
        Self { path: path.recv().unwrap(), work }
    }

    /// One that somebody else has.
    pub(crate) fn at(path: PathBuf) -> Self {
        Self { path, work: channel().0 }
    }

    /// Does something inside and waits for it.
    pub(crate) fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = channel();
        self.work.send(Box::new(move || done.send(work()).unwrap())).unwrap();
        result.recv().unwrap()
    }

    /// Answers connections on every address with who is calling.
    pub(crate) fn greets(&self, port: u16) {
        let listener = self.run(move || TcpListener::bind(("::", port)).unwrap());
        thread::spawn(move || {
            use std::io::Write;
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let caller = stream.peer_addr().unwrap().ip().to_canonical();
                // A caller that is gone is its own trouble.
                let _ = stream.write_all(caller.to_string().as_bytes());
            }
        });
    }

    /// Sends datagrams back.
    pub(crate) fn echoes(&self, port: u16) {
        let socket = self.run(move || UdpSocket::bind(("::", port)).unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 2048];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                socket.send_to(&buffer[..length], from).unwrap();
            }
        });
    }

    /// What a greeter says to a call from here.
    pub(crate) fn call(&self, address: IpAddr, port: u16) -> std::io::Result<String> {
        self.run(move || call(address, port))
    }

    /// What comes back for a datagram from here.
    pub(crate) fn ask(&self, address: IpAddr, port: u16) -> std::io::Result<String> {
        self.run(move || ask(address, port))
    }

    /// A call from here gets no answer.
    pub(crate) fn cannot_call(&self, address: IpAddr, port: u16) {
        let answer = self.run(move || try_call(address, port, SHORT));
        assert!(answer.is_err(), "{address} answers: {answer:?}");
    }

    /// A datagram from here gets no answer.
    pub(crate) fn cannot_ask(&self, address: IpAddr, port: u16) {
        let answer = self.run(move || try_ask(address, port, SHORT));
        assert!(answer.is_err(), "{address} answers: {answer:?}");
    }
}

pub(crate) fn call(address: IpAddr, port: u16) -> std::io::Result<String> {
    try_call(address, port, PATIENCE)
}

pub(crate) fn ask(address: IpAddr, port: u16) -> std::io::Result<String> {
    try_ask(address, port, PATIENCE)
}

fn try_call(address: IpAddr, port: u16, patience: Duration) -> std::io::Result<String> {
    use std::io::Read;
    let mut stream = TcpStream::connect_timeout(&SocketAddr::new(address, port), patience)?;
    stream.set_read_timeout(Some(patience))?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    if text.is_empty() { Err(std::io::ErrorKind::UnexpectedEof.into()) } else { Ok(text) }
}

/// Asks by datagram, on a connected socket, which takes an answer from nobody else.
fn try_ask(address: IpAddr, port: u16, patience: Duration) -> std::io::Result<String> {
    let any = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)?;
    socket.connect((address, port))?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(b"ping")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    Ok(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// Serves ports for a container from here until dropped.
pub(crate) struct Published {
    pub(crate) ports: Vec<Port>,
    _stop: rustix::fd::OwnedFd,
}

pub(crate) fn publish(container: &Container, wanted: &[Port]) -> Published {
    let relay = Relay::new(ports::reserve(wanted).unwrap(), container.attached.address().unwrap()).unwrap();
    let (stopped, stop) = rustix::pipe::pipe().unwrap();
    let ports = relay.ports().to_vec();
    thread::spawn(move || carry(relay, &stopped));
    Published { ports, _stop: stop }
}

/// As a shim does: the relay is one descriptor among others.
fn carry(mut relay: Relay, stopped: &rustix::fd::OwnedFd) {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        let mut watched = [PollFd::from_borrowed_fd(relay.as_fd(), PollFlags::IN), PollFd::new(stopped, PollFlags::IN)];
        poll(&mut watched, None).unwrap();
        if !watched[1].revents().is_empty() {
            return;
        }
        relay.turn().unwrap();
    }
}

pub(crate) fn port(host_ip: Option<IpAddr>, container_port: u16, protocol: Protocol) -> Port {
    Port { host_ip, host_port: None, container_port, protocol }
}
