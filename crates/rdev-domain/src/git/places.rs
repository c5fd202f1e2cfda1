//! Where an operand leads: out of the workspace, into the repository's own folder, or to a program.

/// Why an operand is refused that names a path or a revision.
pub(super) fn refused_path(text: &str) -> Option<&'static str> {
    if leaves_workspace(text) {
        return Some("it names a place outside the workspace");
    }
    touches_git_folder(text).then_some("it names the folder that git keeps for itself")
}

/// Why an operand is refused that may name a repository.
pub(super) fn refused_repository(text: &str) -> Option<&'static str> {
    runs_transport(text).then_some("this transport runs a program")
}

/// A path without the magic words before it.
fn plain(text: &str) -> &str {
    let path = match text.strip_prefix(":(") {
        Some(magic) => magic.split_once(')').map_or("", |(_, path)| path),
        None => text.trim_start_matches([':', '!', '^']),
    };
    path.strip_prefix("file://").unwrap_or(path)
}

/// Whether a path is absolute, begins in a home directory, or climbs above the folder in which it begins. A range of
/// revisions such as `main..topic` does not.
fn leaves_workspace(text: &str) -> bool {
    let path = plain(text);
    // `:/words` is a revision, and `:/path` begins at the top of the repository.
    let path = if text.starts_with(":/") { path.trim_start_matches('/') } else { path };
    if path.starts_with(['/', '~']) {
        return true;
    }
    let mut depth = 0_i32;
    path.split('/').any(|part| {
        depth += match part {
            "" | "." => 0,
            ".." => -1,
            _ => 1,
        };
        depth < 0
    })
}

/// Whether a part of a path is git's own folder, under any name that a file system may take for it.
fn touches_git_folder(text: &str) -> bool {
    [text, plain(text)].iter().flat_map(|text| text.split(['/', ':', '\\'])).any(|part| {
        let part = part.trim_end_matches([' ', '.']);
        part.eq_ignore_ascii_case(".git") || part.eq_ignore_ascii_case("git~1")
    })
}

/// `ext::` and other `helper::address` forms start the helper program.
fn runs_transport(text: &str) -> bool {
    text.split_once("::").is_some_and(|(helper, _)| {
        !helper.is_empty() && helper.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    })
}
