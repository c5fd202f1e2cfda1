//! The lines: an option that git lists for a subcommand, or that the table has, with something dangerous behind it.

use std::collections::BTreeSet;

use rdev_domain::{GitSubcommand, git_table};

use super::Draw;
use super::jail::Jail;

/// Options that run a program, write a file, or have git work elsewhere, each for some subcommand. `ran` is what the
/// programs leave.
const DANGEROUS: [&str; 40] = [
    "--output=../outside/new",
    "-o../outside/new",
    "-O../outside/victim",
    "-Ohook",
    "--open-files-in-pager=hook",
    "--ext-diff",
    "--textconv",
    "--no-index",
    "--exec=hook",
    "-xhook",
    "--upload-pack=hook",
    "--receive-pack=hook",
    "-F../outside/victim",
    "--file=../outside/victim",
    "--template=../outside",
    "--separate-git-dir=../outside/new",
    "--git-dir=../outside/repo.git",
    "--work-tree=../outside",
    "--pathspec-from-file=../outside/victim",
    "--contents=../outside/victim",
    "--exclude-from=../outside/victim",
    "-S",
    "-Skey",
    "--gpg-sign",
    "--signed",
    "--verify-signatures",
    "--show-signature",
    "--format=%GG",
    "--config=core.sshCommand=hook",
    "-ccore.pager=hook",
    "--strategy=hook",
    "-shook",
    "--reference=../outside/repo.git",
    "--recurse-submodules",
    "--edit",
    "-e",
    "-i",
    "-p",
    "--global",
    "--help",
];
/// Operands that lead out, or to programs.
const OPERANDS: [&str; 20] = [
    "HEAD",
    "topic",
    "f",
    ".",
    "hook",
    "link",
    "link/victim",
    "dotlink/config",
    "dotlink/hooks/post-commit",
    ".git/config",
    "../outside/victim",
    "origin",
    "evil",
    "./evil",
    "link/repo.git",
    "ext::hook",
    "git://127.0.0.1:9/x",
    "ssh://127.0.0.1:9/x",
    "link/new",
    "HEAD:link",
];
/// Options that might swallow the next argument.
const BETWEEN: [&str; 12] =
    ["", "-m", "-S", "-G", "--grep", "--message", "-o", "-X", "--", "--src-prefix", "-C", "--author"];

pub(super) struct Lines {
    /// Each subcommand with all of its options, those that are refused as well.
    subcommands: Vec<(&'static GitSubcommand, Vec<String>)>,
}

impl Lines {
    pub(super) fn of(jail: &Jail) -> Self {
        let subcommands = git_table().map(|entry| {
            let mut options: BTreeSet<String> = entry.options().map(|(name, _)| name.to_owned()).collect();
            let mut words: Vec<String> = entry.words().map(str::to_owned).collect();
            words.push("--git-completion-helper-all".to_owned());
            let listed = jail.ask(&words);
            options.extend(listed.split_whitespace().filter(|o| o.starts_with('-')).map(str::to_owned));
            (entry, options.into_iter().collect())
        });
        Self { subcommands: subcommands.collect() }
    }

    pub(super) fn draw(&self, draw: &mut Draw) -> Vec<String> {
        let (entry, options) = draw.one_of(&self.subcommands);
        let mut line: Vec<String> = entry.words().map(str::to_owned).collect();
        let none = String::new();
        for _ in 0..draw.below(3) {
            let option = if options.is_empty() { &none } else { draw.one_of(options) };
            let value = *draw.one_of(&OPERANDS);
            line.push(with_value(option, value));
            if draw.below(3) == 0 {
                line.push((*draw.one_of(&BETWEEN)).to_owned());
            }
        }
        if draw.below(4) == 0 {
            line.push((*draw.one_of(&DANGEROUS)).to_owned());
        }
        for _ in 0..draw.below(4) {
            line.push((*draw.one_of(&OPERANDS)).to_owned());
        }
        line.retain(|word| !word.is_empty());
        line
    }

    /// Every option with everything of the lists behind it.
    pub(super) fn each(&self, mut see: impl FnMut(&[String])) {
        for (entry, options) in &self.subcommands {
            let mut fronts = vec![String::new()];
            fronts.extend(options.iter().map(|option| with_value(option, "f")));
            fronts.dedup();
            for front in &fronts {
                for between in BETWEEN {
                    for dangerous in DANGEROUS {
                        see(&line(entry, &[front, between, dangerous, "f"]));
                        see(&line(entry, &[front, between, dangerous]));
                    }
                }
                for operand in OPERANDS {
                    see(&line(entry, &[front, operand]));
                    see(&line(entry, &[front, "f", operand]));
                }
            }
        }
    }
}

fn line(entry: &GitSubcommand, words: &[&str]) -> Vec<String> {
    let mut line: Vec<String> = entry.words().map(str::to_owned).collect();
    line.extend(words.iter().filter(|word| !word.is_empty()).map(|&word| word.to_owned()));
    line
}

/// git lists an option that needs a value as `--name=`.
fn with_value(option: &str, value: &str) -> String {
    match option {
        "--" => "--".to_owned(),
        "-<number>" => "-1".to_owned(),
        _ if option.ends_with('=') => format!("{option}{value}"),
        _ => option.to_owned(),
    }
}
