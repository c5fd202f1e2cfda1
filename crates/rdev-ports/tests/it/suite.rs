//! The list of `store_contract!` and the promises cannot drift apart.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[test]
fn every_promise_is_in_the_list_of_the_macro() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/testing/contract");
    let mut promises = BTreeSet::new();
    for file in fs::read_dir(&folder).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        let functions = text.lines().filter_map(|line| line.strip_prefix("pub async fn "));
        promises.extend(functions.filter_map(|line| Some(line.split_once('(')?.0.to_owned())));
    }
    let text = fs::read_to_string(folder.join("suite.rs")).unwrap();
    let is_name = |line: &&str| line.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let listed = text.lines().map(str::trim).filter(|line| !line.is_empty()).filter(is_name);
    assert_eq!(listed.map(str::to_owned).collect::<BTreeSet<_>>(), promises);
}
