//! Starts: once for each id, as the specification says.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use rdev_runner::frame::{Ended, StopCause};
use rdev_runner::spec::{Mode, RunRequest, Spec};

use crate::support::{PROGRAM, Sandbox, bytes, exit, frames, started, stderr, stdout, wait_until};

#[test]
fn one_of_twenty_starters_of_an_id_wins_and_all_receive_everything() {
    let sandbox = Sandbox::new();
    let script = "echo started >> marker; seq 1 20000; echo $RANDOM_NUMBER";
    let starters: Vec<_> = (0..20)
        .map(|n| {
            let mut starter = sandbox.start("same", &format!("--env RANDOM_NUMBER={n}"), script);
            starter.current_dir(sandbox.path()).stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let heard: Vec<_> =
        starters.into_iter().map(|starter| frames(&starter.wait_with_output().unwrap().stdout)).collect();
    assert_eq!(heard.iter().filter(|frames| started(frames)).count(), 1);
    assert!(heard.iter().all(|frames| frames[1..] == heard[0][1..] || stdout(frames) == stdout(&heard[0])));
    assert_eq!(std::fs::read_to_string(sandbox.path().join("marker")).unwrap(), "started\n");
    // A supervisor that was not needed removes its scratch folder after its starter has gone.
    wait_until("scratch folders are gone", || {
        let names = std::fs::read_dir(sandbox.runs()).unwrap().map(|e| e.unwrap().file_name());
        let names: std::collections::BTreeSet<_> = names.collect();
        names.iter().eq([".same.started", "same"])
    });
}

#[test]
fn an_id_that_is_known_attaches_and_ignores_the_command() {
    let sandbox = Sandbox::new();
    let first = sandbox.sh("once", "", "echo first");
    let second = sandbox.sh("once", "", "echo second");
    assert!(started(&first) && !started(&second));
    assert_eq!(first[1..], second[1..]);
    let third = sandbox.sh("once", "--after 1", "echo third");
    assert_eq!((third.len(), exit(&third).ended), (2, Ended::Exited(0)));
}

#[test]
fn a_request_on_standard_input_needs_no_end_of_input() {
    let sandbox = Sandbox::new();
    let mut spec = Spec::new(vec!["sh".to_owned(), "-c".to_owned(), "cat; echo $WHO; pwd".to_owned()]);
    spec.env = vec![("WHO".to_owned(), "it's me".to_owned())];
    spec.cwd = "/".to_owned();
    spec.stdin = Some(b"input\n".to_vec());
    let (id, mode) = ("ordered".to_owned(), Mode::Start);
    let order = RunRequest { id, after: 0, mode, identity: String::new(), spec };
    for again in [false, true] {
        let mut command = sandbox.command("run --request-stdin");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&order.encode()).unwrap();
        let frames = frames(&child.wait_with_output().unwrap().stdout);
        assert_eq!(stdout(&frames), "input\nit's me\n/\n");
        assert_eq!(started(&frames), !again);
        drop(stdin);
    }
    let nobody = sandbox.command("run --request-stdin").stdin(Stdio::null()).output().unwrap();
    assert!(nobody.status.success() && nobody.stdout.is_empty());
    for (nonsense, items) in [
        ("x\n", "--request-stdin: "),
        ("x y start z\n", "number"),
        ("x 0\n", "request"),
        ("x 0 start p\nRDS?", "request"),
        ("x 0 go p\n", "neither"),
    ] {
        let mut child = sandbox
            .command("run --request-stdin")
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(nonsense.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(64), "{nonsense:?}");
        assert!(String::from_utf8(output.stderr).unwrap().contains(items), "{nonsense:?}");
    }
}

#[test]
fn input_of_a_mebibyte_and_no_input() {
    let sandbox = Sandbox::new();
    let input: Vec<u8> = (0..1 << 20).map(|n: u32| (n % 251) as u8).collect();
    let mut command = sandbox.start("in", "--stdin", "cat");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&input).unwrap();
    drop(stdin);
    let frames = frames(&child.wait_with_output().unwrap().stdout);
    assert!(bytes(&frames, rdev_runner::frame::Stream::Stdout) == input);

    let mut unread = sandbox.start("unread", "--stdin", "exec <&-; echo done");
    let mut child = unread.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&input).unwrap();
    assert_eq!(stdout(&crate::support::frames(&child.wait_with_output().unwrap().stdout)), "done\n");

    let frames = sandbox.sh("none", "", "readlink /proc/self/fd/0; wc -c");
    assert_eq!(stdout(&frames).split_whitespace().collect::<Vec<_>>(), ["/dev/null", "0"]);
}

#[test]
fn environment_working_directory_and_signals_are_as_a_command_expects() {
    let sandbox = Sandbox::new();
    let inner = sandbox.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let script = "pwd; echo $A/$B; grep -E 'Sig(Ign|Blk)' /proc/self/status; ls /proc/self/fd";
    let mut command = sandbox.start("env", "--cwd inner --env A=1 --env B=x=y", script);
    command.current_dir(sandbox.path()).env("A", "overridden");
    let out = stdout(&frames(&command.output().unwrap().stdout));
    let mut lines = out.lines();
    assert_eq!(lines.next(), inner.canonicalize().unwrap().to_str());
    assert_eq!(lines.next(), Some("1/x=y"));
    for line in lines.by_ref().take(2) {
        let set = u64::from_str_radix(line.split_once('\t').unwrap().1, 16).unwrap();
        // The C library reserves two real-time signals.
        assert_eq!(set & !0x1_8000_0000, 0, "{line}");
    }
    let plain = Command::new("sh").args(["-c", ":; ls /proc/self/fd"]).output().unwrap();
    assert_eq!(
        lines.collect::<Vec<_>>(),
        String::from_utf8(plain.stdout).unwrap().lines().collect::<Vec<_>>()
    );
}

#[test]
fn the_end_of_a_command_is_reported_exactly() {
    let sandbox = Sandbox::new();
    for (id, script, ended) in [
        ("zero", "exit 0", Ended::Exited(0)),
        ("seven", "exit 7", Ended::Exited(7)),
        ("most", "exit 255", Ended::Exited(255)),
        ("killed", "kill -KILL $$", Ended::Signaled(9)),
        ("segv", "kill -SEGV $$", Ended::Signaled(11)),
    ] {
        let exit = exit(&sandbox.sh(id, "", script));
        assert_eq!((exit.ended, exit.cause, exit.leftovers), (ended, StopCause::None, 0));
    }
}

#[test]
fn a_command_that_cannot_run_reports_the_reason() {
    let sandbox = Sandbox::new();
    let script = sandbox.path().join("script");
    std::fs::write(&script, "no program").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o644)).unwrap();
    let folder = sandbox.path().to_str().unwrap();
    for (id, options, program, errno, says) in [
        ("a", "", "no-such-program", 2, "cannot run \"no-such-program\": No such file"),
        ("b", "", script.to_str().unwrap(), 13, "Permission denied"),
        ("c", "", folder, 13, "Permission denied"),
        ("d", "--cwd /no/such/folder", "true", 2, "in \"/no/such/folder\": No such file"),
    ] {
        let mut command = sandbox.command(&format!("run --id {id} {options}"));
        let frames = frames(&command.args(["--", program]).output().unwrap().stdout);
        assert_eq!(exit(&frames).ended, Ended::SpawnFailed(errno), "{program}");
        let text = stderr(&frames);
        assert!(text.starts_with("rdev-runner: cannot run ") && text.contains(says), "{text}");
        assert!(text.ends_with('\n'));
    }
}

#[test]
fn a_run_that_a_full_disk_has_no_room_for_has_started_nothing() {
    let sandbox = Sandbox::new();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", PROGRAM]);
    command.args(["run", "--id", "x", "--", "touch", "effect"]);
    let output = command.env("RDEV_RUNS_DIR", sandbox.runs()).current_dir(sandbox.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(73), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot create"), "{output:?}");
    assert!(!sandbox.path().join("effect").exists() && !sandbox.run_folder("x").exists());
}

#[test]
fn a_long_path_and_a_folder_that_is_not_there_yet() {
    let mut sandbox = Sandbox::new();
    let deep = sandbox.path().join("d".repeat(100)).join("e".repeat(100));
    sandbox.command("list");
    let mut command = sandbox.command("run --id long");
    command.env("RDEV_RUNS_DIR", &deep).args(["--", "echo", "far"]);
    assert_eq!(stdout(&frames(&command.output().unwrap().stdout)), "far\n");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&deep.join("long")), 0o700);
    assert_eq!(mode(&deep.join("long/journal")), 0o600);
    sandbox = Sandbox::new();
    std::fs::write(sandbox.runs(), "a file").unwrap();
    let output = sandbox.start("x", "", "echo never").output().unwrap();
    assert_eq!(output.status.code(), Some(73), "nothing was started");
    assert!(!output.stderr.is_empty() && output.stdout.is_empty());
}
