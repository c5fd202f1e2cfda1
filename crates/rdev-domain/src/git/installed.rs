//! Compares the table with the git of this machine: each option exists, and takes its value as the table says.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use super::option::{Arity, GitSubcommand};
use super::parse::subcommands;

/// An option that no subcommand has.
const UNKNOWN: &str = "--zz-no-such-option";
/// A letter and a value that no subcommand has.
const UNKNOWN_LETTER: &str = "~";

/// The complaint of git about a line that is wrong on purpose.
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

/// Tells whether git does not know an option, or does not take it as it is written.
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

/// Its own parser knows no errors: it prints what it does not know.
const ECHOES: &str = "rev-parse";

/// Without one they answer with how they are used.
const NEED_A_COMMIT: [&str; 5] = ["cherry-pick", "diff", "diff-tree", "rev-list", "revert"];
/// These have no other answer to what they do not know.
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
    // A new one each: what is wrong on purpose changes it all the same.
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

/// Equal; or it takes the next argument in both; or the table leaves a value out that a long option may have attached.
fn fits(option: &str, table: Arity, found: Arity) -> bool {
    match (table, found) {
        (Arity::Required, Arity::UnlessLast) => true,
        (Arity::Flag, Arity::Attached) => option.starts_with("--"),
        _ => table == found,
    }
}

/// git's own lists name long options only, and not those of the walk over commits; `=` says that there is a value.
#[test]
fn what_git_itself_lists_says_the_same() {
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

/// Verbs that only newer gits have are left out.
fn exists(folder: &Path, entry: &GitSubcommand) -> bool {
    !matches!(entry.name, "config get" | "config list") || !git(folder, &["config", "list"]).contains("error")
}

/// The first row counts.
fn once(entry: &GitSubcommand) -> impl Iterator<Item = (&'static str, Arity)> {
    let mut seen = BTreeSet::new();
    let options: Vec<_> = entry.options().filter(move |(option, _)| seen.insert(*option)).collect();
    options.into_iter()
}

/// How git takes an option, found out by what it complains of; `None` when it does not know it.
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
    // `-1~` is read as a number that goes wrong.
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
