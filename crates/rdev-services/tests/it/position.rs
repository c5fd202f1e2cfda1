//! Causes for which pending commands and tasks wait.

use rdev_domain::{BlockedBy, CommandRequest, Job, JobSpec, ShellRequest, TaskKind, Timestamp, Validate};
use rdev_engine::Seats;
use rdev_ports::testing::{START, id, task};
use rdev_ports::{PodRef, Pods, PoolQueue, Readiness, Slot, TaskLeases};
use rdev_services::SubmitCommand;

use crate::support::{Bench, caller, shop, submit_task};

async fn cause_of_a_command(bench: &Bench) -> Option<BlockedBy> {
    let shell = ShellRequest { command: "true".to_owned(), ..ShellRequest::default() };
    let request = CommandRequest::Shell(shell);
    let submit = SubmitCommand { request, stream_id: None, timeout_seconds: None, idempotency: None };
    let (command, _) = bench.commands.submit(&caller(), &shop(), submit).await.unwrap();
    let view = bench.commands.view(&shop(), &command.id, None).await.unwrap();
    view.queue.expect("it is pending").blocked_by
}

#[tokio::test]
async fn a_command_is_blocked_only_while_every_seat_is_taken() {
    for (seats, cause) in [(8, None), (0, Some(BlockedBy::WorkerConcurrency))] {
        let bench = Bench::with_seats(Seats::new(seats)).await;
        let ready = bench.pods.readiness(&PodRef::Project(shop())).await.unwrap();
        assert!(matches!(ready, Some(Readiness::Ready(_))));
        assert_eq!(cause_of_a_command(&bench).await, cause, "{seats} seats");
    }
}

async fn add_task(bench: &Bench) -> Option<BlockedBy> {
    let Job { spec: JobSpec::Task(work), .. } = task(TaskKind::Shell, 1) else { panic!("it is a task") };
    let (view, _) = bench.tasks.submit(&caller(), submit_task(work), Validate::default()).await.unwrap();
    view.queue.expect("it is pending").blocked_by
}

#[tokio::test]
async fn a_task_is_blocked_only_while_every_slot_is_taken() {
    let bench = Bench::new().await;
    assert_eq!(add_task(&bench).await, None);
    let worker = bench.pods.workers().await.unwrap().remove(0).name;
    let until = Timestamp::from_micros(START.as_micros() + 60_000_000);
    let limits = rdev_ports::ClaimLimits { commands: 0, operations: 0, pool: 1 };
    let claim = bench.store.claim(&id("worker-1"), limits, START, until).await.unwrap().remove(0);
    let slot = Slot { worker: worker.clone(), number: 0 };
    bench.store.start(&claim.fence, "pod-1", Some(&slot), START).await.unwrap();
    assert_eq!(add_task(&bench).await, Some(BlockedBy::PoolFull));
    bench.store.set_draining(&worker, true, None, START).await.unwrap();
    assert_eq!(add_task(&bench).await, Some(BlockedBy::NoReadyWorker));
}
