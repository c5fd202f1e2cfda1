//! The identity of the folder of runs.

use std::io::Write;
use std::process::Stdio;

use rdev_runner::frame::PROTOCOL_VERSION;
use rdev_runner::spec::{Mode, Order, Spec};

use crate::support::Place;

fn identity(place: &Place) -> String {
    let output = place.call("place --within pod-1");
    assert!(output.status.success(), "{output:?}");
    let line = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    let [name, protocol, folder, identity] = words[..] else { panic!("{line:?}") };
    assert_eq!((name, protocol), ("rdev-runner", PROTOCOL_VERSION.to_string().as_str()));
    assert_eq!(folder, place.runs().to_str().unwrap());
    identity.to_owned()
}

#[test]
fn a_folder_gets_one_identity_however_many_ask_at_once() {
    let place = Place::new();
    let identities: Vec<String> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..20).map(|_| scope.spawn(|| identity(&place))).collect();
        asking.into_iter().map(|asking| asking.join().unwrap()).collect()
    });
    assert!(identities[0].starts_with("pod-1."), "{identities:?}");
    assert!(identities.iter().all(|identity| *identity == identities[0]), "{identities:?}");
    assert_ne!(identity(&Place::new()), identities[0]);
    // It is no run, and nothing else is left of the making.
    assert_eq!(std::fs::read_dir(place.runs()).unwrap().count(), 1);
}

#[test]
fn an_order_for_another_folder_starts_nothing() {
    let place = Place::new();
    let here = identity(&place);
    let run = |wanted: &str| {
        let spec = Spec::new(vec!["touch".to_owned(), place.path().join("ran").display().to_string()]);
        let order = Order { id: "x".to_owned(), after: 0, mode: Mode::Start, place: wanted.to_owned(), spec };
        let mut command = place.command("run --order-stdin");
        let mut child =
            command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&order.encode()).unwrap();
        child.wait_with_output().unwrap()
    };
    let refused = run("pod-0.other");
    assert_eq!(refused.status.code(), Some(68));
    let words = String::from_utf8(refused.stderr).unwrap();
    assert!(words.contains("pod-0.other") && words.contains(&here), "{words}");
    assert!(!place.path().join("ran").exists());
    assert!(run(&here).status.success());
    assert!(place.path().join("ran").exists());
}

#[test]
fn a_call_for_another_folder_does_nothing() {
    let place = Place::new();
    let here = identity(&place);
    place.sh("x", "", "echo kept");
    let file = place.path().join("file");
    std::fs::write(&file, "").unwrap();
    let removal = format!("exec --place IDENTITY -- rm {}", file.display());
    for call in [
        "attach --place IDENTITY --id x --text",
        "cancel --place IDENTITY --id x",
        "list --place IDENTITY --uncollected",
        "collect --place IDENTITY --cwd / -- none",
        "gc --place IDENTITY --id x",
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
