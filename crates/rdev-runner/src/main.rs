//! The `rdev-runner` program.
fn main() {}
