//! Refuses values and operands: paths out of the workspace or into `.git`, addresses and names that start
//! programs.

use super::option::Kind;

/// Built-in strategies of git; for any other name git would start `git-merge-<name>`.
const STRATEGIES: [&str; 6] = ["ort", "recursive", "resolve", "octopus", "ours", "subtree"];
/// Addresses that git reaches without a helper program.
const SCHEMES: [&str; 4] = ["https://", "http://", "ssh://", "git://"];

/// Returns why git must not be given this text as this kind.
pub(super) fn check(kind: Kind, text: &str, remotes: Option<&str>) -> Result<(), String> {
    match kind {
        Kind::Text => Ok(()),
        Kind::Format if starts_gpg(text) => {
            Err(format!("{text:?} is not accepted: a signature is verified by a program, gpg"))
        }
        Kind::Format => Ok(()),
        Kind::Word => check_word(text),
        Kind::Strategy if STRATEGIES.contains(&text) => Ok(()),
        Kind::Strategy => Err(format!("{text:?} is not accepted: strategies are {}", STRATEGIES.join(", "))),
        Kind::Remote if is_remote_name(text) => check_word(text),
        Kind::Remote | Kind::Address => check_address(text, remotes),
    }
}

fn check_word(text: &str) -> Result<(), String> {
    if names_git_folder(text) {
        return Err(format!("{text:?} is not accepted: .git belongs to git"));
    }
    if leaves_workspace(text) {
        return Err(format!("{text:?} is not accepted: the path is outside the workspace"));
    }
    Ok(())
}

/// Tells whether the path is absolute, or leaves the workspace with `..`. A range of revisions such as
/// `main..topic` does neither.
fn leaves_workspace(text: &str) -> bool {
    let path = match text.strip_prefix(':') {
        Some(magic) => match magic.strip_prefix('(').and_then(|words| words.split_once(')')) {
            Some((_, path)) => path,
            // `:/text` is the top of the work tree, or a commit by its message.
            None => magic.trim_start_matches(['!', '^']).trim_start_matches('/'),
        },
        None => text,
    };
    let mut depth = 0_usize;
    let climbs = path.split('/').any(|part| match part {
        "" | "." => false,
        ".." if depth == 0 => true,
        ".." => {
            depth -= 1;
            false
        }
        _ => {
            depth += 1;
            false
        }
    });
    path.starts_with('/') || climbs
}

/// Tells whether any part of a path, pathspec or `revision:path` is `.git`, as any file system may read
/// the name: without regard to case, by its short name on NTFS, with characters that NTFS drops at the
/// end and HFS+ anywhere.
fn names_git_folder(text: &str) -> bool {
    text.split(['/', '\\', ':', ')', '!', '^']).any(|part| {
        let name: String = part.chars().filter(|c| !is_ignorable(*c)).collect::<String>().to_lowercase();
        let name = name.trim_end_matches([' ', '.']);
        name == ".git" || name == "git~1"
    })
}

/// Characters that HFS+ ignores when it compares names.
fn is_ignorable(c: char) -> bool {
    matches!(c, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}')
}

/// Tells whether git could take the text for the name of a configured remote. A folder of that name is no
/// remote: git finds no transport for such a path.
fn is_remote_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(':') && !text.starts_with(['/', '.', '~'])
}

fn check_address(text: &str, remotes: Option<&str>) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("{text:?} is not accepted: {why}"));
    let network = SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme));
    let host = match (network, text.split_once(':')) {
        (Some(rest), _) => rest.split('/').next().unwrap_or_default(),
        (None, Some((_, rest))) if rest.starts_with(':') => {
            return refuse("this transport runs a program");
        }
        // user@host:path
        (None, Some((host, rest))) if !host.contains('/') && !rest.starts_with("//") => host,
        _ => return check_local(text, remotes),
    };
    let host_only = host.rsplit_once('@').map_or(host, |(_, host)| host);
    if host_only.is_empty() || host_only.starts_with('-') || host.starts_with('-') {
        return refuse("the host is missing, or begins with '-'");
    }
    Ok(())
}

fn check_local(text: &str, remotes: Option<&str>) -> Result<(), String> {
    let path = text.strip_prefix("file://").unwrap_or(text);
    let inside = |folder: &str| {
        let rest = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/'));
        rest.is_some_and(|rest| !rest.split('/').any(|part| matches!(part, "" | "." | "..")))
    };
    if remotes.is_some_and(inside) {
        return Ok(());
    }
    let accepted = "accepted are a remote's name, https://, http://, ssh://, git://, user@host:path";
    let folder = remotes.map_or(String::new(), |folder| format!(", and bare repositories in {folder}/"));
    Err(format!("{text:?} is not accepted as a repository: {accepted}{folder}"))
}

/// Tells whether a format or a sort key makes git start gpg for each commit or tag.
fn starts_gpg(text: &str) -> bool {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('%') {
        let item = after.strip_prefix(['+', '-', ' ']).unwrap_or(after);
        let field = item.strip_prefix('(').map(|field| field.trim_start_matches('*'));
        if item.starts_with('G') || field.is_some_and(|field| field.starts_with("signature")) {
            return true;
        }
        rest = after.strip_prefix('%').unwrap_or(after);
    }
    text.trim_start_matches(['-', '*']).starts_with("signature")
}
