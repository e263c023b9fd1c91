//! How guests end.

use hythe_guest::protocol::{Command, Config, Event};

use crate::needs_vm;
use crate::vm::{Vm, process};

/// Says when its trap is set; a signal before that would end it at once.
const TRAPS: &str = "trap 'echo trapped; exit 3' TERM; echo ready; while true; do sleep 0.1; done";
const IGNORES: &str = "trap '' TERM; echo ready; while true; do sleep 0.1; done";

#[test]
fn stop_of_a_process_that_traps_the_signal_is_its_exit_code() {
    let prepared = needs_vm!();
    let mut vm = Vm::start(&prepared, &Config::new(process(&["sh", "-c", TRAPS])), &[]);
    vm.wait_for_stdout("ready");
    vm.send(&Command::Stop { signal: None, grace_ms: None });
    let (exit, events) = vm.finish();
    assert_eq!((exit.code, exit.signal), (3, None), "{events:?}");
    assert!(vm.stdout().ends_with("trapped\n"));
}

#[test]
fn power_button_is_reported_and_stops_the_main_process() {
    let prepared = needs_vm!();
    let mut vm = Vm::start(&prepared, &Config::new(process(&["sh", "-c", TRAPS])), &[]);
    vm.wait_for_stdout("ready");
    vm.press_power_button();
    let (exit, events) = vm.finish();
    assert_eq!(exit.code, 3, "{events:?}");
    assert!(events.contains(&Event::PowerButton), "{events:?}");
}

#[test]
fn stop_of_a_process_that_ignores_the_signal_is_a_kill_after_the_grace() {
    let prepared = needs_vm!();
    let mut vm = Vm::start(&prepared, &Config::new(process(&["sh", "-c", IGNORES])), &[]);
    vm.wait_for_stdout("ready");
    vm.send(&Command::Stop { signal: None, grace_ms: Some(500) });
    let (exit, events) = vm.finish();
    assert_eq!((exit.code, exit.signal), (137, Some(9)), "{events:?}");
}

#[test]
fn program_that_is_missing_or_no_program_is_127_or_126() {
    let prepared = needs_vm!();
    for (program, code) in [("no-such-program", 127), ("plain", 126)] {
        let mut vm = Vm::start(&prepared, &Config::new(process(&[program])), &[]);
        let (exit, events) = vm.finish();
        assert_eq!(exit.code, code, "{events:?}");
        let named = |event: &Event| matches!(event, Event::Error { message } if message.contains(program));
        assert!(events.iter().any(named), "{events:?}");
    }
}

#[test]
fn exhausted_memory_is_counted() {
    let prepared = needs_vm!();
    let mut vm = Vm::start(&prepared, &Config::new(process(&["sh", "-c", "tail /dev/zero"])), &[]);
    let (exit, events) = vm.finish();
    assert_eq!((exit.code, exit.oom_kills), (137, 1), "{events:?}");
}

#[test]
fn configuration_of_another_version_is_refused() {
    let prepared = needs_vm!();
    let mut config = Config::new(process(&["true"]));
    config.version = 99;
    let mut vm = Vm::start(&prepared, &config, &[]);
    let (exit, events) = vm.finish();
    assert_eq!(exit.code, 125);
    let named = |event: &Event| matches!(event, Event::Error { message } if message.contains("version 99"));
    assert!(events.iter().any(named), "{events:?}");
}

#[test]
fn end_of_the_main_process_ends_everything_that_it_started() {
    let prepared = needs_vm!();
    let script = "sleep 1000 & (sleep 1000 > /dev/null 2>&1 &) ; echo the end; exit 5";
    let mut vm = Vm::start(&prepared, &Config::new(process(&["sh", "-c", script])), &[]);
    let (exit, events) = vm.finish();
    assert_eq!(exit.code, 5, "{events:?}");
    assert_eq!(vm.stdout(), "the end\n");
    assert!(vm.age().as_secs() < 60, "it does not wait for what was left running");
}

#[test]
fn poweroff_inside_the_guest_stops_the_main_process() {
    let prepared = needs_vm!();
    let script = format!("(sleep 1; poweroff) & {TRAPS}");
    let mut vm = Vm::start(&prepared, &Config::new(process(&["sh", "-c", &script])), &[]);
    let (exit, events) = vm.finish();
    assert_eq!(exit.code, 3, "{events:?}");
}
