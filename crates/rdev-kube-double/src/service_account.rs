//! Files of a service account, as the kubelet mounts them: a server in a pod finds its cluster by them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;

use crate::access::Access;
use crate::inner::Inner;

/// A service account whose files are in a folder of this machine.
pub struct ServiceAccount {
    inner: Arc<Inner>,
    folder: PathBuf,
    access: Access,
    token: Mutex<String>,
}

impl ServiceAccount {
    pub(crate) fn new(
        inner: Arc<Inner>,
        folder: PathBuf,
        ca_pem: &str,
        namespace: &str,
        access: Access,
    ) -> anyhow::Result<Self> {
        std::fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let token = Mutex::new(inner.identities.add(access.clone()));
        let account = Self { inner, folder, access, token };
        account.write("ca.crt", ca_pem)?;
        account.write("namespace", namespace)?;
        account.write("token", &account.token())?;
        Ok(account)
    }

    /// Returns the folder that is `/var/run/secrets/kubernetes.io/serviceaccount` in a pod.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Writes another token to the file. Returns the former one, which stays valid until
    /// [`Cluster::revoke`].
    ///
    /// [`Cluster::revoke`]: crate::Cluster::revoke
    pub fn rotate(&self) -> anyhow::Result<String> {
        let new = self.inner.identities.add(self.access.clone());
        self.write("token", &new)?;
        Ok(std::mem::replace(&mut *self.token.lock().unwrap_or_else(PoisonError::into_inner), new))
    }

    fn token(&self) -> String {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces a file atomically, as the kubelet does.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let (file, unfinished) = (self.folder.join(name), self.folder.join(".unfinished"));
        std::fs::write(&unfinished, text)
            .and_then(|()| std::fs::rename(&unfinished, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }
}
