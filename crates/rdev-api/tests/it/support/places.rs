//! Workspaces and runs of a server's projects, inspected from outside, without rdev or its runner.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::cluster::Namespace;
use super::double::Double;
use super::{Runtime, processes};

/// The project that every server has.
pub(crate) const DEMO: &str = "demo";
/// A server whose projects are pods makes none of its own.
pub(crate) const MASTER_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// Places of the projects of one server; gone when dropped, with every process in them.
pub(crate) enum Places {
    /// The folder of a server that keeps everything with itself.
    Local { data_dir: PathBuf },
    /// Folders of pods that are none, behind the protocol of a cluster.
    Double(Box<Double>),
    /// A namespace in which every project is a pod.
    Cluster(Namespace),
    /// Those of another server, which is the one to ask.
    Shared { env: Vec<(&'static str, String)> },
}

const ASK_THE_OTHER: &str = "these places are another server's: ask that one";

impl Places {
    /// Makes what there must be before the server starts. Every command finds `env` in its environment.
    pub(super) async fn make(runtime: Runtime, data_dir: PathBuf, env: Vec<(String, String)>) -> Self {
        match runtime {
            // The first start makes the folders, and the server hands its own environment on.
            Runtime::Local | Runtime::LocalOnPostgres => Self::Local { data_dir },
            Runtime::Double => Self::Double(Box::new(Double::make(env).await)),
            Runtime::Cluster => Self::Cluster(Namespace::make(env).await),
        }
    }

    /// Variables that tell a server of these places.
    pub(super) fn server_env(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Local { .. } => Vec::new(),
            Self::Double(double) => double.server_env(),
            Self::Cluster(namespace) => namespace.server_env(),
            Self::Shared { env } => env.clone(),
        }
    }

    /// Makes `demo`, an empty project on every runtime: where the local one finds none it makes one with content.
    pub(super) async fn add_first_project(&self) {
        match self {
            Self::Local { data_dir } => {
                let mut folder = DirBuilder::new();
                folder
                    .recursive(true)
                    .mode(0o700)
                    .create(workspace(data_dir, DEMO))
                    .expect("a workspace can be made");
            }
            Self::Shared { .. } => {}
            Self::Double(double) => double.add_project(DEMO),
            Self::Cluster(namespace) => namespace.add_project(DEMO).await,
        }
    }

    pub(super) async fn add_project(&self, id: &str) {
        match self {
            Self::Local { data_dir } => {
                fs::create_dir(workspace(data_dir, id)).expect("a workspace can be made");
            }
            Self::Double(double) => double.add_project(id),
            Self::Cluster(namespace) => namespace.add_project(id).await,
            Self::Shared { .. } => panic!("{ASK_THE_OTHER}"),
        }
    }

    /// Makes a worker of the pool, where the server does not do that itself.
    pub(super) async fn add_worker(&self, name: &str) {
        match self {
            Self::Local { .. } | Self::Shared { .. } => {}
            Self::Double(double) => drop(double.add_worker(name)),
            Self::Cluster(namespace) => namespace.add_worker(name).await,
        }
    }

    pub(super) async fn touch_at(&self, worker: &str, name: &str) {
        match self.folder_of(worker) {
            Some(folder) => fs::write(folder.join(name), "").expect("a file can be written"),
            None => self.namespace().touch(worker, name).await,
        }
    }

    pub(super) async fn file_at(&self, worker: &str, name: &str) -> Option<String> {
        match self.folder_of(worker) {
            Some(folder) => fs::read_to_string(folder.join(name)).ok(),
            None => self.namespace().file(worker, name).await,
        }
    }

    /// The folder of a worker, if it is on this machine.
    fn folder_of(&self, worker: &str) -> Option<PathBuf> {
        match self {
            Self::Local { data_dir } => Some(data_dir.join("pool").join(worker)),
            Self::Double(double) => Some(double.folder_of(worker)),
            Self::Cluster(_) => None,
            Self::Shared { .. } => panic!("{ASK_THE_OTHER}"),
        }
    }

    fn namespace(&self) -> &Namespace {
        match self {
            Self::Cluster(namespace) => namespace,
            Self::Local { .. } | Self::Double(_) | Self::Shared { .. } => panic!("it has no namespace"),
        }
    }

    /// Returns the content of a file of the project `demo`; `None` while there is no such file.
    pub(super) async fn file(&self, name: &str) -> Option<String> {
        match self {
            Self::Local { data_dir } => fs::read_to_string(workspace(data_dir, DEMO).join(name)).ok(),
            Self::Double(double) => fs::read_to_string(double.workspace().join(name)).ok(),
            Self::Cluster(namespace) => namespace.file(DEMO, name).await,
            Self::Shared { .. } => panic!("{ASK_THE_OTHER}"),
        }
    }

    /// Makes an empty file in the project `demo`.
    pub(super) async fn touch(&self, name: &str) {
        match self {
            Self::Local { data_dir } => {
                fs::write(workspace(data_dir, DEMO).join(name), "").expect("a file can be written");
            }
            Self::Double(double) => {
                fs::write(double.workspace().join(name), "").expect("a file can be written");
            }
            Self::Cluster(namespace) => namespace.touch(DEMO, name).await,
            Self::Shared { .. } => panic!("{ASK_THE_OTHER}"),
        }
    }

    /// Tells whether a process lives that a command in `demo` knows by this number.
    pub(super) async fn lives(&self, pid: &str) -> bool {
        match self {
            Self::Local { .. } | Self::Double(_) => processes::lives(pid),
            Self::Cluster(namespace) => namespace.lives(pid).await,
            Self::Shared { .. } => panic!("{ASK_THE_OTHER}"),
        }
    }

    /// Tells whether a process works in the workspace of `demo`.
    pub(super) async fn busy(&self) -> bool {
        match self {
            Self::Local { data_dir } => processes::working_in(&workspace(data_dir, DEMO)) > 0,
            Self::Double(double) => processes::working_in(&double.workspace()) > 0,
            Self::Cluster(namespace) => namespace.busy().await,
            Self::Shared { .. } => panic!("{ASK_THE_OTHER}"),
        }
    }
}

impl Drop for Places {
    fn drop(&mut self) {
        match self {
            Self::Local { data_dir } => processes::end_all(data_dir),
            // They see to that themselves.
            Self::Double(_) | Self::Cluster(_) | Self::Shared { .. } => {}
        }
    }
}

/// The folder of a project of the local runtime.
pub(super) fn workspace(data_dir: &Path, project: &str) -> PathBuf {
    data_dir.join("workspaces").join(project)
}
