//! Drain of the folder of runs.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Sandbox, wait_until};

/// A wait so long that no test reaches its end.
const LONG: u32 = 1_000;

fn draining(sandbox: &Sandbox, wait: u32) -> Child {
    sandbox.command(&format!("drain --wait {wait}")).stdout(Stdio::piped()).spawn().unwrap()
}

/// Asserts that drain goes on: no event reports that, so it gets the time of several checks.
fn still_waits(drain: &mut Child) {
    std::thread::sleep(Duration::from_millis(1200));
    assert!(drain.try_wait().unwrap().is_none(), "drain has not waited");
}

#[test]
fn drain_waits_for_the_end_and_the_collection_of_every_run() {
    let sandbox = Sandbox::new();
    sandbox.sh("before", "", "echo one");
    assert!(sandbox.call("gc --id before").status.success());
    let mut live = sandbox.live("works", "", "echo up; read line");
    live.until("up\n");
    let mut long = sandbox.live("long", "", "echo up; exec sleep 1000");
    long.until("up\n");
    let mut drain = draining(&sandbox, LONG);
    sandbox.call("cancel --id long");
    long.rest();
    live.rest();
    // Both have ended, and their output is not collected.
    still_waits(&mut drain);
    assert!(sandbox.call("gc --id long").status.success());
    still_waits(&mut drain);
    assert!(sandbox.call("gc --id works").status.success());
    let output = drain.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn drain_does_not_wait_for_ever_for_a_collector() {
    let sandbox = Sandbox::new();
    sandbox.sh("over", "", "echo one");
    let output = draining(&sandbox, 0).wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"over: ended, and not collected\n");
    assert!(draining(&Sandbox::new(), LONG).wait().unwrap().success(), "a missing folder");
}

#[test]
fn runs_of_a_runner_of_another_version_are_waited_for_as_well() {
    let sandbox = Sandbox::new();
    let run = sandbox.run_folder("other");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("journal"), "in another format").unwrap();
    let mut drain = draining(&sandbox, LONG);
    still_waits(&mut drain);
    fs::write(run.join("collected"), "").unwrap();
    wait_until("its end", || drain.try_wait().unwrap().is_some());
    assert!(drain.wait().unwrap().success());
}
