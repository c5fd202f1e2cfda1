//! Files that a task leaves behind, and what becomes of them.

/// Longest pattern, in bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// A file that a task has left, or was to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// Where it was in the checkout; where there is no file, the pattern that asked for it.
    pub path: String,
    /// Its bytes.
    pub size: u64,
    /// Whether it is kept.
    pub kept: Content,
}

/// Whether a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// All of it, with this SHA-256.
    Stored([u8; 32]),
    /// It is not, for this reason.
    Skipped(SkipReason),
}

/// Why a file is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// Nothing fits the pattern.
    Missing,
    /// With it there would be more bytes than a task may leave.
    TooLarge,
    /// More files fit the pattern than a task may leave.
    TooMany,
    /// It is no regular file of the checkout, or may not be read.
    Unreadable,
    /// The checkout has more in it than is looked at.
    Unsearched,
    /// The place is gone in which it was, or its task was cancelled meanwhile.
    Lost,
    /// It was, until it made room for what is newer.
    Removed,
}

impl SkipReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Missing,
        Self::TooLarge,
        Self::TooMany,
        Self::Unreadable,
        Self::Unsearched,
        Self::Lost,
        Self::Removed,
    ];

    /// Its name in answers and stores.
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

    /// The reason of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|why| why.as_str() == name)
    }
}

/// Why this names no files of a checkout.
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
    let shown: String = pattern.chars().take(80).collect();
    Err(format!(
        "{shown:?} is not valid: accepted is a path in the checkout of 1 to {PATTERN_BYTES_MAX} bytes, without \
         \"..\", in which * and ? stand for what does not begin with a dot, and ** for any folders"
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
