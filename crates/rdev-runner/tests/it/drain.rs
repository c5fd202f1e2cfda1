//! Waiting until nobody needs the folder of runs any more.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use crate::support::{Place, wait_until};

/// So long that nothing here waits for its end.
const LONG: u32 = 1_000;

fn draining(place: &Place, wait: u32) -> Child {
    place.command(&format!("drain --wait {wait}")).stdout(Stdio::piped()).spawn().unwrap()
}

/// That it does not end is told by no event: it has time for more than one look.
fn still_waits(drain: &mut Child) {
    std::thread::sleep(Duration::from_millis(1200));
    assert!(drain.try_wait().unwrap().is_none(), "it has not waited");
}

#[test]
fn it_waits_for_what_runs_and_until_its_output_was_collected() {
    let place = Place::new();
    place.sh("before", "", "echo one");
    assert!(place.call("gc --id before").status.success());
    let mut live = place.live("works", "", "echo up; read line");
    live.until("up\n");
    let mut long = place.live("long", "", "echo up; exec sleep 1000");
    long.until("up\n");
    let mut drain = draining(&place, LONG);
    place.call("cancel --id long");
    long.rest();
    live.rest();
    // Both are over, and nobody has what they wrote.
    still_waits(&mut drain);
    assert!(place.call("gc --id long").status.success());
    still_waits(&mut drain);
    assert!(place.call("gc --id works").status.success());
    let output = drain.wait_with_output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
}

#[test]
fn it_does_not_wait_for_ever_for_somebody_who_collects() {
    let place = Place::new();
    place.sh("over", "", "echo one");
    let output = draining(&place, 0).wait_with_output().unwrap();
    assert!(output.status.success());
    assert_eq!(output.stdout, b"over: over, and not collected\n");
    assert!(draining(&Place::new(), LONG).wait().unwrap().success(), "a folder that is not there");
}

#[test]
fn runs_of_a_runner_of_another_version_are_waited_for_as_well() {
    let place = Place::new();
    let run = place.run_folder("other");
    fs::create_dir_all(&run).unwrap();
    fs::write(run.join("journal"), "in another format").unwrap();
    let mut drain = draining(&place, LONG);
    still_waits(&mut drain);
    fs::write(run.join("collected"), "").unwrap();
    wait_until("its end", || drain.try_wait().unwrap().is_some());
    assert!(drain.wait().unwrap().success());
}
