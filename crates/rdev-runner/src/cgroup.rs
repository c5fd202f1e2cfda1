//! Memory of the container's control group.

use std::fs;
use std::path::{Path, PathBuf};

/// Variable with the folder of the control group (version 2), for tests.
const FOLDER_VARIABLE: &str = "RDEV_CGROUP_DIR";
/// Parts of `memory.stat` that the kernel cannot reclaim without swap.
const HELD: [&str; 6] = ["anon", "shmem", "slab_unreclaimable", "kernel_stack", "pagetables", "sock"];

/// A control group of version 2 that counts memory.
#[derive(Debug)]
pub(crate) struct Group(PathBuf);

impl Group {
    /// Returns the group of this container; `None` under version 1.
    pub(crate) fn own() -> Option<Self> {
        let folders = match given() {
            Some(folder) => vec![folder],
            None => folders("", "/sys/fs/cgroup"),
        };
        folders.into_iter().find(|folder| folder.join("memory.max").exists()).map(Self)
    }

    /// Returns the limit in bytes; `None` without a limit.
    pub(crate) fn max(&self) -> Option<u64> {
        self.read("memory.max")?.trim().parse().ok()
    }

    /// Returns the bytes in use that the kernel cannot reclaim.
    pub(crate) fn held(&self) -> Option<u64> {
        let text = self.read("memory.stat")?;
        let of = |line: &str| {
            let (name, bytes) = line.split_once(' ')?;
            HELD.contains(&name).then(|| bytes.trim().parse::<u64>().ok()).flatten()
        };
        Some(text.lines().filter_map(of).sum())
    }

    /// Tells whether a lack of memory kills every process of the container at once, and not just one: the
    /// kubelet configures the kernel so from Kubernetes 1.28 on.
    pub(crate) fn kills_all(&self) -> bool {
        self.read("memory.oom.group").is_some_and(|text| text.trim() == "1")
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.0.join(file)).ok()
    }
}

/// Returns the number of processes of our control group, of either version, that were killed for memory;
/// `None` where the kernel does not report it.
pub(crate) fn oom_kills() -> Option<u64> {
    let of_v2 = folders("", "/sys/fs/cgroup").into_iter().map(|folder| folder.join("memory.events"));
    let of_v1 = folders("memory", "/sys/fs/cgroup/memory")
        .into_iter()
        .map(|folder| folder.join("memory.oom_control"));
    of_v2.chain(of_v1).find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
    })
}

/// Returns the folders in which the group of this process under `controllers` may be. In a container the
/// group's own folder is the visible root, and the path may be the node's.
fn folders(controllers: &str, root: &str) -> Vec<PathBuf> {
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let path = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        (fields.next()? == controllers).then(|| fields.next())?
    });
    let root = Path::new(root);
    let below = path.map(|path| root.join(path.trim_start_matches('/')));
    below.into_iter().chain([root.to_owned()]).collect()
}

#[expect(clippy::disallowed_methods, reason = "this program has no other configuration, and no rdev-api")]
fn given() -> Option<PathBuf> {
    std::env::var_os(FOLDER_VARIABLE).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}
