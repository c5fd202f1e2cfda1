//! Repositories and refs that a task may name: addresses and names that neither git nor ssh would read as
//! an option or run as a program.

/// Longest address, in bytes.
const ADDRESS_BYTES_MAX: usize = 2048;
/// Longest name of a branch or tag, in bytes.
const REF_BYTES_MAX: usize = 255;
const SCHEMES: [&str; 4] = ["https://", "http://", "ssh://", "git://"];

/// Returns why this address cannot be cloned.
pub(crate) fn check_repository(address: &str) -> Result<(), String> {
    let accepted = "accepted is https://, http://, ssh://, git:// or user@host:path";
    if address.is_empty() || address.len() > ADDRESS_BYTES_MAX {
        return Err(format!("{} bytes; 1 to {ADDRESS_BYTES_MAX} are accepted", address.len()));
    }
    if address.starts_with('-') || address.bytes().any(|b| b <= b' ' || b == 0x7f) {
        return Err(format!(
            "{address:?} is not valid: the address begins with '-', or contains a space; {accepted}"
        ));
    }
    let rest = SCHEMES.iter().find_map(|scheme| address.strip_prefix(scheme));
    let authority = match rest {
        Some(rest) => rest.split('/').next().unwrap_or_default(),
        // user@host:path; an address with `::` names a program that git would run.
        None => match address.split_once(':') {
            Some((host, path)) if host.contains('@') && !host.contains('/') && !path.starts_with(':') => host,
            _ => return Err(format!("{address:?} is not valid: {accepted}")),
        },
    };
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    // Over ssh a user is the name of an account; elsewhere it is usually a token.
    let is_ssh = rest.is_none() || address.starts_with("ssh://");
    if user.contains(':') || !is_ssh && authority.contains('@') {
        // The message does not repeat the value, which holds a secret.
        return Err(
            "contains a user, token or password, which would be stored and shown: leave out the part \
                    before the @, and give git its credential where it runs, or use ssh://git@host/path"
                .to_owned(),
        );
    }
    if host.is_empty() || host.starts_with('-') || user.starts_with('-') {
        return Err(format!("{address:?} is not valid: the host is missing, or begins with '-'"));
    }
    Ok(())
}

/// Returns why this name is no branch, tag or commit.
pub(crate) fn check_ref(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_graphic() && !b"~^:?*[\\".contains(&b) || !b.is_ascii();
    let good = (1..=REF_BYTES_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && !name.starts_with(['-', '/', '.'])
        && !name.ends_with(['/', '.'])
        && !["..", "//", "@{"].iter().any(|bad| name.contains(bad));
    if good {
        return Ok(());
    }
    let shown = crate::shown(name);
    Err(format!(
        "{shown:?} is not valid: accepted is a branch, a tag or a commit id of 1 to {REF_BYTES_MAX} bytes, not \
         beginning with '-', without spaces, \"..\" and ~ ^ : ? * [ \\"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_git_reaches_over_a_network_are_accepted() {
        for good in [
            "https://github.com/a/b.git",
            "git://127.0.0.1:9418/repository.git",
            "ssh://git@host:22/a",
            "git@github.com:a/b.git",
            "http://host/a?x=1",
        ] {
            assert_eq!(check_repository(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "--upload-pack=touch x",
            "-x",
            "file:///etc",
            "/etc",
            "../x",
            "ext::sh -c x",
            "ext::sh",
            "a@ext::x",
            "https://",
            "ssh://-oProxyCommand=x/a",
            "-o@host:a",
            "git@-oProxyCommand=x:a",
            "https://user:secret@host/a",
            "https://ghp_token@host/a",
            "git://token@host/a",
            "https://@host/a",
            "ssh://git:secret@host/a",
            "https://host/a b",
            "https://host/a\n",
            "fd::17",
        ] {
            assert!(check_repository(bad).is_err(), "{bad}");
        }
        for secret in ["https://user:hush@host/a", "https://hush@host/a"] {
            let message = check_repository(secret).unwrap_err();
            assert!(!message.contains("hush") && message.contains("ssh://git@host/path"), "{message}");
        }
    }

    #[test]
    fn refs_are_names_and_never_options() {
        for good in ["main", "feature/a-b", "v1.2.3", "0123456789abcdef", "refs/heads/x", "ä"] {
            assert_eq!(check_ref(good), Ok(()), "{good}");
        }
        for bad in ["", "-b", "--orphan", "a b", "a..b", "a:b", "HEAD~1", "a^", "/a", "a/", "x@{1}", "a\n"] {
            assert!(check_ref(bad).is_err(), "{bad}");
        }
    }
}
