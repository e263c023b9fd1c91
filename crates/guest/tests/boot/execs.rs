//! Execs, and what else a host asks of a running guest.

use hythe_guest::protocol::{Channel, Command, Config, Event, Exit, Process, Size};

use crate::needs_vm;
use crate::vm::{Prepared, Vm, process};

fn sleeping(prepared: &Prepared) -> Vm {
    let mut vm = Vm::start(prepared, &Config::new(process(&["sleep", "1000"])), &[]);
    vm.wait(|event| matches!(event, Event::Started { .. }));
    eprintln!("from the start of QEMU to the main process: {:?}", vm.age());
    vm
}

fn exec(vm: &mut Vm, id: u32, process: Process, stdin: bool) {
    vm.send(&Command::Exec { id, process, stdin });
}

fn ended(vm: &mut Vm, wanted: u32) -> (Exit, Option<String>) {
    match vm.wait(|event| matches!(event, Event::ExecExit { id, .. } if *id == wanted)) {
        Event::ExecExit { exit, error, .. } => (exit, error),
        other => panic!("{other:?}"),
    }
}

fn text(vm: &mut Vm, channel: Channel, id: u32) -> String {
    String::from_utf8_lossy(&vm.output(channel, id)).into_owned()
}

#[test]
fn execs_have_streams_exit_codes_users_and_terminals() {
    let prepared = needs_vm!();
    let mut vm = sleeping(&prepared);

    let worker = Process {
        user: Some("1000:2000".to_owned()),
        cwd: Some("/etc".to_owned()),
        ..process(&["sh", "-c", "id -u; id -g; pwd; echo err >&2; exit 9"])
    };
    exec(&mut vm, 1, worker, false);
    assert_eq!(ended(&mut vm, 1).0.code, 9);
    assert_eq!(text(&mut vm, Channel::Stdout, 1), "1000\n2000\n/etc\n");
    assert_eq!(text(&mut vm, Channel::Stderr, 1), "err\n");

    exec(&mut vm, 2, process(&["cat"]), true);
    vm.input(2, b"over and ");
    vm.input(2, b"back");
    vm.input(2, b"");
    assert_eq!(ended(&mut vm, 2).0.code, 0);
    assert_eq!(text(&mut vm, Channel::Stdout, 2), "over and back");

    // Three times what may be under way without having been consumed.
    exec(&mut vm, 3, process(&["head", "-c", "800000", "/dev/zero"]), false);
    assert_eq!(ended(&mut vm, 3).0.code, 0);
    assert_eq!(vm.output(Channel::Stdout, 3).len(), 800_000);

    let size = Some(Size { rows: 30, columns: 100 });
    let terminal =
        Process { terminal: true, size, ..process(&["sh", "-c", "stty size; read x; stty size; echo $TERM"]) };
    exec(&mut vm, 4, terminal, true);
    vm.wait_for_output(4, "30 100");
    vm.send(&Command::ExecResize { id: 4, size: Size { rows: 40, columns: 120 } });
    vm.input(4, b"go\n");
    assert_eq!(ended(&mut vm, 4).0.code, 0);
    let shown = text(&mut vm, Channel::Stdout, 4);
    assert!(shown.contains("40 120") && shown.contains("xterm"), "{shown}");

    for (id, program, code) in [(5, "no-such-program", 127), (6, "plain", 126), (7, "no-interpreter", 127)] {
        exec(&mut vm, id, process(&[program]), false);
        let (exit, error) = ended(&mut vm, id);
        assert_eq!(exit.code, code, "{error:?}");
        assert!(error.unwrap().contains(program));
    }

    exec(&mut vm, 8, process(&["sleep", "1000"]), false);
    vm.wait(|event| matches!(event, Event::ExecStarted { id: 8, .. }));
    exec(&mut vm, 8, process(&["true"]), false);
    vm.wait(|event| matches!(event, Event::Refused { message } if message.contains('8')));
    vm.send(&Command::ExecSignal { id: 8, number: 15 });
    assert_eq!(ended(&mut vm, 8).0.signal, Some(15));

    // A process that stays behind with the output open does not keep the exec from ending, and is no zombie later.
    exec(&mut vm, 9, process(&["sh", "-c", "sleep 0.2 & exit 4"]), false);
    assert_eq!(ended(&mut vm, 9).0.code, 4);
    exec(&mut vm, 10, process(&["sh", "-c", "sleep 1; ps -o stat | tail -n +2 | tr -d '\\n'"]), false);
    assert_eq!(ended(&mut vm, 10).0.code, 0);
    let states = text(&mut vm, Channel::Stdout, 10);
    assert!(!states.is_empty() && !states.contains('Z'), "{states}");
}

#[test]
fn stats_processes_freeze_and_ping_are_answered() {
    let prepared = needs_vm!();
    let mut vm = sleeping(&prepared);
    vm.send(&Command::Ping { nonce: 42 });
    assert_eq!(vm.wait(|event| matches!(event, Event::Pong { .. })), Event::Pong { nonce: 42 });

    vm.send(&Command::Stats);
    let Event::Stats(stats) = vm.wait(|event| matches!(event, Event::Stats(_))) else { panic!() };
    assert!((150 << 20..256 << 20).contains(&stats.memory_total), "{stats:?}");
    assert!(stats.cpu_usec > 0 && stats.processes == 1 && stats.block_read > 0, "{stats:?}");
    assert!(stats.root_free > 0 && stats.root_free < stats.root_size, "{stats:?}");

    vm.send(&Command::Processes);
    let Event::Processes { processes } = vm.wait(|event| matches!(event, Event::Processes { .. })) else { panic!() };
    assert_eq!(processes[0].args, ["sleep", "1000"], "{processes:?}");

    vm.send(&Command::Freeze);
    assert_eq!(vm.wait(|event| matches!(event, Event::Frozen { .. })), Event::Frozen { error: None });
    vm.send(&Command::Exec { id: 1, process: process(&["touch", "/written"]), stdin: false });
    vm.wait(|event| matches!(event, Event::ExecStarted { id: 1, .. }));
    vm.send(&Command::Exec { id: 2, process: process(&["sleep", "0.5"]), stdin: false });
    assert_eq!(ended(&mut vm, 2).0.code, 0, "a read-only program runs on a frozen disk, and the writer waits");
    vm.send(&Command::Thaw);
    vm.wait(|event| matches!(event, Event::Thawed));
    assert_eq!(ended(&mut vm, 1).0.code, 0);

    vm.send(&Command::Signal { number: 9 });
    let (exit, events) = vm.finish();
    assert_eq!((exit.code, exit.signal), (137, Some(9)), "{events:?}");
}

#[test]
fn main_process_reads_input_and_its_output_is_whole() {
    let prepared = needs_vm!();
    let mut config = Config::new(process(&["sh", "-c", "cat; seq 1 20000; echo the end"]));
    config.stdin = true;
    let mut vm = Vm::start(&prepared, &config, &[]);
    vm.wait(|event| matches!(event, Event::Started { .. }));
    vm.input(0, b"typed\n");
    vm.input(0, b"");
    let (exit, events) = vm.finish();
    assert_eq!(exit.code, 0, "{events:?}");
    let output = vm.stdout();
    assert!(output.starts_with("typed\n1\n2\n") && output.ends_with("20000\nthe end\n"), "{} bytes", output.len());
    assert_eq!(output.lines().count(), 20_002);
}

#[test]
fn host_that_connects_again_learns_what_runs_and_commands_it() {
    let prepared = needs_vm!();
    let mut vm = sleeping(&prepared);
    for id in 1..=3 {
        // Half a frame is of the connection before.
        vm.input(0, b"x");
        vm.half_a_frame();
        vm.reconnect();
        // The first one may become the rest of the half frame.
        vm.send(&Command::Hello);
        std::thread::sleep(std::time::Duration::from_secs(2));
        vm.send(&Command::Hello);
        let greeting = vm.wait(|event| matches!(event, Event::Boot { .. }));
        assert!(matches!(greeting, Event::Boot { started: Some(_), .. }), "{greeting:?}");
        exec(&mut vm, id, process(&["echo", "again"]), false);
        assert_eq!(ended(&mut vm, id).0.code, 0);
        assert_eq!(text(&mut vm, Channel::Stdout, id), "again\n");
    }
    vm.send(&Command::Stop { signal: Some(9), grace_ms: None });
    assert_eq!(vm.finish().0.signal, Some(9));
}
