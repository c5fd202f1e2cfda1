//! Injected faults.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::broadcast;

/// Most unread cuts of a session; more at a time make no difference.
const CUTS_MAX: usize = 16;

/// Kind of a lost connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The TCP connection ends, without a close frame and without the end of TLS.
    Close,
    /// Nothing is sent or read, pings are not answered, and no error is reported.
    HalfOpen,
}

/// Point at which an exec connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Bytes sent to the client after the answer 101: frames with their headers.
    pub after: u64,
    /// Kind of the cut.
    pub how: How,
}

impl Cut {
    /// Ends the connection after this number of bytes.
    pub fn close(after: u64) -> Self {
        Self { after, how: How::Close }
    }

    /// Silences the connection after this number of bytes.
    pub fn half_open(after: u64) -> Self {
        Self { after, how: How::HalfOpen }
    }
}

/// Number of refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// This number of requests.
    Next(usize),
    /// Every request until [`Cluster::refuse_nothing`].
    ///
    /// [`Cluster::refuse_nothing`]: crate::Cluster::refuse_nothing
    All,
}

/// Answer in place of the requested one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// 401: the token has expired.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 409.
    Conflict,
    /// 410: the resource version is too old.
    Expired,
    /// 429, with `Retry-After` in seconds.
    TooManyRequests(u32),
    /// 500.
    InternalError,
    /// 503.
    Unavailable,
    /// None: the request is accepted and never answered.
    Silence,
}

/// Active faults of a cluster.
pub(crate) struct Faults {
    state: Mutex<State>,
    cut_execs: broadcast::Sender<How>,
    cut_watches: broadcast::Sender<How>,
}

#[derive(Default)]
struct State {
    next_cuts: VecDeque<Option<Cut>>,
    every_cut: Option<Cut>,
    refusals: Vec<Rule>,
    latency: Duration,
    idle_limit: Option<Duration>,
}

struct Rule {
    verb: String,
    resource: String,
    times: Times,
    refusal: Refusal,
}

impl Faults {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            cut_execs: broadcast::Sender::new(CUTS_MAX),
            cut_watches: broadcast::Sender::new(CUTS_MAX),
        }
    }

    pub(crate) fn cut_next(&self, cuts: impl IntoIterator<Item = Option<Cut>>) {
        self.state().next_cuts.extend(cuts);
    }

    pub(crate) fn cut_every(&self, cut: Option<Cut>) {
        self.state().every_cut = cut;
    }

    /// Takes the cut of the exec connection that begins now.
    pub(crate) fn take_cut(&self) -> Option<Cut> {
        let mut state = self.state();
        let every = state.every_cut;
        state.next_cuts.pop_front().unwrap_or(every)
    }

    pub(crate) fn cut_execs_now(&self, how: How) {
        // There is no receiver where no exec runs.
        self.cut_execs.send(how).ok();
    }

    pub(crate) fn cut_watches_now(&self, how: How) {
        self.cut_watches.send(how).ok();
    }

    pub(crate) fn exec_cuts(&self) -> broadcast::Receiver<How> {
        self.cut_execs.subscribe()
    }

    pub(crate) fn watch_cuts(&self) -> broadcast::Receiver<How> {
        self.cut_watches.subscribe()
    }

    pub(crate) fn refuse(&self, verb: &str, resource: &str, times: Times, refusal: Refusal) {
        let rule = Rule { verb: verb.to_owned(), resource: resource.to_owned(), times, refusal };
        self.state().refusals.push(rule);
    }

    pub(crate) fn refuse_nothing(&self) {
        self.state().refusals.clear();
    }

    pub(crate) fn take_refusal(&self, verb: &str, resource: &str) -> Option<Refusal> {
        let fits = |pattern: &str, value: &str| pattern == "*" || pattern == value;
        let mut state = self.state();
        let pod_folder = state
            .refusals
            .iter()
            .position(|rule| fits(&rule.verb, verb) && fits(&rule.resource, resource))?;
        let rule = state.refusals.get_mut(pod_folder)?;
        let refusal = rule.refusal;
        match &mut rule.times {
            Times::All => {}
            Times::Next(left) if *left > 1 => *left -= 1,
            Times::Next(0) => {
                state.refusals.remove(pod_folder);
                return None;
            }
            Times::Next(_) => {
                state.refusals.remove(pod_folder);
            }
        }
        Some(refusal)
    }

    pub(crate) fn set_latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    pub(crate) fn latency(&self) -> Duration {
        self.state().latency
    }

    pub(crate) fn set_idle_limit(&self, limit: Option<Duration>) {
        self.state().idle_limit = limit;
    }

    pub(crate) fn idle_limit(&self) -> Option<Duration> {
        self.state().idle_limit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
