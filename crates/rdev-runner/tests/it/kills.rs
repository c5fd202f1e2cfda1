//! A supervisor that is killed anywhere starts its command once at most, whatever becomes of the run's folder.

use std::fs;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus, Stdio};

use rdev_runner::spec::{Mode, RunRequest, Spec};

use crate::support::{PROGRAM, Place};

/// By these a run becomes durable and its command a process; the kernel has some of them under several names.
const STEPS: [&str; 9] =
    ["openat", "mkdir", "rename", "renameat", "renameat2", "fsync", "vfork", "clone", "clone3"];

#[test]
fn killed_before_any_step_a_command_is_started_once_at_most() {
    let mut kills = 0;
    for step in STEPS {
        for nth in 1.. {
            let place = Place::new();
            if !supervise_until(&place, step, nth).success() {
                kills += 1;
                started_again(&place, false, &format!("{step} {nth}"));
                // The same moment, and a cleaner before anybody asks again.
                let place = Place::new();
                supervise_until(&place, step, nth);
                started_again(&place, true, &format!("{step} {nth}, folder gone"));
            } else {
                assert_eq!(effects(&place), "ran\n");
                break;
            }
        }
    }
    assert!(kills > 10, "{kills} kills");
}

/// The real supervisor with an order, killed when it is about to do a step for the `nth` time.
fn supervise_until(place: &Place, step: &str, nth: u32) -> ExitStatus {
    let mut child = Command::new("strace")
        .args(["-qq", "-o", "/dev/null", "-e", &format!("trace={step}")])
        .args(["-e", &format!("inject={step}:signal=KILL:when={nth}"), PROGRAM, "supervise", "--runs"])
        .arg(place.runs())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("strace is installed");
    // It may be dead before it reads.
    child.stdin.take().unwrap().write_all(&order(place).encode()).ok();
    let status = child.wait().unwrap();
    assert!(status.success() || status.signal() == Some(9), "{step} {nth}: {status}");
    status
}

/// Whoever gave the order gives it again, and then once more without the folder.
fn started_again(place: &Place, folder_goes: bool, when: &str) {
    for folder_goes in [folder_goes, true] {
        if folder_goes {
            fs::remove_dir_all(place.run_folder("once")).ok();
        }
        let mut child =
            place.command("run --request-stdin").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&order(place).encode()).unwrap();
        let code = child.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 67)), "{when}: {code:?}");
        // What is lost does not work on: this is the last of its effects.
        assert!(effects(place).len() <= "ran\n".len(), "{when}");
    }
}

fn order(place: &Place) -> RunRequest {
    let mut spec = Spec::new(vec!["sh".to_owned(), "-c".to_owned(), "echo ran >>effects".to_owned()]);
    spec.cwd = place.path().to_string_lossy().into_owned();
    RunRequest { id: "once".to_owned(), after: 0, mode: Mode::Start, identity: String::new(), spec }
}

fn effects(place: &Place) -> String {
    fs::read_to_string(place.path().join("effects")).unwrap_or_default()
}
