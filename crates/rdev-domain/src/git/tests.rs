//! Lines of arguments that are accepted, and lines that are refused.

use super::*;

const REMOTES: &str = "/srv/rdev/remotes";

fn check(args: &[&str]) -> Result<(), FieldError> {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    check_git_args(&args, Some(REMOTES))
}

fn line(line: &str) -> Result<(), FieldError> {
    check(&line.split(' ').collect::<Vec<_>>())
}

/// Lines of everyday work.
const EVERYDAY: &[&str] = &[
    "status --porcelain",
    "status -sb",
    "init",
    "init -b main",
    "add -A",
    "add src/main.rs",
    "add -- src/../f",
    "add -- ./src//../f",
    "commit -m /etc:fix",
    "commit --message=/etc",
    "commit --message=-x",
    "commit -am ../x",
    "commit --amend",
    "commit --amend --no-edit",
    "commit --no-edit",
    "commit --fixup=HEAD",
    "commit -aC HEAD",
    "commit --dry-run",
    "commit --author=a<a@b> --date=yesterday -m x",
    "log --oneline -n 5",
    "log -5 --stat",
    "log -n5 --grep=-x",
    "log main..topic",
    "log --format=/%h",
    "log --format=%h%x09%an%%G --since=2.weeks",
    "log -L /hi/,+1:f",
    "log -L/hi/,+1:f",
    "log -S/etc/passwd",
    "log -- src/../f",
    "log -p -- :!*.lock",
    "log --no-merges --first-parent origin/main..HEAD",
    "blame -L /hi/,+1 f",
    "diff HEAD~1 --stat",
    "diff --name-only -M50% main...topic",
    "diff -U0 --cached",
    "diff -- src/a..b",
    "show HEAD:src/main.rs",
    "show --no-patch --format=%B HEAD^{/fix}",
    "grep -n /api/v1",
    "grep -e /usr",
    "grep -e-x",
    "grep -in -C3 /api/v1 -- src",
    "stash save /tmp/x",
    "stash push -m /tmp/x",
    "stash -u",
    "stash",
    "stash pop",
    "stash show -p stash@{1}",
    "branch -m old new",
    "branch --merged",
    "branch --contains HEAD",
    "branch -vv --sort=-committerdate",
    "switch -c topic",
    "switch -",
    "checkout -b topic origin/topic",
    "checkout -- f",
    "checkout @{-1}",
    "restore --staged f",
    "restore -s HEAD~1 f",
    "reset --hard origin/main",
    "clean -fdx -e /target",
    "merge --no-ff -m /x topic",
    "merge -s ours topic",
    "rebase --onto main a b",
    "rebase -i --autosquash main",
    "cherry-pick -x abc",
    "revert --no-edit HEAD",
    "tag -a v1 -m /release",
    "tag -l v1.*",
    "tag --points-at",
    "describe --tags --always --dirty",
    "reflog",
    "reflog -5",
    "reflog show main",
    "rev-list --count main..HEAD",
    "rev-parse --short HEAD",
    "rev-parse --abbrev-ref HEAD",
    "merge-base --is-ancestor a b",
    "cat-file -p HEAD:f",
    "ls-tree -r --name-only HEAD",
    "ls-files -m",
    "shortlog -sne",
    "for-each-ref --format=%(refname) refs/heads",
    "name-rev HEAD",
    "show-ref --tags",
    "notes add -m /x HEAD",
    "clone https://host/x.git .",
    "clone --depth 1 /srv/rdev/remotes/x.git .",
    "fetch",
    "fetch --prune origin",
    "fetch /srv/rdev/remotes/a.git main",
    "fetch file:///srv/rdev/remotes/a.git",
    "fetch https://host/repo/.git",
    "pull --rebase origin main",
    "pull --ff-only",
    "push -u origin main",
    "push --force-with-lease origin HEAD:topic",
    "push origin :topic",
    "push --delete origin topic",
    "push /srv/rdev/remotes/bare.git HEAD:main",
    "remote",
    "remote -v",
    "remote add origin git@github.com:a/b.git",
    "remote add origin ssh://git@host:22/a.git",
    "remote set-url origin https://host/b.git",
    "remote get-url origin",
    "ls-remote --heads origin",
    "config user.name rdev",
    "config user.name",
    "config --get remote.origin.url",
    "config --list --local",
    "rm -r --cached target",
    "mv a b",
    "version",
];

#[test]
fn everyday_work_is_accepted() {
    for good in EVERYDAY {
        assert_eq!(line(good), Ok(()), "{good}");
    }
    assert_eq!(check(&["log", "--author", "A B", "--until", "last monday"]), Ok(()));
    assert_eq!(check(&["show", ":/fix typo"]), Ok(()));
}

/// In each line an option takes as its value an argument that a weaker check would skip.
#[test]
fn no_option_hides_as_the_value_of_another() {
    for (bad, field) in [
        ("log -1 --format=tformat:x --src-prefix -S --output=/root/x", "args[4]"),
        ("commit --allow-empty -t -m -F/etc/admin.key", "args[2]"),
        ("stash list -m --output=/x --format=tformat:x", "args[3]"),
        ("stash show -p -m --output=/any/path", "args[3]"),
        ("log -p --src-prefix -S --ext-diff", "args[3]"),
        ("merge --into-name -m -F/etc/passwd x", "args[2]"),
        ("fetch -o -- --upload-pack=x .", "args[2]"),
        ("push --repo -- --receive-pack=x . main:q", "args[2]"),
        ("rebase -X -- --exec=touch HEAD~1", "args[2]"),
        ("log --grep -x", "args[2]"),
        ("log -- --output=x", "args[2]"),
        ("grep x -- -Oless", "args[3]"),
        ("commit -m", "args[1]"),
        ("commit --amend=x", "args[1]"),
    ] {
        assert_eq!(line(bad).map_err(|error| error.field), Err(field.to_owned()), "{bad}");
    }
}

/// Lines that would run a program, or make git read or write outside the workspace.
const REFUSED: &[&str] = &[
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
    "push --signed origin",
    "ls-remote --exec=x origin",
    "rebase -m --exec=sh main",
    "rebase -x true main",
    "rebase -ix true main",
    "rebase --exec true main",
    "commit -Sm x",
    "commit -S -m x",
    "commit --gpg-sign -m x",
    "commit -F /etc/passwd",
    "commit -F link",
    "commit -F/etc/passwd",
    "commit --file=x",
    "commit --template=x",
    "merge --verify-signatures x",
    "merge -s x topic",
    "merge --strategy=../x topic",
    "tag -s v1",
    "tag -v v1",
    "log --show-signature",
    "log --format=%G?",
    "log --format=%+GG",
    "log --pretty=format:%h%GK",
    "branch --format=%(signature:grade)",
    "for-each-ref --sort=signature",
    "grep -Oless x",
    "grep --open-files-in-pager=sh x",
    "grep -f patterns",
    "grep --no-index x",
    "diff --no-index a b",
    "diff --ext-diff",
    "diff --textconv",
    "diff --output=/tmp/x",
    "diff -O/etc/passwd",
    "log --output=x",
    "log --outpu=x",
    "blame --contents x f",
    "blame -S x f",
    "ls-files -X x",
    "add --pathspec-from-file=x",
    "add -i",
    "add -p",
    "add -e",
    "init --template=x",
    "init --separate-git-dir=x",
    "init --bare",
    "init sub",
    "init ../other",
    "init link/x",
    "clone https://host/x",
    "clone https://host/x other",
    "clone -c core.pager=x https://host/x .",
    "clone --upload-pack=x https://host/x .",
    "clone --recurse-submodules https://host/x .",
    "config alias.x !sh",
    "config core.sshCommand sh",
    "config --global user.name x",
    "config --global --list",
    "config -f x user.name",
    "config --edit",
    "config --unset user.name",
    "config alias.get !sh",
    "config core.pager get",
    "x",
    "submodule update",
    "submodule foreach sh",
    "bisect run sh",
    "filter-branch",
    "worktree add ../x",
    "difftool",
    "apply patch",
    "archive HEAD",
    "format-patch HEAD~1",
    "stash foo",
    "reflog expire",
    "log --help",
    "",
];

#[test]
fn programs_and_ways_out_are_refused() {
    for bad in REFUSED {
        assert!(line(bad).is_err(), "{bad}");
    }
    assert_eq!(check(&[]).unwrap_err().field, "args");
}

#[test]
fn paths_out_of_the_workspace_are_refused() {
    for bad in [
        "diff /etc/passwd /etc/shadow",
        "diff ../a b",
        "diff a/../../b",
        "add ../x",
        "add a/../../x",
        "add ./../x",
        "add a//../../x",
        "add a/./../../x",
        "add :(top)/etc",
        "add :(top)../x",
        "add :/../x",
        "mv a /tmp/a",
        "mv a b/../../x",
        "checkout -- ../x",
        "grep x /etc",
        "grep -e x /etc",
        "log --skip-to=/etc/passwd",
    ] {
        assert!(line(bad).is_err_and(|error| error.message.contains("outside")), "{bad}");
    }
}

#[test]
fn no_path_leads_into_the_git_folder() {
    for bad in [
        "mv hook .git/hooks/post-commit",
        "mv -f cfg .git/config",
        "mv -f cfg ./.git/config",
        "mv -f cfg .GIT/config",
        "mv -f cfg .Git",
        "mv x git~1/config",
        "mv x GIT~1",
        "mv x sub/.git/config",
        "mv x .git./config",
        "mv x .git::$INDEX_ALLOCATION/config",
        "mv x a\\.git\\config",
        "mv x .g\u{200c}it/config",
        "add :(top,icase).git/config",
        "add :/.git/config",
        "add :!.git/config",
        "show HEAD:.git/config",
        "checkout -- .git/config",
        "restore --source=HEAD:.git f",
        "blame .git/config",
        "rm -f .git/config",
        "diff .git/config f",
        "grep x -- .git",
        "stash push -- .git",
        "branch x .git/HEAD",
    ] {
        assert!(line(bad).is_err_and(|error| error.message.contains(".git")), "{bad}");
    }
    for good in ["add .gitignore", "add .github/x", "mv a.git b", "log x.git/y"] {
        assert_eq!(line(good), Ok(()), "{good}");
    }
}

#[test]
fn repositories_are_reached_by_address_or_in_the_remotes_folder() {
    for bad in [
        "fetch ext::sh",
        "fetch fd::17",
        "remote add x ext::sh",
        "remote set-url x ext::sh",
        "fetch .",
        "fetch ./evil",
        "fetch ../other",
        "push ../bare.git HEAD:main",
        "fetch /other/workspace",
        "push /other/workspace main",
        "fetch file:///other/workspace",
        "pull file:///srv/rdev/remotes/../workspaces/x",
        "fetch /srv/rdev/remotes/../workspaces/x",
        "fetch /srv/rdev/remotes",
        "fetch /srv/rdev/remotes-of-others/x",
        "fetch ~/x",
        "remote add x evil",
        "remote add x sub/evil",
        "clone evil .",
        "clone . .",
        "push --repo=/other main",
        "fetch ssh://-oProxyCommand=x/a",
        "fetch git@-oProxyCommand=x:a",
        "fetch rsync://host/x",
        "ls-remote ../x",
    ] {
        assert!(line(bad).is_err(), "{bad}");
    }
    let args = ["fetch", "/srv/rdev/remotes/a.git"].map(str::to_owned);
    assert!(check_git_args(&args, None).is_err(), "without a folder of remotes no path is accepted");
}

/// Without an editor git would take its own text for the one that was to be written.
#[test]
fn what_would_open_an_editor_is_refused_with_what_to_send_instead() {
    for (bad, field, instead) in [
        ("commit", "args[0]", "-m, or take the one that git has prepared with --no-edit"),
        ("commit -a -v", "args[0]", "\"commit\" would open an editor"),
        ("commit -e -- f", "args[0]", "-m"),
        ("rebase -q -i main", "args[2]", "\"rebase -i\" would open an editor"),
        ("rebase --interactive main", "args[1]", "--autosquash"),
        ("rebase -qi main", "args[1]", "--autosquash"),
        ("tag -a v1", "args[1]", "-m"),
        ("tag --annotate -f v1", "args[1]", "-m"),
        ("notes add", "args[0]", "\"notes add\" would open an editor"),
        ("notes append HEAD", "args[0]", "-m"),
    ] {
        let error = line(bad).unwrap_err();
        assert_eq!(error.field, field, "{bad}");
        assert!(error.message.contains(instead), "{bad}: {}", error.message);
    }
    // What is wrong besides is told first.
    assert_eq!(line("commit --file=x").map_err(|error| error.field), Err("args[1]".to_owned()));
}

#[test]
fn the_refusal_names_the_argument_and_what_is_accepted() {
    let error = line("fetch origin --upload-pack=evil").unwrap_err();
    assert_eq!(error.field, "args[2]");
    assert!(error.message.contains("--upload-pack=evil"), "{}", error.message);
    for (bad, word) in [
        ("log --onelin", "--oneline"),
        ("log --grep -x", "\"--grep=-x\""),
        ("log -S -x", "\"-S-x\""),
        ("add -- -x", "\"./-x\""),
        ("merge -s x y", "recursive"),
        ("stash foo", "push"),
        ("nonsense", "cherry-pick"),
        ("config core.pager x", "user.email"),
        ("fetch /x", "/srv/rdev/remotes/"),
        ("clone https://host/x.git", "[\"clone\", \"https://git.example.org/demo.git\", \".\"]"),
        ("clone https://host/x.git x", "makes the workspace a clone"),
    ] {
        let error = line(bad).unwrap_err();
        assert!(error.message.contains(word), "{bad}: {}", error.message);
    }
}
