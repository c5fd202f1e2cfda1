//! Subcommands that access other repositories.

use super::entry;
use super::shared::{FETCH, MERGE, MERGING};
use crate::git::option::Kind::{Address, Remote, Text, Word};
use crate::git::option::Operands::{AddressThenHere, All, FirstThen};
use crate::git::option::{GitSubcommand, Operands, attached, flags, takes};

pub(super) const SUBCOMMANDS: &[GitSubcommand] = &[
    entry(
        "clone",
        AddressThenHere,
        &[&[
            flags("-v --verbose -q --quiet --progress --no-progress -n --no-checkout --single-branch"),
            flags("--no-single-branch --no-tags -4 --ipv4 -6 --ipv6 --sparse"),
            takes(Word, "-b --branch --depth --shallow-exclude -o --origin -j --jobs --filter"),
            takes(Text, "--shallow-since --server-option"),
        ]],
    ),
    entry(
        "fetch",
        FirstThen(Remote, Word),
        &[
            &[
                flags("-n -P --prune-tags --no-prune-tags --atomic --prefetch --write-fetch-head"),
                flags("--no-write-fetch-head -u --update-head-ok --refetch --auto-maintenance"),
                flags("--no-auto-maintenance --auto-gc --no-auto-gc --write-commit-graph"),
                takes(Word, "-j --jobs --filter"),
            ],
            FETCH,
        ],
    ),
    entry(
        "ls-remote",
        FirstThen(Remote, Word),
        &[&[
            flags("-q --quiet -t --tags -h --heads --refs --get-url --exit-code --symref"),
            takes(Word, "--sort"),
            takes(Text, "-o --server-option"),
        ]],
    ),
    entry(
        "pull",
        FirstThen(Remote, Word),
        &[&[attached(Word, "-r --rebase -j --jobs"), flags("--no-rebase")], MERGE, MERGING, FETCH],
    ),
    entry(
        "push",
        FirstThen(Remote, Word),
        &[&[
            flags(
                "-v --verbose -q --quiet --all --mirror -d --delete --tags -n --dry-run --porcelain -f --force",
            ),
            flags("--no-force-with-lease --force-if-includes --no-force-if-includes --thin --no-thin -u"),
            flags("--set-upstream --progress --no-progress --prune --no-verify --verify --follow-tags"),
            flags("--no-follow-tags --no-signed --atomic --no-atomic -4 --ipv4 -6 --ipv6"),
            flags("--no-recurse-submodules"),
            attached(Word, "--force-with-lease"),
            takes(Remote, "--repo"),
            takes(Text, "-o --push-option"),
        ]],
    ),
    entry("remote", Operands::None, &[&[flags("-v --verbose")]]),
    entry(
        "remote add",
        FirstThen(Word, Address),
        &[&[
            flags("-f --fetch --tags --no-tags"),
            attached(Word, "--mirror"),
            takes(Word, "-t --track -m --master"),
        ]],
    ),
    entry("remote get-url", All(Word), &[&[flags("--push --all")]]),
    entry("remote prune", All(Word), &[&[flags("-n --dry-run")]]),
    entry("remote remove", All(Word), &[]),
    entry("remote rename", All(Word), &[&[flags("--progress --no-progress")]]),
    entry("remote rm", All(Word), &[]),
    entry("remote set-branches", All(Word), &[&[flags("--add")]]),
    entry("remote set-head", All(Word), &[&[flags("-a --auto -d --delete")]]),
    entry("remote set-url", FirstThen(Word, Address), &[&[flags("--push --add --delete")]]),
    entry("remote show", All(Remote), &[&[flags("-n")]]),
    entry("remote update", All(Word), &[&[flags("-p --prune")]]),
];
