//! Promises of [`EventLog`].
//! [`log_contract!`](crate::log_contract) makes a test of each.

mod append;
mod read;
mod views;

pub use append::*;
pub use read::*;
pub use views::*;

use crate::{EventLog, TaskLeases, TaskQueue};

/// Store under test; clones share their data. Entries are about jobs that run.
pub trait Store: EventLog + TaskQueue + TaskLeases + Clone + 'static {}

impl<S: EventLog + TaskQueue + TaskLeases + Clone + 'static> Store for S {}

/// Makes one test of each promise of [`EventLog`](crate::EventLog).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! log_contract {
    ($fresh:path) => {
        $crate::contract_tests! { log, $fresh;
            appended_output_is_read_back
            appending_goes_on_right_after_the_last_event
            appending_is_all_or_nothing
            a_stale_claim_cannot_append
            nothing_follows_the_end
            output_that_comes_again_is_stored_once

            a_read_is_bounded_in_bytes
            the_log_is_read_in_order_from_a_position
            a_project_is_read_across_its_commands
            a_reader_that_follows_sees_every_entry_once
            the_last_entry_of_a_project_is_found
            a_position_is_the_last_entry_that_was_seen
            status_entries_count_as_seen
            a_position_of_what_has_no_entries_is_zero
            the_ends_of_many_logs_are_found_at_once
            flushing_changes_nothing

            a_view_holds_its_jobs_in_the_order_of_positions
            a_reader_of_everything_sees_every_entry_once
            an_entry_is_found_by_its_time
        }
    };
}
