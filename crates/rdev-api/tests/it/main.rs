//! Stories about the whole server, told from outside: the real binary, over HTTP, with a real database, the
//! real runner, real `git` and the real `claude`.
//!
//! `support` knows how a server is started, killed and asked; the stories know nothing of that, so that
//! they can be told of servers with other runtimes. To tell another story: a test in the file of its
//! subject, whose name reads as a sentence. Nothing here waits by time for what can be awaited, and every
//! wait has an end.

mod support;

mod access;
mod agent;
mod bodies;
mod bytes;
mod concurrency;
mod config;
mod crashes;
mod docs;
mod ending;
mod git;
mod idempotency;
mod many_lines;
mod project_stream;
mod restart;
mod resume;
mod surface;
mod walking;
