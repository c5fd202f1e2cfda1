//! Keys: those that callers show, and those that the first start generates.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rdev_domain::{KeyId, Principal, Scope};
use rdev_runner::durable::flush_names;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{AdminKeys, MasterKey};
use crate::system::random;

/// Accepted keys: for now those of the administrator alone.
#[derive(Clone)]
pub(crate) struct Keys(Arc<[Arc<AcceptedKey>]>);

/// A key that is accepted: its holder, by an id which several keys may share, and its hash, which is its own.
#[derive(PartialEq, Eq)]
pub(crate) struct AcceptedKey {
    principal: Principal,
    sha256: [u8; 32],
}

impl Keys {
    /// Accepts the administrator's keys: as configured, else those of a file, which the first start makes with one. The file
    /// holds the key itself, memory only its hash.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds no key.
    pub(crate) fn admin(configured: Option<&AdminKeys>, file: &Path) -> anyhow::Result<Self> {
        if let Some(keys) = configured {
            return Ok(Self::of(keys));
        }
        let new = || Ok(format!("rdev_admin_{}", URL_SAFE_NO_PAD.encode(random::<32>()?)));
        let keys = AdminKeys::parse(&read_or_make(file, new)?).map_err(|accepted| {
            anyhow::anyhow!("{} holds no key: {accepted}; delete it, and a new one is made", file.display())
        })?;
        Ok(Self::of(&keys))
    }

    /// Accepts these keys alone.
    pub(crate) fn of(keys: &AdminKeys) -> Self {
        Self(keys.keys().iter().map(|key| Arc::new(AcceptedKey::of(&key.0))).collect())
    }

    /// Returns the key that a caller has shown, if it is accepted; compares in constant time.
    pub(crate) fn verify(&self, key: &str) -> Option<&Arc<AcceptedKey>> {
        let sha256: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        self.0.iter().find(|known| sha256.ct_eq(&known.sha256).into())
    }

    /// Returns the accepted keys that have this id: during a change there are two.
    pub(crate) fn with_id(&self, id: &KeyId) -> impl Iterator<Item = &Arc<AcceptedKey>> {
        self.0.iter().filter(move |known| known.id() == id)
    }
}

impl AcceptedKey {
    /// The key's id is the part between the first two underscores, else `admin`.
    pub(crate) fn of(key: &str) -> Self {
        let id = key.strip_prefix("rdev_").and_then(|rest| rest.split_once('_')).map(|(id, _)| id);
        let id = id.and_then(|id| id.parse().ok()).or_else(|| "admin".parse().ok());
        let key_id = id.expect("\"admin\" is a key id");
        let principal = Principal { key: key_id, scopes: vec![Scope::Admin] };
        Self { principal, sha256: Sha256::digest(key.as_bytes()).into() }
    }

    /// Returns the id of the key.
    pub(crate) fn id(&self) -> &KeyId {
        &self.principal.key
    }

    /// Returns the hash of the whole key.
    pub(crate) fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Returns the caller who holds the key.
    pub(crate) fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// Error of a missing master key in a pod: a generated one would be lost with the pod's disk, and everything that it
/// encrypts with it.
pub(crate) const MASTER_KEY_NEEDED: &str =
    "RDEV_MASTER_KEY is not set: with RDEV_RUNTIME=kubernetes it is needed; accepted are 32 bytes in base64";
/// Fix for a missing master key.
pub(crate) const MASTER_KEY_FIX: &str =
    "put `openssl rand -base64 32` into the Secret rdev-api, as master-key";

/// Returns the master key: as configured, else from its file, which the first start makes.
///
/// # Errors
/// When the file cannot be read or written, or does not hold 32 bytes in base64.
pub(crate) fn master_key(configured: Option<MasterKey>, file: &Path) -> anyhow::Result<MasterKey> {
    if let Some(key) = configured {
        return Ok(key);
    }
    let text = read_or_make(file, || Ok(STANDARD.encode(random::<32>()?)))?;
    let bytes = STANDARD.decode(&text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.map(MasterKey).with_context(|| format!("{} does not hold 32 bytes in base64", file.display()))
}

fn read_or_make(file: &Path, new: impl FnOnce() -> anyhow::Result<String>) -> anyhow::Result<String> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    match std::fs::read_to_string(file) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
    let text = new()?;
    let temporary = file.with_extension("key.tmp");
    let write = || -> std::io::Result<()> {
        let mut out = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        writeln!(out, "{text}")?;
        out.sync_all()?;
        std::fs::rename(&temporary, file)?;
        // Clients keep the key, and credentials are encrypted with the other one.
        file.parent().map_or(Ok(()), flush_names)
    };
    write().with_context(|| format!("cannot write {}", file.display()))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_key_is_accepted() {
        let keys = AdminKeys::parse("rdev_ops_0123456789abcdef,rdev_bot_0123456789abcdef").unwrap();
        let keys = Keys::of(&keys);
        let ops = keys.verify("rdev_ops_0123456789abcdef").unwrap();
        let caller = ops.principal();
        assert_eq!(caller.key.as_str(), "ops");
        assert!(caller.has(Scope::ProjectsExecute));
        assert_eq!(keys.verify("rdev_bot_0123456789abcdef").unwrap().id().as_str(), "bot");
        assert!(keys.with_id(&caller.key).eq([ops]));
        assert_eq!(keys.with_id(&"x".parse().unwrap()).count(), 0);
        for wrong in ["", "rdev_ops_0123456789abcde", "rdev_ops_0123456789abcdef0", "rdev_x_0123456789abcdef"]
        {
            assert!(keys.verify(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_generated_key_is_kept_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("admin.key");
        Keys::admin(None, &file).unwrap();
        let key = std::fs::read_to_string(&file).unwrap();
        assert!(key.starts_with("rdev_admin_") && key.len() > 50);
        let again = Keys::admin(None, &file).unwrap();
        assert!(again.verify(key.trim()).is_some(), "the file holds the key itself");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
