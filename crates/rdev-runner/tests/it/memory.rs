//! Memory of a container whose kernel ends everything in it at once. The control group is a folder of files that say what
//! a test wants: one in which the kernel does that is not to be had everywhere.

use std::fs;
use std::process::Command;

use rdev_runner::frame::{Body, Ended, Loss, StopCause};
use tempfile::TempDir;

use crate::support::{Live, Place, exit, signal, wait_until};

const MIB: u64 = 1 << 20;
/// Memory that the container of the tests may have.
const MAX: u64 = 1024 * MIB;
/// Takes memory, says so, and keeps it.
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
        // At once: half of a number is another number.
        let new = self.0.path().join("new");
        fs::write(&new, stat).unwrap();
        fs::rename(new, self.0.path().join("memory.stat")).unwrap();
    }

    fn within(&self, mut command: Command, guard: &str) -> Command {
        command.env("RDEV_CGROUP_DIR", self.0.path()).env("RDEV_MEMORY_GUARD", guard);
        command
    }

    /// One command that takes memory, and one that does not.
    fn two(&self, place: &Place, guard: &str) -> [Live; 2] {
        let mut small =
            Live::new(self.within(place.start("small", "", "echo up; read line; exec sleep 1000"), guard));
        small.until("up\n");
        let mut large = Live::new(self.within(place.start("large", "", EATER), guard));
        while !matches!(&large.next().unwrap().body, Body::Output { bytes, .. } if bytes == "up\n") {}
        [small, large]
    }
}

fn kept(place: &Place, id: &str) -> u64 {
    let text = fs::read_to_string(place.run_folder(id).join("memory")).unwrap_or_default();
    text.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).unwrap_or_default()
}

#[test]
fn the_command_that_eats_the_memory_is_ended_alone_before_all_are() {
    let (place, group) = (Place::new(), Group::new(true));
    let [mut small, mut large] = group.two(&place, "");
    group.hold(MAX - 10 * MIB);
    let ended = std::thread::scope(|scope| {
        // As soon as it is gone its memory is free.
        scope.spawn(|| {
            wait_until("the end of the eater", || {
                crate::support::tagged("RDEV_RUN_ID=large\0").iter().all(|pid| !of(&place, *pid))
            });
            group.hold(0);
        });
        exit(&large.rest())
    });
    assert_eq!((ended.ended, ended.cause), (Ended::OomKilled(137), StopCause::None));
    place.call("cancel --id small");
    assert_eq!(exit(&small.rest()).cause, StopCause::Cancelled, "it was left alone");
}

/// The process is of this test.
fn of(place: &Place, pid: i32) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    memchr::memmem::find(&environment, place.runs().to_str().unwrap().as_bytes()).is_some()
}

#[test]
fn there_is_no_watch_where_the_kernel_ends_one_process_or_nobody_wants_it() {
    for (kills_all, guard) in [(false, ""), (true, "off")] {
        let (place, group) = (Place::new(), Group::new(kills_all));
        group.hold(MAX);
        let mut command = group.within(place.start("large", "", "echo up; sleep 2"), guard);
        let output = command.output().unwrap();
        assert_eq!(exit(&crate::support::frames(&output.stdout)).ended, Ended::Exited(0), "{guard:?}");
        assert!(!place.run_folder("large").join("memory").exists());
    }
}

#[test]
fn of_those_that_went_with_their_container_the_one_with_most_memory_is_told_apart() {
    let (place, group) = (Place::new(), Group::new(true));
    let [mut small, mut large] = group.two(&place, "on");
    group.hold(MAX / 4 * 3);
    wait_until("its memory is kept", || kept(&place, "large") > 50 * MIB && kept(&place, "small") > 0);
    assert!(kept(&place, "small") < 50 * MIB);
    // Both at once, as the kernel does.
    for id in ["small", "large"] {
        signal(place.supervisor(id), "STOP");
    }
    for id in ["small", "large"] {
        signal(place.supervisor(id), "KILL");
    }
    assert_eq!(large.rest().last().unwrap().body, Body::Lost(Loss::Supervisor));
    assert_eq!(small.rest().last().unwrap().body, Body::Lost(Loss::Beside));
    assert!(place.call("gc --id large").status.success());
    let again = place.call("attach --id small --after 1");
    assert_eq!(crate::support::frames(&again.stdout).last().unwrap().body, Body::Lost(Loss::Beside));
}

#[test]
fn a_place_tells_what_its_kernel_does() {
    for kills_all in [false, true] {
        let (place, group) = (Place::new(), Group::new(kills_all));
        let output = group.within(place.command("identity --within pod-1"), "").output().unwrap();
        let line = String::from_utf8(output.stdout).unwrap();
        assert!(line.trim_end().ends_with(&format!(" oom-group={}", u8::from(kills_all))), "{line}");
    }
}
