//! Names of listed files: text, unique for each file.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Returns the path as text. A byte that is not UTF-8 is written as `%XX`, and so is a `%` that would
/// read as one.
pub(super) fn listed(path: &Path) -> String {
    let mut text = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        let valid = chunk.valid();
        for (at, character) in valid.char_indices() {
            let two = valid.as_bytes().get(at + 1..at + 3);
            if character == '%' && two.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit)) {
                text.push_str("%25");
            } else {
                text.push(character);
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("%{byte:02X}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    #[test]
    fn names_stay_distinct() {
        for (name, text) in [
            (&b"a b/\xc3\xbc.xml"[..], "a b/ü.xml"),
            (b"\xff", "%FF"),
            (b"%FF", "%25FF"),
            (b"%25FF", "%2525FF"),
            (b"100%", "100%"),
            (b"%2\xff", "%2%FF"),
            (b"\xc3", "%C3"),
            (b"\xc3\xbc\xfe\xff", "ü%FE%FF"),
        ] {
            assert_eq!(listed(Path::new(OsStr::from_bytes(name))), text);
        }
    }
}
