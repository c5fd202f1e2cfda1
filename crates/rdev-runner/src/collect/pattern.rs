//! Patterns that name files, matched name by name on the way down a tree.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use glob::MatchOptions;

use crate::fault::Fault;

/// As shells have it: what begins with a dot has to be named, or `**` would find all of git's own files.
const OPTIONS: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// A pattern, component by component.
pub(super) struct Pattern {
    parts: Vec<Part>,
    /// It ends in a slash.
    folders_only: bool,
}

enum Part {
    /// `**`: any folders that need not be named.
    Folders,
    /// A component with wildcards.
    Wild(glob::Pattern),
    /// A component without.
    Name(String),
}

/// How a name fits what a pattern wants next.
#[derive(Debug, Default)]
pub(super) struct Fit {
    /// It is all that the pattern names.
    pub(super) whole: bool,
    /// It stands there as it is.
    pub(super) by_name: bool,
    /// Names that are wanted in it, as [`Pattern::start`].
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
            // By itself it stands for folders, here for all that is in them.
            parts.push(Part::Wild(glob::Pattern::new("*").map_err(|e| Fault::usage(e.to_string()))?));
        }
        Ok(Self { parts, folders_only })
    }

    /// The components that the names in the folder itself may fit: their numbers.
    pub(super) fn start(&self) -> Vec<usize> {
        vec![0]
    }

    pub(super) fn folders_only(&self) -> bool {
        self.folders_only
    }

    /// Holds a name against the components that are wanted.
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
                    // None at all is as good.
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
