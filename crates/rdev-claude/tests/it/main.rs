//! Claude Code as it was recorded: every transcript is read, and the port's contract holds on all of them.

mod contract;
mod digest;
mod transcripts;
mod verdicts;
