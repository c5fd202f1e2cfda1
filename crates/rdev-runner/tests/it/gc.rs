//! Giving space back without forgetting how a run ended.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use rdev_runner::frame::{Body, Ended, Loss};
use rdev_runner::spec::{Mode, RunRequest, Spec};

use crate::support::{Place, exit, frames, signal, stdout};

fn says(place: &Place, args: &str) -> String {
    let output = place.call(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_finished_run_keeps_its_exit_entry_and_its_id() {
    let place = Place::new();
    let before = place.sh("g", "", "seq 1 10000; exit 9");
    assert!(says(&place, "gc --id g").contains("g: "));
    assert!(fs::metadata(place.run_folder("g").join("journal")).unwrap().len() < 100);
    for after in [0, 5_000, 10_000] {
        let output = place.call(&format!("attach --id g --after {after}"));
        let mut decoder = rdev_runner::frame::Decoder::default();
        decoder.push(&output.stdout);
        let hello = decoder.next_frame().unwrap().unwrap().0;
        assert_eq!(hello.first_seq, after + 1);
        assert_eq!(&decoder.next_frame().unwrap().unwrap().0, before.last().unwrap());
    }
    let again = place.start("g", "--text", "echo never").output().unwrap();
    assert_eq!((again.status.code(), again.stdout.len()), (Some(9), 0));
    says(&place, "gc --id g");
    assert!(says(&place, "list").contains("g\texited\t"));
}

#[test]
fn a_running_one_is_left_alone() {
    let place = Place::new();
    let mut live = place.live("r", "", "echo one; sleep 1000");
    live.until("one\n");
    assert_eq!(says(&place, "gc --id r"), "r: still running, left alone\n");
    assert_eq!(says(&place, "gc --older-than 0"), "");
    let list = says(&place, "list");
    assert!(list.contains("r\trunning\t") && list.contains("\t2\t-\n"), "{list}");
    place.call("cancel --id r");
    assert_eq!(exit(&live.rest()).ended, Ended::Signaled(15));
    assert_eq!(stdout(&place.attach("r", 0)), "one\n");
    assert!(says(&place, "list").ends_with("\t3\tcancelled\n"));
}

#[test]
fn what_nobody_has_read_stays_however_old_it_is() {
    let place = Place::new();
    place.sh("unread", "", "echo one");
    assert_eq!(says(&place, "gc --older-than 0"), "");
    assert_eq!(stdout(&place.attach("unread", 0)), "one\n");
}

#[test]
fn an_order_that_may_only_attach_finds_a_run_that_is_gone_lost() {
    let place = Place::new();
    let mut spec = Spec::new(vec!["sh".to_owned(), "-c".to_owned(), "echo ran >>effects".to_owned()]);
    spec.cwd = place.path().to_string_lossy().into_owned();
    let run = |mode| {
        let order =
            RunRequest { id: "once".to_owned(), after: 0, mode, identity: String::new(), spec: spec.clone() };
        let mut child = place
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
    // A command that frees disk space, or a cleaner, may take the folder.
    fs::remove_dir_all(place.run_folder("once")).unwrap();
    for mode in [Mode::Attach, Mode::Start] {
        let (code, of_gone) = run(mode);
        assert_eq!(
            (code, &of_gone.last().unwrap().body),
            (Some(67), &Body::Lost(Loss::Supervisor)),
            "{mode:?}"
        );
    }
    assert_eq!(fs::read_to_string(place.path().join("effects")).unwrap(), "ran\n");
}

#[test]
fn what_is_over_and_not_collected_is_listed_by_itself() {
    let place = Place::new();
    for id in ["a", "b", "c"] {
        place.sh(id, "", "echo one");
    }
    let mut live = place.live("d", "", "echo one; sleep 1000");
    live.until("one\n");
    says(&place, "gc --id b");
    assert_eq!(says(&place, "list --uncollected"), "a\nc\n");
    assert_eq!(says(&place, "list --uncollected --limit 1"), "a\n");
    assert_eq!(says(&place, "list").lines().count(), 1 + 4);
    assert_eq!(place.call("list --limit 1").status.code(), Some(64));
}

#[test]
fn old_runs_go_whole_and_their_ids_stay_taken() {
    let place = Place::new();
    place.sh("old", "", "echo one");
    says(&place, "gc --id old");
    assert_eq!(says(&place, "gc --older-than 3600"), "");
    assert_eq!(says(&place, "gc --older-than 0"), "old: removed\n");
    assert_eq!(place.call("attach --id old").status.code(), Some(66));
    // Another server may have asked for it just before.
    assert_ne!(place.start("old", "", "echo two >effects").output().unwrap().status.code(), Some(0));
    assert!(!place.path().join("effects").exists());
}

#[test]
fn a_lost_run_gives_its_space_back_too() {
    let place = Place::new();
    let mut live = place.live("l", "", "echo one; exec sleep 1000");
    live.until("one\n");
    signal(place.supervisor("l"), "KILL");
    live.rest();
    says(&place, "gc --id l");
    let output = place.call("attach --id l --after 1");
    assert_eq!(output.status.code(), Some(67));
    assert_eq!(crate::support::frames(&output.stdout).last().unwrap().first_seq, 2);
    assert_eq!(says(&place, "gc --older-than 0"), "l: removed\n");
}

#[test]
fn what_a_killed_starter_left_goes_and_a_live_ones_stays() {
    let place = Place::new();
    let dead = place.runs().join(".half.4194304.1");
    let live = place.runs().join(format!(".half.{}.1", std::process::id()));
    let young = place.runs().join(".young.4194303.1");
    for folder in [&dead, &live, &young] {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("journal"), "").unwrap();
    }
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    for folder in [&dead, &live] {
        fs::File::open(folder).unwrap().set_modified(long_ago).unwrap();
    }
    says(&place, "gc --older-than 3600");
    assert_eq!((dead.exists(), live.exists(), young.exists()), (false, true, true));
    assert!(!says(&place, "list").contains("half"));
}

#[test]
fn the_mark_of_an_id_with_a_number_is_no_scratch_folder() {
    let place = Place::new();
    place.sh("a.4194304", "", "true");
    fs::remove_dir_all(place.run_folder("a.4194304")).unwrap();
    let mark = place.runs().join(".a.4194304.started");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
    fs::File::open(&mark).unwrap().set_modified(long_ago).unwrap();
    says(&place, "gc --older-than 3600");
    assert!(!mark.exists(), "nobody asks for it any more");
}

#[test]
fn one_run_that_cannot_be_read_keeps_nobody_elses_space() {
    let place = Place::new();
    place.sh("sound", "", "seq 1000");
    fs::create_dir_all(place.run_folder("odd").join("journal")).unwrap();
    let output = place.call("gc --id odd --id sound");
    assert_eq!(output.status.code(), Some(70), "{output:?}");
    assert!(fs::metadata(place.run_folder("sound").join("journal")).unwrap().len() < 100);
}
