//! The next action of an operation, decided from its steps alone.

use super::{OnFailure, OperationStep, StepStatus};
use crate::{Ending, Outcome, Reason};

/// Rules of an operation that its steps are decided by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationPlan {
    /// Consequence of a step that fails for good.
    pub on_failure: OnFailure,
    /// Name of the first step that cannot be taken back; `None`: every step can. Once this step or a later one has begun,
    /// the operation only goes forward. An operation whose stored steps have no such name, which another version has
    /// begun, only goes forward from its first step on.
    pub no_return_from: Option<&'static str>,
}

/// Next action of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAction {
    /// Make the step of this number.
    Ensure(u32),
    /// Take the step of this number back.
    Undo(u32),
    /// End the operation.
    End(OperationEnd),
}

/// End of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationEnd {
    /// Every step is done.
    Completed,
    /// A step failed for good, and what was made is kept.
    Degraded,
    /// A step failed for good, and everything is taken back.
    RolledBack,
    /// Something is left that was not taken back, or not removed.
    Stuck,
    /// Cancelled on request, and everything is taken back.
    Cancelled,
}

/// Returns the next action of an operation with these steps, in the order of their numbers.
///
/// The operation goes back when its cancellation was requested, or when a step failed and the plan says so; once a step
/// is being taken back, it goes back to the end. Steps are taken back in reverse, and a stuck step does not stop the
/// undo of the others.
pub fn next_action(plan: &OperationPlan, steps: &[OperationStep], is_cancelled: bool) -> NextAction {
    let first = |statuses: &[StepStatus]| steps.iter().find(|step| statuses.contains(&step.state.status()));
    let only_forward = plan.no_return_from.is_some_and(|name| {
        let from = steps.iter().position(|step| step.name.as_str() == name).unwrap_or(0);
        steps.iter().skip(from).any(|step| step.state.status() != StepStatus::Pending)
    });
    let has_failed = first(&[StepStatus::Failed]).is_some();
    let has_gone_back = steps.iter().any(|step| step.state.status().is_of_undo());
    let rolls_back = has_failed && plan.on_failure == OnFailure::Rollback;
    if has_gone_back || !only_forward && (is_cancelled || rolls_back) {
        let left = [StepStatus::Running, StepStatus::Done, StepStatus::Failed, StepStatus::Undoing];
        let last = steps.iter().rev().find(|step| left.contains(&step.state.status()));
        return match last {
            Some(step) => NextAction::Undo(step.number),
            None if first(&[StepStatus::Stuck]).is_some() => NextAction::End(OperationEnd::Stuck),
            None if is_cancelled => NextAction::End(OperationEnd::Cancelled),
            None => NextAction::End(OperationEnd::RolledBack),
        };
    }
    match first(&[StepStatus::Pending, StepStatus::Running, StepStatus::Failed]) {
        None => NextAction::End(OperationEnd::Completed),
        Some(step) if step.state.status() != StepStatus::Failed => NextAction::Ensure(step.number),
        Some(_) if only_forward => NextAction::End(OperationEnd::Stuck),
        Some(_) => NextAction::End(OperationEnd::Degraded),
    }
}

impl OperationEnd {
    /// Returns the ending of the operation's job.
    pub fn ending(self) -> Ending {
        match self {
            Self::Completed => Ending::Completed,
            Self::Cancelled => Ending::Cancelled,
            Self::Degraded => Ending::Failed(Reason::Degraded),
            Self::RolledBack => Ending::Failed(Reason::RolledBack),
            Self::Stuck => Ending::Failed(Reason::Stuck),
        }
    }

    /// Returns the outcome of the operation's job: all errors of its steps, the cause first, and what is left.
    pub fn outcome(self, steps: &[OperationStep]) -> Outcome {
        // A step that fails is the last one that began; the errors before are those of taking back.
        let errors = steps.iter().rev().filter_map(|step| {
            let error = step.state.error()?;
            Some(format!("{}: {}", step.name, error.message))
        });
        let mut parts: Vec<String> = errors.collect();
        let went_back = steps.iter().any(|step| step.state.status().is_of_undo());
        let is_left = |step: &&OperationStep| match self {
            Self::Completed | Self::RolledBack | Self::Cancelled => false,
            Self::Degraded => step.state.status() == StepStatus::Done,
            Self::Stuck => match step.state.status() {
                StepStatus::Stuck | StepStatus::Failed | StepStatus::Running | StepStatus::Undoing => true,
                StepStatus::Undone => false,
                // What was made is left of an undo, and what was not made yet of an operation that goes forward.
                StepStatus::Done => went_back,
                StepStatus::Pending => !went_back,
            },
        };
        let left: Vec<&str> = steps.iter().filter(is_left).map(|step| step.name.as_str()).collect();
        if !left.is_empty() {
            let word = if self == Self::Degraded { "kept" } else { "left" };
            parts.push(format!("{word}: {}", left.join(", ")));
        }
        if self == Self::Cancelled && parts.is_empty() {
            parts.push("cancelled, and everything is taken back".to_owned());
        }
        let message = (self != Self::Completed).then(|| parts.join("; "));
        Outcome { message, ..Outcome::without_process(self.ending(), "") }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{StepError, StepErrorCode, StepState};
    use super::*;

    fn steps(states: &str) -> Vec<OperationStep> {
        let state = |letter| {
            let error =
                |message: &str| StepError { code: StepErrorCode::Internal, message: message.to_owned() };
            match letter {
                'p' => StepState::Pending,
                'r' => StepState::Running { error: None },
                'd' => StepState::Done,
                'f' => StepState::Failed { error: error("broken") },
                'u' => StepState::Undoing { error: None },
                'x' => StepState::Undone { error: None },
                _ => StepState::Stuck { error: error("stuck") },
            }
        };
        let named = |(number, letter): (u32, char)| OperationStep {
            state: state(letter),
            ..OperationStep::pending(number, format!("step_{number}").parse().unwrap())
        };
        (1..).zip(states.chars()).map(named).collect()
    }

    #[test]
    fn the_next_action_follows_from_the_steps() {
        use NextAction::{End, Ensure, Undo};
        use OperationEnd::{Cancelled, Completed, Degraded, RolledBack, Stuck};
        // Steps; what comes next when failures roll back, are kept, and when the operation is cancelled.
        for (states, rollback, keep, cancelled) in [
            ("ppp", Ensure(1), Ensure(1), End(Cancelled)),
            ("rpp", Ensure(1), Ensure(1), Undo(1)),
            ("dpp", Ensure(2), Ensure(2), Undo(1)),
            ("drp", Ensure(2), Ensure(2), Undo(2)),
            ("ddd", End(Completed), End(Completed), Undo(3)),
            ("dfp", Undo(2), End(Degraded), Undo(2)),
            ("dup", Undo(2), Undo(2), Undo(2)),
            ("dxp", Undo(1), Undo(1), Undo(1)),
            ("dsp", Undo(1), Undo(1), Undo(1)),
            ("uxp", Undo(1), Undo(1), Undo(1)),
            ("xxp", End(RolledBack), End(RolledBack), End(Cancelled)),
            ("xsp", End(Stuck), End(Stuck), End(Stuck)),
            ("", End(Completed), End(Completed), End(Cancelled)),
        ] {
            let steps = steps(states);
            let plan = |on_failure| OperationPlan { on_failure, no_return_from: None };
            assert_eq!(next_action(&plan(OnFailure::Rollback), &steps, false), rollback, "{states}");
            assert_eq!(next_action(&plan(OnFailure::Keep), &steps, false), keep, "{states}");
            assert_eq!(next_action(&plan(OnFailure::Keep), &steps, true), cancelled, "{states}");
        }
    }

    #[test]
    fn past_the_point_of_no_return_an_operation_only_goes_forward() {
        use NextAction::{End, Ensure, Undo};
        use OperationEnd::{Completed, Stuck};
        let plan = OperationPlan { on_failure: OnFailure::Rollback, no_return_from: Some("step_2") };
        for (states, goes_on, cancelled) in [
            ("dpp", Ensure(2), Undo(1)),
            ("fpp", Undo(1), Undo(1)),
            ("drp", Ensure(2), Ensure(2)),
            ("ddp", Ensure(3), Ensure(3)),
            ("dfp", End(Stuck), End(Stuck)),
            ("ddf", End(Stuck), End(Stuck)),
            ("ddd", End(Completed), End(Completed)),
        ] {
            let steps = steps(states);
            assert_eq!(next_action(&plan, &steps, false), goes_on, "{states}");
            assert_eq!(next_action(&plan, &steps, true), cancelled, "{states}");
        }
    }

    /// The plan of another version may have other numbers.
    #[test]
    fn the_point_of_no_return_is_found_by_its_name() {
        use NextAction::{Ensure, Undo};
        let plan = OperationPlan { on_failure: OnFailure::Rollback, no_return_from: Some("step_2") };
        let mut moved = steps("dpp");
        moved[1].name = "inserted".parse().unwrap();
        moved[2].name = "step_2".parse().unwrap();
        moved[1].state = StepState::Running { error: None };
        assert_eq!(next_action(&plan, &moved, true), Undo(2));
        moved[1].state = StepState::Done;
        moved[2].state = StepState::Running { error: None };
        assert_eq!(next_action(&plan, &moved, true), Ensure(3));
        // A name that no stored step has may stand for any of them.
        moved[2].name = "renamed".parse().unwrap();
        moved[2].state = StepState::Pending;
        assert_eq!(next_action(&plan, &moved, true), Ensure(3));
    }

    #[test]
    fn the_outcome_joins_the_errors_and_names_what_is_left() {
        for (states, end, message) in [
            ("ddd", OperationEnd::Completed, None),
            ("dfp", OperationEnd::Degraded, Some("step_2: broken; kept: step_1")),
            ("sfp", OperationEnd::Stuck, Some("step_2: broken; step_1: stuck; left: step_1, step_2")),
            ("dfpp", OperationEnd::Stuck, Some("step_2: broken; left: step_2, step_3, step_4")),
            ("dsxp", OperationEnd::Stuck, Some("step_2: stuck; left: step_1, step_2")),
            ("xxp", OperationEnd::Cancelled, Some("cancelled, and everything is taken back")),
        ] {
            let outcome = end.outcome(&steps(states));
            assert_eq!((outcome.ending, outcome.message.as_deref()), (end.ending(), message), "{states}");
        }
    }

    #[test]
    fn a_cancelled_operation_tells_its_errors_or_that_nothing_is_left() {
        let mut steps = steps("xx");
        let message = |steps: &[OperationStep]| OperationEnd::Cancelled.outcome(steps).message;
        assert_eq!(message(&steps).as_deref(), Some("cancelled, and everything is taken back"));
        let error = StepError { code: StepErrorCode::Internal, message: "broken".to_owned() };
        steps[1].state = StepState::Undone { error: Some(error) };
        assert_eq!(message(&steps).as_deref(), Some("step_2: broken"));
    }
}
