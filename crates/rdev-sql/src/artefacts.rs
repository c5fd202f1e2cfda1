//! The files of tasks, in parts.

use async_trait::async_trait;
use bytes::Bytes;
use rdev_domain::{Artefact, Content, JobId, Result, SkipReason};
use rdev_ports::{ArtefactWrite, Artefacts, Fence};

use crate::db::{Commit, Tx, execute, read, write};
use crate::error::unreadable;
use crate::queue::rows::fenced;
use crate::row::row;
use crate::store::SqlStore;

row! {
    #[derive(Debug)]
    struct Row {
        number: i32,
        path: String,
        size: i64,
        sha256: Option<Vec<u8>>,
        problem: Option<String>,
        removed: bool,
    }
}

impl Row {
    fn artefact(self) -> Result<(u32, Artefact)> {
        let sum = self.sha256.as_deref().map(<[u8; 32]>::try_from);
        let kept = match (sum, self.problem.as_deref().map(SkipReason::parse)) {
            (Some(Ok(sum)), None) => Content::Stored(sum),
            (None, Some(Some(_))) if self.removed => Content::Skipped(SkipReason::Removed),
            (None, Some(Some(why))) => Content::Skipped(why),
            _ => return Err(unreadable("artefact", &(&self.path, &self.problem))),
        };
        let (path, size) = (self.path, self.size.unsigned_abs());
        Ok((self.number.unsigned_abs(), Artefact { path, size, kept }))
    }
}

#[async_trait]
impl Artefacts for SqlStore {
    async fn keep(&self, fence: &Fence, writes: &[ArtefactWrite]) -> Result<()> {
        write!(&self.db, Commit::Visible, |tx| {
            fenced(&mut tx, fence).await?;
            for write in writes {
                keep(&mut tx, &fence.id, write).await?;
            }
            Ok(())
        })
    }

    async fn artefacts(&self, id: &JobId) -> Result<Vec<(u32, Artefact)>> {
        let rows = read!(
            &self.db,
            fetch_all,
            query_as<Row>,
            "SELECT number, path, size, sha256, problem, removed FROM artefacts WHERE job_id = $1 ORDER BY number",
            id.as_str(),
        )?;
        rows.into_iter().map(Row::artefact).collect()
    }

    async fn part(&self, id: &JobId, file: u32, part: u32) -> Result<Option<Bytes>> {
        let body = read!(
            &self.db,
            fetch_optional,
            query_scalar<Vec<u8>>,
            "SELECT body FROM artefact_parts WHERE job_id = $1 AND number = $2 AND part = $3",
            id.as_str(),
            file.cast_signed(),
            part.cast_signed(),
        )?;
        Ok(body.map(Bytes::from))
    }
}

async fn keep(tx: &mut Tx, id: &JobId, write: &ArtefactWrite) -> Result<()> {
    let done = match write {
        ArtefactWrite::Anew => {
            execute!(&mut *tx, "DELETE FROM artefact_parts WHERE job_id = $1", id.as_str())?;
            execute!(&mut *tx, "DELETE FROM artefacts WHERE job_id = $1", id.as_str())
        }
        ArtefactWrite::OnlyListed => execute!(
            &mut *tx,
            "DELETE FROM artefact_parts WHERE job_id = $1
                AND number NOT IN (SELECT number FROM artefacts WHERE job_id = $1)",
            id.as_str(),
        ),
        ArtefactWrite::Part { file, part, bytes } => execute!(
            &mut *tx,
            "INSERT INTO artefact_parts (job_id, number, part, body) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING",
            id.as_str(),
            file.cast_signed(),
            part.cast_signed(),
            &bytes[..],
        ),
        ArtefactWrite::Listed { file, artefact } => {
            let (sum, problem) = match &artefact.kept {
                Content::Stored(sum) => (Some(&sum[..]), None),
                Content::Skipped(why) => (None, Some(why.as_str())),
            };
            execute!(
                &mut *tx,
                "INSERT INTO artefacts (job_id, number, path, size, sha256, problem)
                 VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
                id.as_str(),
                file.cast_signed(),
                &artefact.path,
                artefact.size.cast_signed(),
                sum,
                problem,
            )
        }
    };
    done.map(|_| ())
}
