//! Artefacts: files that a task leaves, and whether rdev stores them.

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// A file that a task has left, or that a pattern asked for in vain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// Path in the checkout; without a file, the pattern that asked for it.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// The stored content, or the reason why it is not stored.
    pub kept: Content,
}

/// Storage of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Stored completely, with this SHA-256.
    Stored([u8; 32]),
    /// Not stored, for this reason.
    Skipped(SkipReason),
}

/// Reason why a file is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// No file matches the pattern.
    Missing,
    /// The file exceeds the limit of bytes of a task.
    TooLarge,
    /// More files match the pattern than a task may leave.
    TooMany,
    /// The path is not a regular file of the checkout, or cannot be read.
    Unreadable,
    /// The checkout has more entries than the search visits.
    Unsearched,
    /// The pod of the checkout is gone, or the task was cancelled before the file was stored.
    Lost,
    /// Retention removed the content to make room for newer files.
    Removed,
}

impl SkipReason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::TooLarge,
        Self::TooMany,
        Self::Unreadable,
        Self::Unsearched,
        Self::Lost,
        Self::Removed,
    ];

    /// Returns the reason's name in answers and stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::Unreadable => "unreadable",
            Self::Unsearched => "unsearched",
            Self::Lost => "lost",
            Self::Removed => "removed",
        }
    }

    /// Parses the name of a reason.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == name)
    }
}

/// Returns why this pattern cannot select files of a checkout.
pub(crate) fn check_pattern(pattern: &str) -> Result<(), String> {
    let component = |part: &str| {
        !part.is_empty() && part != ".." && part != "." && (part == "**" || !part.contains("**"))
    };
    let good = pattern.len() <= PATTERN_BYTES_MAX
        && pattern.strip_suffix('/').unwrap_or(pattern).split('/').all(component)
        && !pattern.contains(['[', ']', '\\'])
        && !pattern.chars().any(char::is_control);
    if good {
        return Ok(());
    }
    let shown = crate::shown(pattern);
    Err(format!(
        "{shown:?} is not valid: accepted is a path in the checkout of 1 to {PATTERN_BYTES_MAX} bytes, without \
         \"..\", in which * and ? stand for names without a leading dot, and ** for any folders"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_stay_in_the_checkout() {
        for good in
            ["report.xml", "dist/", "dist/*.tar.gz", "**/junit-?.xml", "a b/ü", "target/**", ".cache/x"]
        {
            assert_eq!(check_pattern(good), Ok(()), "{good}");
        }
        for bad in
            ["", "/etc/passwd", "../x", "a/../b", "a//b", "./a", "a**", "**x/y", "[a]", "a\\b", "a\n", "/"]
        {
            assert!(check_pattern(bad).is_err(), "{bad}");
        }
        assert!(check_pattern(&"a".repeat(PATTERN_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn reasons_are_read_back() {
        for why in SkipReason::ALL {
            assert_eq!(SkipReason::parse(why.as_str()), Some(why));
        }
    }
}
