//! Promises of [`Retention`].
//! [`retention_contract!`](crate::retention_contract) makes a test of each.

mod prune;
mod sizes;

pub use prune::*;
pub use sizes::*;

use crate::{Artefacts, EventLog, Retention, TaskLeases, TaskQueue};

/// Store under test; clones share their data. What is removed was stored through the other ports.
pub trait Store: Retention + Artefacts + EventLog + TaskQueue + TaskLeases + Clone + 'static {}

impl<S: Retention + Artefacts + EventLog + TaskQueue + TaskLeases + Clone + 'static> Store for S {}

/// Makes one test of each promise of [`Retention`](crate::Retention).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! retention_contract {
    ($fresh:path) => {
        $crate::contract_tests! { retention, $fresh;
            what_ended_long_ago_is_removed_whole
            what_has_not_ended_is_never_too_old
            a_task_that_was_run_again_is_not_removed
            much_is_removed_in_small_steps
            the_oldest_output_goes_first
            entries_about_states_and_ends_outlive_output
            output_that_fits_is_left_alone
            removed_output_is_counted_no_more
            a_log_says_how_far_it_was_pruned
            keys_are_removed_after_their_lifetime
            a_name_is_not_given_again_soon

            files_count_in_the_size
            removed_files_are_counted_no_more
            files_of_a_task_that_runs_again_weigh_once
            a_step_is_bounded_in_bytes
        }
    };
}
