use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use rdev_domain::{Project, ProjectId, Result};

/// The places in which commands run: pods of a cluster, or directories of this machine.
#[async_trait]
pub trait Pods: Send + Sync {
    /// All projects, sorted by id.
    async fn projects(&self) -> Result<Vec<Project>>;

    /// One project; `None` when there is none of that id.
    async fn project(&self, id: &ProjectId) -> Result<Option<Project>>;

    /// Where commands of the project run now; `None` when there is no such project.
    async fn place(&self, id: &ProjectId) -> Result<Option<Place>>;

    /// Starts a program in the place and sends its standard output as it comes. The first argument
    /// `rdev-runner` names the runner of that place. Ends the stream when the program has ended or the
    /// connection was cut: the two look alike, and what ran is told only by the runner's frames.
    /// Dropping the stream ends the connection, and nothing that a runner supervises.
    async fn exec(&self, place: &Place, exec: Exec) -> Result<ExecOutput>;

    /// Fails when commands cannot be run at all now: the reason is for operators.
    async fn check(&self) -> Result<()>;
}

/// Where the commands of a project run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The project.
    pub project: ProjectId,
    /// Identity of the place itself: it changes when what ran there before is gone for good.
    pub uid: String,
    /// Working directory of commands, as they see it.
    pub workspace: String,
}

/// A program to start in a place.
#[derive(Debug, Clone, Default)]
pub struct Exec {
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// What it reads on standard input.
    pub stdin: Stdin,
}

/// What a program reads on standard input.
#[derive(Debug, Clone, Default)]
pub enum Stdin {
    /// Nothing.
    #[default]
    None,
    /// This, and it does nothing before: a place may keep one such program waiting, to be used next time.
    WaitedFor(Bytes),
}

/// Pieces of a program's standard output.
pub type ExecOutput = BoxStream<'static, Result<Bytes>>;

/// Longest time that starting a program in a place may take.
pub const EXEC_START_TIMEOUT: Duration = Duration::from_secs(30);
