//! The options of a subcommand, and how arguments are read as them: as git does, but for abbreviations.

use super::table::Subcommand;

/// How an option takes its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arity {
    /// It takes none.
    Flag,
    /// It takes one: behind an equals sign, right behind a letter, or in the next argument.
    Value(Kind),
    /// It may take one behind an equals sign, or right behind a letter.
    Attached(Kind),
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything.
    Text,
    /// A format of what is printed.
    Format,
    /// The name of a way to merge: any other name is that of a program.
    Strategy,
}

/// The ways to merge that git has built in.
const STRATEGIES: [&str; 6] = ["octopus", "ort", "ours", "recursive", "resolve", "subtree"];

/// Placeholders that have git start a program to check a signature.
const SIGNATURES: [&str; 2] = ["%G", "%(signature"];

impl Subcommand {
    /// Every option, with its dashes, and its arity.
    pub(super) fn options(&self) -> impl Iterator<Item = (&'static str, Arity)> {
        self.options.iter().flat_map(|group| group.split_ascii_whitespace()).map(entry)
    }

    fn arity(&self, name: &str) -> Option<Arity> {
        self.options().filter(|(known, _)| *known == name).last().map(|(_, arity)| arity)
    }

    /// Reads an argument that begins with a dash. True: the next argument is its value.
    pub(super) fn read(&self, arg: &str) -> Result<bool, String> {
        if arg.starts_with("--") {
            let (name, value) = arg.split_once('=').map_or((arg, None), |(name, value)| (name, Some(value)));
            return self.take(name, arg, value);
        }
        let letters = &arg[1..];
        if letters.bytes().all(|byte| byte.is_ascii_digit()) && self.arity("-NUM").is_some() {
            return Ok(false);
        }
        for (at, letter) in letters.char_indices() {
            let rest = &letters[at + letter.len_utf8()..];
            let name = format!("-{letter}");
            match self.arity(&name) {
                Some(Arity::Flag) => {}
                _ => return self.take(&name, arg, (!rest.is_empty()).then_some(rest)),
            }
        }
        Ok(false)
    }

    fn take(&self, name: &str, arg: &str, value: Option<&str>) -> Result<bool, String> {
        match (self.arity(name), value) {
            (None, _) => {
                Err(format!("{name:?} is not accepted: git {} takes {}", self.name, self.accepted(name)))
            }
            (Some(Arity::Flag), Some(_)) => Err(format!("{arg:?} is not accepted: {name} takes no value")),
            (Some(Arity::Flag | Arity::Attached(_)), None) => Ok(false),
            (Some(Arity::Value(_)), None) => Ok(true),
            (Some(Arity::Value(kind) | Arity::Attached(kind)), Some(value)) => {
                kind.check(value).map(|()| false)
            }
        }
    }

    /// Checks a value that stands in an argument of its own, behind `option`.
    pub(super) fn check_value(&self, option: &str, value: &str) -> Result<(), String> {
        let name = if option.starts_with("--") {
            option.to_owned()
        } else {
            format!("-{}", option.chars().next_back().unwrap_or_default())
        };
        if value.starts_with('-') {
            let attached =
                if name.starts_with("--") { format!("{name}={value}") } else { format!("{name}{value}") };
            return Err(format!(
                "{value:?} is not accepted as the value of {name}: it could be read as an option; write {attached:?}"
            ));
        }
        match self.arity(&name) {
            Some(Arity::Value(kind)) => kind.check(value),
            _ => Ok(()),
        }
    }

    /// The options that begin as this one does, or all.
    fn accepted(&self, name: &str) -> String {
        let alike: Vec<&str> = (3..=name.len())
            .rev()
            .filter_map(|length| name.get(..length))
            .map(|beginning| {
                self.options().map(|(known, _)| known).filter(|known| known.starts_with(beginning)).collect()
            })
            .find(|alike: &Vec<&str>| !alike.is_empty())
            .unwrap_or_default();
        if alike.is_empty() || !name.starts_with("--") {
            let mut all: Vec<&str> = self.options().map(|(known, _)| known).collect();
            all.sort_unstable();
            all.dedup();
            return all.join(" ");
        }
        format!("{} (and others that begin otherwise)", alike.join(" "))
    }
}

impl Kind {
    fn check(self, value: &str) -> Result<(), String> {
        match self {
            Self::Format if SIGNATURES.iter().any(|signature| value.contains(signature)) => {
                Err(format!("{value:?} is not accepted: it has a program check signatures"))
            }
            Self::Strategy if !STRATEGIES.contains(&value) => {
                Err(format!("{value:?} is not accepted: accepted is {}", STRATEGIES.join(", ")))
            }
            Self::Text | Self::Format | Self::Strategy => Ok(()),
        }
    }
}

fn entry(text: &'static str) -> (&'static str, Arity) {
    let kind = |kind: &str| match kind {
        "format" => Kind::Format,
        "strategy" => Kind::Strategy,
        _ => Kind::Text,
    };
    if let Some((name, of)) = text.split_once("[=]") {
        return (name, Arity::Attached(kind(of)));
    }
    match text.split_once('=') {
        Some((name, of)) => (name, Arity::Value(kind(of))),
        None => (text, Arity::Flag),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::process::Command;

    use super::super::table::SUBCOMMANDS;
    use super::*;

    /// Every long option that git itself names for a subcommand, those that take a value with an equals sign.
    fn known_to_git(subcommand: &str) -> BTreeSet<String> {
        let folder = tempfile::tempdir().unwrap();
        let git = |args: &[&str]| {
            let output = Command::new("git").args(args).current_dir(&folder).output().expect("git is there");
            String::from_utf8(output.stdout).unwrap()
        };
        git(&["init", "--quiet"]);
        git(&[subcommand, "--git-completion-helper-all"]).split_whitespace().map(str::to_owned).collect()
    }

    /// A value that git does not take would be read as something else.
    #[test]
    fn no_option_takes_a_value_that_git_does_not_give_it() {
        let mut wrong = Vec::new();
        for subcommand in &SUBCOMMANDS {
            let known = known_to_git(subcommand.name);
            for (name, _) in subcommand.options().filter(|(name, _)| name.starts_with("--")) {
                let (takes_none, takes_one) = (known.contains(name), known.contains(&format!("{name}=")));
                let differs = match subcommand.arity(name) {
                    Some(Arity::Value(_)) => takes_none && !takes_one,
                    Some(Arity::Flag) => takes_one,
                    Some(Arity::Attached(_)) | None => false,
                };
                if differs {
                    wrong.push(format!("git {} {name}", subcommand.name));
                }
            }
        }
        assert_eq!(wrong, [""; 0]);
    }

    /// The letters with a value, as `git <subcommand> -h` tells of them.
    #[test]
    fn no_letter_takes_a_value_that_git_does_not_give_it() {
        let mut wrong = Vec::new();
        for subcommand in &SUBCOMMANDS {
            let output = Command::new("git").args([subcommand.name, "-h"]).output().expect("git is there");
            let usage = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            for (name, _) in subcommand.options().filter(|(name, _)| name.len() == 2) {
                let told = usage.lines().map(str::trim_start).find(|line| {
                    line.strip_prefix(name).is_some_and(|rest| rest.starts_with([',', ' ', '[', '<', '(']))
                });
                let Some(told) = told else { continue };
                let told = told.split("  ").next().unwrap_or_default();
                let takes_value = told.contains(['<', '(', '[']);
                if !takes_value && matches!(subcommand.arity(name), Some(Arity::Value(_))) {
                    wrong.push(format!("git {}: {told}", subcommand.name));
                }
            }
        }
        assert_eq!(wrong, [""; 0]);
    }
}
