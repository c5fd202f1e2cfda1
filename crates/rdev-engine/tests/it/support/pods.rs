//! Places that answer as they are told.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, stream};
use rdev_domain::{Failure, Project, ProjectId, ProjectStatus, Reason, Result, Timestamp};
use rdev_ports::testing::{START, id};
use rdev_ports::{
    Diagnosis, Disruption, Exec, ExecError, ExecOutput, ExecResult, Pod, PodRef, Pods, PoolWorker, Reach,
    Readiness, Stdin,
};
use rdev_runner::files::Item;
use rdev_runner::frame::{Body, End, Ended, Exit, Frame, PROTOCOL_VERSION, StopCause, Stream};
use rdev_runner::spec::{RunRequest, read_arguments};
use tokio::sync::watch;

/// Reaction of the runner to a request.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    /// It runs the command, which writes this many lines and ends well.
    Runs(u64),
    /// It says hello and this, and nothing more until the command is to be stopped.
    Hangs(&'static str),
    /// It ends with this code and these words.
    Fails(i32, &'static str),
    /// It is not started, for this reason.
    NotStarted(&'static str),
    /// No connection is made.
    Unreached,
    /// The connection is cut before a word.
    Cut,
    /// It is accepted, and not a word is said.
    Silent,
    /// The worker's own code panics.
    Panics,
}

/// How a try to collect files ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collecting {
    /// The collector ends.
    Ends,
    /// Nothing more comes.
    Hangs,
    /// The connection is cut.
    IsCut,
}

/// The place of project `demo`, and a worker of the pool.
pub(crate) struct FakePods {
    answers: Mutex<VecDeque<Answer>>,
    ready: watch::Sender<bool>,
    /// The orders that it was given.
    pub(crate) orders: Mutex<Vec<RunRequest>>,
    stopped: watch::Sender<bool>,
    /// Results for files when they are collected, one try after the other; the last stands.
    collections: Mutex<VecDeque<(Vec<Item>, Collecting)>>,
    /// The short commands that its runner was given.
    pub(crate) controls: Mutex<Vec<Vec<String>>>,
    /// Number of commands that hang and are listened to.
    listened_to: Arc<AtomicUsize>,
    /// Tells that something has happened here.
    changes: watch::Sender<()>,
}

/// A listener of a command that hangs.
struct Listening(Arc<AtomicUsize>, watch::Sender<()>);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
        self.1.send_replace(());
    }
}

fn pod() -> Pod {
    Pod { pod_ref: PodRef::Project(id("demo")), uid: "place-1".to_owned(), workspace: "/w".to_owned() }
}

impl FakePods {
    pub(crate) fn new(answers: impl IntoIterator<Item = Answer>, changes: watch::Sender<()>) -> Self {
        Self {
            answers: Mutex::new(answers.into_iter().collect()),
            ready: watch::Sender::new(true),
            orders: Mutex::default(),
            stopped: watch::Sender::new(false),
            collections: Mutex::default(),
            controls: Mutex::default(),
            listened_to: Arc::default(),
            changes,
        }
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.send_replace(ready);
    }

    /// Has the tries to collect files go so.
    pub(crate) fn set_collections(&self, attempt: impl IntoIterator<Item = (Vec<Item>, Collecting)>) {
        *lock(&self.collections) = attempt.into_iter().collect();
    }

    fn collect(&self) -> ExecOutput {
        let (items, then) = next(&self.collections);
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.encode(&mut bytes));
        let sent = stream::iter([Ok(Bytes::from(bytes))]);
        match then {
            Collecting::Ends => sent.boxed(),
            Collecting::Hangs => sent.chain(stream::pending()).boxed(),
            Collecting::IsCut => sent.chain(stream::iter([Err(anyhow::anyhow!("cut").into())])).boxed(),
        }
    }

    /// How many commands that hang are listened to.
    pub(crate) fn listened_to(&self) -> usize {
        self.listened_to.load(Ordering::SeqCst)
    }

    fn run(&self, order: RunRequest) -> ExecResult<ExecOutput> {
        let (answer, next) = (next(&self.answers), order.after + 1);
        lock(&self.orders).push(order);
        let hello = frame(next, Body::Hello { version: PROTOCOL_VERSION, started: true });
        match answer {
            Answer::NotStarted(why) => Err(ExecError::NotStarted(why.to_owned())),
            Answer::Silent => Ok(stream::pending().boxed()),
            Answer::Panics => panic!("the worker's own code is wrong"),
            Answer::Unreached => Err(ExecError::Unreached(anyhow::anyhow!("connection refused"))),
            Answer::Cut => Err(anyhow::anyhow!("cut").into()),
            Answer::Fails(code, stderr) => {
                let failed = ExecError::Failed { code, stderr: stderr.to_owned() };
                Ok(stream::iter([Err(failed)]).boxed())
            }
            Answer::Runs(lines) => {
                let mut all = hello;
                for seq in next..next + lines {
                    let bytes = Bytes::from(format!("line {seq}\n"));
                    all.extend(frame(seq, Body::Output { stream: Stream::Stdout, end: End::Newline, bytes }));
                }
                all.extend(exit(next + lines, StopCause::None));
                Ok(stream::iter([Ok(Bytes::from(all))]).boxed())
            }
            Answer::Hangs(line) => {
                let (mut all, mut last) = (hello, next);
                if !line.is_empty() {
                    let bytes = Bytes::from_static(line.as_bytes());
                    all.extend(frame(
                        next,
                        Body::Output { stream: Stream::Stdout, end: End::Newline, bytes },
                    ));
                    last += 1;
                }
                let mut stopped = self.stopped.subscribe();
                self.listened_to.fetch_add(1, Ordering::SeqCst);
                let listening = Listening(self.listened_to.clone(), self.changes.clone());
                let end = async move {
                    let _listening = listening;
                    stopped.wait_for(|stopped| *stopped).await.map_err(anyhow::Error::from)?;
                    Ok(Bytes::from(exit(last, StopCause::Cancelled)))
                };
                Ok(stream::iter([Ok(Bytes::from(all))]).chain(stream::once(end)).boxed())
            }
        }
    }
}

/// Takes the next of the answers that were told; the last stands.
fn next<T: Clone>(told: &Mutex<VecDeque<T>>) -> T {
    let mut told = lock(told);
    let next = if told.len() > 1 { told.pop_front() } else { told.front().cloned() };
    next.expect("the place was told what to answer")
}

fn frame(first_seq: u64, body: Body) -> Vec<u8> {
    let count = u32::from(matches!(body, Body::Output { .. } | Body::Exit(_)));
    let mut out = Vec::new();
    Frame { first_seq, count, time_us: 0, body }.encode(&mut out);
    out
}

fn exit(seq: u64, cause: StopCause) -> Vec<u8> {
    frame(seq, Body::Exit(Exit { ended: Ended::Exited(0), cause, duration_us: 1, leftovers: 0 }))
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Pods for FakePods {
    async fn projects(&self) -> Result<Vec<Project>> {
        Ok(Vec::new())
    }

    async fn project(&self, id: &ProjectId) -> Result<Option<Project>> {
        Ok(Some(Project {
            id: id.clone(),
            status: ProjectStatus::Ready,
            warning: None,
            workspace: pod().workspace,
            repository: None,
            description: None,
            default_agent: None,
        }))
    }

    async fn workers(&self) -> Result<Vec<PoolWorker>> {
        Ok(vec![PoolWorker {
            name: id("worker-1"),
            status: ProjectStatus::Ready,
            capacity: 1,
            warning: None,
            leaves: false,
        }])
    }

    async fn readiness(&self, _: &PodRef) -> Result<Option<Readiness>> {
        Ok(Some(match *self.ready.borrow() {
            true => Readiness::Ready(pod()),
            false => Readiness::NotReady {
                cause: Failure::new(Reason::PodNotReady, "its pod starts"),
                since: START,
            },
        }))
    }

    fn became_ready(&self) -> BoxStream<'static, PodRef> {
        // When the last worker is gone nobody listens.
        let ready = stream::unfold(self.ready.subscribe(), |mut ready| async {
            ready.changed().await.ok()?;
            let is_ready = *ready.borrow_and_update();
            Some((is_ready, ready))
        });
        ready.filter_map(|is_ready| async move { is_ready.then(|| pod().pod_ref) }).boxed()
    }

    async fn reach(&self, pod_ref: &PodRef, pod_uid: &str) -> Result<Reach> {
        Ok(match pod_uid == pod().uid {
            true => Reach::Reachable(Pod { pod_ref: pod_ref.clone(), ..pod() }),
            false => Reach::Lost(Failure::new(Reason::PodLost, "its pod is gone")),
        })
    }

    async fn disruption(&self, _: &PodRef, _: &str, _: Timestamp) -> Result<Disruption> {
        Ok(Disruption::None)
    }

    async fn exec(&self, _: &Pod, exec: Exec) -> ExecResult<ExecOutput> {
        let answer = match exec.stdin {
            Stdin::WaitedFor(bytes) => {
                let order =
                    RunRequest::read(&mut &bytes[..]).expect("it can be read").expect("it is an order");
                self.run(order)
            }
            given @ (Stdin::None | Stdin::Given(_)) => {
                let for_this_place = ["--identity".to_owned(), pod().uid];
                assert!(exec.argv.windows(2).any(|words| words == for_this_place), "{:?}", exec.argv);
                if exec.argv.iter().any(|word| word == "cancel") {
                    self.stopped.send_replace(true);
                }
                let collects = exec.argv.iter().any(|word| word == "collect");
                let more = match &given {
                    Stdin::Given(bytes) => read_arguments(&mut &bytes[..]).expect("these are arguments"),
                    Stdin::None | Stdin::WaitedFor(_) => Vec::new(),
                };
                lock(&self.controls).push([exec.argv, more].concat());
                Ok(if collects { self.collect() } else { stream::empty().boxed() })
            }
        };
        self.changes.send_replace(());
        answer
    }

    async fn diagnose(&self) -> Vec<Diagnosis> {
        Vec::new()
    }

    async fn check(&self) -> Result<()> {
        Ok(())
    }
}
