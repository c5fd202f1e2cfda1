//! Reads along with an agent's output, to know whether the agent came to a result, and if not, why.

use std::time::Duration;

use rdev_domain::Outcome;
use rdev_ports::{AgentJudge, CodeAgent};
use rdev_runner::frame::{Body, End, Frame, Stream};
use tokio::time::Instant;

/// An agent that says nothing for so long after its result does not end by itself.
const HUNG_AFTER: Duration = Duration::from_secs(10);

/// Statement of an agent on its own success so far, and its time.
pub(crate) struct AgentWatch {
    judge: Box<dyn AgentJudge>,
    /// When it said its last line.
    spoke: Option<Instant>,
}

impl AgentWatch {
    /// Watch of a run that has not said anything.
    pub(crate) fn of(agent: &dyn CodeAgent) -> Self {
        Self { judge: agent.judge(), spoke: None }
    }

    /// Reads one frame.
    pub(crate) fn see(&mut self, frame: &Frame) {
        let Body::Output { stream: Stream::Stdout, end, bytes } = &frame.body else {
            return;
        };
        let lines = self.judge.read(bytes);
        // The last piece may be empty: the line was shown while it was still.
        if *end == End::Eof {
            self.judge.end();
        }
        if lines > 0 || *end == End::Eof {
            self.spoke = Some(Instant::now());
        }
    }

    /// Until when it may be silent: it has come to its result. `None`: it is still at work.
    pub(crate) fn silent_until(&self) -> Option<Instant> {
        self.judge.verdict().and(self.spoke).map(|spoke| spoke + HUNG_AFTER)
    }

    /// Corrects the end of an agent that was stopped, though nobody asked for that, since it did not end after its result.
    pub(crate) fn hung(&self, outcome: Outcome) -> Outcome {
        outcome.hung(self.judge.verdict(), HUNG_AFTER)
    }

    /// Corrects a command's end by what the agent said: exit code 0 alone is no success.
    pub(crate) fn judge(&self, outcome: Outcome) -> Outcome {
        outcome.judged(self.judge.verdict())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rdev_domain::{Ending, Reason};
    use rdev_ports::testing::agents::FakeAgent;

    use super::*;

    fn ending(frames: &[(Stream, End, &'static str)]) -> Ending {
        let mut watch = AgentWatch::of(&FakeAgent);
        for (stream, end, text) in frames {
            let body =
                Body::Output { stream: *stream, end: *end, bytes: Bytes::from_static(text.as_bytes()) };
            watch.see(&Frame { first_seq: 1, count: 1, time_us: 0, body });
        }
        let ending = Ending::Completed;
        watch.judge(Outcome { ending, exit_code: Some(0), message: None, duration: Duration::ZERO }).ending
    }

    #[test]
    fn a_result_counts_however_its_line_was_shown() {
        let (out, err) = (Stream::Stdout, Stream::Stderr);
        assert_eq!(ending(&[(out, End::Newline, "work\nresult\n")]), Ending::Completed);
        assert_eq!(ending(&[(out, End::Partial, "res"), (out, End::Newline, "ult\n")]), Ending::Completed);
        // The line was shown before it ended.
        assert_eq!(ending(&[(out, End::Partial, "result"), (out, End::Eof, "")]), Ending::Completed);
        let without = Ending::Failed(Reason::NoResult);
        assert_eq!(ending(&[(err, End::Newline, "result\n")]), without);
        assert_eq!(ending(&[(out, End::Partial, "result")]), without);
        assert_eq!(ending(&[]), without);
    }
}
