//! Reads a line of arguments as git would, by the table.
//!
//! Every argument that begins with `-` must be an option of the table, at any position: none is skipped
//! as the value of another option, nor as a path after `--`. So a line stays harmless even where git
//! reads it in another way.

use super::option::{Arity, Edits, GitSubcommand, Kind, Operands, Row};
use super::table::SUBCOMMANDS;
use super::value;
use crate::FieldError;

/// Writable keys of the repository's configuration: names, no programs.
const WRITABLE_CONFIG: [&str; 4] = ["user.name", "user.email", "pull.rebase", "init.defaultBranch"];
/// Options with which `git config` only reads, whatever follows.
const READING_CONFIG: [&str; 5] = ["--get", "--get-all", "--get-regexp", "-l", "--list"];
/// Most options that an error proposes.
const NEAREST_MAX: usize = 8;

const CLONE_TAKES: &str = "\"clone\" takes an address and \".\", which makes the workspace a clone: send \
                           [\"clone\", \"https://git.example.org/demo.git\", \".\"]";

/// Index of the refused argument, and the reason.
type Refusal = (usize, String);

pub(super) fn subcommands() -> impl Iterator<Item = &'static GitSubcommand> {
    SUBCOMMANDS.into_iter().flatten()
}

/// Returns the entry of the table that the first one or two arguments name, and the number of these
/// arguments.
pub(super) fn find(args: &[String]) -> Option<(&'static GitSubcommand, usize)> {
    let named = |count: usize| {
        let words = args.get(..count)?;
        let entry = subcommands().find(|entry| entry.words().eq(words.iter().map(String::as_str)))?;
        Some((entry, count))
    };
    named(2).or_else(|| named(1))
}

/// Checks the arguments that follow `git`.
pub(super) fn check(args: &[String], remotes: Option<&str>) -> Result<(), FieldError> {
    let Some(first) = args.first() else {
        return Err(FieldError { field: "args".into(), message: "must not be empty".into() });
    };
    let refused = match find(args) {
        Some((entry, words)) => Line { entry, remotes, args, operands: vec![], seen: vec![] }.read(words),
        None => Err(unknown_subcommand(first, args.get(1))),
    };
    refused.map_err(|(index, message)| FieldError { field: format!("args[{index}]"), message })
}

fn unknown_subcommand(first: &str, second: Option<&String>) -> Refusal {
    let mut names: Vec<&str> = subcommands().filter_map(|entry| entry.words().next()).collect();
    names.sort_unstable();
    names.dedup();
    if !names.contains(&first) {
        return (0, format!("{first:?} is not accepted: it must be one of {}", names.join(", ")));
    }
    let second = second.map_or("", String::as_str);
    (1, format!("{second:?} is not accepted: {}", takes(first)))
}

/// Returns the arguments that may follow a subcommand without free text.
fn takes(name: &str) -> String {
    let verbs: Vec<&str> =
        subcommands().filter_map(|entry| entry.name.strip_prefix(name)?.strip_prefix(' ')).collect();
    if verbs.is_empty() {
        format!("{name} takes options only")
    } else {
        format!("{name} takes {}", verbs.join(", "))
    }
}

struct Line<'a> {
    entry: &'static GitSubcommand,
    remotes: Option<&'a str>,
    args: &'a [String],
    /// Operands, each with its index.
    operands: Vec<(usize, &'a str)>,
    /// Options seen so far, each with the index of its argument.
    seen: Vec<(usize, String)>,
}

impl<'a> Line<'a> {
    fn read(mut self, words: usize) -> Result<(), Refusal> {
        let args = self.args;
        let mut options_ended = false;
        let mut index = words;
        while let Some(arg) = args.get(index) {
            let is_option = arg.len() > 1 && arg.starts_with('-');
            if !is_option {
                self.operands.push((index, arg));
            } else if options_ended {
                return Err((
                    index,
                    format!("{arg:?} is not accepted after \"--\": write \"./{arg}\" for a path"),
                ));
            } else if arg == "--" {
                options_ended = true;
            } else if self.option(index, arg)? {
                index += 1;
            }
            index += 1;
        }
        self.check_operands()?;
        self.entry.edits.as_ref().map_or(Ok(()), |edits| self.check_editor(edits))
    }

    /// Checks an argument of one or more options; returns true when the next argument is its value.
    fn option(&mut self, index: usize, arg: &str) -> Result<bool, Refusal> {
        if arg.starts_with("--") {
            let (name, value) = match arg.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (arg, None),
            };
            let row = self.row(index, arg, name)?;
            if row.arity == Arity::Flag && value.is_some() {
                return Err((index, format!("{arg:?} is not accepted: {name} takes no value")));
            }
            return self.value(index, name, row, value);
        }
        let letters = &arg[1..];
        if letters.bytes().all(|b| b.is_ascii_digit()) && self.entry.row("-<number>").is_some() {
            return Ok(false);
        }
        for (at, letter) in letters.char_indices() {
            let name = format!("-{letter}");
            let row = self.row(index, arg, &name)?;
            if row.arity != Arity::Flag {
                let rest = &letters[at + letter.len_utf8()..];
                return self.value(index, &name, row, Some(rest).filter(|rest| !rest.is_empty()));
            }
            self.seen.push((index, name));
        }
        Ok(false)
    }

    fn row(&self, index: usize, arg: &str, name: &str) -> Result<&'static Row, Refusal> {
        self.entry.row(name).ok_or_else(|| {
            let nearest = nearest(self.entry, name);
            let name = if arg.starts_with("--") { "this option".to_owned() } else { name.to_owned() };
            let entry = self.entry.name;
            let message = format!("{arg:?} is not accepted: {entry} is not given {name}; {nearest}");
            (index, message)
        })
    }

    /// Checks the value of an option; returns true when the value is the next argument.
    fn value(&mut self, index: usize, name: &str, row: &Row, given: Option<&str>) -> Result<bool, Refusal> {
        self.seen.push((index, name.to_owned()));
        let refused = |why: String| (index, why);
        if let Some(value) = given {
            return value::check(row.kind, value, self.remotes).map(|()| false).map_err(refused);
        }
        let next = self.args.get(index + 1);
        match (row.arity, next) {
            (Arity::Flag | Arity::Attached, _) | (Arity::UnlessLast, None) => Ok(false),
            (Arity::Required, None) => Err((index, format!("{name:?} is not accepted without a value"))),
            (Arity::Required | Arity::UnlessLast, Some(next)) if next.len() > 1 && next.starts_with('-') => {
                let equals = if name.starts_with("--") { "=" } else { "" };
                let message = format!(
                    "{next:?} is not accepted as the value of {name}: write \"{name}{equals}{next}\""
                );
                Err((index + 1, message))
            }
            (Arity::Required | Arity::UnlessLast, Some(next)) => {
                let checked = value::check(row.kind, next, self.remotes);
                checked.map(|()| true).map_err(|why| (index + 1, why))
            }
        }
    }

    fn check_operands(&self) -> Result<(), Refusal> {
        let kinds: (Kind, Kind) = match self.entry.operands {
            Operands::None => {
                let Some((index, text)) = self.operands.first() else { return Ok(()) };
                return Err((*index, format!("{text:?} is not accepted: {}", takes(self.entry.name))));
            }
            Operands::All(kind) => (kind, kind),
            Operands::FirstThen(first, others) => (first, others),
            Operands::PatternThenPaths if self.seen_of("-e").is_some() => (Kind::Word, Kind::Word),
            Operands::PatternThenPaths => (Kind::Text, Kind::Word),
            Operands::AddressThenHere => return self.check_clone(),
            Operands::ConfigKey => return self.check_config(),
        };
        for (number, (index, text)) in self.operands.iter().enumerate() {
            let kind = if number == 0 { kinds.0 } else { kinds.1 };
            value::check(kind, text, self.remotes).map_err(|why| (*index, why))?;
        }
        Ok(())
    }

    /// Refuses a line that opens an editor, since there is none: git would take what it has prepared for edited.
    fn check_editor(&self, edits: &Edits) -> Result<(), Refusal> {
        let opened = if edits.with.is_empty() { Some((0, "")) } else { self.seen_of(edits.with) };
        let Some((index, option)) = opened.filter(|_| self.seen_of(edits.unless).is_none()) else {
            return Ok(());
        };
        let opens = [self.entry.name, option].join(" ");
        Err((
            index,
            format!("{:?} would open an editor, and there is none: {}", opens.trim_end(), edits.instead),
        ))
    }

    /// Returns the first option of these names, which have spaces between, with the index of its argument.
    fn seen_of(&self, names: &str) -> Option<(usize, &str)> {
        let is_one = |seen: &&(usize, String)| names.split_whitespace().any(|name| name == seen.1);
        self.seen.iter().find(is_one).map(|(index, name)| (*index, name.as_str()))
    }

    fn check_clone(&self) -> Result<(), Refusal> {
        match self.operands[..] {
            [(index, address), (_, ".")] => {
                value::check(Kind::Address, address, self.remotes).map_err(|why| (index, why))
            }
            _ => Err((0, CLONE_TAKES.to_owned())),
        }
    }

    fn check_config(&self) -> Result<(), Refusal> {
        let reads = READING_CONFIG.iter().any(|name| self.seen_of(name).is_some());
        match self.operands[..] {
            _ if reads => Ok(()),
            [_] => Ok(()),
            [(_, key), _] if WRITABLE_CONFIG.contains(&key) => Ok(()),
            _ => {
                let (reading, writing) = (READING_CONFIG.join(", "), WRITABLE_CONFIG.join(", "));
                let (index, key) = self.operands.first().copied().unwrap_or((0, "config"));
                let message =
                    format!("{key:?} is not accepted: config reads with {reading}, and writes {writing}");
                Err((index, message))
            }
        }
    }
}

/// Proposes options of the subcommand with the same beginning as an unknown one.
fn nearest(entry: &GitSubcommand, name: &str) -> String {
    let lengths = (3..=name.len()).rev().filter_map(|length| name.get(..length));
    for beginning in lengths {
        let mut alike: Vec<&str> = entry
            .options()
            .map(|(option, _)| option)
            .filter(|option| option.starts_with(beginning))
            .collect();
        if !alike.is_empty() {
            alike.sort_unstable();
            alike.dedup();
            alike.truncate(NEAREST_MAX);
            return format!("similar options are {}; docs/git.md lists all", alike.join(", "));
        }
    }
    "docs/git.md lists the accepted options".to_owned()
}
