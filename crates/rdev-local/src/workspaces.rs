//! The directories that are projects.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use rdev_domain::ProjectId;

/// Largest step in which file systems count changes: a younger listing may miss a change in its own step.
const TIME_STEP: Duration = Duration::from_millis(50);

/// The folder of all workspaces, and its last listing.
pub(crate) struct Workspaces {
    folder: PathBuf,
    listed: Mutex<Option<Listing>>,
}

struct Listing {
    changed: SystemTime,
    ids: Vec<ProjectId>,
}

impl Workspaces {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, listed: Mutex::new(None) }
    }

    pub(crate) fn path(&self, id: &ProjectId) -> PathBuf {
        self.folder.join(id.as_str())
    }

    /// Returns the directories whose names are project ids, sorted; reads the folder again only after a
    /// change.
    pub(crate) fn list(&self) -> std::io::Result<Vec<ProjectId>> {
        let changed = std::fs::metadata(&self.folder)?.modified()?;
        let mut listed = self.listed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(listing) = listed.as_ref().filter(|listing| listing.changed == changed) {
            return Ok(listing.ids.clone());
        }
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let id = entry.file_name().to_str().and_then(|name| name.parse::<ProjectId>().ok());
            if let Some(id) = id.filter(|_| entry.path().is_dir()) {
                ids.push(id);
            }
        }
        ids.sort();
        let settled = changed.elapsed().is_ok_and(|age| age > TIME_STEP);
        *listed = settled.then(|| Listing { changed, ids: ids.clone() });
        Ok(ids)
    }
}
