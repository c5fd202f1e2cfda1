//! A full journal, a full disk, and the memory of a supervisor.

use std::process::Command;

use rdev_runner::frame::{CutReason, Ended};

use crate::support::{PROGRAM, Sandbox, cuts, exit, frames, stdout, tagged};

#[test]
fn output_over_the_limit_is_announced_to_the_byte() {
    let sandbox = Sandbox::new();
    let frames = sandbox.sh("j", "--journal-max 10000", "seq 1 200000; exit 5");
    assert_eq!(exit(&frames).ended, Ended::Exited(5));
    let kept = stdout(&frames);
    let whole: String = (1..=200_000).map(|n| format!("{n}\n")).collect();
    assert!(whole.starts_with(&kept) && (9_990..=10_000).contains(&kept.len()), "{} bytes", kept.len());
    let cuts = cuts(&frames);
    assert!(cuts.iter().all(|cut| cut.0 == CutReason::SizeLimit));
    assert_eq!(cuts.iter().map(|cut| cut.2).sum::<u64>(), (whole.len() - kept.len()) as u64);
    let missing: u32 = cuts.iter().map(|cut| cut.1).sum();
    assert_eq!(missing as usize, 200_000 - kept.lines().count());
    let rest = sandbox.attach("j", 150_000);
    assert_eq!(rest[0].first_seq, 150_001);
    assert_eq!(exit(&rest).ended, Ended::Exited(5));
}

#[test]
fn missing_output_is_announced_while_the_command_runs() {
    let sandbox = Sandbox::new();
    let script = "echo kept; echo missing; sleep 1.5; echo missing too; sleep 1.5";
    let frames = sandbox.sh("w", "--journal-max 8", script);
    assert_eq!(stdout(&frames), "kept\n");
    let expected = [(CutReason::SizeLimit, 1, 8), (CutReason::SizeLimit, 1, 12)];
    assert_eq!(cuts(&frames), expected);
}

#[test]
fn a_full_disk_stops_no_command_and_hides_no_exit() {
    let script = "seq 1 1000000; echo end; exit 4";
    let frames = on_small_disk(script);
    assert_eq!(exit(&frames).ended, Ended::Exited(4));
    let cuts = cuts(&frames);
    assert!(!cuts.is_empty() && cuts.iter().all(|cut| cut.0 == CutReason::DiskFull), "{cuts:?}");
    let kept = stdout(&frames);
    let missing: u64 = cuts.iter().map(|cut| cut.2).sum();
    assert_eq!(kept.len() as u64 + missing, 6_888_896 + 4);
    assert_eq!(frames.last().unwrap().first_seq, 1_000_002);
}

#[test]
fn output_goes_on_when_the_disk_has_room_again() {
    let script =
        "dd if=/dev/zero of=ballast bs=64k 2>/dev/null; seq 1 300000; rm ballast; sleep 2.5; echo end";
    let frames = on_small_disk(script);
    assert_eq!(exit(&frames).ended, Ended::Exited(0));
    assert!(!cuts(&frames).is_empty());
    assert!(stdout(&frames).ends_with("end\n"));
    assert_eq!(frames.last().unwrap().first_seq, 300_002);
}

/// Runs a script on a file system of 1 MiB, visible to the script and its supervisor only.
fn on_small_disk(script: &str) -> Vec<rdev_runner::frame::Frame> {
    let sandbox = Sandbox::new();
    let mount = "mount -t tmpfs -o size=1m tmpfs . && cd \"$PWD\" && exec \"$0\" run --runs runs --id d -- sh -c \"$1\"";
    let output = Command::new("unshare")
        .args(["--mount", "--user", "--map-root-user", "sh", "-c", mount, PROGRAM, script])
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    frames(&output.stdout)
}

#[test]
fn memory_does_not_grow_with_the_output() {
    let sandbox = Sandbox::new();
    let script = "head -c 134217728 /dev/zero; seq 1 15000000; echo; echo finished; exec sleep 1000";
    let mut live = sandbox.live("m", "--env TAG_MEMORY=1", script);
    let mut tail = Vec::new();
    while !tail.ends_with(b"finished\n") {
        if let rdev_runner::frame::Body::Output { bytes, .. } = live.next().unwrap().body {
            tail = bytes.to_vec();
        }
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", sandbox.supervisor("m"))).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u32 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 5 * 1024, "{peak} KiB");
    sandbox.call("cancel --id m");
    exit(&live.rest());
    assert!(tagged("TAG_MEMORY=1").is_empty());
}
