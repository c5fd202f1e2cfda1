//! Patterns of file names, matched name by name on the way down a tree.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use glob::MatchOptions;

use crate::fault::Fault;

/// As in shells: a leading dot must be matched by a dot, or `**` would find all of git's own files.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A pattern, component by component.
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// The pattern ends in a slash.
    folders_only: bool,
}

enum Part {
    /// `**`: any number of folders.
    Folders,
    /// A component with wildcards.
    Wild(glob::Pattern),
    /// A component without wildcards.
    Name(String),
}

/// Match of a name with the next components of a pattern.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// The name completes the pattern.
    pub(super) whole: bool,
    /// The component equals the name, without wildcards.
    pub(super) by_name: bool,
    /// Components expected inside the folder of that name, as in [`Pattern::start`].
    pub(super) next: Vec<usize>,
}

impl Pattern {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let folders_only = text.ends_with('/');
        let mut parts = Vec::new();
        for component in text.split('/').filter(|component| !component.is_empty()) {
            parts.push(match component {
                "**" => Part::Folders,
                name if !name.contains(['*', '?', '[']) => Part::Name(name.to_owned()),
                wild => Part::Wild(
                    glob::Pattern::new(wild)
                        .map_err(|error| Fault::usage(format!("{text:?} is no pattern: {error}")))?,
                ),
            });
        }
        if matches!(parts.last(), Some(Part::Folders)) {
            // At the end, `**` stands for everything in the folders.
            parts.push(Part::Wild(glob::Pattern::new("*").map_err(|e| Fault::usage(e.to_string()))?));
        }
        Ok(Self { parts, folders_only })
    }

    /// Returns the indices of the components that names in the folder itself may match.
    pub(super) fn start(&self) -> Vec<usize> {
        vec![0]
    }

    pub(super) fn folders_only(&self) -> bool {
        self.folders_only
    }

    /// Matches a name against the expected components.
    pub(super) fn fit(&self, wanted: &[usize], name: &OsStr) -> Fit {
        let text = name.to_string_lossy();
        let mut fit = Fit::default();
        let mut open: Vec<usize> = wanted.to_vec();
        while let Some(number) = open.pop() {
            let (fits, by_name) = match self.parts.get(number) {
                Some(Part::Folders) => {
                    if !text.starts_with('.') && !fit.next.contains(&number) {
                        fit.next.push(number);
                    }
                    // `**` also matches no folder at all.
                    open.push(number + 1);
                    continue;
                }
                Some(Part::Wild(pattern)) => (pattern.matches_with(&text, OPTIONS), false),
                Some(Part::Name(wanted)) => (wanted.as_bytes() == name.as_bytes(), true),
                None => continue,
            };
            if !fits {
                continue;
            }
            fit.by_name |= by_name;
            if number + 1 == self.parts.len() {
                fit.whole = true;
            } else if !fit.next.contains(&(number + 1)) {
                fit.next.push(number + 1);
            }
        }
        fit
    }
}
