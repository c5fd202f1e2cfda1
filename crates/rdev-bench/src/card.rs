//! The card of the machine: the facts without which a figure means nothing.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use anyhow::Context;

use crate::stats::{median, millis};

/// Bytes of one measured write.
const BLOCK_BYTES: usize = 4096;
/// Measured writes; each has its own block, as in a log.
const WRITES: u64 = 200;

/// Facts of the machine and of the run, in their order. No names of hosts, users or folders.
#[derive(Debug)]
pub(crate) struct Card {
    facts: Vec<(&'static str, String)>,
}

impl Card {
    /// Reads the facts, and measures the disk below `folder`.
    pub(crate) fn new(folder: &Path, commit: &str, date: &str, postgres: String) -> anyhow::Result<Self> {
        let flushes = flushes(&folder.join("flushed"))?;
        let mut facts = vec![
            ("date (UTC)", date.to_owned()),
            ("commit", commit.to_owned()),
            ("processors", format!("{} x {}", std::thread::available_parallelism()?, processor()?)),
            ("memory", memory()?),
            ("kernel", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned()),
            ("file system of the data", file_system(folder)?),
            ("fsync of 4 KiB", format!("{:.2} ms (median of {WRITES})", median(&flushes))),
        ];
        facts.push(("Postgres", postgres));
        Ok(Self { facts })
    }

    pub(crate) fn print(&self) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        for (name, value) in &self.facts {
            writeln!(out, "{name:<24} {value}")?;
        }
        out.flush().map_err(Into::into)
    }

    /// Returns the facts as a list.
    pub(crate) fn markdown(&self) -> String {
        self.facts.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect()
    }
}

/// Returns the model of the first processor; ARM's kernel names none.
fn processor() -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/cpuinfo")?;
    let model = text.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(':')).map(|(_, model)| model.trim());
    Ok(model.unwrap_or(std::env::consts::ARCH).to_owned())
}

fn memory() -> anyhow::Result<String> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:")).context("no MemTotal")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(format!("{:.1} GiB", kib / 1024.0 / 1024.0))
}

/// Returns the type of the file system that holds a folder.
fn file_system(folder: &Path) -> anyhow::Result<String> {
    let folder = folder.canonicalize()?;
    holder(&fs::read_to_string("/proc/self/mountinfo")?, &folder)
        .context("no mount holds the folder of the data")
}

/// Returns the type of the deepest mount above a folder; of two on one folder the later one hides the other.
fn holder(mounts: &str, folder: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let (mount, rest) = line.split_once(" - ")?;
        Some((Path::new(mount.split(' ').nth(4)?), rest.split(' ').next()?))
    });
    let above = mounts.filter(|(at, _)| folder.starts_with(at));
    above.max_by_key(|(at, _)| at.components().count()).map(|(_, kind)| kind.to_owned())
}

/// Returns the times of appending and flushing one block, in milliseconds.
fn flushes(path: &Path) -> anyhow::Result<Vec<f64>> {
    let file = File::create(path)?;
    let block = [1; BLOCK_BYTES];
    let flush = |number: u64| -> anyhow::Result<f64> {
        let began = Instant::now();
        file.write_all_at(&block, number * BLOCK_BYTES as u64)?;
        file.sync_all()?;
        Ok(millis(began.elapsed()))
    };
    let times = (0..WRITES).map(flush).collect();
    fs::remove_file(path)?;
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_and_latest_mount_holds_a_folder() {
        let mounts = "22 1 0:20 / / rw - overlay overlay rw\n\
                      23 22 0:21 / /tmp rw,nosuid shared:1 - tmpfs tmpfs rw\n\
                      24 22 0:22 / /tmp rw - ext4 /dev/vda rw\n";
        assert_eq!(holder(mounts, Path::new("/tmp/x")).unwrap(), "ext4");
        assert_eq!(holder(mounts, Path::new("/tmpfs")).unwrap(), "overlay");
    }
}
