//! The runtimes on which the same stories are told.

use super::{Cluster, Fixture, Server};

/// Runtime of commands. rdev-api itself is always a process of this machine, started by the story.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Runtime {
    /// Folders and processes of this machine: the embedded default.
    Local,
    /// As [`Self::Local`], with the store in a Postgres database of its own.
    LocalOnPostgres,
    /// Pods of a cluster that is a double: the protocol is real, the pods are folders of this machine.
    Double,
    /// Pods of a cluster that `scripts/test-cluster.sh` has brought up.
    Cluster,
}

impl Runtime {
    /// Settings of a server on this runtime.
    pub(crate) fn fixture(self) -> Fixture {
        match self {
            Self::Local | Self::Double | Self::Cluster => Fixture::on(self),
            Self::LocalOnPostgres => Fixture::on(self).with_postgres(),
        }
    }

    /// Address of this machine for those that commands are to reach.
    pub(crate) fn host(self) -> String {
        match self {
            Self::Local | Self::LocalOnPostgres | Self::Double => "127.0.0.1".to_owned(),
            Self::Cluster => Cluster::host(),
        }
    }

    /// A server with so many workers in its pool, `slot-1` and on.
    pub(crate) async fn server_with_workers(self, count: u32) -> Server {
        self.fixture().with_workers(count).start().await
    }

    pub(crate) async fn server(self) -> Server {
        self.fixture().start().await
    }
}

/// Makes a module of tests of stories on one runtime.
macro_rules! on_runtime {
    ($module:ident, $runtime:ident: $($story:ident),+) => {
        mod $module {
            $(#[tokio::test]
            async fn $story() {
                super::$story(crate::support::Runtime::$runtime).await;
            })+
        }
    };
}

/// Tells stories on the local runtime, with each store.
macro_rules! on_both_stores {
    ($($story:ident),+ $(,)?) => {
        crate::support::on_runtime! { local, Local: $($story),+ }
        crate::support::on_runtime! { local_on_postgres, LocalOnPostgres: $($story),+ }
    };
}

/// Tells stories on every runtime; a story is a function of the [`Runtime`] that it is told on. One that is
/// not named here is an unused function, which the compiler tells. `and on postgres:` tells the local ones on
/// the other store as well.
macro_rules! on_every_runtime {
    (and on postgres: $($story:ident),+ $(,)?) => {
        crate::support::on_every_runtime! { $($story),+ }
        crate::support::on_runtime! { local_on_postgres, LocalOnPostgres: $($story),+ }
    };
    ($($story:ident),+ $(,)?) => {
        crate::support::on_runtime! { local, Local: $($story),+ }
        crate::support::on_runtime! { double, Double: $($story),+ }

        mod cluster {
            $(#[tokio::test]
            #[ignore = "needs a real cluster: scripts/test-cluster.sh"]
            async fn $story() {
                super::$story(crate::support::Runtime::Cluster).await;
            })+
        }
    };
}

pub(crate) use {on_both_stores, on_every_runtime, on_runtime};
