//! Promises of [`LogFollower`].
//! [`followers_contract!`](crate::followers_contract) makes a test of each.

mod cursor;
mod read;
mod retention;

pub use cursor::*;
pub use read::*;
pub use retention::*;

use rdev_domain::{Entry, Position, Result};

use crate::{
    EventLog, FollowedBatch, Follower, LogFollower, ProjectRecords, Rest, Retention, TaskLeases, TaskQueue,
};

/// Store under test; clones share their data. Entries are about jobs that are stored through the other ports.
pub trait Store:
    LogFollower + EventLog + TaskQueue + TaskLeases + Retention + ProjectRecords + Clone + 'static
{
}

impl<S> Store for S where
    S: LogFollower + EventLog + TaskQueue + TaskLeases + Retention + ProjectRecords + Clone + 'static
{
}

/// Makes one test of each promise of [`LogFollower`](crate::LogFollower).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! followers_contract {
    ($fresh:path) => {
        $crate::contract_tests! { followers, $fresh;
            a_new_follower_begins_at_the_end
            a_cursor_moves_from_where_it_is
            followers_have_cursors_of_their_own
            the_oldest_unread_entry_has_a_time
            a_closed_follower_has_no_cursor

            everything_but_output_is_read_in_order
            a_batch_is_bounded_and_the_next_goes_on
            every_kind_of_job_has_entries_of_its_acceptance_and_its_end
            every_end_of_a_task_is_read
            an_end_has_the_wait_of_its_job

            retention_waits_for_the_slowest_follower
            retention_passes_a_follower_after_the_patience
            a_job_that_waits_holds_no_other_up
            retention_does_not_wait_for_a_closed_follower
            a_deletion_waits_for_the_slowest_follower_and_then_passes_it
        }
    };
}

/// Follower of the promises.
const FIRST: Follower = Follower::new("first");
const SECOND: Follower = Follower::new("second");

/// Reads that settle all positions where nobody writes.
const READS_MAX: usize = 10;

/// Reads a batch at the end of which nothing is unsettled.
async fn batch(store: &impl Store, follower: Follower, after: Position, limit: u32) -> Result<FollowedBatch> {
    for _ in 0..READS_MAX {
        let batch = store.read(follower, after, limit).await?;
        if batch.rest != Rest::Unsettled {
            return Ok(batch);
        }
    }
    panic!("nobody writes, and positions are not settled");
}

/// Reads everything after a position.
async fn read_all(store: &impl Store, after: Position) -> Result<Vec<Entry>> {
    let batch = batch(store, FIRST, after, super::steps::ALL).await?;
    Ok(batch.entries.into_iter().map(|followed| followed.entry).collect())
}
