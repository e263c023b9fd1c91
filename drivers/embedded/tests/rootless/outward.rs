//! An unprivileged user's way out of the machine, by each program that is installed and by one that does not work. Root makes a machine for it, which is a
//! network namespace, and starts this program once more there.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use hythe_host_leaks::unprivileged::{give_ids, newuidmap};
use hythe_runtime::{Attachment, InstanceId, NetworkSpec, Networks, Plan, PlanNetwork, Runtime};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};

use crate::harness::{Harness, kill, runs};
use crate::networks::{end, holder, member, network, root};
use crate::trials::exec;
use crate::{Named, WITH_IDS, kernel};

/// Which of [`WAYS`] the trials are for.
const WAY: &str = "HYTHE_TRIAL_WAY_OUT";
/// With the program of each; the last is none.
const WAYS: [(&str, &str); 4] =
    [("slirp4netns", "slirp4netns"), (WITH_OTHER_IDS, "slirp4netns"), ("pasta", "pasta"), ("broken", "broken")];
const WITH_OTHER_IDS: &str = "slirp4netns-subuid";

const TRIALS: &[Named] = &[
    ("a_network_leads_out_and_an_internal_one_does_not", a_network_leads_out),
    ("a_large_body_is_carried_whole", a_large_body),
    ("what_listens_on_loopback_is_not_reached", loopback_is_not_reached),
    ("names_are_asked_of_a_server_on_loopback", names_are_asked),
    ("it_goes_with_the_last_container", it_goes),
    ("it_goes_with_what_holds_the_namespaces_whatever_that_dies_of", it_goes_with_the_holder),
];
const BROKEN: &[Named] = &[("what_does_not_work_is_told_and_hinders_nothing", what_does_not_work_is_reported)];

/// The machine as others see it.
const MACHINE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Other networks of the machine: of what ours are chosen from they leave the last sixteenth.
const TAKEN: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 192, 0, 0), 11),
    (Ipv4Addr::new(10, 224, 0, 0), 12),
    (Ipv4Addr::new(10, 240, 0, 0), 13),
    (Ipv4Addr::new(10, 248, 0, 0), 14),
];
/// Not of any machine: what the server of names answers.
const NAMED: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

/// The trials that this process was started for.
pub(crate) fn trials() -> Option<(String, &'static [Named])> {
    let way = std::env::var(WAY).ok()?;
    let trials = if way == "broken" { BROKEN } else { TRIALS };
    Some((way, trials))
}

/// With its value.
pub(crate) type Variable = (&'static str, OsString);

/// Root's part, for each way: `run` starts this program with variables, and tells whether all was well.
pub(crate) fn each_way(directory: &Path, run: impl Fn(&[Variable]) -> bool + Sync) -> bool {
    let mut good = true;
    for (way, program) in WAYS {
        let Some(mut programs) = programs(program, &directory.join(way)) else {
            println!("skipped {} trials: there is no `{program}`", TRIALS.len());
            continue;
        };
        let mapped = newuidmap().filter(|_| way == WITH_OTHER_IDS);
        if mapped.is_none() && way == WITH_OTHER_IDS {
            println!("skipped {} trials: there is no `newuidmap`", TRIALS.len());
            continue;
        }
        let mut variables = vec![(WAY, way.into())];
        if let Some(newuidmap) = &mapped {
            variables.push((WITH_IDS, "1".into()));
            programs.push(":");
            programs.push(newuidmap.parent().unwrap());
        }
        variables.push(("PATH", programs));
        good &= std::thread::scope(|scope| {
            let there = || {
                if mapped.is_some() {
                    give_ids().unwrap();
                }
                machine(directory);
                run(&variables)
            };
            scope.spawn(there).join().unwrap()
        });
    }
    good
}

/// A directory with one program.
fn programs(name: &str, directory: &Path) -> Option<OsString> {
    fs::create_dir(directory).unwrap();
    if name == "broken" {
        let program = directory.join("slirp4netns");
        fs::write(&program, "#!/bin/sh\necho all is lost >&2\nexit 1\n").unwrap();
        fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        return Some(directory.into());
    }
    let path = std::env::var_os("PATH")?;
    let program = std::env::split_paths(&path).map(|place| place.join(name)).find(|program| program.exists())?;
    symlink(program, directory.join(name)).unwrap();
    Some(directory.into())
}

/// Makes a machine of what this thread sees: a link that leads away, and a server of names on loopback only.
fn machine(directory: &Path) {
    unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).unwrap();
    kernel::raise("lo");
    kernel::pair("lan0", "lan1", Path::new("/proc/thread-self/ns/net"));
    kernel::raise("lan1");
    kernel::address("lan0", MACHINE.into(), 24);
    kernel::default_route("lan0", NEIGHBOUR.into());
    for (network, prefix) in TAKEN {
        kernel::route("lan0", network.into(), prefix, NEIGHBOUR.into());
    }
    fs::write("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0").unwrap();

    mount_change("/", MountPropagationFlags::REC | MountPropagationFlags::PRIVATE).unwrap();
    let resolv = directory.join("resolv.conf");
    fs::write(&resolv, "nameserver 127.0.0.1\n").unwrap();
    mount_bind(&resolv, "/etc/resolv.conf").unwrap();
    // What is behind systemd-resolved is nobody here.
    let _ = mount_bind("/dev/null", "/run/systemd/resolve/resolv.conf");
    // Everybody may open it, as on most machines.
    mount("tmpfs", "/dev/net", "tmpfs", MountFlags::empty(), None).unwrap();
    let tun = Path::new("/dev/net/tun");
    mknod(tun, SFlag::S_IFCHR, Mode::empty(), makedev(10, 200)).unwrap();
    fs::set_permissions(tun, PermissionsExt::from_mode(0o666)).unwrap();
}

/// Something of the machine that says a word to whoever asks, until the end of the trials; its port.
fn speaker(address: Ipv4Addr, word: &'static str) -> u16 {
    speaker_at((address, 0), word)
}

fn speaker_at(address: (Ipv4Addr, u16), word: &'static str) -> u16 {
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let _ = stream.and_then(|mut stream| {
                let asked = BufReader::new(&stream).lines().map_while(Result::ok);
                asked.take_while(|line| !line.is_empty()).for_each(drop);
                write!(stream, "HTTP/1.0 200 OK\r\n\r\n{word}")
            });
        }
    });
    port
}

/// What a container hears at addresses, all asked at once. It does not end its own side first: a `pasta` of 2023 loses its way then.
fn heard(harness: &Harness, id: &InstanceId, addresses: &[&str], port: u16) -> String {
    let ask = |address: &&str| format!("busybox timeout 3 busybox wget -q -O - http://{address}:{port}/ 2>/dev/null &");
    let script: Vec<String> = addresses.iter().map(ask).collect();
    exec(harness, id, None, &format!("{}\nwait", script.join("\n"))).0
}

fn warnings(harness: &Harness) -> Vec<String> {
    let warnings = harness.wait(harness.embedded.probe(&harness.cx)).unwrap().warnings;
    warnings.into_iter().filter(|warning| warning.contains("have no egress")).collect()
}

fn internal(harness: &Harness, attempt: u32) -> Plan {
    let labels = [("hythe.owner".to_owned(), "me".to_owned())].into();
    let spec = NetworkSpec { name: "inner".to_owned(), labels, internal: true };
    harness.wait(Networks::ensure(&harness.embedded, &harness.cx, &spec)).unwrap();
    let mut plan = member(harness, attempt, "inner");
    let attachment = Attachment { network: "inner".to_owned(), aliases: Vec::new() };
    plan.network = PlanNetwork::Networks { attachments: vec![attachment] };
    plan
}

fn a_network_leads_out() {
    let harness = Harness::new();
    network(&harness);
    let port = speaker(MACHINE, "out of here\n");
    let (open, closed) = (harness.run(&member(&harness, 1, "one")), harness.run(&internal(&harness, 2)));
    assert_eq!(heard(&harness, &open, &["192.0.2.1"], port), "out of here\n");
    assert_eq!(heard(&harness, &closed, &["192.0.2.1"], port), "");
    assert_eq!(warnings(&harness), [""; 0]);
    // Networks of the machine are not hidden by ours.
    for id in [&open, &closed] {
        let address = harness.inspect(id).networks[0].addresses[0];
        let IpAddr::V4(address) = address else { panic!("{address}") };
        assert_eq!(address.octets()[1] & 0xfc, 252, "{address}");
    }
    end(&harness);
}

fn a_large_body() {
    const BODY: usize = 8 << 20;
    let harness = Harness::new();
    network(&harness);
    let port = speaker(MACHINE, String::leak("x".repeat(BODY)));
    let id = harness.run(&member(&harness, 1, "one"));
    let script = format!("busybox timeout 20 busybox wget -q -O - http://192.0.2.1:{port}/ | busybox wc -c");
    assert_eq!(exec(&harness, &id, None, &script).0.trim(), BODY.to_string());
    end(&harness);
}

fn loopback_is_not_reached() {
    let harness = Harness::new();
    network(&harness);
    let port = speaker(Ipv4Addr::LOCALHOST, "never heard\n");
    // Of the same number, to see that whoever asks would hear.
    let listens = speaker_at((MACHINE, port), "heard\n");
    assert_eq!(listens, port);
    let id = harness.run(&member(&harness, 1, "one"));
    let gateway = exec(&harness, &id, None, "busybox ip route | busybox awk '/^default/ { printf $3 }'").0;
    let addresses =
        ["10.0.2.2", "10.0.2.3", "10.0.2.50", "10.0.2.100", "192.0.2.2", "127.0.0.1", &gateway, "192.0.2.1"];
    assert_eq!(heard(&harness, &id, &addresses, port), "heard\n");
    end(&harness);
}

fn names_are_asked() {
    let harness = Harness::new();
    network(&harness);
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 53)).unwrap();
    let id = harness.run(&member(&harness, 1, "one"));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            let mut question = [0; 512];
            while let Ok((length, sender)) = server.recv_from(&mut question) {
                if answer(&server, &question[..length], sender) {
                    return;
                }
            }
        });
        let said = exec(&harness, &id, None, "busybox nslookup -type=a some.example").0;
        assert!(said.contains(&NAMED.to_string()), "{said}");
    });
    end(&harness);
}

/// Answers one question for an address.
fn answer(server: &UdpSocket, question: &[u8], sender: SocketAddr) -> bool {
    let mut answer = question.to_vec();
    // An answer, with one record: the name of the question, its type and class, a time to live, and four bytes.
    answer[2] |= 0x80;
    answer[7] = 1;
    answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
    answer.extend(NAMED.octets());
    server.send_to(&answer, sender).is_ok()
}

/// What the holder of a root's namespaces has started.
fn started(holder: i32) -> Vec<u32> {
    let is_its_own = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line == format!("PPid:\t{holder}"))
    };
    let processes = fs::read_dir("/proc").unwrap().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_its_own).collect()
}

fn until_gone(pids: &[u32]) {
    let began = Instant::now();
    while pids.iter().any(|pid| runs(*pid)) {
        assert!(began.elapsed() < Duration::from_secs(5), "{pids:?} are left");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn it_goes() {
    let harness = Harness::new();
    let (one, two) = (harness.run(&harness.plan(1, "sleep 1000")), harness.run(&harness.plan(2, "sleep 1000")));
    let program = started(holder(&root(&harness, &one)).unwrap());
    assert_eq!(program.len(), 1);
    harness.remove(&one);
    assert!(runs(program[0]));
    harness.remove(&two);
    until_gone(&program);
    harness.end();
}

fn it_goes_with_the_holder() {
    let harness = Harness::new();
    network(&harness);
    let port = speaker(MACHINE, "out of here\n");
    let one = harness.run(&member(&harness, 1, "one"));
    let holding = holder(&root(&harness, &one)).unwrap();
    let program = started(holding);
    assert_eq!(program.len(), 1);
    kill(holding);
    until_gone(&program);
    // Who starts afterwards has a way out again.
    assert_eq!(heard(&harness, &one, &["192.0.2.1"], port), "");
    let two = harness.run(&member(&harness, 2, "two"));
    assert_eq!(heard(&harness, &two, &["192.0.2.1"], port), "out of here\n");
    end(&harness);
}

fn what_does_not_work_is_reported() {
    let harness = Harness::new();
    network(&harness);
    let (one, two) = (harness.run(&member(&harness, 1, "one")), harness.run(&member(&harness, 2, "two")));
    let ask = "for n in 1 2 3 4 5 6 7 8 9; do busybox nc -w 1 two 8080 </dev/null && exit; sleep 0.1; done";
    assert_eq!(exec(&harness, &one, None, ask).0, "hello from two\n");
    assert!(harness.inspect(&two).pid.is_some());
    let told = warnings(&harness);
    assert!(told.len() == 1 && told[0].contains("`slirp4netns` failed: all is lost"), "{told:?}");
    end(&harness);
}
