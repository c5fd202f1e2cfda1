//! The client against a server of scripted connections, over real sockets.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests, which clippy cannot know")]

mod calls;
mod resume;
mod server;
