//! A supervisor killed at any point starts its command at most once, whatever happens to the run's
//! folder.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use rdev_runner::spec::{Mode, RunRequest, Spec};

use crate::support::{PROGRAM, Sandbox};

/// System calls that make a run durable and its command a process; some exist under several names.
const STEPS: [&str; 9] =
    ["openat", "mkdir", "rename", "renameat", "renameat2", "fsync", "vfork", "clone", "clone3"];

#[test]
fn killed_before_any_step_a_command_is_started_once_at_most() {
    let mut kills = 0;
    for step in STEPS {
        for nth in 1.. {
            let sandbox = Sandbox::new();
            if !supervise_until(&sandbox, step, nth).success() {
                kills += 1;
                started_again(&sandbox, false, &format!("{step} {nth}"));
                // The same point, with the folder removed before the next request.
                let sandbox = Sandbox::new();
                supervise_until(&sandbox, step, nth);
                started_again(&sandbox, true, &format!("{step} {nth}, folder gone"));
            } else {
                assert_eq!(effects(&sandbox), "ran\n");
                break;
            }
        }
    }
    assert!(kills > 10, "{kills} kills");
}

/// Runs the real supervisor with a request, killed before the `nth` call of a step.
fn supervise_until(sandbox: &Sandbox, step: &str, nth: u32) -> ExitStatus {
    let mut child = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", &format!("trace={step}")])
        .args(["-e", &format!("inject={step}:signal=KILL:when={nth}"), PROGRAM, "supervise", "--runs"])
        .arg(sandbox.runs())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("strace is installed");
    // The supervisor may die before it reads.
    child.stdin.take().unwrap().write_all(&request(sandbox).encode()).ok();
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{step} {nth}: {status}");
    status
}

/// Repeats the request, and once more without the folder.
fn started_again(sandbox: &Sandbox, folder_goes: bool, when: &str) {
    for folder_goes in [folder_goes, true] {
        if folder_goes {
            fs::remove_dir_all(sandbox.run_folder("once")).ok();
        }
        let mut child = sandbox
            .command("run --request-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&request(sandbox).encode()).unwrap();
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 67)), "{when}: {code:?}");
        // Processes of a lost run end: no effect follows.
        assert!(effects(sandbox).len() <= "ran\n".len(), "{when}");
    }
}

fn request(sandbox: &Sandbox) -> RunRequest {
    let mut spec = Spec::new(vec!["sh".to_owned(), "-c".to_owned(), "echo ran >>effects".to_owned()]);
    spec.cwd = sandbox.path().to_string_lossy().into_owned();
    RunRequest { id: "once".to_owned(), after: 0, mode: Mode::Start, identity: String::new(), spec }
}

fn effects(sandbox: &Sandbox) -> String {
    fs::read_to_string(sandbox.path().join("effects")).unwrap_or_default()
}
