//! Compares `docs/git.md` with the table.

use std::collections::BTreeSet;

use super::option::{Arity, GitSubcommand};
use super::parse::subcommands;

/// Formats a row of the document: `…` is a value, in brackets an optional one.
fn row(entry: &GitSubcommand) -> String {
    let mut seen = BTreeSet::new();
    let written = |(name, arity): (&'static str, Arity)| {
        let equals = if name.starts_with("--") { "=" } else { "" };
        match arity {
            Arity::Flag => name.to_owned(),
            Arity::Required => format!("{name}{equals}…"),
            Arity::Attached | Arity::UnlessLast => format!("{name}[{equals}…]"),
        }
    };
    let options: Vec<String> = entry.options().filter(|(name, _)| seen.insert(*name)).map(written).collect();
    let options = if options.is_empty() { String::new() } else { format!("`{}`", options.join(" ")) };
    format!("| **{}** | {options} |", entry.name)
}

#[test]
fn the_document_lists_what_the_table_has() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/git.md");
    let document = std::fs::read_to_string(path).expect("docs/git.md can be read");
    let mut rows: Vec<String> = subcommands().map(row).collect();
    rows.sort_unstable();
    let listed: Vec<&str> = document.lines().filter(|line| line.starts_with("| **")).collect();
    assert!(listed == rows, "docs/git.md must list exactly this:\n{}", rows.join("\n"));
}
