//! Stops of a command: by timeout, by request, with a signal first.

use rdev_runner::frame::{Body, Ended, StopCause, Stream};

use crate::support::{Sandbox, bytes, exit, signal, stdout, tagged};

#[test]
fn a_command_whose_time_is_up_is_terminated() {
    let sandbox = Sandbox::new();
    let exit = exit(&sandbox.sh("t", "--timeout 0.2", "sleep 1000"));
    assert_eq!((exit.ended, exit.cause), (Ended::Signaled(15), StopCause::Timeout));
    assert!((200_000..2_000_000).contains(&exit.duration_us), "{exit:?}");
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_after_the_grace_time() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    let frames = sandbox.sh("k", "--timeout 0.2 --grace 0.3 --env TAG_IGNORES_TERM=1", script);
    let exit = exit(&frames);
    assert_eq!((exit.ended, exit.cause), (Ended::Signaled(9), StopCause::Timeout));
    assert!((500_000..1_500_000).contains(&exit.duration_us), "{exit:?}");
    assert!(tagged("TAG_IGNORES_TERM=1").is_empty());
}

#[test]
fn a_command_that_ends_on_sigterm_keeps_its_code_and_last_words() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.01; done";
    let frames = sandbox.sh("p", "--timeout 0.2", script);
    assert_eq!(stdout(&frames), "ready\nbye\n");
    assert_eq!((exit(&frames).ended, exit(&frames).cause), (Ended::Exited(3), StopCause::Timeout));
}

#[test]
fn cancelling_can_be_repeated_and_the_first_cause_stays() {
    let sandbox = Sandbox::new();
    let script = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    let mut live = sandbox.live("c", "--grace 0.5 --timeout 0.6", script);
    live.until("ready\n");
    for _ in 0..2 {
        let output = sandbox.call("cancel --id c");
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"cancelling\n"[..]));
    }
    let rest = live.rest();
    assert_eq!((exit(&rest).ended, exit(&rest).cause), (Ended::Signaled(9), StopCause::Cancelled));
    for _ in 0..2 {
        let output = sandbox.call("cancel --id c");
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"finished\n"[..]));
    }
    let unknown = sandbox.call("cancel --id unknown");
    assert_eq!(unknown.status.code(), Some(66));
}

#[test]
fn sigterm_to_the_supervisor_is_a_cancel() {
    let sandbox = Sandbox::new();
    let mut live = sandbox.live("s", "", "echo ready; sleep 1000");
    live.until("ready\n");
    for harmless in ["HUP", "INT", "PIPE"] {
        signal(sandbox.supervisor("s"), harmless);
    }
    signal(sandbox.supervisor("s"), "TERM");
    let rest = live.rest();
    assert_eq!((exit(&rest).ended, exit(&rest).cause), (Ended::Signaled(15), StopCause::Cancelled));
}

#[test]
fn an_interrupt_goes_to_the_command_alone_and_first() {
    let sandbox = Sandbox::new();
    let script = "
        trap 'echo int' INT; trap 'echo term' TERM
        setsid sh -c 'trap \"echo child int\" INT; trap \"echo child term; exit\" TERM
            echo child ready; while :; do sleep 0.01; done' &
        while :; do sleep 0.01; done";
    let mut live = sandbox.live("i", "--interrupt --grace 1", script);
    live.until("child ready\n");
    sandbox.call("cancel --id i");
    let rest = live.rest();
    let out = stdout(&rest);
    assert!(out.starts_with("int\n"), "{out}");
    assert!(out.contains("child term\n") && !out.contains("child int"), "{out}");
    assert!(out.lines().any(|line| line == "term"), "{out}");
    let at = |text: &[u8]| {
        let frame = rest.iter().find(|frame| match &frame.body {
            Body::Output { bytes, .. } => memchr::memmem::find(bytes, text).is_some(),
            _ => false,
        });
        frame.unwrap().time_us
    };
    let (int, term) = (at(b"int\n"), at(b"child term\n"));
    assert!((400_000..900_000).contains(&(term - int)), "{} µs", term - int);
    assert_eq!((exit(&rest).ended, exit(&rest).cause), (Ended::Signaled(9), StopCause::Cancelled));
}

#[test]
fn what_an_interrupted_command_leaves_behind_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let script =
        "trap 'echo bye; exit 0' INT; sleep 1000 >/dev/null 2>&1 & echo ready; while :; do sleep 0.01; done";
    let mut live = sandbox.live("j", "--interrupt --grace 20 --env TAG_LEFT_BEHIND=1", script);
    live.until("ready\n");
    let start = std::time::Instant::now();
    sandbox.call("cancel --id j");
    let rest = live.rest();
    assert!(start.elapsed().as_secs() < 5);
    assert_eq!(bytes(&rest, Stream::Stdout), b"bye\n");
    assert_eq!((exit(&rest).ended, exit(&rest).cause), (Ended::Exited(0), StopCause::Cancelled));
    assert!(tagged("TAG_LEFT_BEHIND=1").is_empty());
}

#[test]
fn a_stopped_command_still_hears_sigterm() {
    let sandbox = Sandbox::new();
    let script = "trap 'echo bye; exit 0' TERM; echo ready; kill -STOP $$; sleep 1000";
    let frames = sandbox.sh("z", "--timeout 0.3 --grace 5", script);
    assert_eq!(stdout(&frames), "ready\nbye\n");
}
