//! Commands and tasks that race the deletion of their project, and what the deletion does about them.

use rdev_domain::{
    CommandRequest, Conflict, Error, Job, JobSpec, OperationRequest, ProjectStatus, Resource, Result,
    ShellRequest, Target, TaskKind, Validate,
};
use rdev_engine::{Ensured, Plans, StepContext};
use rdev_ports::testing::{id, idempotency_key, job, task};
use rdev_ports::{JobFilter, Pods, ProjectRecords, TaskQueue, Workspaces};
use rdev_services::{ListJobs, SubmitCommand, SubmitTask};

use crate::support::{Bench, caller, shop, submit_task};

fn command() -> SubmitCommand {
    let shell = ShellRequest { command: "true".to_owned(), ..ShellRequest::default() };
    SubmitCommand {
        request: CommandRequest::Shell(shell),
        stream_id: None,
        timeout_seconds: None,
        idempotency: None,
    }
}

/// Request for a task that is done for a project.
fn task_for(project: &str) -> SubmitTask {
    let Job { spec: JobSpec::Task(mut work), .. } = task(TaskKind::Shell, 1) else { panic!("it is a task") };
    work.project = Some(id(project));
    submit_task(work)
}

#[track_caller]
fn is_refused<T: std::fmt::Debug>(answer: Result<T>) {
    let refusal = answer.expect_err("the project is being deleted");
    assert!(matches!(refusal, Error::Conflict { conflict: Conflict::ProjectDeleting, .. }), "{refusal:?}");
}

#[tokio::test]
async fn a_command_that_is_stored_while_its_project_is_closed_is_cancelled_and_refused() {
    let bench = Bench::new().await;
    bench.pods.after_the_next_look();
    is_refused(bench.commands.submit(&caller(), &shop(), command()).await);
    let stored = bench.store.jobs(&Target::Project(shop()), &JobFilter::default(), None, 10).await.unwrap();
    assert!(stored.len() == 1 && stored[0].state.is_ended(), "{stored:?}");
    // From then on none is stored.
    is_refused(bench.commands.submit(&caller(), &shop(), command()).await);
    assert_eq!(
        bench.store.jobs(&Target::Project(shop()), &JobFilter::default(), None, 10).await.unwrap().len(),
        1
    );
    bench.pods.local.reopen(&shop()).await.unwrap();
    bench.commands.submit(&caller(), &shop(), command()).await.unwrap();
}

#[tokio::test]
async fn a_task_for_a_project_that_is_being_deleted_is_refused() {
    let bench = Bench::new().await;
    let submit = async |project| bench.tasks.submit(&caller(), task_for(project), Validate::default()).await;
    let stored = async || bench.store.jobs(&Target::Pool, &JobFilter::default(), None, 10).await.unwrap();
    let first = submit("shop").await.unwrap().0.job;
    bench.tasks.cancel(&first.id, None).await.unwrap();
    bench.pods.after_the_next_look();
    is_refused(submit("shop").await);
    assert!(stored().await.iter().all(|task| task.state.is_ended()));
    is_refused(submit("shop").await);
    is_refused(bench.tasks.retry(&first.id, None).await);
    assert_eq!(stored().await.len(), 2);
    // A project that rdev does not know is a fault of the request.
    let unknown = submit("elsewhere").await.expect_err("there is no such project");
    assert!(matches!(&unknown, Error::Invalid(fields) if fields[0].field == "project"), "{unknown:?}");
    bench.pods.local.reopen(&shop()).await.unwrap();
    bench.tasks.retry(&first.id, None).await.unwrap();
}

#[tokio::test]
async fn a_task_that_is_reopened_while_its_project_is_closed_is_cancelled_and_refused() {
    let bench = Bench::new().await;
    let submitted = bench.tasks.submit(&caller(), task_for("shop"), Validate::default()).await;
    let task = submitted.unwrap().0.job;
    bench.tasks.cancel(&task.id, None).await.unwrap();
    bench.pods.after_the_next_look();
    is_refused(bench.tasks.retry(&task.id, None).await);
    assert!(bench.tasks.view(&task.id, None).await.unwrap().job.state.is_ended());
}

/// The last step ends what was stored after the step that ends commands, and only then frees the name.
#[tokio::test]
async fn the_records_of_a_project_go_with_what_was_stored_meanwhile() {
    let bench = Bench::new().await;
    let request = OperationRequest::DeleteProject { project: shop() };
    let context = StepContext { operation: id("op-00000000000000000000000000000001"), project: shop() };
    let plan = bench.plans.plan(&request).unwrap();
    let ensure = async |name: &str| {
        let (_, step) = plan.steps.iter().find(|(step, _)| *step == name).unwrap();
        step.ensure(&context).await
    };
    for step in ["close", "commands", "workspace"] {
        assert!(matches!(ensure(step).await.unwrap(), Ensured::Done(_)), "{step}");
    }
    bench.pods.local.close(&shop()).await.unwrap();
    let key = idempotency_key("key-1", "a", 1);
    for n in 1..=150 {
        let key = (n == 1).then_some(&key);
        bench.store.enqueue(&job("shop", n), key).await.unwrap();
    }
    assert!(matches!(ensure("records").await.unwrap(), Ensured::Done(_)));
    assert!(bench.store.unfinished_of(&shop(), 10).await.unwrap().is_empty());
    assert!(
        bench.store.jobs(&Target::Project(shop()), &JobFilter::default(), None, 10).await.unwrap().is_empty()
    );
    assert_eq!(bench.store.remove_keys(&shop()).await.unwrap(), 0);
    // The name is free.
    bench.make_shop();
    let again = bench.pods.project(&shop()).await.unwrap().map(|project| project.status);
    assert_eq!(again, Some(ProjectStatus::Ready));
    let past = bench.commands.list(&shop(), ListJobs::default(), None, 10).await.unwrap();
    assert!(past.is_empty(), "{past:?}");
    assert!(matches!(
        bench.commands.view(&shop(), &job("shop", 1).id, None).await,
        Err(Error::NotFound { resource: Resource::Command, .. })
    ));
}
