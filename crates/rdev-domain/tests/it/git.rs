//! Public functions of the table of git.

use rdev_domain::{Follows, check_git_args, git_subcommand, git_subcommands, git_table};

fn args(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

#[test]
fn a_line_is_found_by_its_first_words() {
    let name = |line| git_subcommand(&args(line)).map(|entry| entry.words().collect::<Vec<_>>().join(" "));
    assert_eq!(name("log --oneline").as_deref(), Some("log"));
    assert_eq!(name("stash push -m x").as_deref(), Some("stash push"));
    assert_eq!(name("stash -u").as_deref(), Some("stash"));
    assert_eq!(name("submodule update"), None);
    assert!(git_subcommand(&[]).is_none());
}

#[test]
fn the_first_words_are_listed_once_and_in_order() {
    let words: Vec<_> = git_subcommands().collect();
    let mut sorted = words.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(words, sorted);
    assert!(["add", "clone", "status"].iter().all(|word| words.contains(word)));
    assert!(words.iter().all(|word| !word.contains(' ')));
    assert!(git_table().count() > words.len(), "verbs have entries of their own");
}

#[test]
fn diffs_start_no_program_of_the_configuration() {
    for line in ["diff HEAD", "show HEAD", "log -p"] {
        let first = git_subcommand(&args(line)).unwrap().put_first();
        assert!(first.contains(&"--no-ext-diff") && first.contains(&"--no-textconv"), "{line}: {first:?}");
    }
    assert!(git_subcommand(&args("status")).unwrap().put_first().is_empty());
}

#[test]
fn moves_of_files_follow_links_to_their_destination() {
    let follows = |line| git_subcommand(&args(line)).unwrap().follows();
    assert_eq!(follows("mv a b"), Follows::TrackedPathsAndDestination);
    assert_eq!(follows("status"), Follows::Nothing);
}

#[test]
fn a_refusal_names_its_argument() {
    let field = |line: &str| check_git_args(&args(line), None).map_err(|error| error.field);
    assert_eq!(field("status"), Ok(()));
    assert_eq!(field("bisect run sh"), Err("args[0]".into()));
    assert_eq!(field("stash nonsense"), Err("args[1]".into()));
    assert_eq!(field("commit --gpg-sign"), Err("args[1]".into()));
}
