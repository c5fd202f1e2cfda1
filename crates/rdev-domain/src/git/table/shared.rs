//! Options that several subcommands share.

use crate::git::option::Kind::{Format, Strategy, Text, Word};
use crate::git::option::{Row, attached, flags, takes};

/// Options of every subcommand that shows differences.
pub(super) const DIFF: &[Row] = &[
    flags("-p -u --patch -s --no-patch --raw --patch-with-raw --patch-with-stat --numstat --shortstat"),
    flags("--cumulative --check --summary --name-only --name-status --compact-summary --no-compact-summary"),
    flags("--binary --full-index --no-full-index --no-prefix --no-renames --rename-empty --no-rename-empty"),
    flags("--follow --no-follow --minimal --no-minimal -D --irreversible-delete -R -a --text --no-text -z"),
    flags("-w --ignore-all-space -b --ignore-space-change --ignore-space-at-eol --ignore-cr-at-eol"),
    flags("--ignore-blank-lines --indent-heuristic --no-indent-heuristic --patience --histogram"),
    flags("-W --function-context --no-function-context --find-copies-harder --pickaxe-all --pickaxe-regex"),
    flags("--exit-code --quiet --no-color --no-color-moved --no-relative --no-ext-diff --no-textconv"),
    attached(Word, "--stat --dirstat --dirstat-by-file -X --abbrev --color --color-moved --word-diff"),
    attached(Word, "--relative --submodule --ignore-submodules -B --break-rewrites -M --find-renames"),
    attached(Word, "-C --find-copies -U --unified"),
    attached(Text, "--color-words"),
    takes(Word, "--stat-width --stat-name-width --stat-graph-width --stat-count --ws-error-highlight"),
    takes(Word, "--inter-hunk-context --diff-algorithm --color-moved-ws --skip-to --rotate-to --find-object"),
    takes(Word, "--diff-filter -l"),
    takes(Text, "-S -G -I --ignore-matching-lines --anchored --word-diff-regex --src-prefix --dst-prefix"),
    takes(Text, "--line-prefix --output-indicator-new --output-indicator-old --output-indicator-context"),
];

/// Selection and order of commits.
pub(super) const REVISIONS: &[Row] = &[
    flags("-<number> --all --not --merges --no-merges --first-parent --boundary --left-right --left-only"),
    flags("--right-only --cherry --cherry-pick --cherry-mark --full-history --simplify-merges"),
    flags("--simplify-by-decoration --sparse --dense --remove-empty --topo-order --date-order"),
    flags("--author-date-order --reverse -g --walk-reflogs --reflog --merge --graph --no-graph --parents"),
    flags("--children --show-pulls --do-walk --exclude-first-parent-only --ignore-missing --no-min-parents"),
    flags(
        "--no-max-parents -i --regexp-ignore-case -E --extended-regexp -F --fixed-strings -P --perl-regexp",
    ),
    flags("--basic-regexp --all-match --invert-grep --no-walk"),
    attached(Word, "--branches --tags --remotes --min-parents --max-parents"),
    takes(Word, "-n --max-count --skip --glob --exclude"),
    takes(
        Text,
        "--since --after --until --before --since-as-filter --author --committer --grep --grep-reflog",
    ),
];

/// Format of a commit.
pub(super) const PRETTY: &[Row] = &[
    flags("--oneline --abbrev-commit --no-abbrev-commit --relative-date --no-notes --no-expand-tabs --root"),
    attached(Word, "--expand-tabs --notes --show-linear-break"),
    attached(Format, "--pretty --format"),
    takes(Word, "--date --encoding"),
];

/// Options of `log` and `show` beyond the walk and the commits.
pub(super) const LOG: &[Row] = &[
    flags("-q --quiet --source --no-source --mailmap --use-mailmap --no-mailmap --no-use-mailmap"),
    flags("--clear-decorations --no-decorate --log-size --full-diff -m -c --cc --no-diff-merges -t"),
    flags("--combined-all-paths --remerge-diff"),
    attached(Word, "--decorate"),
    takes(Word, "--diff-merges --decorate-refs --decorate-refs-exclude"),
    takes(Text, "-L"),
];

/// Options of every subcommand that merges two sides.
pub(super) const MERGING: &[Row] = &[
    flags("--no-gpg-sign --signoff --no-signoff"),
    takes(Strategy, "-s --strategy"),
    takes(Word, "-X --strategy-option"),
];

/// Options of `merge`, and of `pull` for its merge.
pub(super) const MERGE: &[Row] = &[
    flags("-n --stat --no-stat --summary --no-summary -q --quiet -v --verbose --edit --no-edit --commit"),
    flags("--no-commit --squash --no-squash --ff --no-ff --ff-only --allow-unrelated-histories --progress"),
    flags("--no-progress --verify --no-verify --autostash --no-autostash --no-verify-signatures --no-log"),
    attached(Word, "--log"),
    takes(Word, "--cleanup"),
];

/// Selection and storage of fetched objects.
pub(super) const FETCH: &[Row] = &[
    flags(
        "-v --verbose -q --quiet --all --set-upstream -a --append -f --force -t --tags --no-tags -p --prune",
    ),
    flags("--no-prune --dry-run -k --keep --progress --no-progress --unshallow --update-shallow -4 --ipv4"),
    flags("-6 --ipv6 --show-forced-updates --no-show-forced-updates --no-recurse-submodules"),
    takes(Word, "--depth --deepen --refmap --negotiation-tip --shallow-exclude"),
    takes(Text, "--shallow-since -o --server-option"),
];

/// Selection and format of refs in a list.
pub(super) const REFS: &[Row] =
    &[flags("--ignore-case --no-color"), attached(Word, "--color"), takes(Format, "--format --sort")];
