//! Worker on a store on SQLite and pods with prepared answers, in a time that advances when nothing else happens.

mod agents;
mod cancel;
mod collecting;
mod lost_answers;
mod operations;
mod refusals;
mod renewals;
mod start_with_claim;
mod starting;
mod support;
mod waiting;
