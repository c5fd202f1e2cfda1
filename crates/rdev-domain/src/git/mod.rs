//! Git arguments that are accepted: those that neither run a program nor leave the workspace.
//!
//! Subcommands and their options are an allow list (`table.rs`). No argument that begins with a dash reaches git
//! without having been found in it: not as a value in an argument of its own, and not behind `--`. So it does not
//! matter where git, of whatever version, thinks that a value or the options end.

mod options;
mod places;
mod table;

use crate::FieldError;
use places::{refused_path, refused_repository};
use table::{Operands, SUBCOMMANDS, Subcommand};

/// Keys of the repository's configuration that may be written: names, no programs.
const WRITABLE_CONFIG: [&str; 4] = ["user.name", "user.email", "pull.rebase", "init.defaultBranch"];

/// Ways of `git config` that only read, and options that keep to the workspace's own configuration.
const READING_CONFIG: [&str; 7] = ["--get", "--get-all", "--get-regexp", "--list", "-l", "get", "list"];
const PLAIN_CONFIG_OPTIONS: [&str; 6] =
    ["--local", "--null", "-z", "--show-origin", "--show-scope", "--name-only"];

/// The subcommands that are accepted.
pub fn git_subcommands() -> impl Iterator<Item = &'static str> {
    SUBCOMMANDS.iter().map(|subcommand| subcommand.name)
}

/// Options that keep a subcommand from starting programs that the repository's configuration names.
pub fn git_safe_options(subcommand: &str) -> &'static [&'static str] {
    match subcommand {
        "diff" | "diff-tree" | "log" | "show" | "whatchanged" => &["--no-ext-diff", "--no-textconv"],
        _ => &[],
    }
}

/// Checks the arguments that follow `git`; the error names the one that is refused, and why.
pub fn check_git_args(args: &[String]) -> Result<(), FieldError> {
    let Some(first) = args.first() else {
        return refuse("args".into(), "it must not be empty".into());
    };
    let Some(subcommand) = SUBCOMMANDS.iter().find(|subcommand| subcommand.name == first) else {
        let names: Vec<&str> = git_subcommands().collect();
        let message = format!("{first:?} is not accepted: it must be one of {}", names.join(", "));
        return refuse("args[0]".into(), message);
    };
    check_arguments(subcommand, args)?;
    if subcommand.name == "config" { check_config(&args[1..]) } else { Ok(()) }
}

fn check_arguments(subcommand: &Subcommand, args: &[String]) -> Result<(), FieldError> {
    let mut only_operands = false;
    let mut option: Option<&str> = None;
    let mut pattern_is_due = subcommand.operands == Operands::PatternFirst;
    for (index, arg) in args.iter().enumerate().skip(1) {
        let field = || format!("args[{index}]");
        if let Some(option) = option.take() {
            subcommand.check_value(option, arg).or_else(|why| refuse(field(), why))?;
        } else if !only_operands && arg == "--" {
            only_operands = true;
        } else if arg.starts_with('-') && arg.len() > 1 {
            if only_operands {
                let message =
                    format!("{arg:?} is not accepted behind --: write \"./{arg}\" for a file of that name");
                return refuse(field(), message);
            }
            // With `-e` every operand is a path.
            pattern_is_due &= arg.starts_with("--") || !arg.contains('e');
            if subcommand.read(arg).or_else(|why| refuse(field(), why).map(|()| false))? {
                option = Some(arg);
            }
        } else if std::mem::take(&mut pattern_is_due) {
        } else if let Some(why) = refused_operand(subcommand.operands, arg) {
            return refuse(field(), format!("{arg:?} is not accepted: {why}"));
        }
    }
    match option {
        Some(option) => refuse(format!("args[{}]", args.len() - 1), format!("{option:?} needs a value")),
        None => Ok(()),
    }
}

fn refused_operand(operands: Operands, arg: &str) -> Option<&'static str> {
    match operands {
        Operands::Inside | Operands::PatternFirst => refused_path(arg).or_else(|| refused_repository(arg)),
        Operands::Repositories => refused_repository(arg),
        // A message, or the value of a setting; paths among them are git's own to check.
        Operands::Text => None,
    }
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
            "grep -n /api/v1",
            "grep -e /usr src",
            "log -L /hi/,+1:f",
            "blame -L /hi/,+1 f",
            "log --format=/%h",
            "log -5 --since=2.weeks",
            "log -S--output",
            "log --grep=-x",
            "stash save /tmp/x",
            "stash push -m /tmp/x -- src/a",
            "log -- src/../f",
            "log :/fix",
            "tag -a v1 -m /first",
            "tag v1",
            "rev-list --count HEAD",
            "merge-base main topic",
            "cat-file -p HEAD:src/main.rs",
            "reflog show -n 5",
            "shortlog -sne",
            "describe --tags --always",
            "merge -s ours topic",
            "add .gitignore .github/x",
            "checkout -",
            "show HEAD^:src/a",
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
    fn what_git_may_read_otherwise_than_this_does_is_refused() {
        for line in [
            // An option that stands where a value may be.
            "log -1 --format=x --src-prefix -S --output=/root/x",
            "commit --allow-empty -t -m -F/etc/x",
            "stash list -m --output=/any/path --format=x",
            "stash show -p -m --output=/any/path",
            "log -p --src-prefix -S --ext-diff",
            "merge --into-name -m -F/etc/passwd x",
            "fetch -o -- --upload-pack=x .",
            "push --repo -- --receive-pack=x . main:q",
            "rebase -X -- --exec=x HEAD~1",
            "log -- --output=x",
            "log --grep -x",
            // Git's own folder.
            "mv hook .git/hooks/post-commit",
            "mv -f cfg .git/config",
            "mv -f cfg .GIT/config",
            "mv -f cfg GIT~1/config",
            "add :(top).git/x",
            "checkout HEAD -- sub/.git/config",
            "show HEAD:.git/x",
            "init x/.git",
            // Programs that check signatures, or merge.
            "log --format=%G?",
            "log --pretty=%GG",
            "log --show-signature",
            "merge --verify-signatures x",
            "push --signed origin",
            "merge -s x topic",
            "rebase --strategy=x main",
            "tag -v v1",
            "tag -s v1",
            "commit -m",
            "log -- a/../../x",
        ] {
            assert!(check(line).is_err(), "{line}");
        }
    }

    #[test]
    fn the_refusal_names_the_argument() {
        let error = check("fetch origin --upload-pack=evil").unwrap_err();
        assert_eq!(error.field, "args[2]");
        assert!(error.message.contains("--upload-pack"), "{}", error.message);
        let error = check("log --grep -x").unwrap_err();
        assert!(error.message.contains("write \"--grep=-x\""), "{}", error.message);
        let error = check("log --formatted").unwrap_err();
        assert!(error.message.contains("--format "), "{}", error.message);
    }
}
