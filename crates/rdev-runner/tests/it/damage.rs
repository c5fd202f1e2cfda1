//! Journals damaged on the disk: damage is reported, and nothing else is missing.

use std::fs;
use std::os::unix::fs::FileExt;

use rdev_runner::frame::{Body, CutReason, Ended, Frame, HEADER_BYTES, Loss, Stream, frame_bytes};

use crate::support::{Live, Sandbox, bytes, cuts, exit, frames, stdout};

/// Four frames: a line each, and the end.
const SCRIPT: &str = "for line in one two three; do echo $line; sleep 0.05; done; exit 3";

/// Returns the offsets of the frames in a journal, and the end of the last one.
fn bounds(journal: &[u8]) -> Vec<usize> {
    let mut bounds = vec![0];
    while let Some(total) = frame_bytes(&journal[*bounds.last().unwrap()..]).unwrap() {
        bounds.push(bounds.last().unwrap() + total);
    }
    bounds
}

fn listen(sandbox: &Sandbox, id: &str, after: u64) -> (Option<i32>, Vec<Frame>) {
    let output = sandbox.call(&format!("attach --id {id} --after {after}"));
    (output.status.code(), frames(&output.stdout))
}

#[test]
fn a_damaged_byte_costs_its_frame_only() {
    let sandbox = Sandbox::new();
    sandbox.sh("d", "", SCRIPT);
    let file = sandbox.run_folder("d").join("journal");
    let whole = fs::read(&file).unwrap();
    let bounds = bounds(&whole);
    assert_eq!(bounds.len(), 5);
    for at in 0..bounds[3] {
        let damaged_frame = bounds.iter().rposition(|&start| start <= at).unwrap();
        let damaged_seq = damaged_frame as u64 + 1;
        let mut journal = whole.clone();
        journal[at] ^= 0x55;
        fs::write(&file, &journal).unwrap();
        for after in [0, damaged_seq - 1, damaged_seq] {
            let (code, heard) = listen(&sandbox, "d", after);
            let lines = ["one\n", "two\n", "three\n"].iter().enumerate();
            let expected: String = lines
                .filter(|&(n, _)| n as u64 >= after && n != damaged_frame)
                .map(|(_, line)| *line)
                .collect();
            assert_eq!((code, stdout(&heard)), (Some(0), expected), "byte {at} after {after}");
            let size = (bounds[damaged_frame + 1] - bounds[damaged_frame]) as u64;
            let cut = (after < damaged_seq).then_some((CutReason::Damaged, 1, size));
            assert_eq!(cuts(&heard), Vec::from_iter(cut), "byte {at} after {after}");
            assert_eq!(exit(&heard).ended, Ended::Exited(3));
        }
    }
    // The end of a command with a damaged exit entry is unknown, and no listener waits for it.
    for at in bounds[3]..bounds[4] {
        let mut journal = whole.clone();
        journal[at] ^= 0x55;
        fs::write(&file, &journal).unwrap();
        let (code, heard) = listen(&sandbox, "d", 1);
        assert_eq!((code, stdout(&heard).as_str()), (Some(67), "two\nthree\n"), "byte {at}");
        assert_eq!(heard.last().unwrap().body, Body::Lost(Loss::Journal), "byte {at}");
        assert_eq!(heard.last().unwrap().first_seq, 4);
    }
}

#[test]
fn frames_that_are_gone_together_are_one_cut() {
    let sandbox = Sandbox::new();
    sandbox.sh("z", "", SCRIPT);
    let file = sandbox.run_folder("z").join("journal");
    let mut journal = fs::read(&file).unwrap();
    let bounds = bounds(&journal);
    journal[bounds[0] + 3..bounds[2]].fill(0);
    fs::write(&file, &journal).unwrap();
    let (code, heard) = listen(&sandbox, "z", 0);
    assert_eq!((code, stdout(&heard).as_str()), (Some(0), "three\n"));
    assert_eq!(cuts(&heard), [(CutReason::Damaged, 2, bounds[2] as u64)]);
    // A listener that already has a part of the cut.
    let (_, heard) = listen(&sandbox, "z", 1);
    assert_eq!(cuts(&heard), [(CutReason::Damaged, 1, bounds[2] as u64)]);
    assert!(String::from_utf8(sandbox.call("list").stdout).unwrap().contains("z\texited\t"));
}

#[test]
fn a_journal_that_was_printed_is_not_taken_for_the_journal() {
    let sandbox = Sandbox::new();
    sandbox.sh("inner", "", "sleep 0.05; for line in a b c d e; do echo $line; sleep 0.05; done");
    let printed = sandbox.run_folder("inner").join("journal");
    let script = format!("echo before; sleep 0.05; cat {}; sleep 0.05; echo after", printed.display());
    sandbox.sh("outer", "", &script);
    let file = sandbox.run_folder("outer").join("journal");
    let mut journal = fs::read(&file).unwrap();
    let second = bounds(&journal)[1] + HEADER_BYTES;
    journal[second] ^= 0x55;
    fs::write(&file, &journal).unwrap();
    let (code, heard) = listen(&sandbox, "outer", 0);
    assert_eq!(code, Some(0));
    let said = bytes(&heard, Stream::Stdout);
    assert!(said.starts_with(b"before\n") && said.ends_with(b"after\n"), "{heard:?}");
    assert_eq!(cuts(&heard).len(), 1);
    assert_eq!(exit(&heard).ended, Ended::Exited(0));
}

#[test]
fn damage_in_a_growing_journal_is_reported_once_a_frame_follows() {
    let sandbox = Sandbox::new();
    let script = "echo one; sleep 0.05; echo two; until [ -e go ]; do sleep 0.02; done; echo three";
    let mut live = sandbox.live("g", &format!("--cwd {}", sandbox.path().display()), script);
    live.until("two\n");
    drop(live);
    let file = sandbox.run_folder("g").join("journal");
    let mut journal = fs::read(&file).unwrap();
    let last = journal.len() - 1;
    journal[last] ^= 0x55;
    // Written in place: the supervisor continues in the same file.
    let open = fs::OpenOptions::new().write(true).open(&file).unwrap();
    open.write_all_at(&journal[last..], last as u64).unwrap();
    let mut live = Live::new(sandbox.command("attach --id g"));
    let mut heard = live.until("one\n");
    fs::write(sandbox.path().join("go"), "").unwrap();
    heard.extend(live.rest());
    assert_eq!(stdout(&heard), "one\nthree\n");
    assert_eq!(cuts(&heard).iter().map(|cut| (cut.0, cut.1)).collect::<Vec<_>>(), [(CutReason::Damaged, 1)]);
    assert_eq!(exit(&heard).ended, Ended::Exited(0));
}
