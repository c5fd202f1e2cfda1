//! Promises of [`Workspaces`], as functions to be called with an implementation that has no project of
//! the named ids.

use rdev_domain::{Conflict, Error, JobId, ProjectId, ProjectStatus};

use super::id;
use super::sample::operation_id;
use crate::{Pods, Workspaces};

async fn is_listed(pods: &impl Pods, project: &ProjectId) -> bool {
    pods.projects().await.expect("projects are listed").iter().any(|listed| listed.id == *project)
}

async fn make(runtime: &(impl Workspaces + Pods), project: &ProjectId, operation: &JobId) {
    for _ in 0..2 {
        runtime.prepare(project, operation).await.expect("it is prepared");
    }
    for _ in 0..2 {
        runtime.make_repository(project, operation).await.expect("a repository is made");
    }
    assert!(!is_listed(runtime, project).await, "what is prepared is no project");
    for _ in 0..2 {
        runtime.publish(project, operation).await.expect("it is published");
    }
}

/// A project is made step by step, each of which may be repeated, and is there at once when it is published.
///
/// # Panics
/// When the promise is not kept.
pub async fn a_project_is_there_once_it_is_published(runtime: &(impl Workspaces + Pods)) {
    let (project, operation) = (id("made"), operation_id(1));
    make(runtime, &project, &operation).await;
    let found = runtime.project(&project).await.expect("it answers").expect("it is there");
    assert_eq!(found.status, ProjectStatus::Ready);
    assert!(is_listed(runtime, &project).await);
    // Whoever goes on after a death of its process may begin before the last step.
    runtime.prepare(&project, &operation).await.expect("it is there");
    runtime.make_repository(&project, &operation).await.expect("it is there");
}

/// Everything that was made is taken back, and what is gone already is done.
///
/// # Panics
/// When the promise is not kept.
pub async fn what_was_made_is_taken_back(runtime: &(impl Workspaces + Pods)) {
    let (project, operation) = (id("taken-back"), operation_id(2));
    make(runtime, &project, &operation).await;
    for _ in 0..2 {
        runtime.withdraw(&project, &operation).await.expect("it is withdrawn");
    }
    assert!(!is_listed(runtime, &project).await);
    for _ in 0..2 {
        runtime.remove_repository(&project, &operation).await.expect("the repository goes");
        runtime.discard(&project, &operation).await.expect("it is discarded");
    }
    make(runtime, &project, &operation).await;
}

/// A project that another operation made, or somebody, is in the way and stays.
///
/// # Panics
/// When the promise is not kept.
pub async fn what_others_made_is_in_the_way_and_stays(runtime: &(impl Workspaces + Pods)) {
    let (project, first, second) = (id("taken"), operation_id(3), operation_id(4));
    runtime.prepare(&project, &second).await.expect("nothing is there yet");
    runtime.make_repository(&project, &second).await.expect("nothing is there yet");
    make(runtime, &project, &first).await;
    for refused in [
        runtime.prepare(&project, &second).await.map(drop),
        runtime.make_repository(&project, &second).await,
        runtime.publish(&project, &second).await.map(drop),
    ] {
        assert!(matches!(refused, Err(Error::Conflict { conflict: Conflict::NameTaken, .. })), "{refused:?}");
    }
    runtime.withdraw(&project, &second).await.expect("there is nothing of it");
    runtime.remove_repository(&project, &second).await.expect("its own goes");
    runtime.discard(&project, &second).await.expect("its own goes");
    assert!(is_listed(runtime, &project).await);
}

/// A closed project is shown as such until it is opened again, or removed. Its name stays closed until it is opened: the
/// deletion may have more to remove.
///
/// # Panics
/// When the promise is not kept.
pub async fn a_closed_project_is_removed_or_opened_again(runtime: &(impl Workspaces + Pods)) {
    let (project, operation) = (id("closed"), operation_id(5));
    let status = async || runtime.project(&project).await.expect("it answers").map(|project| project.status);
    make(runtime, &project, &operation).await;
    for _ in 0..2 {
        runtime.close(&project).await.expect("it is closed");
    }
    assert_eq!(status().await, Some(ProjectStatus::Deleting));
    for _ in 0..2 {
        runtime.reopen(&project).await.expect("it is opened");
    }
    assert_eq!(status().await, Some(ProjectStatus::Ready));
    runtime.close(&project).await.expect("it is closed");
    for _ in 0..2 {
        runtime.remove(&project).await.expect("it is removed");
    }
    assert_eq!(status().await, None);
    // A deletion that is not complete must never meet a later project of the name.
    let later = operation_id(6);
    for refused in
        [runtime.prepare(&project, &later).await.map(drop), runtime.publish(&project, &later).await.map(drop)]
    {
        assert!(matches!(refused, Err(Error::Conflict { conflict: Conflict::NameTaken, .. })), "{refused:?}");
    }
    runtime.remove(&project).await.expect("it is gone already");
    assert_eq!(status().await, None);
    runtime.reopen(&project).await.expect("the deletion is complete");
    make(runtime, &project, &later).await;
    assert_eq!(status().await, Some(ProjectStatus::Ready));
}
