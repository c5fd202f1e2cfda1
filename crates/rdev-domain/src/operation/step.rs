//! Steps of operations: their states, and the one function that decides each transition.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::error::StepError;
use crate::{Error, Result, StepName, Timestamp};

/// Ids of the things that a step made, by the name of each; never a secret.
pub type Made = BTreeMap<String, String>;

/// Step of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationStep {
    /// Number of the step in its operation, from 1.
    pub number: u32,
    /// Name of the step.
    pub name: StepName,
    /// Number of the attempt to make or to take back, from 1; 0 before the first. A retry by hand begins anew, as does
    /// an attempt that has made a part.
    pub attempt: u32,
    /// Things that the step made; empty before it is done, and while it is not known whether it made any.
    pub made: Made,
    /// Time of the first attempt; `None` before.
    pub started_at: Option<Timestamp>,
    /// Time at which the step was done, failed, was taken back or got stuck; `None` before.
    pub ended_at: Option<Timestamp>,
    /// Current state.
    pub state: StepState,
}

/// State of a step, with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepState {
    /// Nothing was done yet.
    Pending,
    /// Being made, or was when the process died: what the step made is not known.
    Running {
        /// Error of the attempt before, which may pass.
        error: Option<StepError>,
    },
    /// Made.
    Done,
    /// Failed for good.
    Failed {
        /// Cause.
        error: StepError,
    },
    /// Being taken back.
    Undoing {
        /// Cause of the failure, and the error of the attempt before to take the step back.
        error: Option<StepError>,
    },
    /// Taken back: nothing of the step is left.
    Undone {
        /// Cause of the failure.
        error: Option<StepError>,
    },
    /// Not taken back, for good: something of the step is left.
    Stuck {
        /// Cause of the failure, and the error of taking the step back.
        error: StepError,
    },
}

/// Name of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepStatus {
    /// Nothing was done yet.
    Pending,
    /// Being made.
    Running,
    /// Made.
    Done,
    /// Failed for good.
    Failed,
    /// Being taken back.
    Undoing,
    /// Taken back.
    Undone,
    /// Not taken back, for good.
    Stuck,
}

impl StepStatus {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Pending, Self::Running, Self::Done, Self::Failed, Self::Undoing, Self::Undone, Self::Stuck];

    /// Name in answers, events and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
        }
    }

    /// Tells whether a step of this status is, or was, taken back.
    pub(super) fn is_of_undo(self) -> bool {
        matches!(self, Self::Undoing | Self::Undone | Self::Stuck)
    }

    /// Returns the status of a name in stores.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == name)
    }
}

/// Event of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEvent {
    /// An attempt to make the step begins.
    Start,
    /// An attempt to make the step has failed, and the next one follows.
    Retry(StepError),
    /// An attempt has made a part of the step, and attempts begin anew.
    Continue,
    /// The step is made.
    Done(Made),
    /// The step failed for good.
    Fail(StepError),
    /// An attempt to take the step back begins.
    Undo,
    /// An attempt to take the step back has failed, and the next one follows.
    UndoRetry(StepError),
    /// The step is taken back.
    Undone,
    /// The step cannot be taken back.
    Stick(StepError),
    /// The operation is retried by hand.
    Reopen,
}

/// Change of a step, as an entry of the log tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepChange {
    /// Name of the step.
    pub name: StepName,
    /// State that the step has reached.
    pub state: StepStatus,
    /// Number of the attempt to make or to take back.
    pub attempt: u32,
    /// Error of the step, or of the attempt before.
    pub error: Option<StepError>,
}

impl StepState {
    /// Returns the state's name.
    pub fn status(&self) -> StepStatus {
        match self {
            Self::Pending => StepStatus::Pending,
            Self::Running { .. } => StepStatus::Running,
            Self::Done => StepStatus::Done,
            Self::Failed { .. } => StepStatus::Failed,
            Self::Undoing { .. } => StepStatus::Undoing,
            Self::Undone { .. } => StepStatus::Undone,
            Self::Stuck { .. } => StepStatus::Stuck,
        }
    }

    /// Returns the error that the state has, if it has one.
    pub fn error(&self) -> Option<&StepError> {
        match self {
            Self::Pending | Self::Done => None,
            Self::Running { error } | Self::Undoing { error } | Self::Undone { error } => error.as_ref(),
            Self::Failed { error } | Self::Stuck { error } => Some(error),
        }
    }

    /// Restores a state of its status and error; `None` where an error is missing.
    pub fn of(status: StepStatus, error: Option<StepError>) -> Option<Self> {
        Some(match status {
            StepStatus::Pending => Self::Pending,
            StepStatus::Running => Self::Running { error },
            StepStatus::Done => Self::Done,
            StepStatus::Failed => Self::Failed { error: error? },
            StepStatus::Undoing => Self::Undoing { error },
            StepStatus::Undone => Self::Undone { error },
            StepStatus::Stuck => Self::Stuck { error: error? },
        })
    }
}

impl OperationStep {
    /// Makes a step that is still to be made.
    pub fn pending(number: u32, name: StepName) -> Self {
        Self {
            number,
            name,
            attempt: 0,
            made: Made::new(),
            started_at: None,
            ended_at: None,
            state: StepState::Pending,
        }
    }

    /// Returns the step after an event.
    ///
    /// # Errors
    /// `Internal` when the event cannot happen in the step's state.
    pub fn after(&self, event: StepEvent, now: Timestamp) -> Result<Self> {
        use StepState as State;
        let cause = self.state.error().cloned();
        let (state, attempt) = match (&self.state, event) {
            (State::Pending, StepEvent::Start) => (State::Running { error: None }, 1),
            // Its process died: whatever it made is found again.
            (State::Running { .. }, StepEvent::Start) => (State::Running { error: cause }, self.attempt + 1),
            (State::Running { .. }, StepEvent::Retry(error)) => {
                (State::Running { error: Some(error) }, self.attempt + 1)
            }
            (State::Running { .. }, StepEvent::Continue) => (State::Running { error: None }, 1),
            (State::Running { .. }, StepEvent::Done(made)) => {
                let made = Self { made, state: State::Done, ended_at: Some(now), ..self.clone() };
                return Ok(made);
            }
            (State::Running { .. }, StepEvent::Fail(error)) => (State::Failed { error }, self.attempt),
            // A failed attempt may have made a part, and one whose end is not known may have made all of it.
            (State::Done | State::Failed { .. }, StepEvent::Undo) => (State::Undoing { error: cause }, 1),
            (State::Running { .. }, StepEvent::Undo) => (State::Undoing { error: None }, 1),
            (State::Undoing { .. }, StepEvent::Undo) => (State::Undoing { error: cause }, self.attempt + 1),
            (State::Undoing { .. }, StepEvent::UndoRetry(error)) => {
                (State::Undoing { error: Some(error.after(cause.as_ref())) }, self.attempt + 1)
            }
            (State::Undoing { .. }, StepEvent::Undone) => {
                (State::Undone { error: cause.and_then(|error| error.cause()) }, self.attempt)
            }
            (State::Undoing { .. }, StepEvent::Stick(error)) => {
                (State::Stuck { error: error.after(cause.as_ref()) }, self.attempt)
            }
            (State::Failed { .. } | State::Undone { .. }, StepEvent::Reopen) => {
                return Ok(Self {
                    started_at: self.started_at,
                    ..Self::pending(self.number, self.name.clone())
                });
            }
            (State::Stuck { .. }, StepEvent::Reopen) => (State::Undoing { error: cause }, 0),
            (_, StepEvent::Reopen) => return Ok(self.clone()),
            (state, event) => {
                let (name, status) = (&self.name, state.status().as_str());
                return Err(Error::Internal(anyhow::anyhow!(
                    "step {name} is {status}, and cannot {event:?}"
                )));
            }
        };
        let ended = matches!(state, State::Failed { .. } | State::Undone { .. } | State::Stuck { .. });
        Ok(Self {
            state,
            attempt,
            started_at: Some(self.started_at.unwrap_or(now)),
            ended_at: ended.then_some(now),
            ..self.clone()
        })
    }

    /// Returns the change by which the step reached its state.
    pub fn change(&self) -> StepChange {
        StepChange {
            name: self.name.clone(),
            state: self.state.status(),
            attempt: self.attempt,
            error: self.state.error().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::error::StepErrorCode;
    use super::*;

    fn error(message: &str) -> StepError {
        StepError { code: StepErrorCode::Unavailable, message: message.to_owned() }
    }

    fn events() -> [StepEvent; 10] {
        [
            StepEvent::Start,
            StepEvent::Retry(error("r")),
            StepEvent::Continue,
            StepEvent::Done(Made::from([("path".to_owned(), "/w".to_owned())])),
            StepEvent::Fail(error("f")),
            StepEvent::Undo,
            StepEvent::UndoRetry(error("u")),
            StepEvent::Undone,
            StepEvent::Stick(error("s")),
            StepEvent::Reopen,
        ]
    }

    fn states() -> [StepState; 7] {
        [
            StepState::Pending,
            StepState::Running { error: None },
            StepState::Done,
            StepState::Failed { error: error("why") },
            StepState::Undoing { error: Some(error("why")) },
            StepState::Undone { error: Some(error("why")) },
            StepState::Stuck { error: error("why") },
        ]
    }

    /// State, number of the attempt and message of the error that each event leads to, of a step in its third attempt.
    #[test]
    fn each_transition_is_decided_by_one_table() {
        let table: [[&str; 10]; 7] = [
            // start, retry, continue, done, fail, undo, undo_retry, undone, stick, reopen
            ["running 1", "-", "-", "-", "-", "-", "-", "-", "-", "pending 3"],
            [
                "running 4",
                "running 4 r",
                "running 1",
                "done 3",
                "failed 3 f",
                "undoing 1",
                "-",
                "-",
                "-",
                "running 3",
            ],
            ["-", "-", "-", "-", "-", "undoing 1", "-", "-", "-", "done 3"],
            ["-", "-", "-", "-", "-", "undoing 1 why", "-", "-", "-", "pending 0"],
            [
                "-",
                "-",
                "-",
                "-",
                "-",
                "undoing 4 why",
                "undoing 4 why; taking it back: u",
                "undone 3 why",
                "stuck 3 why; taking it back: s",
                "undoing 3 why",
            ],
            ["-", "-", "-", "-", "-", "-", "-", "-", "-", "pending 0"],
            ["-", "-", "-", "-", "-", "-", "-", "-", "-", "undoing 0 why"],
        ];
        let (first, now) = (Timestamp::from_micros(1), Timestamp::from_micros(9));
        for (state, row) in states().into_iter().zip(table) {
            for (event, expected) in events().into_iter().zip(row) {
                let step = OperationStep {
                    attempt: 3,
                    started_at: Some(first),
                    state: state.clone(),
                    ..OperationStep::pending(1, "workspace".parse().unwrap())
                };
                let reached = step.after(event.clone(), now).map_or("-".to_owned(), |step| {
                    assert_eq!(step.started_at, Some(first));
                    let StepChange { state, attempt, error, .. } = step.change();
                    let error = error.map(|error| format!(" {}", error.message)).unwrap_or_default();
                    format!("{} {attempt}{error}", state.as_str())
                });
                assert_eq!(reached, expected, "{state:?} {event:?}");
            }
        }
    }

    /// The cause of a failure stays, whatever comes of taking the step back; a step without one tells the last attempt.
    #[test]
    fn the_cause_stays_first_while_a_step_is_taken_back() {
        let at = Timestamp::from_micros;
        let message = |step: &OperationStep| step.state.error().map(|error| error.message.clone());
        for (failed, undone, stuck) in [
            (StepState::Failed { error: error("why") }, Some("why"), "why; taking it back: last"),
            (StepState::Done, None, "taking it back: last"),
        ] {
            let step =
                OperationStep { state: failed, ..OperationStep::pending(1, "workspace".parse().unwrap()) };
            let mut step = step.after(StepEvent::Undo, at(1)).unwrap();
            for n in 0..3 {
                step = step.after(StepEvent::UndoRetry(error(&format!("u{n}"))), at(2)).unwrap();
            }
            let gone = step.after(StepEvent::Undone, at(3)).unwrap();
            assert_eq!(message(&gone).as_deref(), undone);
            // Again by hand, and stuck again.
            for _ in 0..2 {
                step = step.after(StepEvent::Stick(error("last")), at(3)).unwrap();
                assert_eq!(message(&step).as_deref(), Some(stuck));
                step = step.after(StepEvent::Reopen, at(4)).unwrap();
            }
        }
    }

    #[test]
    fn a_step_keeps_what_it_made_until_it_is_taken_back() {
        let at = Timestamp::from_micros;
        let made = Made::from([("path".to_owned(), "/w".to_owned())]);
        let step = OperationStep::pending(1, "workspace".parse().unwrap());
        let running = step.after(StepEvent::Start, at(1)).unwrap();
        assert_eq!((running.started_at, running.ended_at), (Some(at(1)), None));
        let done = running.after(StepEvent::Done(made.clone()), at(2)).unwrap();
        assert_eq!((&done.made, done.ended_at), (&made, Some(at(2))));
        let undoing = done.after(StepEvent::Undo, at(3)).unwrap();
        assert_eq!((&undoing.made, undoing.ended_at), (&made, None));
        let undone = undoing.after(StepEvent::Undone, at(4)).unwrap();
        assert_eq!(undone.ended_at, Some(at(4)));
        assert_eq!(undone.after(StepEvent::Reopen, at(5)).unwrap().made, Made::new());
    }

    #[test]
    fn states_are_read_back() {
        for state in states() {
            let status = StepStatus::parse(state.status().as_str()).unwrap();
            assert_eq!(StepState::of(status, state.error().cloned()), Some(state));
        }
        assert_eq!(StepState::of(StepStatus::Failed, None), None);
        assert_eq!(StepState::of(StepStatus::Stuck, None), None);
        assert_eq!(StepStatus::parse("?"), None);
    }
}
