//! Beginnings of texts, for messages and log lines.

/// Most characters of a caller's text that a message shows.
const SHOWN_CHARS_MAX: usize = 80;

/// Returns the beginning of a text, at most so many characters.
pub fn beginning(text: &str, chars_max: usize) -> &str {
    text.char_indices().nth(chars_max).map_or(text, |(end, _)| &text[..end])
}

/// Returns the beginning of a caller's text that a message shows: at most 80 characters.
pub fn shown(text: &str) -> &str {
    beginning(text, SHOWN_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_count_and_not_bytes() {
        assert_eq!((beginning("äbc", 2), beginning("äbc", 3), beginning("äbc", 4)), ("äb", "äbc", "äbc"));
        assert_eq!(beginning("", 0), "");
        assert_eq!(shown(&"ö".repeat(81)), "ö".repeat(80));
    }
}
