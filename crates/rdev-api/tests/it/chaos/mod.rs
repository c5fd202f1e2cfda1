//! Chaos: servers to which faults happen at random while they work, and the verdict of [`crate::oracle`] on what they did.

mod one_server;
mod replicas;
