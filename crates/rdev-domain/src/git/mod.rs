//! Accepted git arguments: those that neither run a program nor leave the workspace.
//!
//! Everything outside the table (`table/`) is refused: subcommands (and so aliases), options, and values
//! by their kind. The table protects against a key that may only run git; other programs in the workspace
//! are not bound by it.

mod option;
mod parse;
mod table;
mod value;

#[cfg(test)]
mod documented;
#[cfg(test)]
mod installed;
#[cfg(test)]
mod tests;

pub use option::{Arity, Follows, GitSubcommand};

use crate::FieldError;

/// Returns the words that may stand first, each once, in alphabetical order.
pub fn git_subcommands() -> impl Iterator<Item = &'static str> {
    let words: std::collections::BTreeSet<_> =
        git_table().filter_map(|subcommand| subcommand.words().next()).collect();
    words.into_iter()
}

/// Returns every accepted subcommand, and each verb of those that have verbs.
pub fn git_table() -> impl Iterator<Item = &'static GitSubcommand> {
    parse::subcommands()
}

/// Returns the entry of the table that a line of arguments begins with.
pub fn git_subcommand(args: &[String]) -> Option<&'static GitSubcommand> {
    parse::find(args).map(|(subcommand, _)| subcommand)
}

/// Checks the arguments that follow `git`. `remotes` is an absolute path on this machine: its bare
/// repositories may be named by their path.
///
/// # Errors
/// Names the refused argument, the reason, and the accepted ones.
pub fn check_git_args(args: &[String], remotes: Option<&str>) -> Result<(), FieldError> {
    parse::check(args, remotes)
}
