//! Tasks that are asked for, and the marks that each leaves behind.

use std::path::Path;

use fastrand::Rng;
use serde_json::{Value, json};

/// The projects in which shell commands run.
pub(crate) const PROJECTS: [&str; 3] = ["demo", "second", "third"];
/// Tasks of one key run one at a time.
const KEYS: usize = 8;
/// Most lines that one task writes; it sleeps between them, so that it lives for a while.
const LINES_MAX: usize = 4;

/// A task, and its side effect: a line with its number, each time it runs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Task {
    pub(crate) number: usize,
    pub(crate) kind: Kind,
    pub(crate) lines: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A task of the pool that must not run twice.
    Once,
    /// As [`Self::Once`], and never beside another one of its key; it fails where it does.
    SingleProcess,
    /// A task of the pool that may be tried again.
    MayRepeat,
    /// As [`Self::MayRepeat`]; its first attempt fails.
    FailsFirst,
    /// A shell command of a project, which must not run twice.
    InProject(&'static str),
}

impl Task {
    pub(crate) fn drawn(number: usize, random: &mut Rng) -> Self {
        let kind = match random.usize(..20) {
            0..9 => Kind::Once,
            9 => Kind::SingleProcess,
            10..15 => Kind::MayRepeat,
            15 => Kind::FailsFirst,
            _ => Kind::InProject(PROJECTS[random.usize(..PROJECTS.len())]),
        };
        Self { number, kind, lines: random.usize(1..=LINES_MAX) }
    }

    pub(crate) fn may_repeat(self) -> bool {
        matches!(self.kind, Kind::MayRepeat | Kind::FailsFirst)
    }

    /// Lines that it writes to standard output when it succeeds.
    pub(crate) fn output(self) -> impl Iterator<Item = String> {
        (1..=self.lines).map(move |line| format!("{} says {line}", self.number))
    }

    /// The idempotency key of all who post it.
    pub(crate) fn key(self) -> String {
        format!("task-{}", self.number)
    }

    /// Path to which it is posted.
    pub(crate) fn home(self) -> String {
        match self.kind {
            Kind::InProject(project) => format!("/projects/{project}/shell"),
            _ => "/queue/tasks".to_owned(),
        }
    }

    pub(crate) fn body(self, marks: &Path) -> Value {
        let command = self.command(marks);
        let attempts = if self.may_repeat() { 3 } else { 1 };
        match self.kind {
            Kind::InProject(_) => json!({"command": command}),
            Kind::SingleProcess => json!({"type": "shell", "steps": [command], "max_attempts": attempts,
                                  "concurrency_key": format!("key-{}", self.number % KEYS)}),
            _ => json!({"type": "shell", "steps": [command], "max_attempts": attempts}),
        }
    }

    fn command(self, marks: &Path) -> String {
        let Self { number, lines, .. } = self;
        let marks = marks.display();
        let key = number % KEYS;
        let (before, after) = match self.kind {
            Kind::FailsFirst => {
                (format!("mkdir {marks}/first-{number} 2>/dev/null && exit 3\n"), String::new())
            }
            Kind::SingleProcess => {
                (format!("mkdir {marks}/key-{key} || exit 4\n"), format!("rmdir {marks}/key-{key}\n"))
            }
            Kind::Once | Kind::MayRepeat | Kind::InProject(_) => Default::default(),
        };
        format!(
            "echo {number} >> {marks}/ran\n{before}\
             i=0; while [ $i -lt {lines} ]; do i=$((i + 1)); echo \"{number} says $i\"; sleep 0.1; done\n{after}"
        )
    }

    /// Path of the task.
    pub(crate) fn path(self, id: &str) -> String {
        match self.kind {
            Kind::InProject(project) => format!("/projects/{project}/commands/{id}"),
            _ => format!("/queue/tasks/{id}"),
        }
    }

    /// Path of its stream.
    pub(crate) fn stream(self, id: &str) -> String {
        match self.kind {
            Kind::InProject(project) => format!("/projects/{project}/events?stream_id={id}"),
            _ => format!("/queue/tasks/{id}/events"),
        }
    }
}
