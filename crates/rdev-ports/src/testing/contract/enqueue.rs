use rdev_domain::{EntryBody, Position, Result, Seq, Status};

use super::Store;
use super::steps::*;
use crate::testing::{command, id, new_command};

/// The command is stored as it was given, with an entry that says that it is pending.
pub async fn an_accepted_command_is_stored_as_pending(store: &impl Store) -> Result<()> {
    let command = command("demo", 1);
    let entry = entry_of(store.enqueue(new_command(command.clone())).await?);
    assert!(entry.position > Position::ZERO);
    assert_eq!(entry.body, EntryBody::Status(Status::Pending));
    assert_eq!((entry.first_seq, entry.last_seq), (Seq::ZERO, Seq::ZERO));
    assert_eq!((&entry.command, &entry.stream), (&command.id, &command.stream));
    assert_eq!((&entry.home, entry.at), (&command.home, command.created_at));
    assert_eq!(log(store).await?, [entry]);
    assert_eq!(stored(store, &command.id).await?, command);
    Ok(())
}

/// A second command on a stream of the project is refused.
pub async fn a_stream_name_is_taken_once_in_a_project(store: &impl Store) -> Result<()> {
    let first = enqueue(store, 1).await?;
    let mut second = command("demo", 2);
    second.stream = first.stream;
    assert_conflict(store.enqueue(new_command(second)).await, "STREAM_ID_TAKEN");
    Ok(())
}

/// What was refused is not in the queue, not in the log and never claimed.
pub async fn a_refused_command_leaves_nothing_behind(store: &impl Store) -> Result<()> {
    let first = enqueue(store, 1).await?;
    let mut second = command("demo", 2);
    second.stream = first.stream.clone();
    assert!(store.enqueue(new_command(second.clone())).await.is_err());
    assert_eq!(store.command(&demo(), &second.id).await?, None);
    assert_eq!(log(store).await?.len(), 1);
    assert_eq!(ids(&claim_all(store, 0).await?), [first.id]);
    Ok(())
}

/// Stream names are unique in their project only.
pub async fn a_stream_name_is_free_in_another_project(store: &impl Store) -> Result<()> {
    for (project, n) in [("demo", 1), ("other", 2)] {
        let mut command = command(project, n);
        command.stream = id("nightly");
        entry_of(store.enqueue(new_command(command)).await?);
    }
    for (project, n) in [("demo", 1), ("other", 2)] {
        let found = store.command_of_stream(&id(project), &id("nightly")).await?;
        assert_eq!(found.map(|found| found.id), Some(command(project, n).id));
    }
    Ok(())
}
