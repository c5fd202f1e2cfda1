//! Claude Code as it was recorded: every transcript is read, and the port's contract holds on all of them.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot know")]

mod contract;
mod digest;
mod transcripts;
mod verdicts;
