//! Subcommands that only read.

use super::entry;
use super::shared::{DIFF, LOG, PRETTY, REFS, REVISIONS};
use crate::git::option::Kind::{Text, Word};
use crate::git::option::Operands::{All, PatternThenPaths};
use crate::git::option::{Follows, GitSubcommand, Operands, attached, flags, takes, unless_last};

pub(super) const SUBCOMMANDS: &[GitSubcommand] = &[
    entry(
        "blame",
        All(Word),
        &[&[
            flags("-b -c -e -f -l -n -p -s -t -w --root --no-root --show-stats --show-name --show-number"),
            flags("--show-email --no-show-email --porcelain --line-porcelain --incremental --color-lines"),
            flags("--color-by-age --minimal --progress --no-progress --first-parent --reverse --no-abbrev"),
            attached(Word, "-M -C --abbrev"),
            takes(Word, "--ignore-rev --date --encoding"),
            takes(Text, "-L --since"),
        ]],
    )
    .with_first(&["--no-textconv"])
    .with_links(Follows::TrackedPaths),
    entry("cat-file", All(Word), &[&[flags("-e -p -t -s --mailmap --use-mailmap")]]),
    entry("check-ignore", All(Word), &[&[flags("-q --quiet -v --verbose -n --non-matching --no-index")]]),
    entry("cherry", All(Word), &[&[flags("-v --verbose --no-abbrev"), attached(Word, "--abbrev")]]),
    entry("count-objects", Operands::None, &[&[flags("-v --verbose -H --human-readable")]]),
    entry(
        "describe",
        All(Word),
        &[&[
            flags("--contains --all --tags --long --no-long --first-parent --exact-match --always --debug"),
            attached(Word, "--abbrev --dirty --broken"),
            takes(Word, "--candidates"),
            takes(Text, "--match --exclude"),
        ]],
    ),
    entry(
        "diff",
        All(Word),
        &[
            &[flags("--cached --staged --merge-base -0 -1 --base -2 --ours -3 --theirs -q -c --cc -m")],
            &[flags("--combined-all-paths -t")],
            DIFF,
        ],
    )
    .plain_diffs(),
    entry(
        "diff-tree",
        All(Word),
        &[
            &[flags("-r -t -m -c --cc -v --root --no-commit-id --always --merge-base --combined-all-paths")],
            DIFF,
            PRETTY,
        ],
    )
    .plain_diffs(),
    entry(
        "for-each-ref",
        All(Word),
        &[
            &[
                flags("--shell --perl --python --tcl"),
                takes(Word, "--count --points-at"),
                unless_last(Word, "--merged --no-merged --contains --no-contains"),
            ],
            REFS,
        ],
    ),
    entry(
        "fsck",
        All(Word),
        &[&[
            flags("-v --verbose --unreachable --dangling --no-dangling --tags --root --cache --reflogs"),
            flags("--no-reflogs --full --no-full --connectivity-only --strict --progress --no-progress"),
            flags("--name-objects"),
        ]],
    ),
    entry(
        "grep",
        PatternThenPaths,
        &[&[
            flags("--cached --untracked --exclude-standard --no-exclude-standard -v --invert-match -i"),
            flags(
                "--ignore-case -w --word-regexp -a --text -I --no-textconv -r --recursive --no-recursive -E",
            ),
            flags("--extended-regexp -G --basic-regexp -F --fixed-strings -P --perl-regexp -n --line-number"),
            flags("--no-line-number --column -h -H --full-name -l --files-with-matches --name-only -L"),
            flags(
                "--files-without-match -z --null -o --only-matching -c --count --no-color --break --heading",
            ),
            flags(
                "-p --show-function -W --function-context --and --or --not --all-match -q --quiet -<number>",
            ),
            attached(Word, "--color"),
            takes(
                Word,
                "--max-depth --threads -A --after-context -B --before-context -C --context -m --max-count",
            ),
            takes(Text, "-e"),
        ]],
    )
    .with_first(&["--no-textconv"])
    .with_links(Follows::TrackedPaths),
    entry("log", All(Word), &[&[flags("--ancestry-path")], LOG, PRETTY, REVISIONS, DIFF]).plain_diffs(),
    entry(
        "ls-files",
        All(Word),
        &[&[
            flags(
                "-c --cached -d --deleted -m --modified -o --others -i --ignored -s --stage -u --unmerged -k",
            ),
            flags("--killed -t -v -z --directory --no-empty-directory --eol --full-name --error-unmatch"),
            flags("--exclude-standard --deduplicate"),
            attached(Word, "--abbrev"),
            takes(Word, "--with-tree"),
            takes(Text, "-x --exclude --format"),
        ]],
    )
    .with_links(Follows::TrackedPaths),
    entry(
        "ls-tree",
        All(Word),
        &[&[
            flags("-d -r -t -l --long -z --name-only --name-status --object-only --full-name --full-tree"),
            attached(Word, "--abbrev"),
            takes(Text, "--format"),
        ]],
    ),
    entry(
        "merge-base",
        All(Word),
        &[&[flags("-a --all --octopus --independent --is-ancestor --fork-point")]],
    ),
    entry(
        "merge-tree",
        All(Word),
        &[&[flags("--write-tree --messages --no-messages -z --name-only --allow-unrelated-histories")]],
    ),
    entry(
        "name-rev",
        All(Word),
        &[&[
            flags("--name-only --tags --all --always --undefined --no-undefined"),
            takes(Text, "--refs --exclude"),
        ]],
    ),
    entry(
        "range-diff",
        All(Word),
        &[
            &[
                flags("--no-dual-color --left-only --right-only --no-notes"),
                attached(Word, "--notes"),
                takes(Word, "--creation-factor"),
            ],
            DIFF,
        ],
    )
    .plain_diffs(),
    entry("reflog", Operands::None, &[LOG, PRETTY, REVISIONS, DIFF]).plain_diffs(),
    entry("reflog show", All(Word), &[LOG, PRETTY, REVISIONS, DIFF]).plain_diffs(),
    entry("reflog exists", All(Word), &[]),
    entry(
        "rev-list",
        All(Word),
        &[
            &[
                flags(
                    "--ancestry-path --count --objects --objects-edge --header --timestamp --quiet --use-bitmap-index",
                ),
                flags("--unpacked --no-object-names --object-names --no-commit-header --commit-header"),
                attached(Word, "--abbrev --disk-usage"),
            ],
            PRETTY,
            REVISIONS,
        ],
    ),
    entry(
        "rev-parse",
        All(Word),
        &[&[
            flags(
                "--verify -q --quiet --symbolic --symbolic-full-name --revs-only --no-revs --no-flags --not",
            ),
            flags("--all --show-toplevel --show-prefix --show-cdup --git-dir --git-common-dir"),
            flags("--absolute-git-dir --is-inside-git-dir --is-inside-work-tree --is-bare-repository"),
            flags("--is-shallow-repository --show-superproject-working-tree"),
            attached(Word, "--short --abbrev-ref --branches --tags --remotes --show-object-format"),
            attached(Text, "--since --after --until --before"),
        ]],
    ),
    entry(
        "shortlog",
        All(Word),
        &[
            &[
                flags("-n --numbered -s --summary -e --email -c --committer"),
                attached(Word, "-w --glob --exclude"),
                takes(Word, "--group"),
            ],
            PRETTY,
            REVISIONS,
        ],
    ),
    entry("show", All(Word), &[LOG, PRETTY, REVISIONS, DIFF]).plain_diffs(),
    entry(
        "show-branch",
        All(Word),
        &[&[
            flags("-r --remotes -a --all --current --topo-order --date-order --sparse --list --merge-base"),
            flags("--independent --no-name --sha1-name --topics --no-color"),
            attached(Word, "--more --color"),
        ]],
    ),
    entry(
        "show-ref",
        All(Word),
        &[&[
            flags("--tags --heads --verify --head -d --dereference -q --quiet"),
            attached(Word, "-s --hash --abbrev"),
        ]],
    ),
    entry(
        "status",
        All(Word),
        &[&[
            flags("-v --verbose -s --short -b --branch --show-stash --no-show-stash --ahead-behind"),
            flags("--no-ahead-behind --long -z --null --no-renames --renames --no-column"),
            attached(Word, "--porcelain -u --untracked-files --ignored --ignore-submodules --column -M"),
            attached(Word, "--find-renames"),
        ]],
    ),
    entry("version", Operands::None, &[&[flags("--build-options")]]),
];
