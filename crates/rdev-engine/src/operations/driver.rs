//! Driver of one claimed operation: asks what comes next, stores it, does it, stores what came of it.

use std::time::Duration;

use rdev_domain::{
    Error, NextAction, OperationEnd, OperationStep, Outcome, Result, Seq, StepError, StepErrorCode,
    StepEvent, StepName, StepState, Timestamp, next_action,
};
use rdev_ports::Random;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::plan::{Ensured, Plan, Step, StepContext};
use crate::run::writer::JobWriter;

/// Longest time of one call of a step.
const CALL_MAX: Duration = Duration::from_secs(300);
/// First and longest pause between two attempts of a step; a pause doubles each time.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_LAST: Duration = Duration::from_secs(60);
/// Longest time of the attempts of a step.
const STEP_PATIENCE: Duration = Duration::from_secs(15 * 60);
/// Most attempts of a step, also over several processes: their pauses are some 15 min together.
const ATTEMPTS_MAX: u32 = 25;

/// Drives one claimed operation to its end. Dropping its future leaves the rows so that another one goes on.
pub(crate) struct Driver<'a> {
    pub(crate) writer: &'a JobWriter,
    pub(crate) context: StepContext,
    pub(crate) plan: Plan,
    pub(crate) cancelled: &'a CancellationToken,
    pub(crate) random: &'a dyn Random,
    /// Time at which this round of the operation began: its first claim after its acceptance, or after a retry by hand.
    pub(crate) started_at: Timestamp,
    /// Number of the last stored event.
    pub(crate) last_seq: Seq,
    /// Steps as they are stored.
    pub(crate) steps: Vec<OperationStep>,
}

/// Attempts of a step: when they began, and how many there were.
struct Attempts {
    began: Instant,
    number: u32,
}

impl Attempts {
    /// Tells whether another attempt may follow.
    fn may_go_on(&self) -> bool {
        self.number < ATTEMPTS_MAX && self.began.elapsed() < STEP_PATIENCE
    }

    /// Returns the pause before the next attempt, from half of a time that doubles to all of it.
    fn pause(&self, random: &dyn Random) -> Duration {
        let doubled = 1_u32.checked_shl(self.number.saturating_sub(1)).unwrap_or(u32::MAX);
        PAUSE_FIRST.saturating_mul(doubled).min(PAUSE_LAST).mul_f64(0.5 + random.fraction() / 2.0)
    }
}

impl Driver<'_> {
    /// Returns the names of a plan's steps.
    ///
    /// # Errors
    /// When a name is not valid.
    pub(crate) fn names(plan: &Plan) -> Result<Vec<StepName>> {
        let name = |(name, _): &(&str, _)| Ok(name.parse().map_err(anyhow::Error::from)?);
        plan.steps.iter().map(name).collect()
    }

    /// Goes on with the operation until its end. Returns the outcome of the operation, which is stuck where this version
    /// cannot go on, as when a stored step is none of the plan.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has taken over.
    pub(crate) async fn run(&mut self) -> Result<Outcome> {
        match self.drive().await {
            Ok(end) => Ok(self.timed(end.outcome(&self.steps))),
            Err(error) => Ok(self.timed(stuck(error, &self.steps)?)),
        }
    }

    async fn drive(&mut self) -> Result<OperationEnd> {
        loop {
            match next_action(&self.plan.rules, &self.steps, self.cancelled.is_cancelled()) {
                NextAction::Ensure(number) => self.ensure(number).await?,
                NextAction::Undo(number) => self.undo(number).await?,
                NextAction::End(end) => return Ok(end),
            }
        }
    }

    fn timed(&self, outcome: Outcome) -> Outcome {
        Outcome { duration: self.writer.now().since(self.started_at), ..outcome }
    }

    /// Makes a step. Returns early, with the step as it is, when the operation is to go back instead.
    async fn ensure(&mut self, number: u32) -> Result<()> {
        let action = self.action(number)?;
        let mut attempts = self.begin(number, StepEvent::Start).await?;
        if let Some(error) = self.exhausted(number, &attempts)? {
            return self.advance(number, StepEvent::Fail(error)).await.map(|_| ());
        }
        loop {
            let error = match called(action.ensure(&self.context)).await {
                Ok(Ensured::Done(made)) => {
                    return self.advance(number, StepEvent::Done(made)).await.map(|_| ());
                }
                Ok(Ensured::More) => {
                    attempts = self.begin(number, StepEvent::Continue).await?;
                    if self.cancelled.is_cancelled() && self.may_turn_back(number) {
                        return Ok(());
                    }
                    continue;
                }
                Err(error) => error,
            };
            self.warn(number, &error, "step failed");
            let described = StepError::of(&error);
            if !matches!(error, Error::Unavailable { .. }) || !attempts.may_go_on() {
                return self.advance(number, StepEvent::Fail(described)).await.map(|_| ());
            }
            let pause = attempts.pause(self.random);
            attempts.number = self.advance(number, StepEvent::Retry(described)).await?;
            let may_turn_back = self.may_turn_back(number);
            tokio::select! {
                () = self.cancelled.cancelled(), if may_turn_back => return Ok(()),
                () = sleep(pause) => {}
            }
        }
    }

    /// Tells whether a cancellation has the operation go back instead of making this step.
    fn may_turn_back(&self, number: u32) -> bool {
        next_action(&self.plan.rules, &self.steps, true) != NextAction::Ensure(number)
    }

    /// Takes a step back.
    async fn undo(&mut self, number: u32) -> Result<()> {
        let action = self.action(number)?;
        let mut attempts = self.begin(number, StepEvent::Undo).await?;
        if let Some(error) = self.exhausted(number, &attempts)? {
            return self.advance(number, StepEvent::Stick(error)).await.map(|_| ());
        }
        let made = self.step(number)?.made.clone();
        loop {
            let error = match called(action.undo(&self.context, &made)).await {
                Ok(()) => return self.advance(number, StepEvent::Undone).await.map(|_| ()),
                Err(error) => error,
            };
            self.warn(number, &error, "step was not taken back");
            let described = StepError::of(&error);
            if !matches!(error, Error::Unavailable { .. }) || !attempts.may_go_on() {
                return self.advance(number, StepEvent::Stick(described)).await.map(|_| ());
            }
            let pause = attempts.pause(self.random);
            attempts.number = self.advance(number, StepEvent::UndoRetry(described)).await?;
            sleep(pause).await;
        }
    }

    fn warn(&self, number: u32, error: &Error, message: &'static str) {
        let StepContext { operation, project } = &self.context;
        let step = self.step(number).map(|step| step.name.as_str()).unwrap_or_default();
        tracing::warn!(%operation, %project, step, ?error, "{message}");
    }

    /// Stores the first attempt of this process, or of the next part of a step.
    async fn begin(&mut self, number: u32, event: StepEvent) -> Result<Attempts> {
        let attempt = self.advance(number, event).await?;
        Ok(Attempts { began: Instant::now(), number: attempt })
    }

    /// Returns the error of a step whose attempts are used up when a process begins with the step: the process before
    /// ended during the last one. `None` while there are attempts left.
    fn exhausted(&self, number: u32, attempts: &Attempts) -> Result<Option<StepError>> {
        if attempts.number <= ATTEMPTS_MAX {
            return Ok(None);
        }
        let before = match &self.step(number)?.state {
            StepState::Running { error: Some(error) } => format!("; the error before: {}", error.message),
            _ => String::new(),
        };
        let message = format!("{ATTEMPTS_MAX} attempts began, and rdev ended during the last one{before}");
        Ok(Some(StepError { code: StepErrorCode::Internal, message }))
    }

    /// Stores an event of a step, and returns the number of its attempt.
    async fn advance(&mut self, number: u32, event: StepEvent) -> Result<u32> {
        let seq = self.last_seq.next();
        let step = self.writer.advance(number, event, seq).await?;
        self.last_seq = seq;
        let attempt = step.attempt;
        if let Some(stored) = self.steps.iter_mut().find(|stored| stored.number == number) {
            *stored = step;
        }
        Ok(attempt)
    }

    fn step(&self, number: u32) -> Result<&OperationStep> {
        let step = self.steps.iter().find(|step| step.number == number);
        step.ok_or_else(|| Error::Internal(anyhow::anyhow!("there is no step {number}")))
    }

    /// Returns what makes the step and takes it back; a plan of another version may have other numbers.
    fn action(&self, number: u32) -> Result<std::sync::Arc<dyn Step>> {
        let name = &self.step(number)?.name;
        let action = self.plan.steps.iter().find(|(known, _)| *known == name.as_str());
        let action = action.map(|(_, action)| action.clone());
        action.ok_or_else(|| Error::Internal(anyhow::anyhow!("this version has no step {name}")))
    }
}

/// Returns the outcome of an operation that cannot go on by an error that is none of its steps'. A retry by hand goes on
/// where the operation stopped.
///
/// # Errors
/// The error itself when another worker has taken over, or the store is not available: the operation has not ended.
pub(crate) fn stuck(error: Error, steps: &[OperationStep]) -> Result<Outcome> {
    if matches!(error, Error::LeaseLost | Error::Unavailable { .. }) {
        return Err(error);
    }
    let outcome = OperationEnd::Stuck.outcome(steps);
    let parts = [Some(StepError::of(&error).message), outcome.message.filter(|rest| !rest.is_empty())];
    let message: Vec<String> = parts.into_iter().flatten().collect();
    Ok(Outcome { message: Some(message.join("; ")), ..outcome })
}

/// Waits for a call of a step, for a limited time.
async fn called<T>(call: impl Future<Output = Result<T>>) -> Result<T> {
    let late = || anyhow::anyhow!("no answer within {} s", CALL_MAX.as_secs());
    timeout(CALL_MAX, call).await.unwrap_or_else(|_| Err(Error::unavailable("the step", late())))
}
