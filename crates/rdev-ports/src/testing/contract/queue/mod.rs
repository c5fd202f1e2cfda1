//! Promises of [`TaskQueue`].
//! [`queue_contract!`](crate::queue_contract) makes a test of each.

mod accept;
mod cancel;
mod idempotency;
mod read;
mod reopen;

pub use accept::*;
pub use cancel::*;
pub use idempotency::*;
pub use read::*;
pub use reopen::*;

use crate::{EventLog, TaskLeases, TaskQueue};

/// Store under test; clones share their data. Jobs are started and logged through the other ports of a queue.
pub trait Store: TaskQueue + TaskLeases + EventLog + Clone + 'static {}

impl<S: TaskQueue + TaskLeases + EventLog + Clone + 'static> Store for S {}

/// Makes one test of each promise of [`TaskQueue`](crate::TaskQueue).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! queue_contract {
    ($fresh:path) => {
        $crate::contract_tests! { queue, $fresh;
            an_accepted_command_is_stored_as_pending
            a_stream_name_is_taken_once_in_a_project
            a_refused_command_leaves_nothing_behind
            a_stream_name_is_free_in_another_project
            an_accepted_command_that_comes_again_gets_the_first_answer
            another_command_is_not_taken_for_the_first

            the_same_request_again_gives_the_first_command
            the_first_command_comes_back_as_it_stands_now
            another_request_under_a_used_key_is_refused
            keys_of_two_callers_are_independent
            a_key_is_forgotten_after_its_lifetime
            a_refused_command_does_not_use_up_its_key
            the_first_use_of_a_key_is_remembered
            the_first_use_is_refused_to_another_request

            a_command_is_found_in_its_project_only
            a_command_is_found_by_its_stream
            commands_come_newest_first_in_pages
            the_unfinished_of_many_jobs_are_returned
            a_store_that_can_be_written_is_sound
            tasks_are_listed_and_filtered
            tasks_of_earlier_versions_are_older
            commands_are_filtered
            a_pending_job_has_a_position_in_its_queue
            waiting_tasks_are_listed_by_their_status

            a_waiting_command_is_cancelled_at_once
            a_command_whose_lease_ran_out_is_cancelled_at_once
            a_postponed_command_is_cancelled_at_once
            a_leased_command_is_only_asked_to_end
            a_running_command_is_only_asked_to_end
            asking_again_changes_nothing
            asking_an_ended_command_changes_nothing
            only_commands_of_the_project_can_be_cancelled

            an_ended_task_is_reopened
            every_round_has_as_many_attempts
            a_former_end_stays_in_the_log
            reading_goes_on_around_a_former_end
            a_reopened_task_can_be_cancelled
            only_ended_tasks_are_reopened
            a_task_is_reopened_once_a_key
            a_task_is_cancelled_once_a_key
        }
    };
}
