//! Garbage collection that keeps the end of every run.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rdev_runner::frame::{Body, Ended, Loss};
use rdev_runner::spec::{Mode, RunRequest, Spec};

use crate::support::{Sandbox, exit, frames, signal, stdout};

fn says(sandbox: &Sandbox, args: &str) -> String {
    let output = sandbox.call(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_finished_run_keeps_its_exit_entry_and_its_id() {
    let sandbox = Sandbox::new();
    let before = sandbox.sh("g", "", "seq 1 10000; exit 9");
    assert!(says(&sandbox, "gc --id g").contains("g: "));
    assert!(fs::metadata(sandbox.run_folder("g").join("journal")).unwrap().len() < 100);
    for after in [0, 5_000, 10_000] {
        let output = sandbox.call(&format!("attach --id g --after {after}"));
        let mut decoder = rdev_runner::frame::Decoder::default();
        decoder.push(&output.stdout);
        let hello = decoder.next_frame().unwrap().unwrap().0;
        assert_eq!(hello.first_seq, after + 1);
        assert_eq!(&decoder.next_frame().unwrap().unwrap().0, before.last().unwrap());
    }
    let again = sandbox.start("g", "--text", "echo never").output().unwrap();
    assert_eq!((again.status.code(), again.stdout.len()), (Some(9), 0));
    says(&sandbox, "gc --id g");
    assert!(says(&sandbox, "list").contains("g\texited\t"));
}

#[test]
fn a_running_run_is_kept() {
    let sandbox = Sandbox::new();
    let mut live = sandbox.live("r", "", "echo one; sleep 1000");
    live.until("one\n");
    assert_eq!(says(&sandbox, "gc --id r"), "r: still running, kept\n");
    assert_eq!(says(&sandbox, "gc --older-than 0"), "");
    let list = says(&sandbox, "list");
    assert!(list.contains("r\trunning\t") && list.contains("\t2\t-\n"), "{list}");
    sandbox.call("cancel --id r");
    assert_eq!(exit(&live.rest()).ended, Ended::Signaled(15));
    assert_eq!(stdout(&sandbox.attach("r", 0)), "one\n");
    assert!(says(&sandbox, "list").ends_with("\t3\tcancelled\n"));
}

#[test]
fn an_unread_run_stays_however_old_it_is() {
    let sandbox = Sandbox::new();
    sandbox.sh("unread", "", "echo one");
    assert_eq!(says(&sandbox, "gc --older-than 0"), "");
    assert_eq!(stdout(&sandbox.attach("unread", 0)), "one\n");
}

#[test]
fn a_request_that_may_only_attach_reports_a_missing_run_as_lost() {
    let sandbox = Sandbox::new();
    let mut spec = Spec::new(vec!["sh".to_owned(), "-c".to_owned(), "echo ran >>effects".to_owned()]);
    spec.cwd = sandbox.path().to_string_lossy().into_owned();
    let run = |mode| {
        let order =
            RunRequest { id: "once".to_owned(), after: 0, mode, identity: String::new(), spec: spec.clone() };
        let mut child = sandbox
            .command("run --request-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&order.encode()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), frames(&output.stdout))
    };
    let (code, of_never) = run(Mode::Attach);
    assert_eq!((code, &of_never.last().unwrap().body), (Some(67), &Body::Lost(Loss::Supervisor)));
    assert_eq!(run(Mode::Start).0, Some(0));
    // A command that frees disk space, or a cleaner, may remove the folder.
    fs::remove_dir_all(sandbox.run_folder("once")).unwrap();
    for mode in [Mode::Attach, Mode::Start] {
        let (code, of_gone) = run(mode);
        assert_eq!(
            (code, &of_gone.last().unwrap().body),
            (Some(67), &Body::Lost(Loss::Supervisor)),
            "{mode:?}"
        );
    }
    assert_eq!(fs::read_to_string(sandbox.path().join("effects")).unwrap(), "ran\n");
}

#[test]
fn ended_and_uncollected_runs_have_a_list_of_their_own() {
    let sandbox = Sandbox::new();
    for id in ["a", "b", "c"] {
        sandbox.sh(id, "", "echo one");
    }
    let mut live = sandbox.live("d", "", "echo one; sleep 1000");
    live.until("one\n");
    says(&sandbox, "gc --id b");
    assert_eq!(says(&sandbox, "list --uncollected"), "a\nc\n");
    assert_eq!(says(&sandbox, "list --uncollected --limit 1"), "a\n");
    assert_eq!(says(&sandbox, "list").lines().count(), 1 + 4);
    assert_eq!(sandbox.call("list --limit 1").status.code(), Some(64));
}

#[test]
fn old_runs_go_whole_and_their_ids_stay_taken() {
    let sandbox = Sandbox::new();
    sandbox.sh("old", "", "echo one");
    says(&sandbox, "gc --id old");
    assert_eq!(says(&sandbox, "gc --older-than 3600"), "");
    assert_eq!(says(&sandbox, "gc --older-than 0"), "old: removed\n");
    assert_eq!(sandbox.call("attach --id old").status.code(), Some(66));
    // Another server may have requested the run just before.
    assert_ne!(sandbox.start("old", "", "echo two >effects").output().unwrap().status.code(), Some(0));
    assert!(!sandbox.path().join("effects").exists());
}

#[test]
fn a_lost_run_gives_its_space_back_too() {
    let sandbox = Sandbox::new();
    let mut live = sandbox.live("l", "", "echo one; exec sleep 1000");
    live.until("one\n");
    signal(sandbox.supervisor("l"), "KILL");
    live.rest();
    says(&sandbox, "gc --id l");
    let output = sandbox.call("attach --id l --after 1");
    assert_eq!(output.status.code(), Some(67));
    assert_eq!(crate::support::frames(&output.stdout).last().unwrap().first_seq, 2);
    assert_eq!(says(&sandbox, "gc --older-than 0"), "l: removed\n");
}

#[test]
fn scratch_of_a_killed_starter_is_removed_and_that_of_a_live_one_stays() {
    let sandbox = Sandbox::new();
    let dead = sandbox.runs().join(".half.4194304.1");
    let live = sandbox.runs().join(format!(".half.{}.1", std::process::id()));
    let young = sandbox.runs().join(".young.4194303.1");
    for folder in [&dead, &live, &young] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("journal"), "").unwrap();
    }
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for folder in [&dead, &live] {
        fs::File::open(folder).unwrap().set_modified(long_ago).unwrap();
    }
    says(&sandbox, "gc --older-than 3600");
    assert_eq!((dead.exists(), live.exists(), young.exists()), (false, true, true));
    assert!(!says(&sandbox, "list").contains("half"));
}

#[test]
fn the_mark_of_an_id_with_a_number_is_no_scratch_folder() {
    let sandbox = Sandbox::new();
    sandbox.sh("a.4194304", "", "true");
    fs::remove_dir_all(sandbox.run_folder("a.4194304")).unwrap();
    let mark = sandbox.runs().join(".a.4194304.started");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::open(&mark).unwrap().set_modified(long_ago).unwrap();
    says(&sandbox, "gc --older-than 3600");
    assert!(!mark.exists(), "nobody requests this start any more");
}

#[test]
fn one_unreadable_run_does_not_keep_the_space_of_others() {
    let sandbox = Sandbox::new();
    sandbox.sh("sound", "", "seq 1000");
    fs::create_dir_all(sandbox.run_folder("odd").join("journal")).unwrap();
    let output = sandbox.call("gc --id odd --id sound");
    assert_eq!(output.status.code(), Some(70), "{output:?}");
    assert!(fs::metadata(sandbox.run_folder("sound").join("journal")).unwrap().len() < 100);
}
