//! The options that are accepted, by subcommand. What is not in here is refused.
//!
//! To accept one more: its name in the list of its subcommand. `--name` takes no value, `--name=` takes one, and
//! `--name[=]` takes one only behind an equals sign; `-n`, `-n=` and `-n[=]` say the same of a letter, whose
//! value may also stand right behind it. `=format` and `=strategy` say what the value is. `-NUM` is a number behind
//! a dash. Of two entries of one name the later counts. An option that runs a program, or reads or writes a file that the caller names
//! elsewhere, never belongs here.

/// How the operands of a subcommand are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operands {
    /// Revisions and paths.
    Inside,
    /// A pattern comes first, then revisions and paths.
    PatternFirst,
    /// Repositories and the names of refs.
    Repositories,
    /// A message may be among them.
    Text,
}

/// A subcommand that is accepted.
#[derive(Debug)]
pub(super) struct Subcommand {
    pub(super) name: &'static str,
    pub(super) operands: Operands,
    pub(super) options: &'static [&'static str],
}

/// What every command that shows differences takes.
const DIFF: &str = "-p -u --patch --no-patch -s -U[=] --unified[=] -W --function-context --raw --patch-with-raw \
    --patch-with-stat --numstat --shortstat --dirstat[=] --cumulative --dirstat-by-file[=] --check --summary \
    --name-only --name-status --stat[=] --stat-width= --stat-name-width= --stat-graph-width= --stat-count= \
    --compact-summary --binary --full-index --color[=] --no-color --ws-error-highlight= --abbrev[=] --no-abbrev \
    --src-prefix= --dst-prefix= --line-prefix= --no-prefix --inter-hunk-context= --output-indicator-new= \
    --output-indicator-old= --output-indicator-context= -B[=] --break-rewrites[=] -M[=] --find-renames[=] -D \
    --irreversible-delete -C[=] --find-copies[=] --find-copies-harder --no-renames --rename-empty \
    --no-rename-empty --follow --no-follow --minimal --no-minimal -w --ignore-all-space -b --ignore-space-change \
    --ignore-space-at-eol --ignore-cr-at-eol --ignore-blank-lines -I= --ignore-matching-lines= \
    --indent-heuristic --no-indent-heuristic --patience --histogram --diff-algorithm= --anchored= --word-diff[=] \
    --word-diff-regex= --color-words[=] --color-moved[=] --no-color-moved --color-moved-ws= --relative[=] \
    --no-relative -a --text --exit-code --quiet --no-ext-diff --no-textconv --ignore-submodules[=] \
    --submodule[=] -R -z -S= -G= --pickaxe-all --pickaxe-regex --rotate-to= --skip-to= --find-object= \
    --diff-filter= -l=";
/// What every command that walks revisions takes.
const WALK: &str = "-NUM -n= --max-count= --skip= --since= --after= --until= --before= --since-as-filter= --author= \
    --committer= --grep= --grep-reflog= --all-match --invert-grep -i --regexp-ignore-case --basic-regexp -E \
    --extended-regexp -F --fixed-strings -P --perl-regexp --merges --no-merges --min-parents= --max-parents= \
    --no-min-parents --no-max-parents --first-parent --not --all --branches[=] --tags[=] --remotes[=] --glob= \
    --exclude= --reflog --ignore-missing --cherry --cherry-mark --cherry-pick --left-only --right-only \
    --left-right -g --walk-reflogs --boundary --simplify-by-decoration --show-pulls --full-history --dense \
    --sparse --simplify-merges --ancestry-path[=] --date-order --author-date-order --topo-order --reverse \
    --no-walk[=] --do-walk --oneline --abbrev-commit --no-abbrev-commit --abbrev[=] --parents --children \
    --graph --no-graph --show-linear-break[=] --date= --relative-date --count --pretty[=]format \
    --format=format --encoding= --expand-tabs[=] --no-expand-tabs --notes[=] --no-notes";
const LOG: &str = "-q --quiet --source --use-mailmap --no-use-mailmap --mailmap --no-mailmap --clear-decorations \
    --decorate[=] --no-decorate --decorate-refs= --decorate-refs-exclude= --full-diff --log-size -L= -m -c --cc \
    --combined-all-paths --diff-merges= --no-diff-merges -t --root";
/// What merges, and what picks commits, take.
const MERGE: &str = "-n --stat --no-stat --log[=] --no-log --squash --no-squash --commit --no-commit --no-edit \
    --cleanup= --ff --no-ff --ff-only --signoff --no-signoff -s=strategy --strategy=strategy -X= \
    --strategy-option= --no-verify-signatures --no-verify --allow-unrelated-histories --autostash --no-autostash \
    --rerere-autoupdate --no-rerere-autoupdate --no-gpg-sign";
const PICK: &str = "--quit --continue --abort --skip -n --no-commit --no-edit -s --signoff -m= --mainline= -x --ff \
    --cleanup= --strategy=strategy -X= --strategy-option= --allow-empty --allow-empty-message \
    --keep-redundant-commits --rerere-autoupdate --no-rerere-autoupdate --no-gpg-sign";
/// What every command that lists refs takes.
const REFS: &str = "--format=format --sort= --points-at= --merged[=] --no-merged[=] --contains[=] --no-contains[=] \
    --color[=] --no-color -i --ignore-case";
const TRANSPORT: &str =
    "-v --verbose -q --quiet --progress --no-progress -4 --ipv4 -6 --ipv6 -o= --server-option=";
const FETCH: &str = "-a --append --atomic --depth= --deepen= --shallow-since= --shallow-exclude= --unshallow \
    --update-shallow -f --force -k --keep -p --prune --no-prune -P --prune-tags --refmap= -t --tags --no-tags \
    --set-upstream --dry-run --all --no-recurse-submodules --show-forced-updates --no-show-forced-updates \
    --negotiation-tip= -j= --jobs[=]";

const fn on(name: &'static str, operands: Operands, options: &'static [&'static str]) -> Subcommand {
    Subcommand { name, operands, options }
}

use Operands::{Inside, PatternFirst, Repositories, Text};

/// Every subcommand that is accepted. One that is missing is refused, which keeps aliases out.
pub(super) const SUBCOMMANDS: [Subcommand; 49] = [
    on(
        "add",
        Inside,
        &["-n --dry-run -v --verbose -f --force -u --update -N --intent-to-add -A --all --no-all \
        --ignore-removal --refresh --ignore-errors --ignore-missing --renormalize --sparse --chmod="],
    ),
    on(
        "blame",
        Inside,
        &["-b -c -l -t -f -n -s -e -w -p -M[=] -C[=] -L= --root --show-stats --progress \
        --no-progress --show-name --show-number --show-email --porcelain --line-porcelain --incremental \
        --ignore-rev= --abbrev[=] --date= --since= --first-parent --reverse --minimal --encoding= --color-lines \
        --color-by-age"],
    ),
    on(
        "branch",
        Inside,
        &[
            REFS,
            "-v --verbose -q --quiet -a --all -r --remotes -l --list -d --delete -D -m --move -M \
        -c --copy -C -f --force -t --track[=] --no-track -u= --set-upstream-to= --unset-upstream --show-current \
        --abbrev[=] --no-abbrev --column[=] --no-column --create-reflog",
        ],
    ),
    on(
        "cat-file",
        Inside,
        &["-t -s -e -p --use-mailmap --batch-all-objects --batch-check[=]format --unordered --buffer"],
    ),
    on(
        "checkout",
        Inside,
        &["-q --quiet --progress --no-progress -f --force --ours --theirs -b= -B= -t --track[=] \
        --no-track --guess --no-guess -l -d --detach --orphan= -m --merge --conflict= --overlay --no-overlay \
        --overwrite-ignore --no-recurse-submodules"],
    ),
    on("cherry", Inside, &["-v --verbose --abbrev[=]"]),
    on("cherry-pick", Inside, &[PICK]),
    on("clean", Inside, &["-d -f --force -n --dry-run -q --quiet -e= --exclude= -x -X"]),
    on(
        "commit",
        Inside,
        &["-a --all -p --patch -q --quiet -v --verbose -C= --reuse-message= --fixup= --squash= \
        --reset-author --short --branch --porcelain --long -z --null -m= --message= --author= --date= -n \
        --no-verify --allow-empty --allow-empty-message --cleanup= --no-edit --amend --no-post-rewrite -i \
        --include -o --only -u[=] --untracked-files[=] -s --signoff --no-signoff --trailer= --dry-run --status \
        --no-status --no-gpg-sign"],
    ),
    on(
        "config",
        Text,
        &["--local --get --get-all --get-regexp --list -l --null -z --show-origin --show-scope \
        --name-only"],
    ),
    on("count-objects", Inside, &["-v --verbose -H --human-readable"]),
    on(
        "describe",
        Inside,
        &["--all --tags --contains --abbrev[=] --candidates= --exact-match --debug --long --match= \
        --exclude= --always --first-parent --dirty[=] --broken[=]"],
    ),
    on("diff", Inside, &[DIFF, "--cached --staged --merge-base -0 -1 -2 -3 --base --ours --theirs -c --cc"]),
    on(
        "diff-tree",
        Inside,
        &[DIFF, WALK, "-r -t --root --stdin -m -c --cc --no-commit-id --merge-base --always"],
    ),
    on("fetch", Repositories, &[TRANSPORT, FETCH, "-m --multiple -n"]),
    on("for-each-ref", Inside, &[REFS, "--count= --shell --perl --python --tcl"]),
    on(
        "fsck",
        Inside,
        &["--tags --root --unreachable --cache --no-reflogs --full --no-full --connectivity-only \
        --strict -v --verbose --progress --no-progress --dangling --no-dangling --name-objects"],
    ),
    on("gc", Inside, &["--aggressive --auto --prune[=] --no-prune -q --quiet --force --keep-largest-pack"]),
    on(
        "grep",
        PatternFirst,
        &["--cached --untracked --no-exclude-standard --exclude-standard -a --text -i \
        --ignore-case -I --max-depth= -r --recursive --no-recursive -w --word-regexp -v --invert-match -h -H \
        --full-name -E --extended-regexp -G --basic-regexp -P --perl-regexp -F --fixed-strings -n --line-number \
        --column -l --files-with-matches --name-only -L --files-without-match -z --null -o --only-matching -c \
        --count --all-match -q --quiet --threads= --color[=] --no-color --break --heading -p --show-function -W \
        --function-context -A= --after-context= -B= --before-context= -C= --context= -m= --max-count= -e= --and \
        --or --not -NUM"],
    ),
    on("init", Inside, &["-q --quiet --bare -b= --initial-branch= --object-format= --shared[=]"]),
    on("log", Inside, &[DIFF, WALK, LOG]),
    on(
        "ls-files",
        Inside,
        &["-c --cached -d --deleted -m --modified -o --others -i --ignored -s --stage --directory \
        --no-empty-directory -u --unmerged -k --killed --resolve-undo -z --deduplicate -x= --exclude= \
        --exclude-standard --error-unmatch --with-tree= -t -v -f --full-name --abbrev[=] --eol --sparse \
        --format=format"],
    ),
    on(
        "ls-remote",
        Repositories,
        &["-q --quiet -t --tags -h --heads --refs --exit-code --get-url --sort= --symref -o= \
        --server-option="],
    ),
    on(
        "ls-tree",
        Inside,
        &["-d -r -t -l --long -z --name-only --name-status --object-only --abbrev[=] --full-name \
        --full-tree --format=format"],
    ),
    on(
        "merge",
        Inside,
        &[
            MERGE,
            "-q --quiet -v --verbose --progress --no-progress -m= --message= --into-name= --abort \
        --quit --continue --overwrite-ignore",
        ],
    ),
    on("merge-base", Inside, &["-a --all --octopus --independent --is-ancestor --fork-point"]),
    on("mv", Inside, &["-f --force -k -n --dry-run -v --verbose --sparse"]),
    on("name-rev", Inside, &["--tags --refs= --exclude= --all --name-only --no-undefined --always"]),
    on("pull", Repositories, &[TRANSPORT, FETCH, MERGE, "-r[=] --rebase[=] --no-rebase"]),
    on(
        "push",
        Repositories,
        &[
            TRANSPORT,
            "--all --mirror --tags --follow-tags --atomic -n --dry-run --porcelain -d \
        --delete -f --force --force-with-lease[=] --no-force-with-lease --force-if-includes --repo= -u \
        --set-upstream --thin --no-thin --prune --no-verify --no-signed --push-option=",
        ],
    ),
    on(
        "range-diff",
        Inside,
        &[DIFF, "--creation-factor= --no-dual-color --left-only --right-only --no-notes"],
    ),
    on(
        "rebase",
        Inside,
        &["--onto= --keep-base --continue --skip --abort --quit --apply -m --merge --no-keep-empty \
        --keep-empty --empty= --reapply-cherry-picks --no-reapply-cherry-picks --allow-empty-message \
        -s=strategy --strategy=strategy -X= --strategy-option= -q --quiet -v --verbose --stat -n --no-stat \
        --no-verify --no-ff -f --force-rebase --fork-point --no-fork-point --ignore-whitespace --whitespace= \
        --committer-date-is-author-date --ignore-date --reset-author-date --signoff -r[=] --rebase-merges[=] \
        --autosquash --no-autosquash --autostash --no-autostash --root --update-refs --no-gpg-sign \
        --rerere-autoupdate --no-rerere-autoupdate --show-current-patch"],
    ),
    on(
        "reflog",
        Inside,
        &[
            WALK,
            "--expire= --expire-unreachable= --rewrite --updateref --stale-fix --dry-run \
        --verbose",
        ],
    ),
    on(
        "remote",
        Repositories,
        &["-v --verbose -t= -m= -f --tags --no-tags --mirror[=] --push --all --add --delete -a \
        --auto -d -n -p --prune --progress --no-progress"],
    ),
    on(
        "reset",
        Inside,
        &["-q --quiet --soft --mixed -N --intent-to-add --hard --merge --keep --no-refresh --refresh \
        --no-recurse-submodules"],
    ),
    on(
        "restore",
        Inside,
        &["-s= --source= -W --worktree -S --staged -q --quiet --progress --no-progress --ours --theirs \
        -m --merge --conflict= --ignore-unmerged --overlay --no-overlay --no-recurse-submodules"],
    ),
    on(
        "rev-list",
        Inside,
        &[
            WALK,
            "--objects --objects-edge --unpacked --disk-usage[=] --timestamp --no-commit-header \
        --in-commit-order --no-object-names --object-names --bisect --use-bitmap-index --quiet",
        ],
    ),
    on(
        "rev-parse",
        Inside,
        &["--verify -q --quiet --abbrev-ref[=] --short[=] --symbolic --symbolic-full-name --all \
        --branches[=] --tags[=] --remotes[=] --glob= --exclude= --show-toplevel --show-prefix --show-cdup \
        --git-dir --is-inside-git-dir --is-inside-work-tree --is-bare-repository --is-shallow-repository \
        --show-object-format[=] --revs-only --no-revs --flags --no-flags --default= --since= --until= --not"],
    ),
    on("revert", Inside, &[PICK, "--reference"]),
    on("rm", Inside, &["-f --force -n --dry-run -r --cached --ignore-unmatch --sparse -q --quiet"]),
    on("shortlog", Inside, &[WALK, "--committer -n --numbered -s --summary -e --email -c -w[=] --group="]),
    on("show", Inside, &[DIFF, WALK, LOG]),
    on(
        "show-branch",
        Inside,
        &["-r --remotes -a --all --current --topo-order --date-order --sparse --more[=] --list \
        --merge-base --independent --no-name --sha1-name --topics --color[=] --no-color"],
    ),
    on(
        "show-ref",
        Inside,
        &["--head --heads --tags -d --dereference -s[=] --hash[=] --verify --abbrev[=] -q --quiet"],
    ),
    on(
        "stash",
        Text,
        &["-p --patch --stat[=] --name-only --name-status --numstat --shortstat -k --keep-index \
        --no-keep-index --staged -a --all -u --include-untracked --only-untracked -m= --message= -q --quiet --index \
        -NUM --oneline --format=format --pretty[=]format --date="],
    ),
    on(
        "status",
        Inside,
        &["-s --short -b --branch --show-stash --porcelain[=] --long -v --verbose -u[=] \
        --untracked-files[=] --ignore-submodules[=] --ignored[=] -z --null --column[=] --no-column --ahead-behind \
        --no-ahead-behind --renames --no-renames --find-renames[=]"],
    ),
    on(
        "switch",
        Inside,
        &["-c= --create= -C= --force-create= -d --detach --guess --no-guess -f --force \
        --discard-changes -m --merge --conflict= -q --quiet --progress --no-progress -t --track[=] --no-track \
        --orphan= --overwrite-ignore --no-recurse-submodules"],
    ),
    on(
        "tag",
        Inside,
        &[
            REFS,
            "--points-at[=] -a --annotate -f --force -d --delete -n[=] -l --list -m= --message= --cleanup= \
        --column[=] --no-column --create-reflog --no-sign",
        ],
    ),
    on("whatchanged", Inside, &[DIFF, WALK, LOG]),
];
