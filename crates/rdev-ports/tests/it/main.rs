//! The contract suites and their promises.

mod suite;
