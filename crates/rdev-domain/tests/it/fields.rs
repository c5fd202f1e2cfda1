//! Fields of requests, at the limits of the accepted range. Every invalid field is named, and no valid one.

use std::collections::BTreeMap;
use std::time::Duration;

use rdev_domain::{
    AgentRequest, CommandRequest, Error, GitRequest, Limits, Schedule, ShellRequest, TaskKind, TaskRequest,
    Validate,
};

use crate::tasks::task;

const LIMITS: Limits = Limits::DEFAULT;

/// Returns each invalid field with its message.
fn wrong(check: impl FnOnce(&mut Validate)) -> Vec<(String, String)> {
    let mut validate = Validate::default();
    check(&mut validate);
    match validate.finish() {
        Ok(()) => Vec::new(),
        Err(Error::Invalid(errors)) => errors.into_iter().map(|error| (error.field, error.message)).collect(),
        Err(other) => panic!("{other:?}"),
    }
}

fn names(wrong: Vec<(String, String)>) -> Vec<String> {
    wrong.into_iter().map(|(field, _)| field).collect()
}

fn fields(request: CommandRequest) -> Vec<String> {
    names(wrong(|validate| validate.request(&LIMITS, &request)))
}

fn agent(change: impl FnOnce(&mut AgentRequest)) -> Vec<String> {
    let mut agent = AgentRequest { prompt: "x".into(), ..AgentRequest::default() };
    change(&mut agent);
    fields(CommandRequest::Claude(agent))
}

fn of_task(kind: TaskKind, change: impl FnOnce(&mut TaskRequest)) -> Vec<String> {
    let mut request = task(kind);
    change(&mut request);
    names(wrong(|validate| validate.task(&LIMITS, &request)))
}

fn shell(command: &str, env: &[(&str, &str)]) -> Vec<String> {
    let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    fields(CommandRequest::Shell(ShellRequest { command: command.to_owned(), env }))
}

const NONE: [&str; 0] = [];

#[test]
fn the_limits_are_those_of_the_documents() {
    assert_eq!(LIMITS.prompt_bytes_max, 1_048_576);
    assert_eq!(LIMITS.item_bytes_max, 131_071);
    assert_eq!(LIMITS.work_bytes_max, 1_048_576);
    assert_eq!(LIMITS.timeout_max, Duration::from_secs(604_800));
}

#[test]
fn a_prompt_has_text_and_a_limit() {
    assert_eq!(agent(|agent| agent.prompt = "x".repeat(LIMITS.prompt_bytes_max)), NONE);
    assert_eq!(agent(|agent| agent.prompt = "x".repeat(LIMITS.prompt_bytes_max + 1)), ["prompt"]);
    assert_eq!(agent(|agent| agent.prompt = String::new()), ["prompt"]);
    assert_eq!(agent(|agent| agent.prompt = "  ".into()), ["prompt"]);
    assert_eq!(agent(|agent| agent.prompt = "a\0b".into()), ["prompt"]);
}

#[test]
fn sessions_and_models_are_names_and_no_options() {
    for good in ["a", "claude-x.1_2", "us/model:1@v[1m]", &"a".repeat(200)] {
        assert_eq!(agent(|agent| agent.session_id = Some(good.to_owned())), NONE, "{good}");
        assert_eq!(agent(|agent| agent.model = Some(good.to_owned())), NONE, "{good}");
    }
    for bad in ["", "-a", "--resume", "a b", "a;b", "ä", "a\n", &"a".repeat(201)] {
        assert_eq!(agent(|agent| agent.session_id = Some(bad.to_owned())), ["session_id"], "{bad}");
        assert_eq!(agent(|agent| agent.model = Some(bad.to_owned())), ["model"], "{bad}");
    }
}

#[test]
fn turns_are_1_to_1000() {
    for (turns, good) in [(0, false), (1, true), (1000, true), (1001, false)] {
        assert_eq!(agent(|agent| agent.max_turns = Some(turns)).is_empty(), good, "{turns}");
    }
}

#[test]
fn a_shell_line_has_text_and_no_nul() {
    assert_eq!(shell("true", &[]), NONE);
    assert_eq!(shell("", &[]), ["command"]);
    assert_eq!(shell("a\0b", &[]), ["command"]);
}

#[test]
fn variables_have_names_of_a_shell() {
    for good in ["A", "_", "a1", "_9", &"A".repeat(200)] {
        assert_eq!(shell("true", &[(good, "")]), NONE, "{good}");
    }
    for bad in ["", "1A", "A-B", "A.B", "A B", "ä", "A=", &"A".repeat(201)] {
        let shown: String = bad.chars().take(80).collect();
        assert_eq!(shell("true", &[(bad, "x")]), [format!("env.{shown}")], "{bad}");
    }
    let max = LIMITS.item_bytes_max;
    assert_eq!(shell("true", &[("A", &"x".repeat(max))]), NONE);
    assert_eq!(shell("true", &[("A", &"x".repeat(max + 1))]), ["env.A"]);
    assert_eq!(shell("true", &[("A", "a\0b")]), ["env.A"]);
}

#[test]
fn variables_and_arguments_are_256_at_most() {
    let env = |count: usize| -> BTreeMap<String, String> {
        (0..count).map(|n| (format!("A{n}"), String::new())).collect()
    };
    let with = |env| fields(CommandRequest::Shell(ShellRequest { command: "true".into(), env }));
    assert_eq!(with(env(256)), NONE);
    assert_eq!(with(env(257)), ["env"]);
    let git = |count: usize| {
        let args = std::iter::once("add".to_owned()).chain((1..count).map(|n| format!("f{n}"))).collect();
        fields(CommandRequest::Git(GitRequest { args }))
    };
    assert_eq!(git(256), NONE);
    assert_eq!(git(257), ["args"]);
    let one = |text: String| fields(CommandRequest::Git(GitRequest { args: vec!["add".into(), text] }));
    assert_eq!(one("x".repeat(LIMITS.item_bytes_max)), NONE);
    assert_eq!(one("x".repeat(LIMITS.item_bytes_max + 1)), ["args[1]"]);
    assert_eq!(one("a\0b".into()), ["args[1]"]);
}

#[test]
fn git_is_checked_by_its_table_and_the_folder_of_remotes() {
    let git = |limits: &Limits, args: &[&str]| {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        names(wrong(|validate| validate.request(limits, &CommandRequest::Git(GitRequest { args }))))
    };
    assert_eq!(git(&LIMITS, &["status"]), NONE);
    assert_eq!(git(&LIMITS, &["submodule"]), ["args[0]"]);
    assert_eq!(git(&LIMITS, &["fetch", "/remotes/a.git"]), ["args[1]"]);
    let with_remotes = Limits { git_remotes: Some("/remotes".into()), ..LIMITS };
    assert_eq!(git(&with_remotes, &["fetch", "/remotes/a.git"]), NONE);
}

#[test]
fn only_a_shell_task_needs_no_repository() {
    for kind in TaskKind::ALL {
        let without = of_task(kind, |task| task.repository = None);
        assert_eq!(without.is_empty(), kind == TaskKind::Shell, "{kind:?}");
        assert_eq!(of_task(kind, |_| {}), NONE);
    }
    assert_eq!(of_task(TaskKind::Build, |task| task.repository = None), ["repository"]);
    assert_eq!(of_task(TaskKind::Shell, |task| task.git_ref = Some("main".into())), NONE);
    let without = of_task(TaskKind::Shell, |task| {
        task.repository = None;
        task.git_ref = Some("main".into());
    });
    assert_eq!(without, ["ref"]);
    assert_eq!(of_task(TaskKind::Build, |task| task.git_ref = Some("-x".into())), ["ref"]);
}

#[test]
fn an_address_has_2048_bytes_at_most() {
    let address = |bytes: usize| {
        let address = format!("https://host/{}", "a".repeat(bytes - "https://host/".len()));
        of_task(TaskKind::Build, |task| task.repository = Some(address))
    };
    assert_eq!(address(2048), NONE);
    assert_eq!(address(2049), ["repository"]);
    for bad in ["", "-a@host:b", "https://host/\u{7f}", "https://host/a b", "a@b/c:d"] {
        assert_eq!(
            of_task(TaskKind::Build, |task| task.repository = Some(bad.to_owned())),
            ["repository"],
            "{bad}"
        );
    }
}

#[test]
fn a_refused_address_has_the_reason_in_its_message() {
    let message = |address: &str| {
        let mut request = task(TaskKind::Build);
        request.repository = Some(address.to_owned());
        wrong(|validate| validate.task(&LIMITS, &request)).remove(0).1
    };
    assert!(message("").contains("0 bytes"));
    assert!(message(&"a".repeat(3000)).contains("3000 bytes"));
    assert!(message("https://host/a b").contains("a space"));
    assert!(message("ssh://git:hush@host/a").contains("leave out"), "a password is no account");
    assert!(message("hush:hush@host:a").contains("is not valid"));
    assert!(message("https://-host/a").contains("the host is missing"));
    assert!(message("ssh://-user@host/a").contains("the host is missing"));
}

#[test]
fn a_ref_has_255_bytes_at_most_and_no_marks_of_git() {
    let git_ref = |name: &str| of_task(TaskKind::Build, |task| task.git_ref = Some(name.to_owned()));
    for good in ["a", "a.b", "a/b", "ü", "a@b", "a{b", &"a".repeat(255)] {
        assert_eq!(git_ref(good), NONE, "{good}");
    }
    let long = "a".repeat(256);
    for bad in [
        "", ".a", "a.", "a..b", "a//b", "/a", "a/", "a~b", "a^b", "a:b", "a?b", "a*b", "a[b", "a\\b", "a@{b",
        "a\u{7f}", &long,
    ] {
        assert_eq!(git_ref(bad), ["ref"], "{bad}");
    }
}

#[test]
fn steps_are_1_to_64_lines() {
    let steps = |steps: Vec<String>| of_task(TaskKind::Build, |task| task.steps = steps);
    assert_eq!(steps(vec![]), ["steps"]);
    assert_eq!(steps(vec!["x".into(); 64]), NONE);
    assert_eq!(steps(vec!["x".into(); 65]), ["steps"]);
    assert_eq!(steps(vec!["x".into(), String::new()]), ["steps[1]"]);
    assert_eq!(steps(vec!["a\0b".into()]), ["steps[0]"]);
    assert_eq!(steps(vec!["x".repeat(LIMITS.item_bytes_max + 1)]), ["steps[0]"]);
    assert_eq!(of_task(TaskKind::Build, |task| drop(task.env.insert("1".into(), String::new()))), ["env.1"]);
}

#[test]
fn steps_and_variables_share_their_bytes() {
    let max = LIMITS.work_bytes_max;
    let step = LIMITS.item_bytes_max;
    let all = |rest: usize| {
        of_task(TaskKind::Build, |task| {
            task.steps = vec!["x".repeat(step); max / step];
            let name = "N".to_owned();
            // The variable may use the bytes that the steps leave; its name counts, too.
            let value = "v".repeat(rest - name.len());
            task.env = BTreeMap::from([(name, value)]);
        })
    };
    let left = max - max / step * step;
    assert_eq!(all(left), NONE);
    assert_eq!(all(left + 1), ["steps"]);
}

#[test]
fn patterns_are_32_at_most() {
    let with = |artefacts: Vec<String>| of_task(TaskKind::Build, |task| task.artefacts = artefacts);
    assert_eq!(with(vec!["a".into(); 32]), NONE);
    assert_eq!(with(vec!["a".into(); 33]), ["artefacts"]);
    assert_eq!(with(vec!["a".into(), "../b".into()]), ["artefacts[1]"]);
    assert_eq!(with(vec!["a".repeat(1024)]), NONE);
    assert_eq!(with(vec!["a".repeat(1025)]), ["artefacts[0]"]);
    for bad in [".", "a/.", "..", "a/..", "a***", "**b", "a]", "[", "a\\b", "a\u{7}"] {
        assert_eq!(with(vec![bad.into()]), ["artefacts[0]"], "{bad}");
    }
    for good in ["**", "a/**/b", "*", "a?", "a/"] {
        assert_eq!(with(vec![good.into()]), NONE, "{good}");
    }
}

#[test]
fn a_concurrency_key_is_a_text_of_255_bytes() {
    let with = |key: &str| of_task(TaskKind::Build, |task| task.concurrency_key = Some(key.to_owned()));
    for good in ["a", "a b", "ü/1", &"k".repeat(255)] {
        assert_eq!(with(good), NONE, "{good}");
    }
    for bad in ["", "a\n", "\u{85}", &"k".repeat(256)] {
        assert_eq!(with(bad), ["concurrency_key"], "{bad}");
    }
}

#[test]
fn priorities_and_attempts_have_their_ranges() {
    let with = |priority, max_attempts| {
        let schedule = Schedule { priority, max_attempts, ..Schedule::default() };
        names(wrong(|validate| validate.schedule(&LIMITS, &schedule)))
    };
    for (priority, attempts) in [(-100, 1), (0, 20), (100, 1)] {
        assert_eq!(with(priority, attempts), NONE, "{priority} {attempts}");
    }
    assert_eq!(with(-101, 1), ["priority"]);
    assert_eq!(with(101, 1), ["priority"]);
    assert_eq!(with(0, 0), ["max_attempts"]);
    assert_eq!(with(0, 21), ["max_attempts"]);
}

#[test]
fn a_timeout_is_a_second_to_a_week_and_else_the_default() {
    let default = Duration::from_secs(3600);
    let mut validate = Validate::default();
    assert_eq!(validate.timeout(&LIMITS, None, default), default);
    assert_eq!(validate.timeout(&LIMITS, Some(1), default), Duration::from_secs(1));
    assert_eq!(validate.timeout(&LIMITS, Some(604_800), default), Duration::from_secs(604_800));
    assert!(validate.finish().is_ok());
    for seconds in [0, 604_801] {
        let found = wrong(|validate| assert_eq!(validate.timeout(&LIMITS, Some(seconds), default), default));
        assert_eq!(names(found), ["timeout_seconds"], "{seconds}");
    }
}

#[test]
fn ids_are_parsed_or_named() {
    let mut validate = Validate::default();
    let id: Option<rdev_domain::StreamId> = validate.parse("stream_id", "build-1");
    assert_eq!(id.map(|id| id.to_string()).as_deref(), Some("build-1"));
    assert!(validate.finish().is_ok());
    let found =
        wrong(|validate| assert!(validate.parse::<rdev_domain::StreamId>("stream_id", "a b").is_none()));
    assert_eq!(found[0].0, "stream_id");
    assert!(found[0].1.contains("\"a b\""), "{}", found[0].1);
}
