//! Schedule of the acts that end a tree of processes.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Act on the processes, in rising order of force.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// SIGINT to the command's main process only.
    Interrupt,
    /// SIGTERM to all.
    Terminate,
    /// SIGKILL to all, repeated until none is left.
    Kill,
}

/// The acts still to come.
#[derive(Debug)]
pub(crate) struct Schedule(VecDeque<(Instant, Act)>);

impl Schedule {
    /// SIGTERM now, SIGKILL after the grace time.
    pub(crate) fn terminate(now: Instant, grace: Duration) -> Self {
        Self([(now, Act::Terminate), (now + grace, Act::Kill)].into())
    }

    /// SIGINT now, SIGTERM after half of the grace time, SIGKILL after all of it.
    pub(crate) fn interrupt(now: Instant, grace: Duration) -> Self {
        let acts = [(now, Act::Interrupt), (now + grace / 2, Act::Terminate), (now + grace, Act::Kill)];
        Self(acts.into())
    }

    /// SIGKILL now.
    pub(crate) fn kill(now: Instant) -> Self {
        Self([(now, Act::Kill)].into())
    }

    /// Returns the time of the next act.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.0.front().map(|&(at, _)| at)
    }

    /// Takes the next act if it is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Act> {
        self.0.pop_front_if(|&mut (at, _)| at <= now).map(|(_, act)| act)
    }

    /// Advances an act that waited for the command's main process, which has ended.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for (at, act) in &mut self.0 {
            if matches!(act, Act::Interrupt | Act::Terminate) {
                *at = now.min(*at);
            }
        }
    }

    /// Adds another kill at this time.
    pub(crate) fn kill_again(&mut self, at: Instant) {
        self.0.push_back((at, Act::Kill));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acts_come_in_order_and_only_when_due() {
        let start = Instant::now();
        let grace = Duration::from_secs(4);
        let mut schedule = Schedule::interrupt(start, grace);
        assert_eq!(schedule.due(start), Some(Act::Interrupt));
        assert_eq!(schedule.due(start + grace / 4), None);
        assert_eq!(schedule.next(), Some(start + grace / 2));
        schedule.hurry(start + grace / 4);
        assert_eq!(schedule.due(start + grace / 4), Some(Act::Terminate));
        assert_eq!(schedule.due(start + grace / 2), None);
        assert_eq!(schedule.due(start + grace), Some(Act::Kill));
        assert_eq!(schedule.next(), None);
    }
}
