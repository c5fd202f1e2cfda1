//! Projects that are made and removed, on real folders with real git.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::{Command, Stdio};

use rdev_domain::{Conflict, Error, JobId};
use rdev_local::Local;
use rdev_ports::testing::workspaces::{
    a_closed_project_is_removed_or_opened_again, a_project_is_there_once_it_is_published,
    what_others_made_is_in_the_way_and_stays, what_was_made_is_taken_back,
};
use rdev_ports::{Pods, Workspaces};

use super::{create_project, id, open, open_with_path};

fn operation() -> JobId {
    format!("op-{}", "0a".repeat(16)).parse().unwrap()
}

async fn make(local: &Local, project: &str) {
    local.prepare(&id(project), &operation()).await.unwrap();
    local.make_repository(&id(project), &operation()).await.unwrap();
    local.publish(&id(project), &operation()).await.unwrap();
}

#[tokio::test]
async fn the_promises_of_workspaces_are_kept() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    a_project_is_there_once_it_is_published(&local).await;
    what_was_made_is_taken_back(&local).await;
    what_others_made_is_in_the_way_and_stays(&local).await;
    a_closed_project_is_removed_or_opened_again(&local).await;
}

#[tokio::test]
async fn a_new_project_has_a_repository_without_a_commit_on_main() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    make(&local, "shop").await;
    let workspace = data.path().join("workspaces/shop");
    assert_eq!(std::fs::read_to_string(workspace.join(".git/HEAD")).unwrap(), "ref: refs/heads/main\n");
    let log = Command::new("git").arg("-C").arg(&workspace).args(["log", "--oneline"]).output().unwrap();
    assert!(!log.status.success(), "there is no commit yet");
    let left = std::fs::read_dir(data.path().join("workspaces/.new")).unwrap().count();
    assert_eq!(left, 0);
}

/// Runs a line in a workspace, as a command of the project would.
fn sh(workspace: &Path, line: &str) {
    let identity = ["user.name=a", "user.email=a@b"];
    let mut shell = Command::new("sh");
    shell.env("GIT_CONFIG_COUNT", "2");
    for (number, pair) in identity.iter().enumerate() {
        let (key, value) = pair.split_once('=').unwrap();
        shell.env(format!("GIT_CONFIG_KEY_{number}"), key).env(format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    assert!(shell.args(["-c", line]).current_dir(workspace).status().unwrap().success(), "{line}");
}

#[tokio::test]
async fn what_commands_have_made_in_a_project_is_never_taken_back() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    for (project, line) in [
        ("file", "echo x > file"),
        ("folder", "mkdir folder"),
        ("commit", "git commit -q --allow-empty -m first"),
        ("branch", "git commit -q --allow-empty -m first && git branch other && git update-ref -d HEAD"),
    ] {
        make(&local, project).await;
        let workspace = data.path().join("workspaces").join(project);
        sh(&workspace, line);
        let refused = local.withdraw(&id(project), &operation()).await.unwrap_err();
        assert!(matches!(refused, Error::Conflict { conflict: Conflict::NameTaken, .. }), "{refused:?}");
        assert!(refused.to_string().contains("delete the project instead"), "{refused}");
        assert!(local.project(&id(project)).await.unwrap().is_some(), "{project}");
    }
}

#[tokio::test]
async fn a_closed_project_stays_closed_over_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    make(&local, "shop").await;
    local.close(&id("shop")).await.unwrap();
    drop(local);
    let local = open(data.path(), "one");
    let shop = local.project(&id("shop")).await.unwrap().unwrap();
    assert!(shop.check_open().is_err(), "{shop:?}");
    local.remove(&id("shop")).await.unwrap();
    drop(local);
    let local = open(data.path(), "one");
    let refused = local.prepare(&id("shop"), &operation()).await.unwrap_err();
    assert!(refused.to_string().contains("the deletion of project shop is not complete"), "{refused}");
    local.reopen(&id("shop")).await.unwrap();
    drop(local);
    let local = open(data.path(), "one");
    create_project(data.path(), "shop");
    local.project(&id("shop")).await.unwrap().unwrap().check_open().unwrap();
}

#[tokio::test]
async fn a_removal_ends_processes_and_takes_what_nobody_may_write_to() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    make(&local, "shop").await;
    let workspace = data.path().join("workspaces/shop");
    let cache = workspace.join("cache/inner");
    std::fs::create_dir_all(&cache).unwrap();
    std::fs::write(cache.join("file"), "x").unwrap();
    for folder in [&cache, &workspace.join("cache")] {
        std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o555)).unwrap();
    }
    let mut process =
        Command::new("sleep").arg("1000").current_dir(&workspace).stdout(Stdio::null()).spawn().unwrap();
    local.close(&id("shop")).await.unwrap();
    local.remove(&id("shop")).await.unwrap();
    assert!(!process.wait().unwrap().success());
    assert!(!workspace.exists());
    assert_eq!(std::fs::read_dir(data.path().join("workspaces/.removed")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_workspace_that_is_a_link_goes_and_what_it_leads_to_stays() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    let elsewhere = data.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    std::fs::write(elsewhere.join("file"), "x").unwrap();
    symlink(&elsewhere, data.path().join("workspaces/shop")).unwrap();
    local.close(&id("shop")).await.unwrap();
    local.remove(&id("shop")).await.unwrap();
    assert!(local.project(&id("shop")).await.unwrap().is_none());
    assert!(elsewhere.join("file").is_file());
}

#[tokio::test]
async fn a_prepared_workspace_that_somebody_removed_is_a_failure_for_good() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    local.prepare(&id("shop"), &operation()).await.unwrap();
    std::fs::remove_dir_all(data.path().join("workspaces/.new")).unwrap();
    for failed in [
        local.make_repository(&id("shop"), &operation()).await,
        local.publish(&id("shop"), &operation()).await.map(drop),
    ] {
        assert!(matches!(failed, Err(Error::Internal(_))), "{failed:?}");
    }
    local.discard(&id("shop"), &operation()).await.unwrap();
    // Taking back needs no more than the project itself.
    make(&local, "shop").await;
    std::fs::remove_dir(data.path().join("workspaces/.new")).unwrap();
    local.withdraw(&id("shop"), &operation()).await.unwrap();
    assert!(local.project(&id("shop")).await.unwrap().is_none());
}

#[tokio::test]
async fn what_is_in_the_way_is_named_and_may_pass_or_not() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    let workspaces = data.path().join("workspaces");
    std::fs::write(workspaces.join("shop"), "not a folder").unwrap();
    let error = local.prepare(&id("shop"), &operation()).await.unwrap_err();
    assert!(matches!(error, Error::Conflict { conflict: Conflict::NameTaken, .. }), "{error:?}");
    assert!(error.to_string().contains("workspaces/shop is there"), "{error}");
    std::fs::write(workspaces.join(".new"), "not a folder").unwrap();
    let error = local.prepare(&id("other"), &operation()).await.unwrap_err();
    assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
    assert!(Path::new(&workspaces.join("shop")).is_file(), "it stays");
}

#[tokio::test]
async fn the_first_project_is_a_repository_with_a_commit_and_is_made_where_it_is_missing() {
    let data = tempfile::tempdir().unwrap();
    let local = open(data.path(), "one");
    // Left by a start that was interrupted.
    std::fs::create_dir_all(data.path().join("workspaces/.new/first/.git")).unwrap();
    local.make_first_project(&id("demo")).await.unwrap();
    let workspace = data.path().join("workspaces/demo");
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(&workspace).args(args).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(
        git(&["log", "--format=%an <%ae> %s"]),
        "rdev-bot <rdev-bot@localhost> A project to try rdev with\n"
    );
    assert_eq!(git(&["ls-files"]), "Makefile\nREADME.md\n");
    assert_eq!(git(&["status", "--porcelain", "--branch"]), "## main\n");
    assert_eq!(std::fs::read_dir(data.path().join("workspaces/.new")).unwrap().count(), 0);

    std::fs::write(workspace.join("mine"), "x").unwrap();
    open(data.path(), "two").make_first_project(&id("demo")).await.unwrap();
    assert!(workspace.join("mine").is_file(), "it stays as it is");
    local.close(&id("demo")).await.unwrap();
    local.remove(&id("demo")).await.unwrap();
    open(data.path(), "three").make_first_project(&id("demo")).await.unwrap();
    assert!(!workspace.exists(), "its deletion is not complete");
    local.reopen(&id("demo")).await.unwrap();
    open(data.path(), "four").make_first_project(&id("demo")).await.unwrap();
    assert_eq!(git(&["ls-files"]), "Makefile\nREADME.md\n");
}

#[tokio::test]
async fn a_machine_without_git_has_a_first_project_without_a_repository() {
    let data = tempfile::tempdir().unwrap();
    let local = open_with_path(data.path(), "one", data.path().as_os_str());
    local.make_first_project(&id("demo")).await.unwrap();
    let workspace = data.path().join("workspaces/demo");
    assert!(workspace.join("Makefile").is_file() && !workspace.join(".git").exists());
}
