//! Names in answers, events and stores: clients and rows of earlier versions rely on each of them.

use rdev_domain::{
    AgentProvider, AgentRequest, BlockedBy, CommandKind, CommandRequest, Ending, GitRequest, JobKind,
    JobSpec, JobStatus, Principal, Reason, Resource, Scope, ShellRequest, SkipReason, Target, TaskKind,
};

#[test]
fn kinds_of_tasks() {
    let names = [
        (TaskKind::Build, "build"),
        (TaskKind::Test, "test"),
        (TaskKind::Deploy, "deploy"),
        (TaskKind::Shell, "shell"),
    ];
    for (kind, name) in names {
        assert_eq!(kind.as_str(), name);
        assert_eq!(TaskKind::parse(name), Some(kind));
        assert_eq!(JobKind::Task(kind).as_str(), name);
    }
    assert_eq!(names.map(|(kind, _)| kind), TaskKind::ALL);
    assert_eq!(TaskKind::parse("Build"), None);
    assert_eq!(TaskKind::parse(""), None);
}

#[test]
fn kinds_of_commands() {
    for (request, name) in [
        (CommandRequest::Claude(AgentRequest::default()), "claude"),
        (CommandRequest::Shell(ShellRequest::default()), "shell"),
        (CommandRequest::Git(GitRequest::default()), "git"),
    ] {
        let spec = JobSpec::Command { project: "demo".parse().unwrap(), request };
        assert_eq!(spec.kind().as_str(), name);
    }
}

#[test]
fn statuses() {
    for (status, name) in [
        (JobStatus::Pending, "pending"),
        (JobStatus::Running, "running"),
        (JobStatus::WaitingApproval, "waiting_approval"),
        (JobStatus::WaitingQuota, "waiting_quota"),
        (JobStatus::WaitingBudget, "waiting_budget"),
        (JobStatus::Completed, "completed"),
        (JobStatus::Failed, "failed"),
        (JobStatus::Cancelled, "cancelled"),
        (JobStatus::TimedOut, "timed_out"),
    ] {
        assert_eq!(status.as_str(), name);
        assert_eq!(JobStatus::parse(name), Some(status));
    }
    assert_eq!(JobStatus::parse("ended"), None);
}

#[test]
fn endings_and_their_reasons() {
    for (ending, status, reason) in [
        (Ending::Completed, JobStatus::Completed, None),
        (Ending::Cancelled, JobStatus::Cancelled, Some("cancelled")),
        (Ending::TimedOut, JobStatus::TimedOut, Some("timeout")),
        (Ending::Failed(Reason::ExitCode), JobStatus::Failed, Some("exit_code")),
        (Ending::Failed(Reason::OomKilled), JobStatus::Failed, Some("oom_killed")),
    ] {
        assert_eq!(JobStatus::from(ending), status);
        assert_eq!(ending.reason(), reason);
        assert_eq!(Ending::from_status_and_reason(status, reason), Some(ending));
    }
    assert_eq!(Reason::parse("hung_after_result"), Some(Reason::HungAfterResult));
    assert_eq!(Reason::parse("cancelled"), None);
    assert_eq!(Ending::from_status_and_reason(JobStatus::Failed, None), None);
    assert_eq!(Ending::from_status_and_reason(JobStatus::Pending, Some("exit_code")), None);
}

#[test]
fn reasons_why_a_file_is_not_stored() {
    let names = ["missing", "too_large", "too_many", "unreadable", "unsearched", "lost", "removed"];
    assert_eq!(SkipReason::ALL.map(SkipReason::as_str), names);
    assert_eq!(names.map(SkipReason::parse), SkipReason::ALL.map(Some));
    assert_eq!(SkipReason::parse("gone"), None);
}

#[test]
fn resources_that_do_not_exist() {
    for (resource, name) in [
        (Resource::Project, "project"),
        (Resource::Command, "command"),
        (Resource::Task, "task"),
        (Resource::Stream, "stream"),
        (Resource::Worker, "worker"),
        (Resource::Artefact, "artefact"),
        (Resource::Operation, "operation"),
    ] {
        assert_eq!(resource.as_str(), name);
    }
}

#[test]
fn targets() {
    let project = Target::from("demo".parse::<rdev_domain::ProjectId>().unwrap());
    assert_eq!(project.to_string(), "project demo");
    assert_eq!(Target::Pool.to_string(), "the pool");
}

#[test]
fn scopes_and_what_they_include() {
    let names = [
        (Scope::ProjectsRead, "projects:read"),
        (Scope::ProjectsExecute, "projects:execute"),
        (Scope::QueueRead, "queue:read"),
        (Scope::QueueWrite, "queue:write"),
        (Scope::WorkersRead, "workers:read"),
        (Scope::WorkersWrite, "workers:write"),
        (Scope::Admin, "admin"),
    ];
    let principal = |scopes: &[Scope]| Principal { key: "key".parse().unwrap(), scopes: scopes.to_vec() };
    for (scope, name) in names {
        assert_eq!(scope.as_str(), name);
        assert!(principal(&[scope]).has(scope), "{name}");
        assert!(principal(&[Scope::Admin]).has(scope), "admin includes {name}");
        assert!(!principal(&[]).has(scope), "{name}");
    }
    assert!(!principal(&[Scope::ProjectsRead, Scope::QueueWrite]).has(Scope::ProjectsExecute));
    assert!(!principal(&[Scope::ProjectsRead]).has(Scope::Admin));
}

#[test]
fn only_commands_of_an_agent_name_it() {
    let agent_of = |kind| JobKind::Command(kind).agent().map(AgentProvider::as_str);
    assert_eq!(agent_of(CommandKind::Claude), Some("claude"));
    assert_eq!((agent_of(CommandKind::Shell), agent_of(CommandKind::Git)), (None, None));
    assert_eq!(JobKind::Task(TaskKind::Test).agent(), None);
}

#[test]
fn causes_that_keep_a_job_waiting() {
    let names = BlockedBy::ALL.map(BlockedBy::as_str);
    assert_eq!(
        names,
        [
            "run_after",
            "concurrency_key",
            "workspace",
            "pool_full",
            "no_ready_worker",
            "pod_not_ready",
            "worker_concurrency"
        ]
    );
}
