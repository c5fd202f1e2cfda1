//! Refusals of the command line, and their messages.

use std::io::Write;
use std::process::Stdio;

use rdev_runner::spec::encode_arguments;

use crate::support::Sandbox;

#[track_caller]
fn refused(args: &str, says: &[&str]) {
    let sandbox = Sandbox::new();
    let output = sandbox.call(args);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{args}: {stderr}");
    assert!(output.stdout.is_empty());
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for part in says {
        assert!(stderr.contains(part), "{args}: {stderr}");
    }
    assert!(!sandbox.runs().exists());
}

#[test]
fn a_wrong_call_names_what_is_accepted() {
    refused("", &["a command is needed", "attach"]);
    refused("dance", &["\"dance\"", "attach"]);
    refused("run --id a", &["--request-stdin", "-- COMMAND"]);
    refused("run -- true", &["run needs --id"]);
    refused("run --id a --request-stdin", &["--request-stdin"]);
    refused("run --request-stdin --timeout 3", &["--request-stdin"]);
    refused("attach", &["attach needs --id"]);
    refused("attach --id a --timeout 3", &["--timeout", "attach"]);
    refused("attach --id a extra", &["\"extra\""]);
    refused("attach --id a --after -1", &["--after \"-1\"", "whole number"]);
    refused("attach --id a --after 99999999999999999999", &["--after"]);
    refused("list --id a", &["--id", "list"]);
    refused("gc --older-than soon", &["--older-than \"soon\"", "seconds"]);
    refused("run --id a --timeout nan -- true", &["--timeout \"nan\"", "seconds"]);
    refused("run --id a --grace -1 -- true", &["--grace \"-1\""]);
    refused("run --id a --env =x -- true", &["--env \"=x\"", "NAME=VALUE"]);
    refused("run --id a --journal-max 1k -- true", &["--journal-max \"1k\""]);
    refused("run --id a -x -- true", &["-x"]);
}

#[test]
fn only_ids_that_are_harmless_as_file_names_are_accepted() {
    let long = "x".repeat(129);
    for id in ["../up", "a/b", ".hidden", "-dash", "é", &long] {
        refused(&format!("cancel --id={id}"), &["--id", "1 to 128"]);
    }
    let sandbox = Sandbox::new();
    for id in ["a", "A.b_c-9", &"x".repeat(128)] {
        assert_eq!(sandbox.call(&format!("attach --id {id}")).status.code(), Some(66));
        let output = sandbox.command(&format!("run --id {id} -- true")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn help_and_version_answer() {
    let sandbox = Sandbox::new();
    for args in ["--help", "run --help", "-h"] {
        let output = sandbox.call(args);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("rdev-runner attach"));
    }
    let version = sandbox.call("--version");
    assert_eq!(version.stdout, format!("rdev-runner {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
}

#[test]
fn arguments_are_also_read_from_standard_input() {
    let sandbox = Sandbox::new();
    for id in ["a", "b"] {
        sandbox.sh(id, "", "echo one");
    }
    let call = |args: &str, more: &[&str]| {
        let more: Vec<String> = more.iter().map(|&word| word.to_owned()).collect();
        let mut command = sandbox.command(args);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&encode_arguments(&more)).unwrap();
        child.wait_with_output().unwrap()
    };
    // Longer than the command line of any shell.
    let none = "x".repeat(100_000);
    let output = call("gc --arguments-stdin", &["--id", "a", "--id", "b"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 2);
    assert!(call("collect --cwd / --arguments-stdin", &["--", &none]).status.success());
    assert_eq!(call("gc --arguments-stdin", &["--id", "-"]).status.code(), Some(64));
    assert_eq!(sandbox.call("gc --arguments-stdin").status.code(), Some(64), "no arguments");
    assert_eq!(
        sandbox.call("gc --arguments-stdin --id a").status.code(),
        Some(64),
        "--arguments-stdin must be last"
    );
}
