//! Objects, their versions, and the changes that watches read.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;

/// Most states that are kept for lists with `continue`.
const SNAPSHOTS_MAX: usize = 16;
/// First resource version, as of a cluster that has existed for a while.
const FIRST_VERSION: u64 = 1000;

/// Namespace and name.
pub(crate) type Key = (String, String);
pub(crate) type Objects = BTreeMap<Key, Arc<Object>>;

/// A pod at one version, serialised once for all readers.
pub(crate) struct Object {
    pub(crate) pod: Pod,
    pub(crate) json: Bytes,
}

impl Object {
    fn new(mut pod: Pod, version: u64) -> Arc<Self> {
        pod.metadata.resource_version = Some(version.to_string());
        let json = serde_json::to_vec(&pod).map(Bytes::from).unwrap_or_default();
        Arc::new(Self { pod, json })
    }
}

/// One step from version to version.
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) before: Option<Arc<Object>>,
    pub(crate) after: Arc<Object>,
    pub(crate) deleted: bool,
}

impl Change {
    /// Returns the former object under the version of the change: the event of a watch for an object that
    /// no longer matches.
    pub(crate) fn departed(&self) -> Arc<Object> {
        let before = self.before.as_ref().unwrap_or(&self.after);
        Object::new(before.pod.clone(), self.version)
    }
}

/// The requested version is no longer known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expired {
    /// The oldest known version.
    pub(crate) oldest: u64,
}

/// Every pod of the cluster.
pub(crate) struct Store {
    objects: Arc<Objects>,
    version: u64,
    history: VecDeque<Arc<Change>>,
    history_max: usize,
    /// Watches cannot begin before this version.
    compacted: u64,
    /// Version of the latest dropped change: a running watch that has not read it fails.
    dropped: u64,
    snapshots: VecDeque<(u64, Arc<Objects>)>,
}

impl Store {
    pub(crate) fn new(history_max: usize) -> Self {
        Self {
            objects: Arc::default(),
            version: FIRST_VERSION,
            history: VecDeque::new(),
            history_max,
            compacted: 0,
            dropped: 0,
            snapshots: VecDeque::new(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn objects(&self) -> Arc<Objects> {
        Arc::clone(&self.objects)
    }

    pub(crate) fn put(&mut self, key: Key, pod: Pod) {
        self.version += 1;
        let after = Object::new(pod, self.version);
        let before = Arc::make_mut(&mut self.objects).insert(key, Arc::clone(&after));
        self.remember(Change { version: self.version, before, after, deleted: false });
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        let Some(before) = Arc::make_mut(&mut self.objects).remove(key) else { return };
        self.version += 1;
        let after = Object::new(before.pod.clone(), self.version);
        self.remember(Change { version: self.version, before: Some(before), after, deleted: true });
    }

    fn remember(&mut self, change: Change) {
        self.history.push_back(Arc::new(change));
        while self.history.len() > self.history_max {
            if let Some(oldest) = self.history.pop_front() {
                self.dropped = oldest.version;
                self.compacted = self.compacted.max(oldest.version);
            }
        }
    }

    /// Tells whether a watch may begin at this version.
    pub(crate) fn watchable(&self, version: u64) -> Result<(), Expired> {
        if version < self.compacted { Err(Expired { oldest: self.compacted }) } else { Ok(()) }
    }

    /// Returns the changes after a version that a running watch has seen.
    pub(crate) fn since(&self, version: u64) -> Result<Vec<Arc<Change>>, Expired> {
        if version < self.dropped {
            return Err(Expired { oldest: self.dropped });
        }
        let start = self.history.partition_point(|change| change.version <= version);
        Ok(self.history.range(start..).cloned().collect())
    }

    /// Keeps a state for the further pages of a list.
    pub(crate) fn keep_at(&mut self, version: u64, objects: &Arc<Objects>) {
        if self.snapshots.iter().any(|(kept, _)| *kept == version) {
            return;
        }
        self.snapshots.push_back((version, Arc::clone(objects)));
        while self.snapshots.len() > SNAPSHOTS_MAX {
            self.snapshots.pop_front();
        }
    }

    pub(crate) fn at(&self, version: u64) -> Result<Arc<Objects>, Expired> {
        if version == self.version {
            return Ok(self.objects());
        }
        let kept = self.snapshots.iter().find(|(kept, _)| *kept == version);
        kept.map(|(_, objects)| Arc::clone(objects)).ok_or(Expired { oldest: self.version })
    }

    /// Expires every version so far; running watches are not affected.
    pub(crate) fn compact(&mut self) {
        // Objects of other kinds change too, so the cluster's version is ahead of every pod's.
        self.version += 1;
        self.compacted = self.version;
        self.snapshots.clear();
    }
}
