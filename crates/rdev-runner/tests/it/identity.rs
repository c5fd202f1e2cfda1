//! The identity of the folder of runs.

use std::io::Write;
use std::process::{Output, Stdio};

use rdev_runner::frame::{Body, Loss, PROTOCOL_VERSION};
use rdev_runner::spec::{Mode, RunRequest, Spec};

use crate::support::{Place, exit, frames, signal, stdout};

/// Identity of a folder, and those that it had before.
struct Told {
    identity: String,
    before: Vec<String>,
}

fn told(place: &Place, args: &str) -> Told {
    let output = place.call(&format!("identity {args}"));
    assert!(output.status.success(), "{output:?}");
    let line = String::from_utf8(output.stdout).unwrap();
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("{line:?}")).to_owned();
    assert_eq!((word(), word()), ("rdev-runner".to_owned(), PROTOCOL_VERSION.to_string()));
    assert_eq!(word(), place.runs().to_str().unwrap());
    let identity = word();
    let before =
        words.find_map(|word| word.strip_prefix("before=")).map(|list| list.split(',').map(str::to_owned));
    Told { identity, before: before.into_iter().flatten().collect() }
}

fn identity(place: &Place, within: &str) -> String {
    told(place, &format!("--within {within}")).identity
}

/// Gives an order for the folder of this identity.
fn order(place: &Place, wanted: &str, id: &str, mode: Mode) -> Output {
    let script = format!("echo {id}; touch {}", place.path().join(id).display());
    let spec = Spec::new(["sh", "-c", &script].map(str::to_owned).into());
    let order = RunRequest { id: id.to_owned(), after: 0, mode, identity: wanted.to_owned(), spec };
    let mut command = place.command("run --request-stdin");
    let mut child =
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&order.encode()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_folder_gets_one_identity_however_many_ask_at_once() {
    let place = Place::new();
    let identities: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| identity(&place, "pod-1"))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(identities[0].starts_with("pod-1."), "{identities:?}");
    assert!(identities.iter().all(|identity| *identity == identities[0]), "{identities:?}");
    assert_ne!(identity(&Place::new(), "pod-1"), identities[0]);
    // It is no run, and nothing else is left of the making.
    assert_eq!(std::fs::read_dir(place.runs()).unwrap().count(), 1);
}

#[test]
fn an_order_for_another_folder_starts_nothing() {
    let place = Place::new();
    let here = identity(&place, "pod-1");
    let refused = order(&place, "pod-0.other", "x", Mode::Start);
    assert_eq!(refused.status.code(), Some(68));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("pod-0.other") && words.contains(&here), "{words}");
    assert!(!place.path().join("x").exists());
    assert!(order(&place, &here, "x", Mode::Start).status.success());
    assert!(place.path().join("x").exists());
}

#[test]
fn the_next_pod_takes_a_folder_over_and_reads_what_the_one_before_has_left() {
    let place = Place::new();
    let first = identity(&place, "pod-1");
    assert!(order(&place, &first, "ended", Mode::Start).status.success());
    // To look is not to take: whoever asks may not know whether the pod before is gone.
    assert_eq!(identity(&place, "pod-2"), first);

    let second = told(&place, &format!("--within pod-2 --instead-of {first}"));
    assert!(second.identity.starts_with("pod-2."), "{}", second.identity);
    assert_eq!(second.before, std::slice::from_ref(&first));
    assert_eq!(identity(&place, "pod-2"), second.identity);
    assert!(order(&place, &second.identity, "of-second", Mode::Start).status.success());

    // Nothing starts for the pod before, and what it has left is read to its end.
    for mode in [Mode::Attach, Mode::Start] {
        let read = order(&place, &first, "ended", mode);
        assert!(read.status.success(), "{read:?}");
        assert_eq!(stdout(&frames(&read.stdout)), "ended\n");
        exit(&frames(&read.stdout));
        let never = order(&place, &first, "never", mode);
        assert_eq!(never.status.code(), Some(67), "{never:?}");
        assert_eq!(frames(&never.stdout).last().unwrap().body, Body::Lost(Loss::Supervisor));
    }
    assert!(!place.path().join("never").exists());

    // The files of then may be another task's by now.
    for call in ["collect --identity IDENTITY --cwd / -- none", "exec --identity IDENTITY -- true"] {
        assert_eq!(place.call(&call.replace("IDENTITY", &first)).status.code(), Some(68), "{call}");
    }
    assert!(place.call(&format!("gc --identity {first} --id never")).status.success());

    // A third pod, and the folder still knows of both.
    let third = told(&place, &format!("--within pod-3 --instead-of {}", second.identity));
    assert_eq!(third.before, [first.clone(), second.identity.clone()]);
    assert_eq!(stdout(&frames(&order(&place, &first, "ended", Mode::Attach).stdout)), "ended\n");
    // Who comes too late with what it has seen takes nothing.
    assert_eq!(told(&place, &format!("--within pod-4 --instead-of {first}")).identity, third.identity);
}

#[test]
fn of_many_that_take_a_folder_over_one_has_it() {
    let place = Place::new();
    let first = identity(&place, "pod-0");
    let taken: Vec<String> = std::thread::scope(|scope| {
        let take = |pod: usize| told(&place, &format!("--within pod-{pod} --instead-of {first}")).identity;
        let taking: Vec<_> = (1..9).map(|pod| scope.spawn(move || take(pod))).collect();
        taking.into_iter().map(|taking| taking.join().unwrap()).collect()
    });
    assert!(taken.iter().all(|one| *one == taken[0] && *one != first), "{taken:?}");
}

#[test]
fn a_folder_that_another_pod_uses_is_not_taken_over() {
    let place = Place::new();
    let first = identity(&place, "pod-1");
    let mut live = place.live("works", "", "echo up; exec sleep 1000");
    live.until("up\n");
    let refused = place.call(&format!("identity --within pod-2 --instead-of {first}"));
    assert_eq!(refused.status.code(), Some(75), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("\"works\""), "{refused:?}");
    signal(place.supervisor("works"), "KILL");
    live.rest();
    let second = told(&place, &format!("--within pod-2 --instead-of {first}")).identity;
    // The first one lives after all, so both have it.
    let refused = place.call(&format!("identity --within pod-1 --instead-of {second}"));
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    assert_eq!(identity(&place, "pod-1"), second);
}

#[test]
fn a_call_for_another_folder_does_nothing() {
    let place = Place::new();
    let here = identity(&place, "pod-1");
    place.sh("x", "", "echo kept");
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let removal = format!("exec --identity IDENTITY -- rm {}", file.display());
    for call in [
        "attach --identity IDENTITY --id x --text",
        "cancel --identity IDENTITY --id x",
        "list --identity IDENTITY --uncollected",
        "collect --identity IDENTITY --cwd / -- none",
        "gc --identity IDENTITY --id x",
        &removal,
    ] {
        let refused = place.call(&call.replace("IDENTITY", "pod-0.other"));
        assert_eq!(refused.status.code(), Some(68), "{call}");
        assert!(refused.stdout.is_empty(), "{call}");
        let words = String::from_utf8(refused.stderr).unwrap();
        assert!(words.contains("pod-0.other") && words.contains(&here), "{words}");
        assert!(file.exists());
        assert!(place.call(&call.replace("IDENTITY", &here)).status.success(), "{call}");
    }
    assert!(!file.exists());
}
