//! The init in real virtual machines, under emulation, one at a time.
//!
//! Needs `qemu-system-x86_64`, a static busybox (`HYTHE_TEST_BUSYBOX`) and a kernel (`HYTHE_TEST_KERNEL`, a kernel's file
//! or an unpacked package). Without them each trial prints why it is skipped.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test stops at the first surprise, and prints skips")]

mod disks;
mod ends;
mod execs;
mod vm;

use hythe_guest::protocol::{Config, Event, Host, Interface, Process, Protocol, Rlimit};

use vm::{Vm, process};

/// Whether a virtual machine can be had; prints why not.
#[macro_export]
macro_rules! needs_vm {
    () => {
        match $crate::vm::prepare() {
            Ok(prepared) => prepared,
            Err(why) => {
                eprintln!("skipped: {why}");
                return;
            }
        }
    };
}

#[test]
fn main_process_gets_user_cwd_env_files_and_limits() {
    let prepared = needs_vm!();
    let script = "id; pwd; echo $GREETING $HOME $HOSTNAME; ulimit -n; hostname; cat /etc/hosts; ls -ld /work/new; \
                  echo to-stderr >&2; echo again > /dev/stdout; exit 7";
    let mut config = Config::new(Process {
        env: vec!["GREETING=hello world".to_owned()],
        user: Some("worker".to_owned()),
        cwd: Some("/work/new".to_owned()),
        rlimits: vec![Rlimit { name: "nofile".to_owned(), soft: Some(123), hard: Some(456) }],
        ..process(&["sh", "-c", script])
    });
    config.hostname = Some("guest-1".to_owned());
    config.hosts = vec![Host { address: "10.1.2.3".parse().unwrap(), names: vec!["db".to_owned()] }];
    let mut vm = Vm::start(&prepared, &config, &[]);
    let (exit, events) = vm.finish();
    assert_eq!((exit.code, exit.signal), (7, None), "{events:?}");
    assert!(matches!(events[0], Event::Boot { version: 1, .. }), "{events:?}");
    assert!(events.iter().any(|event| matches!(event, Event::Started { .. })));
    let output = vm.stdout();
    for part in [
        "uid=1000(worker) gid=1000(worker) groups=1000(worker),2000(extra)",
        "/work/new\n",
        "hello world /home/worker guest-1\n",
        "123\n",
        "10.1.2.3\tdb\n",
        "again\n",
    ] {
        assert!(output.contains(part), "`{part}` is missing in {output}");
    }
    assert_eq!(vm.stderr(), "to-stderr\n");
}

#[test]
fn port_is_reported_once_it_has_a_listener_and_serves_the_host() {
    let prepared = needs_vm!();
    let script = "mkdir -p /www && echo served > /www/index.html && nc -l -p 9999 -s 127.0.0.1 & sleep 0.2; \
                  exec httpd -f -p 8080 -h /www";
    let mut config = Config::new(process(&["sh", "-c", script]));
    config.network = vec![Interface {
        addresses: vec!["10.0.2.15/24".to_owned()],
        gateways: vec!["10.0.2.2".parse().unwrap()],
        ..Interface::default()
    }];
    let port = |port| hythe_guest::protocol::Port { port, protocol: Protocol::Tcp };
    config.ports = vec![port(9999), port(8080)];
    let host_port = vm::free_port();
    let forward = format!("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{host_port}-:8080");
    let mut vm = Vm::start(&prepared, &config, &["-netdev", &forward, "-device", "virtio-net-pci,netdev=n0,romfile="]);
    let listening = vm.wait(|event| matches!(event, Event::Listening { .. }));
    assert!(matches!(listening, Event::Listening { port: 8080, .. }), "a loopback listener is none: {listening:?}");
    assert!(vm::http_get(host_port).contains("served"));
}
