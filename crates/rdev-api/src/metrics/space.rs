//! Space: of the database, of the disks on which this process stores, and what retention is late with.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use metrics::{describe_gauge, gauge};
use rdev_domain::Timestamp;
use rustix::fs::statvfs;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::config::{DatabaseUrl, StoreConfig};

/// Folders in which this process stores, each on a file system of its own.
#[derive(Debug, Clone)]
pub(crate) struct Folders {
    folders: Vec<(&'static str, PathBuf)>,
    /// Held while the disks are asked: one that does not answer holds one thread, and not one for each scrape.
    asking: Arc<Semaphore>,
}

/// Space of the file system of a folder.
#[derive(Debug)]
pub(super) struct DiskSpace {
    folder: &'static str,
    bytes: u64,
    /// Without what only root may use.
    available: u64,
}

impl Folders {
    /// Returns the data folder, and the folder of a SQLite file that lies on another file system.
    ///
    /// # Errors
    /// When a folder cannot be read.
    pub(crate) fn of(config: &StoreConfig) -> io::Result<Self> {
        let data = config.data_dir.clone();
        let device = |folder: &Path| folder.metadata().map(|metadata| metadata.dev());
        let mut folders = vec![("data", data.clone())];
        if let DatabaseUrl::Sqlite(file) = config.database() {
            let database = std::path::absolute(file)?.parent().map_or_else(PathBuf::new, Path::to_owned);
            if device(&database)? != device(&data)? {
                folders.push(("database", database));
            }
        }
        Ok(Self { folders, asking: Arc::new(Semaphore::new(1)) })
    }

    /// Returns the space of each that answers. Reads no file.
    pub(super) async fn space(&self) -> Vec<DiskSpace> {
        let Ok(asking) = self.asking.clone().try_acquire_owned() else { return Vec::new() };
        let folders = self.folders.clone();
        // The file system may be on a network.
        let asked = spawn_blocking(move || {
            let _asking = asking;
            let space = |(folder, path): (&'static str, PathBuf)| {
                let found = statvfs(&path).ok()?;
                let [bytes, available] =
                    [found.f_blocks, found.f_bavail].map(|blocks| blocks * found.f_frsize);
                Some(DiskSpace { folder, bytes, available })
            };
            folders.into_iter().filter_map(space).collect()
        });
        asked.await.unwrap_or_default()
    }
}

/// Records the space of disks.
pub(super) fn record_disks(disks: &[DiskSpace]) {
    describe_gauge!("rdev_disk_bytes", "Size of the file system of a folder in which this process stores");
    describe_gauge!("rdev_disk_available_bytes", "Bytes of it that this process may still use");
    for DiskSpace { folder, bytes, available } in disks {
        gauge!("rdev_disk_bytes", "folder" => *folder).set(*bytes as f64);
        gauge!("rdev_disk_available_bytes", "folder" => *folder).set(*available as f64);
    }
}

/// Records the size of the database.
pub(super) fn record_database(bytes: u64) {
    describe_gauge!("rdev_database_bytes", "Bytes that the database takes on its disk");
    gauge!("rdev_database_bytes").set(bytes as f64);
}

/// Records by how much the job that ended first is older than `kept`, the age at which it is to be removed.
pub(super) fn record_retention(kept: Duration, first_end: Option<Timestamp>, now: Timestamp) {
    describe_gauge!(
        "rdev_retention_lag_seconds",
        "Age of the oldest ended job beyond RDEV_RETENTION_DAYS, after which it is to be removed"
    );
    let late = first_end.map_or(Duration::ZERO, |end| now.since(end).saturating_sub(kept));
    gauge!("rdev_retention_lag_seconds").set(late.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::*;
    use crate::config::Config;

    #[tokio::test]
    async fn a_database_on_another_file_system_has_space_of_its_own() {
        let (data, shared_memory) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").unwrap());
        let space = async |database: &Path| {
            let (data, url) = (data.path().display(), format!("sqlite://{}", database.display()));
            let args = ["rdev-api", "--data-dir", &data.to_string(), "--database-url", &url];
            let config = Config::try_parse_from(args).unwrap();
            Folders::of(&config.store).unwrap().space().await
        };
        let names = |space: &[DiskSpace]| space.iter().map(|disk| disk.folder).collect::<Vec<_>>();
        assert_eq!(names(&space(&data.path().join("other.db")).await), ["data"]);
        let apart = space(&shared_memory.path().join("rdev.db")).await;
        assert_eq!(names(&apart), ["data", "database"]);
        assert!(apart.iter().all(|disk| 0 < disk.available && disk.available <= disk.bytes), "{apart:?}");
    }

    #[test]
    fn retention_is_late_with_what_is_older_than_it_is_kept() {
        let second = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        for (first_end, expected) in
            [(None, "0"), (Some(second(100)), "0"), (Some(second(90)), "0"), (Some(second(75)), "15")]
        {
            let recorder = PrometheusBuilder::new().build_recorder();
            metrics::with_local_recorder(&recorder, || {
                record_retention(Duration::from_secs(10), first_end, second(100));
            });
            let text = recorder.handle().render();
            assert!(text.contains(&format!("\nrdev_retention_lag_seconds {expected}\n")), "{text}");
        }
    }
}
