//! JSON that travels on as it came: its shape is the concern of whoever wrote it.

use std::borrow::Cow;

use serde_json::value::RawValue;

/// JSON text of an agent. It stands on one line, and each of its strings is Unicode text.
#[derive(Debug, Clone)]
pub struct Json(Box<RawValue>);

impl Json {
    /// Copies the text, and repairs what readers refuse: line breaks between tokens become spaces, and an escape of half a
    /// surrogate pair, which JavaScript writes, becomes U+FFFD.
    pub fn new(raw: &RawValue) -> Self {
        let repaired = match repair(raw.get()) {
            Cow::Borrowed(_) => None,
            // What is repaired stays JSON; were it none, there would be nothing to send.
            Cow::Owned(text) => Some(RawValue::from_string(text).unwrap_or_default()),
        };
        Self(repaired.unwrap_or_else(|| raw.to_owned()))
    }

    /// Text of the value.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// Returns the value.
    pub fn into_raw(self) -> Box<RawValue> {
        self.0
    }

    /// Value as serde_json writes it into other JSON without reading it again.
    pub fn raw(&self) -> &RawValue {
        &self.0
    }
}

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Json {}

/// JSON forbids raw line breaks in strings, so each of them stands between two tokens.
fn repair(text: &str) -> Cow<'_, str> {
    if !text.contains(['\n', '\r']) && !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let mut repaired = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['\n', '\r', '\\']) {
        repaired.push_str(&rest[..at]);
        rest = &rest[at..];
        // An escape other than `\u` is two bytes of ASCII.
        let (with, length) = match escape(rest) {
            None if rest.starts_with('\\') => (&rest[..2], 2),
            None => (" ", 1),
            Some(0xd800..=0xdbff) if matches!(escape(&rest[6..]), Some(0xdc00..=0xdfff)) => (&rest[..12], 12),
            Some(0xd800..=0xdfff) => ("\\ufffd", 6),
            Some(_) => (&rest[..6], 6),
        };
        repaired.push_str(with);
        rest = &rest[length..];
    }
    repaired.push_str(rest);
    Cow::Owned(repaired)
}

/// Code unit of the escape `\uXXXX` that the text begins with.
fn escape(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::new(serde_json::from_str(text).unwrap())
    }

    #[test]
    fn sound_json_stays_as_it_came() {
        let texts =
            [r#"{"a": [1, 2.50, "x\ty\\"]}"#, r#""\u00e9 \ud83d\uDE00 \\ud800""#, "null", r#""\\\u0041\n""#];
        for text in texts {
            assert_eq!(json(text).as_str(), text);
            assert_eq!(json(text).raw().get(), text);
        }
    }

    #[test]
    fn line_breaks_and_half_pairs_are_repaired() {
        let cases = [
            ("{\r\n\"a\":\n1}", "{  \"a\": 1}"),
            (r#""\ud800""#, r#""\ufffd""#),
            (r#""\udc00\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""\ud83d\ud83d\ude00""#, r#""\ufffd\ud83d\ude00""#),
            (r#""a\udbff\n""#, r#""a\ufffd\n""#),
            (r#""\udfff\u0041""#, r#""\ufffd\u0041""#),
        ];
        for (text, repaired) in cases {
            assert_eq!(json(text).as_str(), repaired);
            serde_json::from_str::<serde::de::IgnoredAny>(repaired).unwrap();
        }
        assert_ne!(json("1"), json("2"));
    }
}
