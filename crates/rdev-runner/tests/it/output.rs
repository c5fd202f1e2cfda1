//! Output arrives whole, in order and in lines.

use rdev_runner::frame::{Body, End, LINE_BYTES_MAX, Stream};

use crate::support::{Sandbox, bytes, exit, stderr, stdout};

/// Returns length and end of each output frame.
fn pieces(frames: &[rdev_runner::frame::Frame]) -> Vec<(usize, End)> {
    let piece = |frame: &rdev_runner::frame::Frame| match &frame.body {
        Body::Output { bytes, end, .. } => Some((bytes.len(), *end)),
        _ => None,
    };
    frames.iter().filter_map(piece).collect()
}

#[test]
fn numbered_lines_arrive_whole_and_every_line_has_its_number() {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("n", "", "seq 1 200000");
    let expected: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(stdout(&frames) == expected, "the lines differ");
    assert_eq!(frames.last().unwrap().first_seq, 200_001);
    for frame in &frames {
        if let Body::Output { bytes, end, .. } = &frame.body {
            assert_eq!(*end, End::Newline);
            assert_eq!(bytes.iter().filter(|b| **b == b'\n').count(), frame.count as usize);
        }
    }
}

#[test]
fn both_streams_share_one_sequence() {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("b", "", "for i in 1 2 3 4 5; do echo o$i; echo e$i >&2; done");
    assert_eq!(stdout(&frames), "o1\no2\no3\no4\no5\n");
    assert_eq!(stderr(&frames), "e1\ne2\ne3\ne4\ne5\n");
    assert_eq!(frames.last().unwrap().first_seq, 11);
}

#[test]
fn lines_around_the_longest_length() {
    let sandbox = Sandbox::new();
    for (length, expected) in [
        (65_535, vec![(65_536, End::Newline)]),
        (65_536, vec![(65_537, End::Newline)]),
        (65_537, vec![(65_536, End::Partial), (2, End::Newline)]),
    ] {
        let script = format!("head -c {length} /dev/zero; echo");
        let frames = sandbox.sh(&format!("l{length}"), "", &script);
        assert_eq!(pieces(&frames), expected);
    }
}

#[test]
fn a_piece_ends_between_two_characters() {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("u", "", "printf x; yes € | head -n 30000 | tr -d '\\n'");
    let text = stdout(&frames);
    assert_eq!(text.chars().count(), 30_001);
    assert_eq!(pieces(&frames)[0], (65_536, End::Partial));
    let frames = sandbox.sh("v", "", "printf xy; yes € | head -n 30000 | tr -d '\\n'");
    assert_eq!(pieces(&frames)[0], (65_534, End::Partial));
}

#[test]
fn sixty_four_mebibytes_without_a_newline() {
    without_newline(64 << 20);
}

/// `cargo test -p rdev-runner --test it -- --ignored one_gibibyte`
#[test]
#[ignore = "takes a gibibyte of disk"]
fn one_gibibyte_without_a_newline() {
    without_newline(1 << 30);
}

fn without_newline(length: usize) {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("w", "", &format!("head -c {length} /dev/zero"));
    let pieces = pieces(&frames);
    assert_eq!(pieces.iter().map(|piece| piece.0).sum::<usize>(), length);
    assert!(pieces.iter().all(|piece| piece.0 <= LINE_BYTES_MAX));
    let (last, before) = pieces.split_last().unwrap();
    assert_eq!(last.1, End::Eof);
    assert!(before.iter().all(|piece| piece.1 == End::Partial));
}

#[test]
fn any_bytes_pass() {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("i", "", r"printf '\377\376\n\000\n\303'; printf '\200' >&2");
    assert_eq!(bytes(&frames, Stream::Stdout), b"\xFF\xFE\n\0\n\xC3");
    assert_eq!(bytes(&frames, Stream::Stderr), b"\x80");
    assert_eq!(frames.last().unwrap().first_seq, 5);
}

#[test]
fn no_output_and_no_last_newline() {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("e", "", ":");
    assert_eq!(frames.len(), 2);
    assert_eq!(frames[1].first_seq, 1);
    let frames = sandbox.sh("f", "", "printf 'a\\nb'");
    assert_eq!(pieces(&frames).last(), Some(&(1, End::Eof)));
    assert_eq!(stdout(&frames), "a\nb");
}

#[test]
fn a_command_may_close_its_outputs_and_go_on() {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("c", "", "echo before; exec >&- 2>&-; sleep 0.3; exit 7");
    assert_eq!(stdout(&frames), "before\n");
    assert_eq!(exit(&frames).ended, rdev_runner::frame::Ended::Exited(7));
    assert!(exit(&frames).duration_us >= 300_000);
}

#[test]
fn a_line_is_seen_as_soon_as_it_is_written() {
    let sandbox = Sandbox::new();
    let mut live = sandbox.live("live", "", "echo first; sleep 1000");
    live.until("first\n");
    assert_eq!(sandbox.call("cancel --id live").stdout, b"cancelling\n");
    exit(&live.rest());
}

#[test]
fn a_prompt_that_waits_is_shown_before_its_answer() {
    let sandbox = Sandbox::new();
    let go = sandbox.path().join("go");
    let script = format!("printf 'Name? '; until [ -e {} ]; do sleep 0.02; done; echo you", go.display());
    let mut live = sandbox.live("ask", "", &script);
    // The prompt arrives although its line has no end.
    live.until("Name? ");
    std::fs::write(go, "").unwrap();
    live.rest();
    assert_eq!(stdout(&sandbox.attach("ask", 0)), "Name? you\n");
    assert_eq!(stdout(&sandbox.attach("ask", 1)), "you\n");
}

#[test]
fn a_progress_bar_that_never_rests_is_shown() {
    let sandbox = Sandbox::new();
    let script = "i=0; while :; do i=$((i + 1)); printf '%s%%\\r' $i; sleep 0.1; done";
    let mut live = sandbox.live("bar", "", script);
    live.until("1%\r");
    sandbox.call("cancel --id bar");
    live.rest();
}
