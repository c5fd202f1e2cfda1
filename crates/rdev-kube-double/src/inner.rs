//! State that all parts of a cluster share.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, Weak};

use anyhow::{Context, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::config::Config;
use crate::faults::Faults;
use crate::identities::Identities;
use crate::requests::Requests;
use crate::runtimes::Runtimes;
use crate::state::PodState;
use crate::store::{Key, Store};

/// The cluster behind its handles.
pub(crate) struct Inner {
    pub(crate) config: Config,
    /// Id of the cluster, in the environment of each of its processes.
    pub(crate) id: String,
    pub(crate) created: Time,
    pub(crate) root: PathBuf,
    pub(crate) path: OsString,
    pub(crate) address: SocketAddr,
    pub(crate) acceptor: Mutex<TlsAcceptor>,
    pub(crate) runtime: Handle,
    pub(crate) identities: Identities,
    pub(crate) faults: Faults,
    pub(crate) runtimes: Runtimes,
    pub(crate) requests: Requests,
    /// Sockets of all connections, to cut them abruptly.
    pub(crate) sockets: Mutex<Vec<Weak<TcpStream>>>,
    world: Mutex<World>,
    /// Wakes watches after every change, and when bookmarks are due.
    changes: watch::Sender<()>,
    bookmarks: AtomicU64,
}

/// The pods.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) pods: BTreeMap<Key, PodState>,
    /// Number of pods ever added; determines folders and addresses.
    pub(crate) added: u16,
    /// True while the cluster is being dropped.
    pub(crate) closed: bool,
}

/// Parts that exist before the cluster.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) id: String,
    pub(crate) root: PathBuf,
    pub(crate) path: OsString,
    pub(crate) address: SocketAddr,
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) runtime: Handle,
}

impl Inner {
    pub(crate) fn new(parts: Parts) -> Self {
        let store = Store::new(parts.config.history);
        Self {
            config: parts.config,
            id: parts.id,
            created: crate::clock::now(),
            root: parts.root,
            path: parts.path,
            address: parts.address,
            acceptor: Mutex::new(parts.acceptor),
            runtime: parts.runtime,
            identities: Identities::default(),
            faults: Faults::new(),
            runtimes: Runtimes::new(),
            requests: Requests::new(),
            sockets: Mutex::default(),
            world: Mutex::new(World { store, pods: BTreeMap::new(), added: 0, closed: false }),
            changes: watch::Sender::new(()),
            bookmarks: AtomicU64::new(0),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    pub(crate) fn notify(&self) {
        self.changes.send_replace(());
    }

    /// Returns the number of bookmarks requested so far.
    pub(crate) fn bookmarks(&self) -> u64 {
        self.bookmarks.load(Ordering::Acquire)
    }

    pub(crate) fn send_bookmarks(&self) {
        self.bookmarks.fetch_add(1, Ordering::AcqRel);
        self.notify();
    }

    pub(crate) fn add(&self, make: impl FnOnce(u16) -> PodState) -> anyhow::Result<Key> {
        let mut world = self.world();
        if world.closed {
            bail!("the cluster is being dropped");
        }
        world.added += 1;
        let pod = make(world.added);
        let key = pod.key();
        if world.pods.contains_key(&key) {
            bail!("pod {}/{} exists already", key.0, key.1);
        }
        world.store.put(key.clone(), pod.render());
        world.pods.insert(key.clone(), pod);
        drop(world);
        self.notify();
        Ok(key)
    }

    /// Changes a pod and reports the change to all watches as one event.
    pub(crate) fn change<T>(&self, key: &Key, change: impl FnOnce(&mut PodState) -> T) -> anyhow::Result<T> {
        let mut world = self.world();
        let world = &mut *world;
        let pod = world.pods.get_mut(key).with_context(|| format!("no pod {}/{}", key.0, key.1))?;
        let ready = pod.ready();
        let result = change(pod);
        if pod.ready() != ready {
            pod.ready_since = crate::clock::now();
        }
        world.store.put(key.clone(), pod.render());
        self.notify();
        Ok(result)
    }

    /// Reads a pod.
    pub(crate) fn look<T>(&self, key: &Key, look: impl FnOnce(&PodState) -> T) -> anyhow::Result<T> {
        let world = self.world();
        let pod = world.pods.get(key).with_context(|| format!("no pod {}/{}", key.0, key.1))?;
        Ok(look(pod))
    }

    /// Removes a pod, if it still has this uid.
    pub(crate) fn remove(&self, key: &Key, uid: &str) -> Option<PodState> {
        let mut world = self.world();
        if world.pods.get(key).is_none_or(|pod| pod.uid != uid) {
            return None;
        }
        let pod = world.pods.remove(key);
        world.store.remove(key);
        drop(world);
        self.notify();
        pod
    }

    pub(crate) fn sockets(&self) -> MutexGuard<'_, Vec<Weak<TcpStream>>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
