//! A virtual machine for a trial: QEMU, the control port, and what came over it.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hythe_guest::protocol::{Channel, Command, Config, Decoder, Event, Exit, Frame, Process};
use hythe_guest::{Kernel, Layer, base_disk, initrd, overlay};

const QEMU: &str = "qemu-system-x86_64";
const APPEND: &str = "console=ttyS0 panic=-1 quiet mitigations=off nokaslr cryptomgr.notests tsc=reliable \
                      no_timer_check init_on_alloc=0 audit=0 apparmor=0 nowatchdog random.trust_cpu=on \
                      rcupdate.rcu_expedited=1";
/// Nothing takes longer, on a busy host either.
const LIMIT: Duration = Duration::from_secs(90);
const DISK: u64 = 256 << 20;
const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const APPLETS: &[&str] = &[
    "sh",
    "id",
    "cat",
    "ls",
    "echo",
    "sleep",
    "head",
    "dd",
    "wc",
    "hostname",
    "httpd",
    "nc",
    "mkdir",
    "touch",
    "stty",
    "mount",
    "tail",
    "true",
    "sha256sum",
    "poweroff",
    "ps",
    "sync",
    "kill",
    "stat",
    "tr",
    "seq",
    "mknod",
    "rm",
    "reboot",
];

/// One virtual machine at a time: two need twice the time each.
static TURN: Mutex<()> = Mutex::new(());

/// What a virtual machine is made of.
pub(crate) struct Prepared {
    pub(crate) folder: tempfile::TempDir,
    kernel: Kernel,
    initrd: PathBuf,
    base: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) fn prepare() -> Result<Prepared, String> {
    let kernel = std::env::var_os("HYTHE_TEST_KERNEL").ok_or("HYTHE_TEST_KERNEL is not set")?;
    let busybox = std::env::var_os("HYTHE_TEST_BUSYBOX").unwrap_or_else(|| "/bin/busybox".into());
    let busybox = fs::read(busybox).map_err(|error| format!("no busybox: {error}"))?;
    Program::new(QEMU).arg("-version").stdout(Stdio::null()).status().map_err(|error| format!("no {QEMU}: {error}"))?;
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let folder = tempfile::tempdir().unwrap();
    let kernel = Kernel::find(Some(Path::new(&kernel))).unwrap();
    let initrd = initrd(folder.path(), &kernel).unwrap();
    let base = base_disk(folder.path(), DIGEST, vec![layer(&busybox)], DISK).unwrap();
    Ok(Prepared { folder, kernel, initrd, base, _turn: turn })
}

fn layer(busybox: &[u8]) -> Layer {
    let mut archive = tar::Builder::new(Vec::new());
    let mut add = |name: &str, mode: u32, owner: u64, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner);
        header.set_cksum();
        archive.append_data(&mut header, name, content).unwrap();
    };
    add("bin/busybox", 0o755, 0, busybox);
    add("bin/plain", 0o644, 0, b"#!/bin/sh\n");
    add("bin/no-interpreter", 0o755, 0, b"#!/no/such\n");
    add("etc/passwd", 0o644, 0, b"root:x:0:0::/root:/bin/sh\nworker:x:1000:1000::/home/worker:/bin/sh\n");
    add("etc/group", 0o644, 0, b"root:x:0:\nworker:x:1000:\nextra:x:2000:other,worker\n");
    add("data/seed", 0o640, 1000, b"from the image\n");
    for applet in APPLETS {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        header.set_uid(0);
        header.set_gid(0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    let bytes = archive.into_inner().unwrap();
    Layer::new("busybox", move || Ok(Box::new(std::io::Cursor::new(bytes.clone()))))
}

pub(crate) fn process(args: &[&str]) -> Process {
    Process { args: args.iter().map(|arg| (*arg).to_owned()).collect(), ..Process::default() }
}

/// What came over the control port.
pub(crate) enum Received {
    Event(Event),
    Data { channel: Channel, id: u32, bytes: Vec<u8> },
}

pub(crate) struct Vm {
    qemu: Child,
    control: UnixStream,
    received: Receiver<Received>,
    /// Data that came while an event was awaited.
    data: VecDeque<(Channel, u32, Vec<u8>)>,
    folder: PathBuf,
    started: Instant,
}

impl Vm {
    /// Boots on a new overlay.
    pub(crate) fn start(prepared: &Prepared, config: &Config, more: &[&str]) -> Self {
        let folder = tempfile::tempdir_in(prepared.folder.path()).unwrap().keep();
        let disk = folder.join("disk.qcow2");
        overlay(&disk, &prepared.base, DISK).unwrap();
        fs::write(folder.join("config.json"), serde_json::to_vec(config).unwrap()).unwrap();
        let started = Instant::now();
        let file = |name: &str| folder.join(name).display().to_string();
        let mut command = Program::new(QEMU);
        command
            .args(["-machine", "q35,accel=tcg,usb=off,sata=off,smbus=off,vmport=off,graphics=off"])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-cpu", "max", "-m", "256", "-smp", "1"])
            .args(["-no-reboot", "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"])
            .arg("-kernel")
            .arg(&prepared.kernel.image)
            .arg("-initrd")
            .arg(&prepared.initrd)
            .args(["-append", APPEND, "-serial", &format!("file:{}", file("console.log"))])
            .args(["-fw_cfg", &format!("name=opt/hythe/config,file={}", file("config.json"))])
            .args(["-device", "virtio-serial-pci,max_ports=4"])
            .args(["-chardev", &format!("socket,id=control,path={},server=on,wait=off", file("control.sock"))])
            .args(["-device", "virtserialport,chardev=control,name=hythe.control"])
            .args(["-chardev", &format!("file,id=stdout,path={}", file("stdout.log"))])
            .args(["-device", "virtserialport,chardev=stdout,name=hythe.stdout"])
            .args(["-chardev", &format!("file,id=stderr,path={}", file("stderr.log"))])
            .args(["-device", "virtserialport,chardev=stderr,name=hythe.stderr"])
            .args(["-drive", &format!("file={},if=none,id=d0,format=qcow2,discard=unmap", disk.display())])
            .args(["-device", "virtio-blk-pci,drive=d0,serial=root", "-device", "pvpanic-pci"])
            .args(["-device", "virtio-rng-pci"])
            .args(["-monitor", &format!("unix:{},server=on,wait=off", file("monitor.sock"))])
            .args(more)
            .stdin(Stdio::null())
            .stderr(fs::File::create(folder.join("qemu.log")).unwrap());
        let qemu = command.spawn().unwrap();
        let control = connect(&folder.join("control.sock"));
        let received = follow(control.try_clone().unwrap());
        Self { qemu, control, received, data: VecDeque::new(), folder, started }
    }

    pub(crate) fn half_a_frame(&mut self) {
        let bytes = Frame::message(&Command::Ping { nonce: 1 }).unwrap().encode();
        self.control.write_all(&bytes[..15]).unwrap();
    }

    /// Leaves the control port, as a supervisor that ends, and connects again.
    pub(crate) fn reconnect(&mut self) {
        self.control.shutdown(std::net::Shutdown::Both).unwrap();
        while self.received.recv().is_ok() {}
        self.control = connect(&self.folder.join("control.sock"));
        self.received = follow(self.control.try_clone().unwrap());
    }

    pub(crate) fn age(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn send(&mut self, command: &Command) {
        let bytes = Frame::message(command).unwrap().encode();
        self.control.write_all(&bytes).unwrap();
    }

    pub(crate) fn input(&mut self, id: u32, bytes: &[u8]) {
        self.control.write_all(&Frame::data(Channel::Stdin, id, bytes).encode()).unwrap();
    }

    /// The next event of this kind. Data is put aside.
    pub(crate) fn wait(&mut self, is_wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            match self.next() {
                Some(Received::Event(event)) if is_wanted(&event) => return event,
                Some(Received::Event(_)) => {}
                Some(Received::Data { channel, id, bytes }) => self.take(channel, id, bytes),
                None => panic!("the guest has ended\n{}", self.words()),
            }
        }
    }

    /// Everything that an exec wrote on a stream so far.
    pub(crate) fn output(&mut self, channel: Channel, id: u32) -> Vec<u8> {
        let of = |entry: &&(Channel, u32, Vec<u8>)| entry.0 == channel && entry.1 == id;
        self.data.iter().filter(of).flat_map(|entry| entry.2.clone()).collect()
    }

    /// Waits until an exec has written this.
    pub(crate) fn wait_for_output(&mut self, id: u32, text: &str) {
        while !String::from_utf8_lossy(&self.output(Channel::Stdout, id)).contains(text) {
            match self.next() {
                Some(Received::Data { channel, id, bytes }) => self.take(channel, id, bytes),
                Some(Received::Event(_)) => {}
                None => panic!("the guest has ended\n{}", self.words()),
            }
        }
    }

    fn take(&mut self, channel: Channel, id: u32, bytes: Vec<u8>) {
        let length = bytes.len() as u64;
        let (stdout, stderr) = if channel == Channel::Stdout { (length, 0) } else { (0, length) };
        if length > 0 {
            self.send(&Command::Consumed { id, stdout, stderr });
        }
        self.data.push_back((channel, id, bytes));
    }

    fn next(&mut self) -> Option<Received> {
        let left = LIMIT.saturating_sub(self.started.elapsed());
        match self.received.recv_timeout(left) {
            Ok(received) => Some(received),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("nothing came in time\n{}", self.words()),
        }
    }

    /// Waits for the end of the guest; gives its exit and all events.
    pub(crate) fn finish(&mut self) -> (Exit, Vec<Event>) {
        let mut events = Vec::new();
        while let Some(received) = self.next() {
            match received {
                Received::Event(Event::Exit(exit)) => {
                    events.push(Event::Exit(exit));
                    self.send(&Command::PowerOff);
                }
                Received::Event(event) => events.push(event),
                Received::Data { channel, id, bytes } => self.take(channel, id, bytes),
            }
        }
        assert!(self.qemu.wait().unwrap().success(), "{}", self.words());
        let exits: Vec<_> = events
            .iter()
            .filter_map(|event| match event {
                Event::Exit(exit) => Some(*exit),
                _ => None,
            })
            .collect();
        assert_eq!(exits.len(), 1, "{events:?}\n{}", self.words());
        (exits[0], events)
    }

    /// Waits until the main process has written this.
    pub(crate) fn wait_for_stdout(&self, text: &str) {
        while !self.stdout().contains(text) {
            assert!(self.started.elapsed() < LIMIT, "`{text}` does not come\n{}", self.words());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn press_power_button(&self) {
        let mut monitor = connect(&self.folder.join("monitor.sock"));
        monitor.write_all(b"system_powerdown\n").unwrap();
        // It obeys only as long as somebody is connected: two prompts, before the command and after it.
        let mut shown: Vec<u8> = Vec::new();
        while shown.windows(6).filter(|part| part == b"(qemu)").count() < 2 {
            let mut buffer = [0; 512];
            let length = monitor.read(&mut buffer).unwrap();
            assert!(length > 0, "the monitor has closed");
            shown.extend(&buffer[..length]);
        }
    }

    pub(crate) fn stdout(&self) -> String {
        fs::read_to_string(self.folder.join("stdout.log")).unwrap_or_default()
    }

    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(self.folder.join("stderr.log")).unwrap_or_default()
    }

    pub(crate) fn words(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.folder.join(name)).unwrap_or_default();
        format!("console: {}\nqemu: {}\nstdout: {}", read("console.log"), read("qemu.log"), self.stdout())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.qemu.kill().ok();
        self.qemu.wait().ok();
    }
}

fn connect(path: &Path) -> UnixStream {
    let started = Instant::now();
    loop {
        match UnixStream::connect(path) {
            Ok(stream) => return stream,
            Err(error) => assert!(started.elapsed() < LIMIT, "`{}`: {error}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn follow(mut stream: UnixStream) -> Receiver<Received> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut decoder = Decoder::default();
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            decoder.push(&buffer[..length]);
            while let Some(frame) = decoder.next_frame().unwrap() {
                let received = match frame.channel {
                    Channel::Message => Received::Event(frame.read().unwrap()),
                    channel => Received::Data { channel, id: frame.id, bytes: frame.payload },
                };
                if sender.send(received).is_err() {
                    return;
                }
            }
        }
    });
    receiver
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(crate) fn http_get(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
