/// Makes one test of each promise that a store gives.
///
/// Takes the path of an async function that makes a fresh store and whatever must live as long as it:
/// `async fn fresh() -> (MyStore, TempDir)`. The calling crate needs tokio, with its macros and the
/// multi-threaded runtime.
#[macro_export]
macro_rules! store_contract {
    ($fresh:path) => {
        $crate::store_contract! { $fresh;
            an_accepted_command_is_stored_as_pending
            a_stream_name_is_taken_once_in_a_project
            a_refused_command_leaves_nothing_behind
            a_stream_name_is_free_in_another_project

            the_same_request_again_gives_the_first_command
            the_first_command_comes_back_as_it_stands_now
            another_request_under_a_used_key_is_refused
            keys_of_two_callers_are_independent
            a_key_is_forgotten_after_its_lifetime
            a_refused_command_does_not_use_up_its_key
            the_first_use_of_a_key_is_remembered
            the_first_use_is_refused_to_another_request

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
            callers_have_turns_in_one_project
            commands_and_tasks_have_slots_of_their_own
            a_running_task_is_taken_over_without_a_slot
            what_is_not_due_does_not_hold_its_key

            a_retried_command_waits_for_its_time
            a_retried_command_starts_anew_in_any_place
            a_retry_takes_no_number
            an_attempt_may_go_uncounted
            a_retry_of_what_is_to_be_cancelled_cancels
            a_stale_claim_cannot_retry
            a_cancel_between_attempts_goes_on_counting

            a_seat_is_for_one_task_at_a_time
            a_worker_has_several_seats
            tasks_are_listed_and_filtered
            a_task_knows_its_place_in_line
            occupancy_tells_who_works
            draining_holds_until_it_is_undone
            stats_count_by_kind_and_status
            the_backlog_tells_what_workers_could_do

            an_ended_task_is_reopened
            every_round_has_as_many_attempts
            a_former_end_stays_in_the_log
            reading_goes_on_around_a_former_end
            a_reopened_task_can_be_cancelled
            only_ended_tasks_are_reopened
            a_task_is_reopened_once_a_key
            a_task_is_cancelled_once_a_key
            a_worker_is_drained_once_a_key

            artefacts_are_kept_in_parts
            artefacts_are_kept_anew
            files_that_are_not_listed_are_forgotten
            a_stale_claim_keeps_no_artefacts

            the_first_start_makes_it_running
            a_second_start_keeps_place_and_time
            a_start_tells_of_a_wish_to_cancel
            a_stale_claim_cannot_start
            finishing_stores_the_complete_entry
            what_never_started_can_be_finished
            a_stale_claim_cannot_finish
            an_end_has_a_number_of_its_own
            nothing_ends_twice
            what_stalls_a_command_is_told_until_it_is_over
            only_what_runs_can_stall
            any_text_may_tell_of_an_end

            an_accepted_command_that_comes_again_is_told_as_the_first
            another_command_is_not_taken_for_the_first
            a_start_that_comes_again_is_told_as_the_first
            output_that_comes_again_is_stored_once
            an_end_that_comes_again_is_told_as_the_first
            an_attempts_end_that_comes_again_is_told_as_the_first
            a_cancelled_attempts_end_that_comes_again_is_told_as_the_first
            nothing_comes_again_under_a_claim_that_was_lost

            renewing_extends_the_lease
            renewing_tells_what_is_lost
            renewing_tells_what_is_cancelled
            a_released_command_is_claimed_at_once
            releasing_a_lost_claim_changes_nothing
            a_postponed_command_is_not_claimed_before_its_time
            postponing_a_lost_claim_changes_nothing
            what_runs_can_be_postponed_too
            what_was_postponed_is_due_when_its_home_is_ready
            releasing_what_runs_keeps_it_running
            a_worker_gives_back_what_it_does_not_know_of
            releasing_all_gives_back_every_lease

            a_waiting_command_is_cancelled_at_once
            a_command_whose_lease_ran_out_is_cancelled_at_once
            a_postponed_command_is_cancelled_at_once
            a_leased_command_is_only_asked_to_end
            a_running_command_is_only_asked_to_end
            asking_again_changes_nothing
            asking_an_ended_command_changes_nothing
            only_commands_of_the_project_can_be_cancelled

            a_command_is_found_in_its_project_only
            a_command_is_found_by_its_stream
            commands_come_newest_first_in_pages
            of_many_commands_the_unfinished_are_told
            a_store_that_can_be_written_is_sound

            appended_output_is_read_back
            appending_goes_on_right_after_the_last_event
            appending_is_all_or_nothing
            a_read_is_bounded_in_bytes
            a_stale_claim_cannot_append
            nothing_follows_the_end
            the_log_is_read_in_order_from_a_position
            a_project_is_read_across_its_commands
            a_reader_that_follows_sees_every_entry_once
            the_last_entry_of_a_project_is_told
            a_position_is_the_last_entry_that_was_seen
            status_entries_count_as_seen
            a_position_of_what_has_no_entries_is_zero
            the_ends_of_many_logs_are_told_at_once
            flushing_changes_nothing

            what_ended_long_ago_is_removed_whole
            what_has_not_ended_is_never_too_old
            a_task_that_was_run_again_is_not_removed
            much_is_removed_in_small_steps
            the_oldest_output_goes_first
            what_tells_of_states_and_ends_outlives_output
            output_that_fits_is_left_alone
            removed_output_is_counted_no_more
            a_log_says_how_far_it_was_pruned
            files_count_in_the_size
            removed_files_are_counted_no_more
            files_of_a_task_that_runs_again_weigh_once
            a_step_is_bounded_in_bytes
            a_name_is_not_given_again_soon
            keys_are_removed_after_their_lifetime

            one_of_many_has_the_turn
            a_turn_comes_once_a_period
            whoever_keeps_a_turn_keeps_others_out
            a_turn_that_another_took_cannot_be_kept
            chores_have_turns_of_their_own
            a_clock_that_was_wrong_holds_nobody_up
        }
    };
    ($fresh:path; $($promise:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $promise() {
                let (store, _guard) = $fresh().await;
                $crate::testing::contract::$promise(&store)
                    .await
                    .expect("the store does what it is asked for");
            }
        )*
    };
}
