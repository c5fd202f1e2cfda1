//! Promises of [`TaskLeases`].
//! [`leases_contract!`](crate::leases_contract) makes a test of each.

mod again;
mod claim;
mod concurrency_key;
mod fair;
mod lease;
mod retry;
mod run;
mod stall;

pub use again::*;
pub use claim::*;
pub use concurrency_key::*;
pub use fair::*;
pub use lease::*;
pub use retry::*;
pub use run::*;
pub use stall::*;

use crate::{EventLog, TaskLeases, TaskQueue};

/// Store under test; clones share their data. Jobs come from the queue, and their entries are read from the log.
pub trait Store: TaskLeases + TaskQueue + EventLog + Clone + 'static {}

impl<S: TaskLeases + TaskQueue + EventLog + Clone + 'static> Store for S {}

/// Makes one test of each promise of [`TaskLeases`](crate::TaskLeases).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! leases_contract {
    ($fresh:path) => {
        $crate::contract_tests! { leases, $fresh;
            claims_in_the_order_of_coming
            claims_no_more_than_the_limit
            a_claim_carries_the_command
            a_leased_command_is_not_claimed
            an_ended_command_is_not_claimed
            an_expired_lease_is_claimed_with_a_higher_attempt
            a_claim_tells_where_attaching_goes_on
            workers_at_the_same_time_never_share_a_command

            one_command_of_a_key_is_claimed_at_a_time
            commands_of_a_key_run_in_order
            an_expired_lease_of_a_running_command_still_holds_its_key
            an_older_latecomer_does_not_block_what_runs
            a_late_start_never_runs_two_commands_of_a_key
            a_start_after_release_never_runs_two_commands_of_a_key
            a_finished_command_frees_its_key
            a_cancelled_command_frees_its_key
            commands_of_other_keys_or_none_are_not_held_up
            workers_at_the_same_time_never_share_a_key

            the_highest_priority_is_claimed_first
            nothing_is_claimed_before_its_time
            a_flood_does_not_starve_others
            callers_are_served_round_robin_in_one_project
            commands_and_tasks_have_slots_of_their_own
            a_running_task_is_taken_over_without_a_slot
            what_is_not_due_does_not_hold_its_key

            the_first_start_makes_it_running
            a_command_of_a_ready_project_starts_with_its_claim
            a_second_start_keeps_place_and_time
            a_start_returns_a_requested_cancellation
            a_stale_claim_cannot_start
            finishing_stores_the_complete_entry
            what_never_started_can_be_finished
            a_stale_claim_cannot_finish
            an_end_has_a_number_of_its_own
            nothing_ends_twice
            any_text_may_be_the_message_of_an_end

            a_failure_of_a_running_job_is_shown_until_it_is_over
            only_what_runs_can_stall
            a_running_job_waits_for_something
            a_wait_outlives_its_worker
            a_wait_ends_with_its_attempt
            a_waiting_job_counts_as_running

            renewing_extends_the_lease
            renewing_returns_lost_claims
            renewing_returns_cancelled_claims
            a_released_command_is_claimed_at_once
            releasing_a_lost_claim_changes_nothing
            a_postponed_command_is_not_claimed_before_its_time
            postponing_a_lost_claim_changes_nothing
            what_runs_can_be_postponed_too
            releasing_what_runs_keeps_it_running
            a_worker_releases_what_it_does_not_know_of
            releasing_all_releases_every_lease
            what_was_postponed_is_due_when_its_target_is_ready

            a_retried_command_waits_for_its_time
            a_retried_command_starts_anew_in_any_place
            a_retry_takes_no_number
            an_attempt_may_go_uncounted
            a_retry_of_what_is_to_be_cancelled_cancels
            a_stale_claim_cannot_retry
            a_cancel_between_attempts_goes_on_counting

            a_start_that_comes_again_gets_the_first_answer
            an_end_that_comes_again_gets_the_first_answer
            an_attempts_end_that_comes_again_gets_the_first_answer
            a_cancelled_attempts_end_that_comes_again_gets_the_first_answer
            nothing_comes_again_under_a_claim_that_was_lost
        }
    };
}
