//! Pool of programs started ahead of their use: the start of two processes takes longer than everything
//! else between a request and the first line of its job.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::time::sleep;

/// Most programs in the pool, each with other arguments.
const PROGRAMS_MAX: usize = 4;
/// Time after which an unused program is killed.
const IDLE: Duration = Duration::from_secs(60);
/// Delay before the replacement of a used program starts, so it does not compete with the job that is
/// starting.
const PAUSE: Duration = Duration::from_millis(20);

/// Programs that wait for their input.
#[derive(Default)]
pub(crate) struct Prestarted {
    programs: Mutex<Programs>,
}

#[derive(Default)]
struct Programs {
    by_argv: HashMap<Vec<String>, (u64, Child)>,
    started: u64,
}

impl Prestarted {
    /// Takes a prestarted program out of the pool, if one exists and lives.
    pub(crate) fn take(&self, argv: &[String]) -> Option<Child> {
        let (_, mut child) = self.programs().by_argv.remove(argv)?;
        matches!(child.try_wait(), Ok(None)).then_some(child)
    }

    /// Starts a program for the next use.
    pub(crate) fn start_later(self: &Arc<Self>, argv: Vec<String>, command: Command) {
        let prestarted = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(PAUSE).await;
            let Some(number) = prestarted.upgrade().and_then(|prestarted| prestarted.start(&argv, command))
            else {
                return;
            };
            sleep(IDLE).await;
            if let Some(prestarted) = prestarted.upgrade() {
                prestarted.end(&argv, number);
            }
        });
    }

    fn start(&self, argv: &[String], mut command: Command) -> Option<u64> {
        let mut programs = self.programs();
        if programs.by_argv.len() >= PROGRAMS_MAX || programs.by_argv.contains_key(argv) {
            return None;
        }
        // When it cannot be started now, the next use starts its own and reports the error.
        let child = command.spawn().ok()?;
        programs.started += 1;
        let number = programs.started;
        programs.by_argv.insert(argv.to_vec(), (number, child));
        Some(number)
    }

    fn end(&self, argv: &[String], number: u64) {
        let mut programs = self.programs();
        if programs.by_argv.get(argv).is_some_and(|(started, _)| *started == number) {
            // Dropping kills the program; its supervisor's input ends with it.
            programs.by_argv.remove(argv);
        }
    }

    fn programs(&self) -> MutexGuard<'_, Programs> {
        self.programs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
