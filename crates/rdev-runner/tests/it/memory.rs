//! Memory of a container whose kernel kills all processes at once. The control group is a folder of files
//! with the values of a test: a real group of that kind is not available everywhere.

use std::fs;
use std::process::Command;

use rdev_runner::frame::{Body, Ended, Loss, StopCause};
use tempfile::TempDir;

use crate::support::{Live, Sandbox, exit, signal, wait_until};

const MIB: u64 = 1 << 20;
/// Memory limit of the test's container.
const MAX: u64 = 1024 * MIB;
/// Allocates memory, reports it, and keeps it.
const EATER: &str = "{ head -c 100000000 /dev/zero; echo up >&2; sleep 1000; } | tail -n 1";

/// A control group as a command finds it.
struct Group(TempDir);

impl Group {
    fn new(kills_all: bool) -> Self {
        let group = Self(tempfile::tempdir().unwrap());
        fs::write(group.0.path().join("memory.max"), format!("{MAX}\n")).unwrap();
        fs::write(group.0.path().join("memory.oom.group"), format!("{}\n", u8::from(kills_all))).unwrap();
        group.hold(0);
        group
    }

    fn hold(&self, bytes: u64) {
        let stat = format!("anon {bytes}\nfile {MAX}\nslab_reclaimable {MAX}\nshmem 0\n");
        // Atomically: half of a number is another number.
        let new = self.0.path().join("new");
        fs::write(&new, stat).unwrap();
        fs::rename(new, self.0.path().join("memory.stat")).unwrap();
    }

    fn within(&self, mut command: Command, guard: &str) -> Command {
        command.env("RDEV_CGROUP_DIR", self.0.path()).env("RDEV_MEMORY_GUARD", guard);
        command
    }

    /// Starts one command that allocates memory, and one that does not.
    fn two(&self, sandbox: &Sandbox, guard: &str) -> [Live; 2] {
        let mut small =
            Live::new(self.within(sandbox.start("small", "", "echo up; read line; exec sleep 1000"), guard));
        small.until("up\n");
        let mut large = Live::new(self.within(sandbox.start("large", "", EATER), guard));
        while !matches!(&large.next().unwrap().body, Body::Output { bytes, .. } if bytes == "up\n") {}
        [small, large]
    }
}

fn kept(sandbox: &Sandbox, id: &str) -> u64 {
    let text = fs::read_to_string(sandbox.run_folder(id).join("memory")).unwrap_or_default();
    text.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

#[test]
fn the_largest_command_is_ended_before_the_kernel_kills_all() {
    let (sandbox, group) = (Sandbox::new(), Group::new(true));
    let [mut small, mut large] = group.two(&sandbox, "");
    group.hold(MAX - 10 * MIB);
    let ended = std::thread::scope(|scope| {
        // Once the process has ended its memory is free.
        scope.spawn(|| {
            wait_until("the end of the eater", || {
                crate::support::tagged("RDEV_RUN_ID=large\0").iter().all(|pid| !of(&sandbox, *pid))
            });
            group.hold(0);
        });
        exit(&large.rest())
    });
    assert_eq!((ended.ended, ended.cause), (Ended::OomKilled(137), StopCause::None));
    sandbox.call("cancel --id small");
    assert_eq!(exit(&small.rest()).cause, StopCause::Cancelled, "the guard spared it");
}

/// Tells whether the process belongs to this test.
fn of(sandbox: &Sandbox, pid: i32) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    memchr::memmem::find(&environment, sandbox.runs().to_str().unwrap().as_bytes()).is_some()
}

#[test]
fn no_guard_runs_where_the_kernel_kills_one_process_or_it_is_off() {
    for (kills_all, guard) in [(false, ""), (true, "off")] {
        let (sandbox, group) = (Sandbox::new(), Group::new(kills_all));
        group.hold(MAX);
        let mut command = group.within(sandbox.start("large", "", "echo up; sleep 2"), guard);
        let output = command.output().unwrap();
        assert_eq!(exit(&crate::support::frames(&output.stdout)).ended, Ended::Exited(0), "{guard:?}");
        assert!(!sandbox.run_folder("large").join("memory").exists());
    }
}

#[test]
fn the_largest_of_the_runs_lost_with_a_container_is_named() {
    let (sandbox, group) = (Sandbox::new(), Group::new(true));
    let [mut small, mut large] = group.two(&sandbox, "on");
    group.hold(MAX / 4 * 3);
    wait_until("its memory is kept", || kept(&sandbox, "large") > 50 * MIB && kept(&sandbox, "small") > 0);
    assert!(kept(&sandbox, "small") < 50 * MIB);
    // Both at once, as the kernel does.
    for id in ["small", "large"] {
        signal(sandbox.supervisor(id), "STOP");
    }
    for id in ["small", "large"] {
        signal(sandbox.supervisor(id), "KILL");
    }
    assert_eq!(large.rest().last().unwrap().body, Body::Lost(Loss::Supervisor));
    assert_eq!(small.rest().last().unwrap().body, Body::Lost(Loss::Beside));
    assert!(sandbox.call("gc --id large").status.success());
    let again = sandbox.call("attach --id small --after 1");
    assert_eq!(crate::support::frames(&again.stdout).last().unwrap().body, Body::Lost(Loss::Beside));
}

#[test]
fn identity_reports_the_kernels_handling_of_a_lack_of_memory() {
    for kills_all in [false, true] {
        let (sandbox, group) = (Sandbox::new(), Group::new(kills_all));
        let output = group.within(sandbox.command("identity --within pod-1"), "").output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(line.trim_end().ends_with(&format!(" oom-group={}", u8::from(kills_all))), "{line}");
    }
}
