//! The `rdev-runner` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    rdev_runner::main(&[], std::env::args_os().skip(1))
}
