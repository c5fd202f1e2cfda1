//! Stories about the whole server, told from outside: the real binary, over HTTP, with a real database, the
//! real runner, real `git` and the real `claude`.
//!
//! `support` knows how a server is started, killed and asked; the stories know nothing of that. They ask as programs do,
//! with rdev-client; `support::raw` is for stories whose subject is HTTP itself. The stories
//! of commands and events are functions of the runtime that they are told on, and the list at the head of
//! their file tells them on each: `walking::local::…` in folders of this machine, `walking::double::…` behind
//! a double of a cluster, and `walking::cluster::…` in real pods, which only `scripts/test-cluster.sh` runs.
//! Stories about the server itself are plain tests.
//!
//! To tell another story: a function in the file of its subject, whose name reads as a sentence. Nothing here
//! waits by time for what can be awaited, and every wait has an end.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "stories are tests, also where the test itself only names them"
)]

mod oracle;
mod support;

mod access;
mod agent;
mod all_events;
mod artefacts;
mod backup;
mod batches;
mod behind_nginx;
mod bodies;
mod bytes;
mod chaos;
mod claims;
mod clocks;
mod closed;
mod cluster;
mod concurrency;
mod config;
mod cors;
mod crashes;
mod database;
mod disk;
mod docs;
mod documents;
mod door;
mod drain;
mod ending;
mod examples;
mod faults;
mod finding;
mod follow_js;
mod git;
mod idempotency;
mod in_a_pod;
mod journals;
mod lines_of_json;
mod logs;
mod lost_answers;
mod many_lines;
mod memory;
mod metrics;
mod operations;
mod pods;
mod power;
mod probes;
mod project_stream;
mod proxies;
mod queue;
mod reach;
mod replicas;
mod restart;
mod resume;
mod retention;
mod retry;
mod rotation;
mod sdks;
mod shares;
mod silent_nodes;
mod starting;
mod subscribing;
mod surface;
mod systemd;
mod tickets;
mod unix_socket;
mod waits;
mod walking;
mod workers;
