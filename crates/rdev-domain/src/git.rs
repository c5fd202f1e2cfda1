//! Which git arguments are accepted: those that neither run a program nor leave the workspace.
//!
//! Subcommands are an allow list, which also keeps aliases out (an alias is a name that git does not know).
//! Options are a deny list, matched as git matches them: any unambiguous beginning of a long option counts.

use crate::FieldError;

/// What the subcommands accepted here may do with a path that is not in the workspace.
#[derive(Clone, Copy, PartialEq)]
enum Paths {
    /// Their arguments name files: an absolute path, or one with `..`, leaves the workspace.
    Inside,
    /// Their arguments name repositories, which may lie anywhere.
    Repository,
}

const SUBCOMMANDS: [(&str, Paths); 38] = [
    ("add", Paths::Inside),
    ("blame", Paths::Inside),
    ("branch", Paths::Inside),
    ("checkout", Paths::Inside),
    ("cherry", Paths::Inside),
    ("cherry-pick", Paths::Inside),
    ("clean", Paths::Inside),
    ("commit", Paths::Inside),
    ("config", Paths::Inside),
    ("count-objects", Paths::Inside),
    ("describe", Paths::Inside),
    ("diff", Paths::Inside),
    ("fetch", Paths::Repository),
    ("for-each-ref", Paths::Inside),
    ("fsck", Paths::Inside),
    ("gc", Paths::Inside),
    ("grep", Paths::Inside),
    ("init", Paths::Inside),
    ("log", Paths::Inside),
    ("ls-files", Paths::Inside),
    ("ls-remote", Paths::Repository),
    ("ls-tree", Paths::Inside),
    ("merge", Paths::Inside),
    ("mv", Paths::Inside),
    ("pull", Paths::Repository),
    ("push", Paths::Repository),
    ("rebase", Paths::Inside),
    ("remote", Paths::Repository),
    ("reset", Paths::Inside),
    ("restore", Paths::Inside),
    ("rev-parse", Paths::Inside),
    ("revert", Paths::Inside),
    ("rm", Paths::Inside),
    ("shortlog", Paths::Inside),
    ("show", Paths::Inside),
    ("stash", Paths::Inside),
    ("status", Paths::Inside),
    ("switch", Paths::Inside),
];

/// Long options that run a program, read its name, or place files elsewhere, for every subcommand.
const REFUSED_LONG: [&str; 17] = [
    "--config-env",
    "--exec",
    "--exec-path",
    "--ext-diff",
    "--git-dir",
    "--gpg-sign",
    "--no-index",
    "--open-files-in-pager",
    "--output",
    "--receive-pack",
    "--separate-git-dir",
    "--show-signature",
    "--template",
    "--textconv",
    "--upload-pack",
    "--work-tree",
    "--super-prefix",
];

/// Short options that run a program, by subcommand.
const REFUSED_SHORT: [(&str, char); 8] = [
    ("cherry-pick", 'S'),
    ("commit", 'S'),
    ("grep", 'O'),
    ("merge", 'S'),
    ("pull", 'S'),
    ("rebase", 'S'),
    ("rebase", 'x'),
    ("revert", 'S'),
];

/// Options that always take a value which is free text, by subcommand: a message may begin with a slash.
const TEXT_OPTIONS: [(&str, &[&str]); 5] = [
    ("commit", &["-m", "--message", "--author", "--date", "--trailer"]),
    ("log", &["-S", "-G", "--grep", "--author", "--since", "--until"]),
    ("merge", &["-m"]),
    ("shortlog", &["--grep", "--author"]),
    ("stash", &["-m", "--message"]),
];

/// Keys of the repository's configuration that may be written: names, no programs.
const WRITABLE_CONFIG: [&str; 4] = ["user.name", "user.email", "pull.rebase", "init.defaultBranch"];

/// Ways of `git config` that only read, and options that keep to the workspace's own configuration.
const READING_CONFIG: [&str; 7] = ["--get", "--get-all", "--get-regexp", "--list", "-l", "get", "list"];
const PLAIN_CONFIG_OPTIONS: [&str; 6] =
    ["--local", "--null", "-z", "--show-origin", "--show-scope", "--name-only"];

/// The subcommands that are accepted.
pub fn git_subcommands() -> impl Iterator<Item = &'static str> {
    SUBCOMMANDS.iter().map(|(name, _)| *name)
}

/// Checks the arguments that follow `git`; the error names the one that is refused, and why.
pub fn check_git_args(args: &[String]) -> Result<(), FieldError> {
    let Some(first) = args.first() else {
        return refuse("args".into(), "it must not be empty".into());
    };
    let Some((subcommand, paths)) = SUBCOMMANDS.iter().find(|(name, _)| name == first) else {
        let names: Vec<&str> = git_subcommands().collect();
        let message = format!("{first:?} is not accepted: it must be one of {}", names.join(", "));
        return refuse("args[0]".into(), message);
    };
    let text_options = text_options(subcommand);
    let mut only_operands = false;
    let mut is_text = false;
    for (index, arg) in args.iter().enumerate().skip(1) {
        let field = format!("args[{index}]");
        if std::mem::take(&mut is_text) {
            continue;
        }
        if !only_operands && arg == "--" {
            only_operands = true;
        } else if !only_operands && arg.starts_with('-') && arg.len() > 1 {
            match takes_text(text_options, arg) {
                Some(Text::Follows) => is_text = true,
                Some(Text::Attached) => {}
                None => check_option(subcommand, arg).or_else(|why| refuse(field, why))?,
            }
        } else if *paths == Paths::Inside && leaves_workspace(arg) {
            return refuse(field, outside(arg));
        } else if runs_transport(arg) {
            return refuse(field, format!("{arg:?} is not accepted: this transport runs a program"));
        }
    }
    if *subcommand == "config" { check_config(&args[1..]) } else { Ok(()) }
}

fn check_option(subcommand: &str, arg: &str) -> Result<(), String> {
    let (name, value) = match arg.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (arg, None),
    };
    if let Some(long) = name.strip_prefix("--") {
        if let Some(option) = REFUSED_LONG.iter().find(|option| option[2..].starts_with(long)) {
            return Err(format!(
                "{arg:?} is not accepted: {option} can run a program or leave the workspace"
            ));
        }
    } else {
        let letters = &arg[1..];
        let refused = |(sub, letter): &&(&str, char)| *sub == subcommand && letters.contains(*letter);
        if let Some((_, letter)) = REFUSED_SHORT.iter().find(refused) {
            return Err(format!("{arg:?} is not accepted: -{letter} runs a program"));
        }
        if letters.char_indices().skip(1).any(|(i, _)| leaves_workspace(&letters[i..])) {
            return Err(outside(arg));
        }
    }
    if value.is_some_and(leaves_workspace) { Err(outside(arg)) } else { Ok(()) }
}

/// Where an option's free text stands.
enum Text {
    /// In the argument after it.
    Follows,
    /// In the same argument.
    Attached,
}

fn text_options(subcommand: &str) -> &'static [&'static str] {
    TEXT_OPTIONS.iter().find(|(name, _)| *name == subcommand).map_or(&[], |(_, options)| options)
}

fn takes_text(options: &[&str], arg: &str) -> Option<Text> {
    if options.contains(&arg) {
        return Some(Text::Follows);
    }
    options.iter().find_map(|option| {
        if option.starts_with("--") {
            return arg.strip_prefix(option)?.starts_with('=').then_some(Text::Attached);
        }
        // `-am`: plain letters before the one that takes the text.
        let (flags, text) = arg[1..].split_once(&option[1..])?;
        let plain = flags.bytes().all(|b| b"aenqsvz".contains(&b));
        plain.then_some(if text.is_empty() { Text::Follows } else { Text::Attached })
    })
}

fn check_config(args: &[String]) -> Result<(), FieldError> {
    let plain = |arg: &str| READING_CONFIG.contains(&arg) || PLAIN_CONFIG_OPTIONS.contains(&arg);
    if let Some(index) = args.iter().position(|arg| arg.starts_with('-') && !plain(arg)) {
        let accepted = [READING_CONFIG.as_slice(), &PLAIN_CONFIG_OPTIONS].concat().join(", ");
        let message = format!("{:?} is not accepted: config takes {accepted}", args[index]);
        return refuse(format!("args[{}]", index + 1), message);
    }
    let first = args.first().map(String::as_str).unwrap_or_default();
    let word = args.iter().find(|arg| !PLAIN_CONFIG_OPTIONS.contains(&arg.as_str()));
    if word.is_some_and(|word| READING_CONFIG.contains(&word.as_str()))
        || (args.len() <= 2 && WRITABLE_CONFIG.contains(&first))
    {
        return Ok(());
    }
    let message = format!(
        "{first:?} is not accepted: config reads with {}, and writes {}",
        READING_CONFIG.join(", "),
        WRITABLE_CONFIG.join(", ")
    );
    refuse("args[1]".into(), message)
}

fn outside(arg: &str) -> String {
    format!("{arg:?} is not accepted: it names a place outside the workspace")
}

/// Whether a path is absolute, begins in a home directory, or has a `..` among its parts.
/// A range of revisions such as `main..topic` has none.
fn leaves_workspace(text: &str) -> bool {
    let path = text.strip_prefix(":(").and_then(|magic| magic.split_once(')')).map_or(text, |(_, path)| path);
    let path = path.strip_prefix("file://").unwrap_or(path);
    path.starts_with('/') || path.starts_with("~") || path.split('/').any(|part| part == "..")
}

/// `ext::` and other `helper::address` forms start the helper program.
fn runs_transport(text: &str) -> bool {
    text.split_once("::").is_some_and(|(helper, _)| {
        !helper.is_empty() && helper.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}

fn refuse(field: String, message: String) -> Result<(), FieldError> {
    Err(FieldError { field, message })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str) -> Result<(), FieldError> {
        check_git_args(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn everyday_work_is_accepted() {
        for line in [
            "status --porcelain",
            "init",
            "add -A",
            "add src/main.rs",
            "commit -m /etc:fix",
            "commit --message=/etc",
            "commit -am ../x",
            "log --oneline -n 5",
            "log main..topic",
            "diff HEAD~1 --stat",
            "diff -- src/a..b",
            "branch -m old new",
            "switch -c topic",
            "fetch origin",
            "fetch /srv/git/a.git main",
            "push -u origin main",
            "push ../bare.git HEAD:main",
            "remote add origin /srv/git/a.git",
            "ls-remote origin",
            "config user.name rdev",
            "config --get remote.origin.url",
            "rebase main",
            "stash push",
        ] {
            assert_eq!(check(line), Ok(()), "{line}");
        }
    }

    #[test]
    fn programs_and_ways_out_are_refused() {
        for line in [
            "-c core.sshCommand=x fetch",
            "-C .. status",
            "--git-dir=/x status",
            "--git-dir /x status",
            "--exec-path=/x status",
            "--work-tree=/ status",
            "-p log",
            "fetch --upload-pack=x origin",
            "fetch --upload-pack x origin",
            "fetch --upload-p=x origin",
            "push --receive-pack=x origin",
            "push --exec=x origin",
            "ls-remote --exec=x origin",
            "fetch ext::sh",
            "rebase -m --exec=sh main",
            "commit -Sm x",
            "diff -m /etc/passwd x",
            "config alias.get !sh",
            "config core.pager get",
            "remote add x ext::sh",
            "rebase -x true main",
            "rebase -ix true main",
            "rebase --exec true main",
            "grep -Oless x",
            "grep --open-files-in-pager=sh x",
            "diff --no-index a b",
            "diff --ext-diff",
            "diff /etc/passwd /etc/shadow",
            "diff ../a b",
            "diff --output=/tmp/x",
            "log --output=x",
            "commit -F /etc/passwd",
            "commit -F/etc/passwd",
            "commit --file=/etc/passwd",
            "commit -S -m x",
            "add --pathspec-from-file=../x",
            "add ../x",
            "add :(top)/etc",
            "init --template=x",
            "init --separate-git-dir=x",
            "init ../other",
            "config alias.x !sh",
            "config core.sshCommand sh",
            "config --global user.name x",
            "config -f x user.name",
            "x",
            "submodule update",
            "bisect run sh",
            "filter-branch",
            "worktree add ../x",
            "clone x",
            "difftool",
            "",
        ] {
            assert!(check(line).is_err(), "{line}");
        }
        assert_eq!(check_git_args(&[]).unwrap_err().field, "args");
    }

    #[test]
    fn the_refusal_names_the_argument() {
        let error = check("fetch origin --upload-pack=evil").unwrap_err();
        assert_eq!(error.field, "args[2]");
        assert!(error.message.contains("--upload-pack=evil"), "{}", error.message);
    }
}
