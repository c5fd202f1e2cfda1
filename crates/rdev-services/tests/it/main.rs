//! Use cases on a store on SQLite and the embedded runtime, at moments that no caller can choose.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot know")]

mod deletion;
mod position;
mod support;
