//! Table of every accepted subcommand with its options. To add an option, add its name to a row of its
//! arity; `installed.rs` compares the table with the git of the machine.
//!
//! The table has no option that runs a program, reads or writes a file by name, or makes git work in
//! another folder.

mod change;
mod inspect;
mod remote;
mod shared;

use super::option::{Edits, Follows, GitSubcommand, Operands, Row};

/// The entries, those of one subcommand side by side.
pub(super) const SUBCOMMANDS: [&[GitSubcommand]; 3] =
    [inspect::SUBCOMMANDS, change::SUBCOMMANDS, remote::SUBCOMMANDS];

const fn entry(name: &'static str, operands: Operands, options: &'static [&'static [Row]]) -> GitSubcommand {
    GitSubcommand { name, operands, options, put_first: &[], follows: Follows::Nothing, edits: None }
}

impl GitSubcommand {
    /// Disables programs of the configuration that make or convert diffs, whoever wrote that
    /// configuration.
    const fn plain_diffs(mut self) -> Self {
        self.put_first = &["--no-ext-diff", "--no-textconv"];
        self
    }

    const fn with_first(mut self, options: &'static [&'static str]) -> Self {
        self.put_first = options;
        self
    }

    const fn with_links(mut self, follows: Follows) -> Self {
        self.follows = follows;
        self
    }

    const fn with_editor(mut self, edits: Edits) -> Self {
        self.edits = Some(edits);
        self
    }
}
