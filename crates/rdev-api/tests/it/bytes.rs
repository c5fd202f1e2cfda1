//! Output that is no UTF-8 text, or ends without a newline.

use rdev_client::types::{CompleteEvent, Event, OutputEvent, Status};

use crate::support::{Item, Runtime, Server, on_every_runtime};

on_every_runtime! {
    output_without_a_newline_comes_in_pieces_and_holds_no_memory,
    a_line_of_64_kib_is_one_piece_and_one_byte_more_is_two,
    invalid_utf_8_is_replaced_in_events_and_kept_in_the_output,
    nul_and_control_bytes_arrive,
    an_empty_output_is_only_complete,
    a_last_line_without_newline_arrives,
    a_command_may_close_its_output_and_go_on,
    a_grandchild_that_holds_the_pipe_does_not_hold_the_end,
    standard_input_is_empty,
    a_flood_of_processes_under_a_limit_ends_with_its_command,
}

const PIECE_MAX: usize = 64 * 1024;
const GROWTH_MAX: u64 = 32 * 1024 * 1024;

/// Runs a line: every output event of it, and its end.
async fn lines_of(server: &Server, command: &str) -> (Vec<OutputEvent>, CompleteEvent, String) {
    let client = server.client();
    let accepted = client.shell(command).await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    let mut lines = Vec::new();
    loop {
        match events.event().await.event {
            Event::Output(line) | Event::Error(line) => lines.push(line),
            Event::Complete(complete) => return (lines, complete, accepted.id),
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

fn texts(lines: &[OutputEvent]) -> Vec<&str> {
    lines.iter().map(|line| line.line.as_str()).collect()
}

async fn output_without_a_newline_comes_in_pieces_and_holds_no_memory(on: Runtime) {
    without_newline(on, 32 * 1024 * 1024).await;
}

#[tokio::test]
#[ignore = "full size: takes minutes, and 4 GiB of disk"]
async fn a_gibibyte_without_a_newline_comes_in_pieces_and_holds_no_memory() {
    without_newline(Runtime::Local, 1024 * 1024 * 1024).await;
}

async fn without_newline(on: Runtime, bytes: usize) {
    let server = on.server().await;
    let client = server.client();
    client.run("seq 1000").await;
    let memory = server.memory();
    let accepted = client.shell(&format!("head -c {bytes} /dev/zero | tr '\\0' x")).await;
    let mut events = client.follow(&accepted.stream_id, None).await;
    let (mut total, mut next, mut last_was_partial) = (0, 1, true);
    let complete = loop {
        match events.event().await.event {
            Event::Output(line) => {
                assert!(last_was_partial, "a piece that was not partial was the last");
                assert_eq!(line.seq, next);
                assert!(line.line.len() <= PIECE_MAX, "a piece of {} bytes", line.line.len());
                assert!(line.line.bytes().all(|byte| byte == b'x'));
                (total, next, last_was_partial) = (total + line.line.len(), next + 1, line.partial);
            }
            Event::Complete(complete) => break complete,
            Event::Status(_) | Event::Heartbeat(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(!last_was_partial, "the last piece says that it is the last");
    assert_eq!((total, complete.seq), (bytes, next));
    assert_eq!(complete.status, Status::Completed);

    let (_, mut body) = client.get(&format!("/projects/demo/commands/{}/output", accepted.id)).open().await;
    let mut total = 0;
    while let Some(piece) = body.next().await {
        total += piece.expect("the output comes whole").len();
    }
    assert_eq!(total, bytes);
    assert!(memory.grown() < GROWTH_MAX, "grew by {} bytes", memory.grown());
}

async fn a_line_of_64_kib_is_one_piece_and_one_byte_more_is_two(on: Runtime) {
    let server = on.server().await;
    for (bytes, partial) in [(65_536, vec![false]), (65_537, vec![true, false])] {
        let (lines, _, _) = lines_of(&server, &format!("head -c {bytes} /dev/zero | tr '\\0' y; echo")).await;
        assert_eq!(lines.iter().map(|line| line.partial).collect::<Vec<_>>(), partial);
        assert_eq!(lines.iter().map(|line| line.line.len()).sum::<usize>(), bytes);
    }
}

async fn invalid_utf_8_is_replaced_in_events_and_kept_in_the_output(on: Runtime) {
    let server = on.server().await;
    let (lines, _, id) = lines_of(&server, "printf 'a\\377b\\303(\\n\\360\\237\\246\\200\\n'").await;
    assert_eq!(texts(&lines), ["a\u{FFFD}b\u{FFFD}(", "🦀"]);
    assert_eq!(server.client().output(&id).await, &b"a\xFFb\xC3(\n\xF0\x9F\xA6\x80\n"[..]);
}

async fn nul_and_control_bytes_arrive(on: Runtime) {
    let server = on.server().await;
    let written = "printf 'a\\000b\\r\\n\\033[1m\"\\\\\\177\\n\\001\\002\\n'";
    let (lines, _, id) = lines_of(&server, written).await;
    assert_eq!(texts(&lines), ["a\0b\r", "\u{1b}[1m\"\\\u{7f}", "\u{1}\u{2}"]);
    assert_eq!(server.client().output(&id).await, &b"a\0b\r\n\x1b[1m\"\\\x7f\n\x01\x02\n"[..]);
}

async fn an_empty_output_is_only_complete(on: Runtime) {
    let server = on.server().await;
    let (lines, complete, id) = lines_of(&server, "true").await;
    assert!(lines.is_empty());
    assert_eq!((complete.seq, complete.status), (1, Status::Completed));
    assert!(server.client().output(&id).await.is_empty());
}

async fn a_last_line_without_newline_arrives(on: Runtime) {
    let server = on.server().await;
    let (lines, complete, id) = lines_of(&server, "printf 'one\\ntwo'").await;
    assert_eq!(texts(&lines), ["one", "two"]);
    assert!(lines.iter().all(|line| !line.partial));
    assert_eq!(complete.seq, 3);
    assert_eq!(server.client().output(&id).await, "one\ntwo");
}

async fn a_command_may_close_its_output_and_go_on(on: Runtime) {
    let server = on.server().await;
    let command = "echo before; exec >&- 2>&-; sleep 0.5; echo done > later; exit 4";
    let (lines, complete, _) = lines_of(&server, command).await;
    assert_eq!(texts(&lines), ["before"]);
    assert_eq!(complete.exit_code, Some(4));
    assert!(complete.duration_ms >= 500, "its end is that of the process: {} ms", complete.duration_ms);
    assert_eq!(server.file("later").await.as_deref(), Some("done\n"));
}

async fn a_grandchild_that_holds_the_pipe_does_not_hold_the_end(on: Runtime) {
    let server = on.server().await;
    let command = "sleep 300 & echo $! > grandchild; echo said; exit 5";
    let (lines, complete, _) = lines_of(&server, command).await;
    assert_eq!(texts(&lines), ["said"]);
    assert_eq!((complete.status, complete.exit_code), (Status::Failed, Some(5)));
    assert!(!server.lives("grandchild").await, "what a command leaves behind ends with it");
}

async fn standard_input_is_empty(on: Runtime) {
    let server = on.server().await;
    let (lines, complete, _) = lines_of(&server, "cat; echo over").await;
    assert_eq!((texts(&lines), complete.exit_code), (vec!["over"], Some(0)));
}

async fn a_flood_of_processes_under_a_limit_ends_with_its_command(on: Runtime) {
    let server = on.server().await;
    let client = server.client();
    // A limit for root counts nothing, so the bomb has a size of its own.
    let bomb = "bomb() { [ $1 -gt 0 ] && { bomb $(($1 - 1)) & bomb $(($1 - 1)) & }; sleep 300; }
        echo $$ > bomb; bomb 5 & echo lit; wait";
    let accepted = client.shell_for(2, bomb).await;
    let items = client.connection(&accepted.stream_id, None).await.rest().await;
    let Some(Item::Event(event)) = items.last() else { panic!("{items:?}") };
    let Event::Complete(complete) = &event.event else { panic!("{event:?}") };
    assert_eq!(complete.status, Status::TimedOut);
    assert!(!server.lives("bomb").await);
    server.nothing_left().await;
}
