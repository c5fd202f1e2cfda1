//! Programs started ahead of their use: starting two processes takes longer than all else that happens
//! between a request and the first line of its command.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::sleep;

/// Programs that wait at the same time, each with other arguments.
const WAITING_MAX: usize = 4;
/// One that is not used for so long is ended.
const IDLE: Duration = Duration::from_secs(60);
/// The next one is started this long after one was used: not beside the command that is starting.
const PAUSE: Duration = Duration::from_millis(20);

/// The programs that wait for their input.
#[derive(Default)]
pub(crate) struct Waiting {
    programs: Mutex<Programs>,
}

#[derive(Default)]
struct Programs {
    by_argv: HashMap<Vec<String>, (u64, Child)>,
    started: u64,
}

impl Waiting {
    /// One that waits, if there is one, and it lives.
    pub(crate) fn take(&self, argv: &[String]) -> Option<Child> {
        let (_, mut child) = self.programs().by_argv.remove(argv)?;
        matches!(child.try_wait(), Ok(None)).then_some(child)
    }

    /// Starts one for the next time.
    pub(crate) fn start_later(self: &Arc<Self>, argv: Vec<String>, command: Command) {
        let waiting = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(PAUSE).await;
            let Some(number) = waiting.upgrade().and_then(|waiting| waiting.start(&argv, command)) else {
                return;
            };
            sleep(IDLE).await;
            if let Some(waiting) = waiting.upgrade() {
                waiting.end(&argv, number);
            }
        });
    }

    fn start(&self, argv: &[String], mut command: Command) -> Option<u64> {
        let mut programs = self.programs();
        if programs.by_argv.len() >= WAITING_MAX || programs.by_argv.contains_key(argv) {
            return None;
        }
        // Where it cannot be started now, the next use starts its own, and tells.
        let child = command.spawn().ok()?;
        programs.started += 1;
        let number = programs.started;
        programs.by_argv.insert(argv.to_vec(), (number, child));
        Some(number)
    }

    fn end(&self, argv: &[String], number: u64) {
        let mut programs = self.programs();
        if programs.by_argv.get(argv).is_some_and(|(started, _)| *started == number) {
            // Dropped, it is killed; its supervisor's input ends with it.
            programs.by_argv.remove(argv);
        }
    }

    fn programs(&self) -> MutexGuard<'_, Programs> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
