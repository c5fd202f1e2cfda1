//! Tokens, their holders, and the kubeconfigs of clients.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::access::Access;
use crate::clock;

/// Holder of a token.
pub(crate) struct Identity {
    pub(crate) user: String,
    pub(crate) access: Access,
}

/// All holders.
#[derive(Default)]
pub(crate) struct Identities {
    /// Number of users so far.
    users: AtomicUsize,
    by_token: Mutex<HashMap<String, Arc<Identity>>>,
}

impl Identities {
    pub(crate) fn get(&self, token: &str) -> Option<Arc<Identity>> {
        self.by_token().get(token).cloned()
    }

    /// Adds a user; returns the token.
    pub(crate) fn add(&self, access: Access) -> String {
        let mut by_token = self.by_token();
        let user = match self.users.fetch_add(1, Ordering::Relaxed) {
            0 => "kubernetes-admin".to_owned(),
            number => format!("system:serviceaccount:default:user-{number}"),
        };
        let token = format!("double-{}", clock::new_uid());
        by_token.insert(token.clone(), Arc::new(Identity { user, access }));
        token
    }

    /// Replaces a token of the same user.
    pub(crate) fn renew(&self, token: &str) -> Option<String> {
        let mut by_token = self.by_token();
        let identity = by_token.remove(token)?;
        let token = format!("double-{}", clock::new_uid());
        by_token.insert(token.clone(), identity);
        Some(token)
    }

    /// Changes the permissions of a token.
    pub(crate) fn change(&self, token: &str, access: Access) -> bool {
        let mut by_token = self.by_token();
        let Some(identity) = by_token.get_mut(token) else { return false };
        *identity = Arc::new(Identity { user: identity.user.clone(), access });
        true
    }

    /// Removes a token.
    pub(crate) fn remove(&self, token: &str) -> bool {
        self.by_token().remove(token).is_some()
    }

    fn by_token(&self) -> MutexGuard<'_, HashMap<String, Arc<Identity>>> {
        self.by_token.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes a kubeconfig for the token into the folder.
pub(crate) fn write_kubeconfig(
    folder: &Path,
    address: SocketAddr,
    ca_pem: &str,
    token: &str,
) -> anyhow::Result<PathBuf> {
    let path = folder.join(format!("kubeconfig-{token}"));
    rewrite_kubeconfig(&path, address, ca_pem, token)?;
    Ok(path)
}

/// Overwrites that file.
pub(crate) fn rewrite_kubeconfig(
    path: &Path,
    address: SocketAddr,
    ca_pem: &str,
    token: &str,
) -> anyhow::Result<()> {
    let ca = STANDARD.encode(ca_pem);
    let text = format!(
        "apiVersion: v1\n\
         kind: Config\n\
         clusters:\n\
         - name: double\n\
         \x20 cluster:\n\
         \x20   server: https://{address}\n\
         \x20   certificate-authority-data: {ca}\n\
         users:\n\
         - name: user\n\
         \x20 user:\n\
         \x20   token: {token}\n\
         contexts:\n\
         - name: double\n\
         \x20 context:\n\
         \x20   cluster: double\n\
         \x20   user: user\n\
         \x20   namespace: default\n\
         current-context: double\n"
    );
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
