//! Environment and options of git, so that it runs nothing but itself and stays in its workspace.
//!
//! `rdev_domain::check_git_args` has refused what a line of arguments may not say. Here is what no line shows:
//! programs that the configuration names, folders that have become symbolic links, remotes that are paths. It holds
//! against a key that may only run git. Filters and merge drivers are named freely and cannot be switched off, but
//! only a command of another kind can write them into `.git/config`; so it is with a helper for credentials, which
//! is left on, as remotes over https need it.

use rdev_domain::{Follows, git_subcommand};

#[cfg(test)]
mod fuzz;

/// git never asks, never pages, and opens no editor: nobody is there to answer.
pub(super) const UNATTENDED: [(&str, &str); 5] = [
    ("GIT_ASKPASS", "true"),
    ("GIT_EDITOR", "true"),
    ("GIT_PAGER", "cat"),
    ("GIT_SEQUENCE_EDITOR", "true"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// No transport that runs a program by its name.
pub(super) const PROTOCOLS: (&str, &str) = ("GIT_ALLOW_PROTOCOL", "file:git:http:https:ssh");
/// None that is a path, either.
const NETWORK_PROTOCOLS: (&str, &str) = ("GIT_ALLOW_PROTOCOL", "git:http:https:ssh");

/// Nothing is read of the user's own configuration; that of the machine is its operator's, and holds.
const CONFINED: [(&str, &str); 4] = [
    ("GIT_CONFIG_GLOBAL", "/dev/null"),
    // An empty one keeps git from asking `core.gitProxy`.
    ("GIT_PROXY_COMMAND", ""),
    // The machine's ssh command, whatever the repository says.
    (
        "GIT_SSH_COMMAND",
        r#"sh -c "$(git config --system --includes --get core.sshCommand || echo ssh) \"\$@\"" ssh"#,
    ),
    ("GIT_SSH_VARIANT", "ssh"),
];

/// Settings that go before all files of configuration.
const SETTINGS: [(&str, &str); 18] = [
    ("core.alternateRefsCommand", "true"),
    ("core.attributesFile", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("tag.forceSignAnnotated", "false"),
    ("push.gpgSign", "false"),
    ("log.showSignature", "false"),
    ("merge.verifySignatures", "false"),
    ("gpg.program", "false"),
    ("gpg.x509.program", "false"),
    ("gpg.ssh.program", "false"),
    ("grep.fallbackToNoIndex", "false"),
    ("safe.bareRepository", "explicit"),
    // A submodule's configuration is another one, which these settings do not reach.
    ("submodule.recurse", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("push.recurseSubmodules", "no"),
];

/// Prefixes of addresses where paths are addresses, too: git reads `name` as a folder when no remote is called
/// so. `user@host:path` with another user is written `ssh://user@host/path`.
const NETWORK: [&str; 5] = ["https://", "http://", "ssh://", "git://", "git@"];
/// A transport that is not there, in whose name all other addresses are rewritten.
const REFUSED: &str = "path-outside-the-remotes-folder::";

/// The environment of git. `remotes` is the folder whose repositories it may reach by their path.
pub(super) fn env(remotes: Option<&str>) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut env: Vec<_> = UNATTENDED.iter().chain(&CONFINED).map(owned).collect();
    env.push(owned(if remotes.is_some() { &PROTOCOLS } else { &NETWORK_PROTOCOLS }));
    let mut settings: Vec<_> = SETTINGS.iter().map(owned).collect();
    if let Some(folder) = remotes {
        // The longest beginning counts, so these are rewritten as themselves, and the rest by the empty one.
        let local = [format!("{folder}/"), format!("file://{folder}/")];
        let kept = NETWORK.map(str::to_owned).into_iter().chain(local);
        settings.extend(kept.map(|address| (format!("url.{address}.insteadOf"), address)));
        settings.push((format!("url.{REFUSED}.insteadOf"), String::new()));
    }
    env.push(("GIT_CONFIG_COUNT".to_owned(), settings.len().to_string()));
    for (number, (key, value)) in settings.into_iter().enumerate() {
        env.push((format!("GIT_CONFIG_KEY_{number}"), key));
        env.push((format!("GIT_CONFIG_VALUE_{number}"), value));
    }
    env
}

/// Fails when a tracked path goes through a symbolic link, which some subcommands follow: `git rm a/b` removes the
/// file elsewhere when `a` has become a link. With `destination` the last argument must not go through one either.
const LOOK_FOR_LINKS: &str = r#"
looks_at=$1
shift
destination=
for argument; do
    case $argument in -?*) ;; *) destination=$argument ;; esac
done
{
    git diff-files -z --name-only --diff-filter=DU --ignore-submodules=all 2>/dev/null
    [ "$looks_at" != destination ] || printf '%s/\0' "$destination"
} | xargs -0 -r sh -c '
for path; do
    while case $path in */*) ;; *) false ;; esac; do
        path=${path%/*}
        if [ -L "$path" ]; then
            echo "fatal: $path is a symbolic link, and git would follow it" >&2
            exit 1
        fi
    done
done' sh || exit 128
exec git "$@"
"#;

/// The program and its arguments for a line that was accepted.
pub(super) fn argv(args: &[String]) -> Vec<String> {
    let Some(subcommand) = git_subcommand(args) else {
        return [vec!["git".to_owned()], args.to_vec()].concat();
    };
    let (words, rest) = args.split_at(subcommand.words().count());
    let first = subcommand.put_first().iter().map(|&option| option.to_owned());
    let args = words.iter().cloned().chain(first).chain(rest.iter().cloned());
    let looks_at = match subcommand.follows() {
        Follows::Nothing => return std::iter::once("git".to_owned()).chain(args).collect(),
        Follows::TrackedPaths => "index",
        Follows::TrackedPathsAndDestination => "destination",
    };
    let shell = ["sh", "-c", LOOK_FOR_LINKS, "sh", looks_at].map(str::to_owned);
    shell.into_iter().chain(args).collect()
}
