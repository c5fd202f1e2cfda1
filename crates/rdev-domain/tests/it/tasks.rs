//! Attempts of a task: their number, the pauses between them, and retries by hand.

use std::collections::BTreeMap;
use std::time::Duration;

use rdev_domain::{
    CommandRequest, Ending, Job, JobSpec, JobState, Outcome, Reason, Schedule, ShellRequest, TaskKind,
    TaskRequest, Timestamp, attempt_error,
};

use crate::jobs::ended;

pub(crate) fn task(kind: TaskKind) -> TaskRequest {
    TaskRequest {
        kind,
        repository: Some("https://host/repo".into()),
        git_ref: None,
        steps: vec!["make".into()],
        env: BTreeMap::new(),
        artefacts: Vec::new(),
        project: None,
        concurrency_key: None,
    }
}

pub(crate) fn job(spec: JobSpec, state: JobState, schedule: Schedule) -> Job {
    let id: rdev_domain::JobId = format!("cmd-{}", "0".repeat(32)).parse().unwrap();
    Job {
        stream: (&id).into(),
        id,
        spec,
        timeout: Duration::from_secs(60),
        created_by: "key".parse().unwrap(),
        created_at: Timestamp::from_micros(0),
        cancel_requested: true,
        schedule,
        state,
    }
}

fn task_in(state: JobState) -> Job {
    job(JobSpec::Task(task(TaskKind::Test)), state, Schedule::default())
}

#[test]
fn a_task_is_dead_when_its_attempts_are_used_up_without_success() {
    for ending in [Ending::Failed(Reason::ExitCode), Ending::TimedOut] {
        assert!(task_in(ended(ending)).is_dead());
        let request = CommandRequest::Shell(ShellRequest::default());
        let command = JobSpec::Command { project: "demo".parse().unwrap(), request };
        assert!(!job(command, ended(ending), Schedule::default()).is_dead(), "a command is no task");
    }
    let running = JobState::running(Timestamp::from_micros(1));
    for state in [JobState::Pending, running, ended(Ending::Completed), ended(Ending::Cancelled)] {
        assert!(!task_in(state.clone()).is_dead(), "{state:?}");
    }
}

#[test]
fn an_uncounted_attempt_requires_permission_to_run_again() {
    let may = |max_attempts| Schedule { max_attempts, ..Schedule::default() }.allows_uncounted_retry();
    assert_eq!([0, 1, 2, 20].map(may), [false, false, true, true]);
}

#[test]
fn a_round_by_hand_has_all_attempts_again() {
    let schedule = Schedule { max_attempts: 3, earlier_attempts: 5, ..Schedule::default() };
    assert_eq!(schedule.attempts_allowed(), 8);
    assert_eq!(Schedule { earlier_attempts: u32::MAX, ..schedule }.attempts_allowed(), u32::MAX);
}

#[test]
fn a_pause_is_a_second_at_first_and_ten_minutes_at_last() {
    let pause = |attempt| Schedule::default().backoff(attempt, 1.0);
    assert_eq!([1, 2, 3, 4, 10].map(pause), [1, 2, 4, 8, 512].map(Duration::from_secs));
    assert_eq!([11, 12, 100].map(pause), [600; 3].map(Duration::from_secs));
    // A fraction out of its range counts as the nearer limit.
    assert_eq!(Schedule::default().backoff(1, 7.0), Duration::from_secs(1));
    assert_eq!(Schedule::default().backoff(1, -1.0), Duration::ZERO);
}

#[test]
fn the_end_of_an_attempt_is_one_line() {
    let line = |ending, exit_code, message: Option<&str>| {
        let message = message.map(str::to_owned);
        attempt_error(&Outcome { ending, exit_code, message, duration: Duration::ZERO })
    };
    let failed = Ending::Failed(Reason::ExitCode);
    assert_eq!(line(failed, Some(2), None), "exit_code: 2");
    assert_eq!(line(failed, Some(2), Some("no rule to make target")), "exit_code: no rule to make target");
    assert_eq!(line(Ending::TimedOut, None, None), "timeout");
    assert_eq!(line(Ending::Completed, Some(0), None), "completed: 0");
}

#[test]
fn a_reopened_task_waits_for_its_next_attempt_and_knows_the_last() {
    let run_after = Some(Timestamp::from_micros(7));
    let schedule = Schedule {
        priority: 4,
        run_after,
        max_attempts: 3,
        attempts: 5,
        earlier_attempts: 2,
        last_error: None,
    };
    let before = job(JobSpec::Task(task(TaskKind::Test)), ended(Ending::Failed(Reason::Signal)), schedule);
    let (after, retrying) = before.reopened().unwrap();
    assert_eq!(after.state, JobState::Pending);
    assert!(!after.cancel_requested);
    let expected = Schedule {
        priority: 4,
        run_after: None,
        max_attempts: 3,
        attempts: 5,
        earlier_attempts: 5,
        last_error: Some("signal".into()),
    };
    assert_eq!(after.schedule, expected);
    assert_eq!(
        (retrying.attempt, retrying.reason.as_str(), retrying.message.as_str()),
        (6, "retried", "signal")
    );
    assert!(!retrying.counted);
    assert!(after.reopened().is_err());
}
