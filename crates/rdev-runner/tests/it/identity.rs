//! Identity of the folder of runs.

use std::io::Write;
use std::process::{Output, Stdio};

use rdev_runner::frame::{Body, Loss, PROTOCOL_VERSION};
use rdev_runner::spec::{Mode, RunRequest, Spec};

use crate::support::{Sandbox, exit, frames, signal, stdout};

/// Identity of a folder, and its former identities.
struct FolderIdentity {
    identity: String,
    before: Vec<String>,
}

fn query(sandbox: &Sandbox, args: &str) -> FolderIdentity {
    let output = sandbox.call(&format!("identity {args}"));
    assert!(output.status.success(), "{output:?}");
    let line = String::from_utf8(output.stdout).unwrap();
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("{line:?}")).to_owned();
    assert_eq!((word(), word()), ("rdev-runner".to_owned(), PROTOCOL_VERSION.to_string()));
    assert_eq!(word(), sandbox.runs().to_str().unwrap());
    let identity = word();
    let before =
        words.find_map(|word| word.strip_prefix("before=")).map(|list| list.split(',').map(str::to_owned));
    FolderIdentity { identity, before: before.into_iter().flatten().collect() }
}

fn identity(sandbox: &Sandbox, within: &str) -> String {
    query(sandbox, &format!("--within {within}")).identity
}

/// Sends a run request for the folder of this identity.
fn request(sandbox: &Sandbox, wanted: &str, id: &str, mode: Mode) -> Output {
    let script = format!("echo {id}; touch {}", sandbox.path().join(id).display());
    let spec = Spec::new(["sh", "-c", &script].map(str::to_owned).into());
    let order = RunRequest { id: id.to_owned(), after: 0, mode, identity: wanted.to_owned(), spec };
    let mut command = sandbox.command("run --request-stdin");
    let mut child =
        command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&order.encode()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_folder_gets_one_identity_under_concurrent_queries() {
    let sandbox = Sandbox::new();
    let identities: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| identity(&sandbox, "pod-1"))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(identities[0].starts_with("pod-1."), "{identities:?}");
    assert!(identities.iter().all(|identity| *identity == identities[0]), "{identities:?}");
    assert_ne!(identity(&Sandbox::new(), "pod-1"), identities[0]);
    // The identity is no run, and no scratch file is left.
    assert_eq!(std::fs::read_dir(sandbox.runs()).unwrap().count(), 1);
}

#[test]
fn a_request_for_another_folder_starts_nothing() {
    let sandbox = Sandbox::new();
    let here = identity(&sandbox, "pod-1");
    let refused = request(&sandbox, "pod-0.other", "x", Mode::Start);
    assert_eq!(refused.status.code(), Some(68));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("pod-0.other") && words.contains(&here), "{words}");
    assert!(!sandbox.path().join("x").exists());
    assert!(request(&sandbox, &here, "x", Mode::Start).status.success());
    assert!(sandbox.path().join("x").exists());
}

#[test]
fn the_next_pod_takes_a_folder_over_and_reads_what_the_one_before_has_left() {
    let sandbox = Sandbox::new();
    let first = identity(&sandbox, "pod-1");
    assert!(request(&sandbox, &first, "ended", Mode::Start).status.success());
    // A query does not take over: the pod before may still live.
    assert_eq!(identity(&sandbox, "pod-2"), first);

    let second = query(&sandbox, &format!("--within pod-2 --instead-of {first}"));
    assert!(second.identity.starts_with("pod-2."), "{}", second.identity);
    assert_eq!(second.before, std::slice::from_ref(&first));
    assert_eq!(identity(&sandbox, "pod-2"), second.identity);
    assert!(request(&sandbox, &second.identity, "of-second", Mode::Start).status.success());

    // Nothing starts for the former pod, and its runs can be read to their end.
    for mode in [Mode::Attach, Mode::Start] {
        let read = request(&sandbox, &first, "ended", mode);
        assert!(read.status.success(), "{read:?}");
        assert_eq!(stdout(&frames(&read.stdout)), "ended\n");
        exit(&frames(&read.stdout));
        let never = request(&sandbox, &first, "never", mode);
        assert_eq!(never.status.code(), Some(67), "{never:?}");
        assert_eq!(frames(&never.stdout).last().unwrap().body, Body::Lost(Loss::Supervisor));
    }
    assert!(!sandbox.path().join("never").exists());

    // The files of that time may belong to another job now.
    for call in ["collect --identity IDENTITY --cwd / -- none", "exec --identity IDENTITY -- true"] {
        assert_eq!(sandbox.call(&call.replace("IDENTITY", &first)).status.code(), Some(68), "{call}");
    }
    assert!(sandbox.call(&format!("gc --identity {first} --id never")).status.success());

    // After a third pod the folder still knows both.
    let third = query(&sandbox, &format!("--within pod-3 --instead-of {}", second.identity));
    assert_eq!(third.before, [first.clone(), second.identity.clone()]);
    assert_eq!(stdout(&frames(&request(&sandbox, &first, "ended", Mode::Attach).stdout)), "ended\n");
    // A takeover with an outdated identity changes nothing.
    assert_eq!(query(&sandbox, &format!("--within pod-4 --instead-of {first}")).identity, third.identity);
}

#[test]
fn one_of_many_concurrent_takeovers_wins() {
    let sandbox = Sandbox::new();
    let first = identity(&sandbox, "pod-0");
    let taken: Vec<String> = std::thread::scope(|scope| {
        let take = |pod: usize| query(&sandbox, &format!("--within pod-{pod} --instead-of {first}")).identity;
        let taking: Vec<_> = (1..9).map(|pod| scope.spawn(move || take(pod))).collect();
        taking.into_iter().map(|taking| taking.join().unwrap()).collect()
    });
    assert!(taken.iter().all(|one| *one == taken[0] && *one != first), "{taken:?}");
}

#[test]
fn a_folder_that_another_pod_uses_is_not_taken_over() {
    let sandbox = Sandbox::new();
    let first = identity(&sandbox, "pod-1");
    let mut live = sandbox.live("works", "", "echo up; exec sleep 1000");
    live.until("up\n");
    let refused = sandbox.call(&format!("identity --within pod-2 --instead-of {first}"));
    assert_eq!(refused.status.code(), Some(75), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("\"works\""), "{refused:?}");
    signal(sandbox.supervisor("works"), "KILL");
    live.rest();
    let second = query(&sandbox, &format!("--within pod-2 --instead-of {first}")).identity;
    // The first pod still lives, so both use the folder.
    let refused = sandbox.call(&format!("identity --within pod-1 --instead-of {second}"));
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    assert_eq!(identity(&sandbox, "pod-1"), second);
}

#[test]
fn a_call_for_another_folder_does_nothing() {
    let sandbox = Sandbox::new();
    let here = identity(&sandbox, "pod-1");
    sandbox.sh("x", "", "echo kept");
    let file = sandbox.path().join("file");
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
        let refused = sandbox.call(&call.replace("IDENTITY", "pod-0.other"));
        assert_eq!(refused.status.code(), Some(68), "{call}");
        assert!(refused.stdout.is_empty(), "{call}");
        let words = String::from_utf8(refused.stderr).unwrap();
        assert!(words.contains("pod-0.other") && words.contains(&here), "{words}");
        assert!(file.exists());
        assert!(sandbox.call(&call.replace("IDENTITY", &here)).status.success(), "{call}");
    }
    assert!(!file.exists());
}
