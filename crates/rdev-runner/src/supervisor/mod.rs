//! The supervisor: starts one command, outlives the requester, and ends all of the command's processes
//! before it writes the exit entry.

mod clients;
mod detach;
mod guard;
mod job;
mod lines;
mod memory;
mod output;
mod schedule;
mod tree;
mod watch;

use std::time::{Duration, Instant};

use rustix::stdio::stdout;

pub(crate) use clients::CANCEL;

use crate::fault::Fault;
use crate::folder::{Committed, RunId, Runs};
use crate::frame::{Ended, Exit, StopCause, Stream};
use crate::journal::Journal;
use crate::orphans::Mark;
use crate::out::write_all;
use crate::spec::{RunRequest, Spec};
use clients::Clients;
use detach::{Signals, close_standard_streams, detach};
use guard::Guard;
use job::{Job, Pipes, SpawnError};
use memory::OomKills;
use output::{Input, Output, Taken};
use schedule::{Act, Schedule};

/// Answer to the starter: this supervisor runs the command.
pub(crate) const STARTED: &[u8] = b"started";
/// Answer to the starter: the id is taken.
pub(crate) const EXISTS: &[u8] = b"exists";

/// Longest output after the end of the command's main process.
const DRAIN: Duration = Duration::from_secs(1);
/// Time after which a surviving process counts as unkillable: it hangs in the kernel or belongs to
/// another user.
const KILL_PATIENCE: Duration = Duration::from_secs(5);
const KILL_AGAIN: Duration = Duration::from_millis(20);
const KILL_AGAIN_LATER: Duration = Duration::from_secs(1);
/// Upper limit of the grace time, so that no sum of times overflows.
const GRACE_MAX: Duration = Duration::from_secs(24 * 3600);
/// Reads of one output before a write to the journal.
const ROUND_READS: usize = 4;

/// Runs the hidden command `supervise`: waits for a request on standard input, answers with one word.
/// Everything possible is done before the request arrives: signals, and a durable folder.
pub(crate) fn supervise(runs: &Runs) -> Result<(), Fault> {
    let signals = detach().map_err(|e| Fault::io("cannot detach from the starter", e))?;
    let prepared = runs.prepare()?;
    let request =
        RunRequest::read(&mut std::io::stdin().lock()).map_err(|e| Fault::io("cannot read the request", e));
    let (id, spec) = match request {
        Ok(Some(RunRequest { id, spec, .. })) => (id, spec),
        Ok(None) => return prepared.discard(),
        Err(fault) => {
            prepared.discard()?;
            return Err(fault);
        }
    };
    let id = RunId::parse(&id).ok_or_else(|| Fault::failed("the id of the request is not valid"))?;
    let Some(run) = prepared.commit(runs.run(&id))? else {
        return write_all(stdout(), EXISTS).map_err(|e| Fault::io("cannot answer the starter", e));
    };
    // From here on the command counts as started, whatever happens to the starter.
    write_all(stdout(), STARTED).ok();
    close_standard_streams().map_err(|e| Fault::io("cannot open /dev/null", e))?;
    let guard = Guard::new(runs, &run.run, Instant::now());
    run_command(spec, &Mark::of(runs, &id), run, signals, guard)
        .map_err(|e| Fault::io("cannot supervise the command", e))
}

fn run_command(
    mut spec: Spec,
    mark: &Mark,
    run: Committed,
    signals: Signals,
    guard: Option<Guard>,
) -> std::io::Result<()> {
    let mut journal = Journal::new(run.journal, spec.journal_bytes_max, spec.first_seq);
    let mut clients = Clients::new(run.listener)?;
    let oom_kills = OomKills::watch();
    let exit = match Job::spawn(&spec, mark) {
        Ok((job, pipes)) => {
            let input = spec.stdin.take().unwrap_or_default();
            let mut supervisor =
                Supervisor::new(&spec, job, pipes, input, &mut journal, &mut clients, signals);
            supervisor.guard = guard;
            drop(spec);
            let exit = supervisor.run();
            Exit { ended: oom_kills.name(exit.ended), ..exit }
        }
        Err(error) => refused(&error, &mut journal),
    };
    let finished = journal.finish(exit, &run.run);
    clients.accept();
    clients.wake();
    run.run.close_socket();
    finished
}

/// Writes a failure to execute the command to its standard error, as a shell would.
fn refused(error: &SpawnError, journal: &mut Journal) -> Exit {
    journal.output(Stream::Stderr, crate::frame::End::Newline, 1, error.message.as_bytes());
    journal.flush(Instant::now());
    Exit { ended: Ended::SpawnFailed(error.errno), cause: StopCause::None, duration_us: 0, leftovers: 0 }
}

struct Supervisor<'a> {
    job: Job,
    outputs: [Output; 2],
    input: Input,
    journal: &'a mut Journal,
    clients: &'a mut Clients,
    signals: Signals,
    grace: Duration,
    interrupt_first: bool,
    time_is_up: Option<Instant>,
    cause: StopCause,
    schedule: Option<Schedule>,
    kill_give_up: Option<Instant>,
    guard: Option<Guard>,
}

impl<'a> Supervisor<'a> {
    fn new(
        spec: &Spec,
        job: Job,
        pipes: Pipes,
        input: Vec<u8>,
        journal: &'a mut Journal,
        clients: &'a mut Clients,
        signals: Signals,
    ) -> Self {
        let timeout = (spec.timeout_ms > 0).then(|| Duration::from_millis(spec.timeout_ms));
        Self {
            job,
            outputs: [Output::new(Stream::Stdout, pipes.stdout), Output::new(Stream::Stderr, pipes.stderr)],
            input: Input::new(pipes.stdin, input),
            journal,
            clients,
            signals,
            grace: Duration::from_millis(spec.grace_ms).min(GRACE_MAX),
            interrupt_first: spec.interrupt_first,
            time_is_up: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            cause: StopCause::None,
            schedule: None,
            kill_give_up: None,
            guard: None,
        }
    }

    fn run(mut self) -> Exit {
        // The command may have ended before its signal could be received.
        self.job.reap();
        let ended = loop {
            if let Some(ended) = self.step(Instant::now()) {
                break ended;
            }
            let ready = self.wait();
            if ready.child {
                self.job.reap();
            }
            for (output, ready) in self.outputs.iter_mut().zip(ready.outputs) {
                if ready {
                    take_round(output, self.journal);
                }
            }
            let now = Instant::now();
            self.outputs.iter_mut().for_each(|output| output.emit_idle(now, self.journal));
            if self.journal.flush(now) {
                self.clients.wake();
            }
            if ready.input {
                self.input.feed();
            }
            if ready.listener {
                self.clients.accept();
            }
            if (ready.clients && self.clients.read_requests()) || ready.terminate {
                self.stop(StopCause::Cancelled);
            }
        };
        self.drain_outputs();
        let memory_ended_it = self.guard.as_ref().is_some_and(Guard::has_ended_command);
        Exit {
            ended: if memory_ended_it { memory::killed(ended) } else { ended },
            cause: self.cause,
            duration_us: self.job.duration().as_micros() as u64,
            leftovers: self.job.leftovers(),
        }
    }

    /// Performs all due work. Returns how the command ended when nothing is left to wait for.
    fn step(&mut self, now: Instant) -> Option<Ended> {
        if self.time_is_up.is_some_and(|at| at <= now) {
            self.time_is_up = None;
            self.stop(StopCause::Timeout);
        }
        if self.job.ended().is_none() && self.guard.as_mut().is_some_and(|guard| guard.check(now)) {
            self.schedule = Some(Schedule::kill(now));
        }
        if let Some((ended, ended_at)) = self.job.ended() {
            self.time_is_up = None;
            if self.outputs_ended() || now >= ended_at + DRAIN {
                if self.job.all_ended() || self.kill_give_up.is_some_and(|at| at <= now) {
                    return Some(ended);
                }
                self.sweep(now);
            }
        }
        while let Some(act) = self.schedule.as_mut().and_then(|schedule| schedule.due(now)) {
            self.act(act, now);
        }
        None
    }

    /// Stops the command and all its processes.
    fn stop(&mut self, cause: StopCause) {
        let now = Instant::now();
        self.job.reap();
        if self.job.ended().is_some() {
            return self.sweep(now);
        }
        if self.schedule.is_none() {
            self.cause = cause;
            self.schedule = Some(if self.interrupt_first {
                Schedule::interrupt(now, self.grace)
            } else {
                Schedule::terminate(now, self.grace)
            });
        }
    }

    /// Ends the processes that the command has left.
    fn sweep(&mut self, now: Instant) {
        match &mut self.schedule {
            Some(schedule) => schedule.hurry(now),
            none => *none = Some(Schedule::terminate(now, self.grace)),
        }
    }

    fn act(&mut self, act: Act, now: Instant) {
        self.job.act(act);
        if act == Act::Kill && !self.job.all_ended() {
            let give_up = *self.kill_give_up.get_or_insert(now + KILL_PATIENCE);
            let pause = if now < give_up { KILL_AGAIN } else { KILL_AGAIN_LATER };
            if let Some(schedule) = &mut self.schedule {
                schedule.kill_again(Instant::now() + pause);
            }
        }
    }

    fn outputs_ended(&self) -> bool {
        self.outputs.iter().all(|output| output.pipe().is_none())
    }

    /// Returns the time of the next due work.
    fn deadline(&self) -> Option<Instant> {
        let drained = self.job.ended().map(|(_, at)| at + DRAIN);
        // After that time, the end of a process or an act of the schedule is next.
        let drained = drained.filter(|&at| at > Instant::now());
        let acts = self.schedule.as_ref().and_then(Schedule::next);
        let [stdout, stderr] = &self.outputs;
        let still = [stdout.deadline(), stderr.deadline()];
        let guard = self.guard.as_ref().and_then(Guard::next_check).filter(|_| self.job.ended().is_none());
        [self.time_is_up, drained, acts, guard, self.journal.deadline()]
            .into_iter()
            .chain(still)
            .flatten()
            .min()
    }

    /// Reads what is left in the pipes. Does not wait for a process outside our tree that holds one.
    fn drain_outputs(&mut self) {
        let until = Instant::now() + DRAIN;
        for output in &mut self.outputs {
            while Instant::now() < until && take_round(output, self.journal) == Taken::Bytes {
                self.journal.flush(Instant::now());
            }
            output.close(self.journal);
        }
        if self.journal.flush(Instant::now()) {
            self.clients.wake();
        }
    }
}

/// Reads until the pipe is empty or enough is gathered for one write.
fn take_round(output: &mut Output, journal: &mut Journal) -> Taken {
    for _ in 1..ROUND_READS {
        match output.take(journal) {
            Taken::Bytes => {}
            other => return other,
        }
    }
    output.take(journal)
}
