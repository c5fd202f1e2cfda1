//! Compares the table with the git of this machine: every option exists and takes its value as the table
//! says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use super::option::{Arity, GitSubcommand};
use super::parse::subcommands;

/// An option that no subcommand has.
const UNKNOWN: &str = "--zz-no-such-option";
/// A letter and a value that no subcommand has.
const UNKNOWN_LETTER: &str = "~";

/// Returns the complaint of git about a line that is wrong on purpose.
fn git(folder: &Path, args: &[&str]) -> String {
    let output = Command::new("git")
        .args(args)
        .current_dir(folder)
        .env_clear()
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_CONFIG_GLOBAL", "/dev/null"), ("LC_ALL", "C")])
        .envs([("GIT_EDITOR", "true"), ("GIT_TERMINAL_PROMPT", "0"), ("GIT_ALLOW_PROTOCOL", "none")])
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@localhost"), ("EMAIL", "a@localhost")])
        .stdin(Stdio::null())
        .output()
        .expect("git can be run");
    [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat()
}

fn repository() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    git(folder.path(), &["init", "--quiet", "--initial-branch=main"]);
    for text in ["first", "second"] {
        std::fs::write(folder.path().join("file"), text).expect("a file can be written");
        git(folder.path(), &["add", "file"]);
        git(folder.path(), &["commit", "--quiet", "--message", text]);
    }
    std::fs::write(folder.path().join("file"), "third").expect("a file can be written");
    git(folder.path(), &["stash"]);
    folder
}

/// Tells whether git does not know an option, or does not take it in this spelling.
fn refuses(said: &str, option: &str) -> bool {
    let complaints = [
        "unknown option",
        "unknown switch",
        "unrecognized argument",
        "unrecognized option",
        "invalid option",
        "takes no value",
        "unknown argument",
        "Unknown option",
        "unsupported option",
        "ambiguous argument",
    ];
    said.lines().any(|line| line.contains(option) && complaints.iter().any(|word| line.contains(word)))
}

/// `rev-parse` reports no errors: it prints every argument that it does not know.
const ECHOES: &str = "rev-parse";

/// These subcommands print their usage when no commit is given.
const NEED_A_COMMIT: [&str; 5] = ["cherry-pick", "diff", "diff-tree", "rev-list", "revert"];
/// These subcommands answer every unknown option with their usage.
const SAY_HOW_THEY_ARE_USED: [&str; 6] =
    ["cherry-pick", "diff", "diff-tree", "rev-list", "revert", "stash show"];

#[test]
fn every_option_exists_and_takes_its_value_as_git_does() {
    let entries: Vec<_> = subcommands().filter(|entry| entry.name != ECHOES).collect();
    let wrong = std::thread::scope(|threads| {
        let parts = entries.chunks(entries.len().div_ceil(4));
        let running: Vec<_> = parts
            .map(|part| {
                threads.spawn(|| part.iter().flat_map(|entry| differences(entry)).collect::<Vec<_>>())
            })
            .collect();
        running.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn differences(entry: &'static GitSubcommand) -> Vec<String> {
    // A new repository for each entry: a line that is wrong on purpose changes it all the same.
    let folder = repository();
    if !exists(folder.path(), entry) {
        return Vec::new();
    }
    let found = once(entry).map(|(option, arity)| (option, arity, probe(folder.path(), entry, option)));
    let wrong =
        found.filter(|(option, arity, found)| !found.is_some_and(|found| fits(option, *arity, found)));
    wrong
        .map(|(option, arity, found)| {
            format!("{} {option}: {arity:?} in the table, git: {found:?}", entry.name)
        })
        .collect()
}

/// Holds when both are equal, when both take the next argument, or when the table refuses a value that a
/// long option may have attached.
fn fits(option: &str, table: Arity, found: Arity) -> bool {
    match (table, found) {
        (Arity::Required, Arity::UnlessLast) => true,
        (Arity::Flag, Arity::Attached) => option.starts_with("--"),
        _ => table == found,
    }
}

/// git's own lists name long options only, without those of the walk over commits; `=` marks a value.
#[test]
fn the_table_agrees_with_gits_own_lists() {
    let mut wrong = Vec::new();
    for entry in subcommands().filter(|entry| entry.name != ECHOES) {
        let mut words: Vec<&str> = entry.words().collect();
        words.push("--git-completion-helper-all");
        let folder = repository();
        let listed = git(folder.path(), &words);
        let listed: BTreeSet<&str> = listed.split_whitespace().collect();
        for (option, arity) in once(entry).filter(|(option, _)| option.starts_with("--")) {
            let with_value = listed.contains(format!("{option}=").as_str());
            let without = listed.contains(option);
            if arity == Arity::Required && without || arity == Arity::Flag && with_value {
                wrong.push(format!(
                    "{} {option}: {arity:?} in the table, in git's list: {with_value}",
                    entry.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Tells whether this git has the subcommand; `config get` and `config list` exist in newer versions
/// only.
fn exists(folder: &Path, entry: &GitSubcommand) -> bool {
    !matches!(entry.name, "config get" | "config list") || !git(folder, &["config", "list"]).contains("error")
}

/// Returns each option once; its first row counts.
fn once(entry: &GitSubcommand) -> impl Iterator<Item = (&'static str, Arity)> {
    let mut seen = BTreeSet::new();
    let options: Vec<_> = entry.options().filter(move |(option, _)| seen.insert(*option)).collect();
    options.into_iter()
}

/// Returns how git takes an option, judged by git's complaint; `None` when git does not know the option.
fn probe(folder: &Path, entry: &GitSubcommand, option: &str) -> Option<Arity> {
    let option = if option == "-<number>" { "-1" } else { option };
    let (short, name) = (!option.starts_with("--"), option.trim_start_matches('-'));
    let line = |more: &[&str]| {
        let mut words: Vec<&str> = entry.words().collect();
        words.extend_from_slice(more);
        words.extend(NEED_A_COMMIT.contains(&entry.name).then_some("HEAD"));
        git(folder, &words)
    };
    let unknown = |said: &str, word: &str| {
        refuses(said, word) || SAY_HOW_THEY_ARE_USED.contains(&entry.name) && said.starts_with("usage:")
    };
    let equals = if short { "" } else { "=" };
    let attached = line(&[&format!("{option}{equals}{UNKNOWN_LETTER}")]);
    // git reads `-1~` as a malformed number.
    let is_number = name.bytes().all(|b| b.is_ascii_digit());
    let takes_attached = !is_number && !unknown(&attached, if short { UNKNOWN_LETTER } else { name });
    let followed = line(&[option, UNKNOWN]);
    let takes_next = !unknown(&followed, &UNKNOWN[2..]) && !unknown(&followed, name);
    let alone = line(&[option]);
    if refuses(&alone, name) && (short || !takes_attached) {
        return None;
    }
    let needs = ["requires a value", "requires an argument", "argument required", "needs a value"];
    Some(match (takes_attached, takes_next) {
        (false, _) => Arity::Flag,
        (true, false) => Arity::Attached,
        (true, true) if needs.iter().any(|word| alone.contains(word)) => Arity::Required,
        (true, true) => Arity::UnlessLast,
    })
}
