//! Repeated attachment, after any cut, from any number on.

use std::io::Read;
use std::process::Stdio;

use rdev_runner::frame::{Body, Decoder, Frame, Loss};

use crate::support::{Live, Sandbox, exit, frames, signal, started, stdout, wait_until, working};

#[test]
fn after_every_number_exactly_the_rest_comes() {
    let sandbox = Sandbox::new();
    let whole = sandbox.sh("a", "", "seq 1 40; sleep 0.05; echo e >&2; sleep 0.05; seq 41 60; printf end");
    let last = whole.last().unwrap().last_seq();
    assert_eq!(last, 63);
    for after in 0..=last {
        let rest = sandbox.attach("a", after);
        assert!(!started(&rest));
        assert_eq!(rest[0].first_seq, after + 1);
        let expected = events(&whole).split_off(after as usize);
        assert_eq!(events(&rest), expected, "after {after}");
    }
}

/// Returns one entry for each event.
fn events(frames: &[Frame]) -> Vec<String> {
    let mut events = Vec::new();
    for frame in frames {
        match &frame.body {
            Body::Output { stream, bytes, .. } => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                events.extend(text.split_inclusive('\n').map(|line| format!("{stream:?} {line}")));
            }
            Body::Exit(exit) => events.push(format!("{exit:?}")),
            _ => {}
        }
    }
    events
}

#[test]
fn a_listener_that_is_killed_again_and_again_misses_nothing() {
    let sandbox = Sandbox::new();
    let script =
        "i=0; while [ $i -lt 40 ]; do seq $((i*5000+1)) $((i*5000+5000)); i=$((i+1)); sleep 0.005; done";
    let mut first = sandbox.live("k", "", script);
    first.until("1\n");
    drop(first);
    let (mut after, mut out, mut random) = (0, Vec::new(), 7_u64);
    let mut rounds = 0;
    loop {
        rounds += 1;
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let budget = (random >> 33) % 120_000;
        let mut listener = sandbox.command(&format!("attach --id k --after {after}"));
        let mut listener = listener.stdout(Stdio::piped()).spawn().unwrap();
        let mut raw = Vec::new();
        let stdout = listener.stdout.take().unwrap();
        stdout.take(budget).read_to_end(&mut raw).unwrap();
        listener.kill().unwrap();
        listener.wait().unwrap();
        let mut decoder = Decoder::default();
        decoder.push(&raw);
        while let Some((frame, _)) = decoder.next_frame().unwrap() {
            assert_eq!(frame.first_seq, after + 1);
            after += u64::from(frame.count);
            out.push(frame);
        }
        if matches!(out.last().map(|frame| &frame.body), Some(Body::Exit(_))) {
            break;
        }
    }
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(stdout(&out) == expected, "the lines differ after {rounds} attachments");
}

#[test]
fn many_listeners_each_receive_everything() {
    let sandbox = Sandbox::new();
    let mut first = sandbox.live("m", "", "echo ready; sleep 0.5; seq 1 50000");
    first.until("ready\n");
    // More than the supervisor accepts: those that it drops connect again.
    let listeners: Vec<_> =
        (0..80).map(|_| sandbox.command("attach --id m").stdout(Stdio::piped()).spawn().unwrap()).collect();
    let expected: String =
        std::iter::once("ready\n".to_owned()).chain((1..=50_000).map(|n| format!("{n}\n"))).collect();
    for listener in listeners {
        let output = listener.wait_with_output().unwrap();
        assert!(stdout(&frames(&output.stdout)) == expected);
    }
}

#[test]
fn a_run_without_listeners_goes_on() {
    let sandbox = Sandbox::new();
    let mut live = sandbox.live("p", "", "echo one; sleep 0.2; seq 1 100000; echo two");
    live.until("one\n");
    drop(live);
    let mut late = sandbox.command("attach --id p");
    let mut late = late.stdout(Stdio::piped()).spawn().unwrap();
    drop(late.stdout.take());
    assert!(late.wait().unwrap().success());
    assert!(stdout(&sandbox.attach("p", 0)).ends_with("two\n"));
}

#[test]
fn a_silent_run_drops_a_listener_without_a_reader() {
    let sandbox = Sandbox::new();
    let mut live = sandbox.live("q", "", "echo one; sleep 1000");
    live.until("one\n");
    let mut late = sandbox.command("attach --id q --after 1");
    let mut late = late.stdout(Stdio::piped()).spawn().unwrap();
    let mut hello = [0; 34];
    let mut pipe = late.stdout.take().unwrap();
    pipe.read_exact(&mut hello).unwrap();
    drop(pipe);
    assert!(late.wait().unwrap().success());
}

#[test]
fn a_killed_supervisor_is_reported_and_its_command_does_not_start_again() {
    let sandbox = Sandbox::new();
    let marker = sandbox.path().join("marker");
    let duration = std::process::id().to_string();
    let script = format!(
        "(setsid sleep {duration} &); env -i setsid sleep {duration} & echo $$ >> {}; echo $$; sleep {duration}",
        marker.display()
    );
    let mut live = sandbox.live("s", "", &script);
    let seen = live.until("\n");
    let command: i32 = stdout(&seen).trim().parse().unwrap();
    wait_until("all three at work", || working(&duration).len() == 3);
    signal(sandbox.supervisor("s"), "KILL");
    let rest = live.rest();
    assert_eq!(rest.last().unwrap().body, Body::Lost(Loss::Supervisor));
    assert_eq!(rest.last().unwrap().first_seq, 2);
    assert_eq!(live.child.wait().unwrap().code(), Some(67));
    assert_eq!(working(&duration), Vec::<i32>::new(), "processes of a lost run go on");

    let again = sandbox.start("s", "", &script).output().unwrap();
    assert_eq!(again.status.code(), Some(67));
    let frames = frames(&again.stdout);
    assert!(!started(&frames));
    assert_eq!(frames.last().unwrap().body, Body::Lost(Loss::Supervisor));
    assert_eq!(std::fs::read_to_string(marker).unwrap().lines().count(), 1);
    assert_eq!(sandbox.call("cancel --id s").status.code(), Some(67));
    let text = sandbox.call("attach --id s --text");
    assert_eq!(text.status.code(), Some(67));
    assert_eq!(text.stdout, format!("{command}\n").as_bytes());
    let list = String::from_utf8(sandbox.call("list").stdout).unwrap();
    assert!(list.contains("s\tlost\t"), "{list}");
}

#[test]
fn a_hidden_run_has_ended_when_its_loss_is_reported() {
    let sandbox = Sandbox::new();
    for (id, hide) in
        [("u", "rm -r \"$RDEV_RUNS_DIR/$RDEV_RUN_ID\""), ("v", "rm \"$RDEV_RUNS_DIR/$RDEV_RUN_ID/socket\"")]
    {
        let duration = format!("{}{}", std::process::id(), if id == "u" { ".1" } else { ".2" });
        let go = sandbox.path().join(format!("go-{id}"));
        let wait = format!("until [ -e {} ]; do sleep 0.01; done", go.display());
        let script =
            format!("env -i setsid sleep {duration} & {wait}; {hide}; echo hidden; sleep {duration}");
        let mut live = sandbox.live(id, "", &script);
        wait_until("a connection", || live.is_connected());
        std::fs::write(go, "").unwrap();
        live.until("hidden\n");
        // Only new connections cannot find the run.
        drop(live);
        wait_until("both at work", || working(&duration).len() == 2);
        let again = sandbox.start(id, "", "echo never").output().unwrap();
        assert_eq!(again.status.code(), Some(67), "{id}");
        assert_eq!(frames(&again.stdout).pop().unwrap().body, Body::Lost(Loss::Supervisor), "{id}");
        assert_eq!(working(&duration), Vec::<i32>::new(), "{id}");
        assert_eq!(sandbox.call(&format!("cancel --id {id}")).status.code(), Some(67));
    }
}

#[test]
fn a_torn_frame_at_the_end_of_a_lost_run_is_not_delivered() {
    let sandbox = Sandbox::new();
    let mut live = sandbox.live("t", "", "echo one; exec sleep 1000");
    let seen = live.until("one\n");
    signal(sandbox.supervisor("t"), "KILL");
    live.rest();
    let journal = sandbox.run_folder("t").join("journal");
    let whole = std::fs::read(&journal).unwrap();
    let mut next = Vec::new();
    let second = Frame { first_seq: 2, ..seen[1].clone() };
    second.encode(&mut next);
    for (torn, loss) in [
        (&next[..1], Loss::Supervisor),
        (&next[..20], Loss::Supervisor),
        (&next[..33], Loss::Supervisor),
        (&[0; 100], Loss::Journal),
        (&[0xFF; 100], Loss::Journal),
    ] {
        std::fs::write(&journal, [&whole[..], torn].concat()).unwrap();
        let output = sandbox.call("attach --id t");
        assert_eq!(output.status.code(), Some(67));
        let frames = frames(&output.stdout);
        assert_eq!((frames.len(), &frames.last().unwrap().body), (seen.len() + 1, &Body::Lost(loss)));
    }
}

#[test]
fn text_is_plain_output_and_the_commands_own_code() {
    let sandbox = Sandbox::new();
    let output = sandbox.start("x", "--text", "echo out; echo err >&2; exit 7").output().unwrap();
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(sandbox.call("attach --id x --text").status.code(), Some(7));
    let killed = sandbox.start("y", "--text", "kill -9 $$").output().unwrap();
    assert_eq!(killed.status.code(), Some(137));
    let late = sandbox.start("z", "--text --timeout 0.1", "sleep 1000").output().unwrap();
    assert_eq!(late.status.code(), Some(124));
}

#[test]
fn a_silent_run_sends_keep_alive_frames() {
    let sandbox = Sandbox::new();
    let mut live = sandbox.live("ka", "", "echo one; sleep 1000");
    live.until("one\n");
    let frame = live.next().unwrap();
    assert_eq!((frame.body, frame.first_seq, frame.count), (Body::KeepAlive, 2, 0));
}

#[test]
fn an_ended_run_delivers_its_end_to_a_new_listener() {
    let sandbox = Sandbox::new();
    sandbox.sh("o", "", "echo one");
    wait_until("the supervisor is gone", || !sandbox.run_folder("o").join("socket").exists());
    let mut live = Live::new(sandbox.command("attach --id o"));
    exit(&live.rest());
}
