//! No process of a command outlives its exit entry.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::Command;

use rdev_runner::frame::{Ended, StopCause};

use crate::support::{PROGRAM, Sandbox, exit, frames, stdout, tagged};

/// A user without a name, whose process limit counts no other processes.
const NOBODY: u32 = 64_123;

#[test]
fn a_grandchild_that_holds_the_output_gets_a_second_and_is_stopped() {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("g", "--env TAG_HOLDS=1", "(echo late; exec sleep 1000) & echo main");
    let exit = exit(&frames);
    assert_eq!((exit.ended, exit.cause, exit.leftovers), (Ended::Exited(0), StopCause::None, 1));
    assert!(stdout(&frames).contains("late\n"));
    assert!(exit.duration_us < 900_000, "the command's own time: {exit:?}");
    let time = frames.last().unwrap().time_us - frames[1].time_us;
    assert!((900_000..3_000_000).contains(&time), "{time} µs");
    assert!(tagged("TAG_HOLDS=1").is_empty());
}

#[test]
fn output_of_a_grandchild_that_ends_in_time_is_kept() {
    let sandbox = Sandbox::new();
    // It ends right after the command: a busy machine has the whole second for it.
    let frames = sandbox.sh("o", "", "(while kill -0 $$; do sleep 0.01; done 2>&-; echo late) & echo main");
    assert_eq!(stdout(&frames), "main\nlate\n");
    assert_eq!(exit(&frames).leftovers, 0);
}

#[test]
fn a_process_that_left_session_group_and_parent_is_stopped_too() {
    let sandbox = Sandbox::new();
    let script = "
        setsid sh -c 'sleep 1000 & sleep 1001' >/dev/null 2>&1 &
        (setsid sh -c '(sleep 1002 &)' >/dev/null 2>&1 &)
        sleep 0.2";
    let frames = sandbox.sh("d", "--env TAG_ESCAPES=1", script);
    assert_eq!(exit(&frames).leftovers, 4);
    assert!(tagged("TAG_ESCAPES=1").is_empty());
}

#[test]
fn leftovers_that_ignore_sigterm_are_killed() {
    let sandbox = Sandbox::new();
    let script = "setsid sh -c 'trap \"\" TERM; while :; do sleep 0.01; done' >/dev/null 2>&1 & sleep 0.1";
    let frames = sandbox.sh("i", "--grace 0.3 --env TAG_STUBBORN=1", script);
    assert!(exit(&frames).leftovers >= 1);
    assert!(tagged("TAG_STUBBORN=1").is_empty());
}

#[test]
fn zombies_do_not_count_and_do_not_stay() {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("z", "", "for i in 1 2 3 4 5; do (true &); done; sleep 0.1");
    assert_eq!(exit(&frames).leftovers, 0);
}

#[test]
fn a_fork_bomb_in_one_group_is_gone_in_time() {
    bomb("bomb() { bomb | bomb & }; while :; do bomb; done", "TAG_GROUP_BOMB=1");
}

#[test]
fn a_fork_bomb_of_sessions_is_gone_in_time() {
    bomb("setsid sh \"$0\" & setsid sh \"$0\" & sleep 1000", "TAG_SESSION_BOMB=1");
}

/// Runs a script that multiplies up to a process limit, and measures the time to its end. The limit does
/// not bind root, so then another user runs it.
fn bomb(script: &str, tag: &str) {
    let sandbox = Sandbox::new();
    std::fs::set_permissions(sandbox.path(), PermissionsExt::from_mode(0o777)).unwrap();
    let file = sandbox.path().join("bomb");
    std::fs::write(&file, script).unwrap();
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let (mut command, limit) = if is_root {
        let user = NOBODY + u32::from(tag.contains("SESSION"));
        let mut command = Command::new("setpriv");
        command.args(["--clear-groups", &format!("--reuid={user}"), &format!("--regid={user}"), PROGRAM]);
        (command, 150)
    } else {
        let others = std::fs::read_dir("/proc").unwrap().count();
        (Command::new(PROGRAM), 4 * others + 150)
    };
    command.args(["run", "--id", "bomb", "--timeout", "1", "--grace", "0.5", "--env", tag, "--runs"]);
    let limited = format!("prlimit --nproc={limit} bash \"$0\" 2>/dev/null & exec sleep 1000");
    let output = command.arg(sandbox.runs()).args(["--", "sh", "-c", &limited]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(tagged(tag).is_empty());
    let frames = frames(&output.stdout);
    assert_eq!(exit(&frames).cause, StopCause::Timeout);
    let whole = frames.last().unwrap().time_us - frames[0].time_us;
    assert!(whole < 2_600_000, "gone only after {whole} µs");
}
