//! Subcommands that change the repository or its work tree.

use super::entry;
use super::shared::{DIFF, LOG, MERGE, MERGING, PRETTY, REFS, REVISIONS};
use crate::git::option::Kind::{Text, Word};
use crate::git::option::Operands::{All, ConfigKey};
use crate::git::option::{Edits, Follows, GitSubcommand, Operands, Row, attached, flags, takes, unless_last};

/// Options of `stash` when it stores changes.
const STASH: &[Row] = &[
    flags("-k --keep-index --no-keep-index -S --staged -q --quiet -u --include-untracked"),
    flags("--no-include-untracked -a --all"),
    takes(Text, "-m --message"),
];

/// Options of both `cherry-pick` and `revert`.
const PICK: &[Row] = &[
    flags("--rerere-autoupdate --no-rerere-autoupdate"),
    flags("--quit --continue --abort --skip -n --no-commit -e --edit --no-edit"),
    takes(Word, "--cleanup -m --mainline"),
];

pub(super) const SUBCOMMANDS: &[GitSubcommand] = &[
    entry("add", All(Word), &[&[
        flags("-n --dry-run -v --verbose -f --force -u --update --renormalize -N --intent-to-add -A --all"),
        flags("--no-all --ignore-removal --no-ignore-removal --refresh --ignore-errors --ignore-missing"),
        flags("--sparse"),
        takes(Word, "--chmod"),
    ]])
    .with_links(Follows::TrackedPaths),
    entry("branch", All(Word), &[
        &[
            flags("-i -v --verbose -q --quiet -a --all -r --remotes -d --delete -D -m --move -M -c --copy -C"),
            flags("-l --list -f --force --show-current --create-reflog --unset-upstream --no-track"),
            flags("--no-abbrev --no-column"),
            attached(Word, "-t --track --abbrev --column"),
            takes(Word, "-u --set-upstream-to --points-at"),
            unless_last(Word, "--contains --no-contains --merged --no-merged"),
        ],
        REFS,
    ]),
    entry("checkout", All(Word), &[&[
        flags("-q --quiet -l -d --detach -f --force -m --merge -2 --ours -3 --theirs --guess --no-guess"),
        flags("--overlay --no-overlay --progress --no-progress --no-track --overwrite-ignore"),
        flags("--no-overwrite-ignore --ignore-other-worktrees --ignore-skip-worktree-bits"),
        attached(Word, "-t --track"),
        takes(Word, "-b -B --orphan --conflict"),
    ]]),
    entry("cherry-pick", All(Word), &[
        &[flags("-s -x -r --ff --allow-empty --allow-empty-message --keep-redundant-commits")],
        PICK,
        MERGING,
    ]),
    entry("clean", All(Word), &[&[
        flags("-q --quiet -n --dry-run -f --force -d -x -X"),
        takes(Text, "-e --exclude"),
    ]]),
    entry("commit", All(Word), &[&[
        flags("-q --quiet -v --verbose -a --all -i --include -o --only -n --no-verify --verify -s --signoff"),
        flags("--no-signoff -e --edit --no-edit --status --no-status --dry-run --short --branch --porcelain"),
        flags("--long -z --null --ahead-behind --no-ahead-behind --amend --reset-author --no-post-rewrite"),
        flags("--allow-empty --allow-empty-message --no-gpg-sign"),
        attached(Word, "-u --untracked-files"),
        takes(Word, "-c --reedit-message -C --reuse-message --fixup --squash --cleanup"),
        takes(Text, "-m --message --author --date --trailer"),
    ]])
    .with_links(Follows::TrackedPaths)
    .with_editor(Edits {
        with: "",
        unless: "-m --message -C --reuse-message -c --reedit-message --fixup --squash --amend --no-edit \
                 --allow-empty-message --dry-run --short --porcelain --long -z --null",
        instead: "give the message with -m, or take the one that git has prepared with --no-edit",
    }),
    entry("config", ConfigKey, &[&[
        flags("--get --get-all --get-regexp -l --list --local -z --null --name-only --show-origin --show-scope"),
        takes(Word, "--type"),
    ]]),
    entry("config get", ConfigKey, &[&[flags("--all --regexp --local -z --null --show-origin --show-scope")]]),
    entry("config list", Operands::None, &[&[
        flags("--local -z --null --name-only --show-origin --show-scope"),
    ]]),
    entry("gc", Operands::None, &[&[
        flags("-q --quiet --aggressive --auto --force --keep-largest-pack --cruft --no-prune"),
        attached(Word, "--prune"),
    ]]),
    entry("init", Operands::None, &[&[
        flags("-q --quiet"),
        takes(Word, "-b --initial-branch --object-format"),
    ]]),
    entry("merge", All(Word), &[
        &[
            flags("-e --abort --continue --quit --rerere-autoupdate --no-rerere-autoupdate --overwrite-ignore --no-overwrite-ignore"),
            takes(Text, "-m --message --into-name"),
        ],
        MERGE,
        MERGING,
    ]),
    entry("mv", All(Word), &[&[flags("-n --dry-run -v --verbose -f --force -k --sparse")]])
        .with_links(Follows::TrackedPathsAndDestination),
    entry("notes", Operands::None, &[]),
    entry("notes add", All(Word), &[&[
        flags("-f --force --allow-empty"),
        takes(Text, "-m --message"),
        takes(Word, "-c -C --reedit-message --reuse-message"),
    ]])
    .with_editor(Edits {
        with: "",
        unless: "-m --message -c -C --reedit-message --reuse-message --allow-empty",
        instead: "give the note with -m",
    }),
    entry("notes append", All(Word), &[&[flags("--allow-empty"), takes(Text, "-m --message")]])
        .with_editor(Edits { with: "", unless: "-m --message", instead: "give the note with -m" }),
    entry("notes list", All(Word), &[]),
    entry("notes remove", All(Word), &[&[flags("--ignore-missing")]]),
    entry("notes show", All(Word), &[]),
    entry("rebase", All(Word), &[
        &[
            flags("--rerere-autoupdate --no-rerere-autoupdate"),
            flags("--keep-base -q --quiet -v --verbose -n --stat --no-stat --committer-date-is-author-date"),
            flags("--reset-author-date --ignore-date --ignore-whitespace -f --force-rebase --ff --no-ff"),
            flags("--continue --skip --abort --quit --show-current-patch --apply -m --merge -i --interactive"),
            flags("--keep-empty --no-keep-empty --autosquash --no-autosquash --update-refs --no-update-refs"),
            flags("--autostash --no-autostash --allow-empty-message --no-rebase-merges --fork-point"),
            flags("--no-fork-point --root --reapply-cherry-picks --no-reapply-cherry-picks --verify --no-verify"),
            attached(Word, "-r --rebase-merges"),
            takes(Word, "--onto --whitespace --empty -C"),
        ],
        MERGING,
    ])
    .with_editor(Edits {
        with: "-i --interactive",
        unless: "--autosquash",
        instead: "have the list made with --autosquash, or leave out the option",
    }),
    entry("reset", All(Word), &[&[
        flags("-q --quiet --no-quiet --mixed --soft --hard --merge --keep -N --intent-to-add --refresh"),
        flags("--no-refresh"),
    ]]),
    entry("restore", All(Word), &[&[
        flags("-S --staged -W --worktree --ignore-unmerged --overlay --no-overlay -q --quiet --progress"),
        flags("--no-progress -m --merge -2 --ours -3 --theirs --ignore-skip-worktree-bits"),
        takes(Word, "-s --source --conflict"),
    ]]),
    entry("revert", All(Word), &[&[flags("-s --reference")], PICK, MERGING]),
    entry("rm", All(Word), &[&[
        flags("-n --dry-run -q --quiet --cached -f --force -r --ignore-unmatch --sparse"),
    ]])
    .with_links(Follows::TrackedPaths),
    entry("stash", Operands::None, &[STASH]),
    entry("stash apply", All(Word), &[&[flags("-q --quiet --index")]]),
    entry("stash branch", All(Word), &[]),
    entry("stash clear", Operands::None, &[]),
    entry("stash create", All(Text), &[]),
    entry("stash drop", All(Word), &[&[flags("-q --quiet")]]),
    entry("stash list", Operands::None, &[LOG, PRETTY, REVISIONS, DIFF]).plain_diffs(),
    entry("stash pop", All(Word), &[&[flags("-q --quiet --index")]]),
    entry("stash push", All(Word), &[STASH]),
    entry("stash save", All(Text), &[STASH]),
    entry("stash show", All(Word), &[&[flags("--include-untracked --no-include-untracked --only-untracked")], DIFF])
        .plain_diffs(),
    entry("switch", All(Word), &[&[
        flags("-d --detach -q --quiet -f --force --discard-changes -m --merge --guess --no-guess --progress"),
        flags("--no-progress --no-track --overwrite-ignore --no-overwrite-ignore --ignore-other-worktrees"),
        attached(Word, "-t --track"),
        takes(Word, "-c --create -C --force-create --orphan --conflict"),
    ]]),
    entry("tag", All(Word), &[
        &[
            flags("-i -a --annotate -d --delete -f --force -l --list --create-reflog --no-sign --no-column"),
            attached(Word, "-n --column"),
            takes(Text, "-m --message"),
            takes(Word, "--cleanup"),
            unless_last(Word, "--contains --no-contains --merged --no-merged --points-at"),
        ],
        REFS,
    ])
    .with_editor(Edits { with: "-a --annotate", unless: "-m --message", instead: "give the message with -m" }),
];
