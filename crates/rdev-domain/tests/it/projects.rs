//! Projects that are being deleted take no commands.

use rdev_domain::{Condition, Conflict, Error, Project, ProjectStatus, Timestamp};

fn project(status: ProjectStatus) -> Project {
    Project {
        id: "shop".parse().unwrap(),
        status,
        warning: None,
        workspace: "/workspace".to_owned(),
        repository: None,
        description: None,
        default_agent: None,
    }
}

#[test]
fn only_a_project_that_is_being_deleted_is_closed() {
    let condition = || Condition {
        reason: "Pending".to_owned(),
        message: "a pod starts".to_owned(),
        since: Timestamp::from_micros(1),
    };
    for status in [
        ProjectStatus::Ready,
        ProjectStatus::Starting(condition()),
        ProjectStatus::Failing(condition()),
        ProjectStatus::Gone(condition()),
    ] {
        project(status).check_open().unwrap();
    }
    let refused = project(ProjectStatus::Deleting).check_open();
    let Err(Error::Conflict { conflict, message, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(conflict, Conflict::ProjectDeleting);
    assert!(message.contains("project shop"), "{message}");
}
