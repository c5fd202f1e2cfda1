//! Which git arguments are accepted: those that neither run a program nor leave the workspace.
//!
//! Everything outside the table (`table/`) is refused: subcommands, which keeps aliases out, options, and their values by
//! kind. It holds against a key that may only run git; what else runs in the workspace may do more by itself.

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

/// The words that may stand first, each once, by the alphabet.
pub fn git_subcommands() -> impl Iterator<Item = &'static str> {
    let words: std::collections::BTreeSet<_> =
        git_table().filter_map(|subcommand| subcommand.words().next()).collect();
    words.into_iter()
}

/// Every subcommand that is accepted, and each verb of those that have some.
pub fn git_table() -> impl Iterator<Item = &'static GitSubcommand> {
    parse::subcommands()
}

/// The entry of the table that a line of arguments begins with.
pub fn git_subcommand(args: &[String]) -> Option<&'static GitSubcommand> {
    parse::find(args).map(|(subcommand, _)| subcommand)
}

/// Checks the arguments that follow `git`. `remotes` is the folder of this machine, as an absolute path, whose bare
/// repositories may be reached by their path.
///
/// # Errors
/// Names the argument that is refused, why, and what is accepted.
pub fn check_git_args(args: &[String], remotes: Option<&str>) -> Result<(), FieldError> {
    parse::check(args, remotes)
}
