//! The lists of the suites' macros and the promises cannot drift apart.

use std::fs;
use std::path::Path;

#[test]
fn every_promise_is_in_the_list_of_its_macro_once() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testing/contract");
    let (mut promises, mut listed) = (Vec::new(), Vec::new());
    let mut open = vec![folder];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        let functions = text.lines().filter_map(|line| line.strip_prefix("pub async fn "));
        promises.extend(functions.filter_map(|line| Some(line.split_once('(')?.0.to_owned())));
        // A name by itself on a line, indented so far, stands in the list of a macro.
        let is_name = |line: &&str| line.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let lines = text.lines().filter_map(|line| line.strip_prefix("            "));
        let names = lines.filter(|line| !line.is_empty()).filter(is_name);
        listed.extend(names.map(str::to_owned));
    }
    promises.sort();
    listed.sort();
    assert!(promises.len() > 100, "{promises:?}");
    assert_eq!(listed, promises);
}
