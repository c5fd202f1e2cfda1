//! The rule that bounds the size of the log.

use rdev_domain::Result;
use rdev_ports::StepReport;

use super::step::{EntrySize, ROWS_MAX, Step, size_columns};
use super::weight::{End, LogSize};
use crate::db::{Tx, execute, run};
use crate::log::rows::KIND_OUTPUT;

/// Maximum number of entries that one transaction counts.
const COUNTED_MAX: usize = 1024;

pub(crate) const ENTRIES_BETWEEN: &str = concat!(
    "SELECT ",
    size_columns!(),
    " FROM entries WHERE position > $1 AND position <= $2 ORDER BY position LIMIT $3"
);

pub(crate) const REMOVE_OUTPUT: &str =
    "DELETE FROM entries WHERE position > $1 AND position <= $2 AND kind = 'output'";

/// Counts up to the position that was settled when a step last found nothing left, and removes. Once nothing is left, the
/// next steps count up to `settled`. A log that grew all the time would otherwise be counted without end, and never cut.
pub(super) async fn remove(tx: &mut Tx, bytes_max: i64, settled: i64) -> Result<StepReport> {
    let mut step = Step::begin(tx).await?;
    if step.count().await? {
        step.end().await?;
        return Ok(StepReport { done: 0, more: true });
    }
    let done = step.remove_oldest(bytes_max).await?;
    let more = step.room.rows > 0 && step.size.bytes > bytes_max;
    if !more {
        step.size.count_to = settled.max(step.size.count_to);
    }
    step.end().await?;
    Ok(StepReport { done, more })
}

impl Step<'_> {
    /// Counts entries that were stored since the last look. True when there were any.
    async fn count(&mut self) -> Result<bool> {
        let LogSize { counted_to, count_to, .. } = self.size;
        let stored = entries_between(self.tx, counted_to, count_to, COUNTED_MAX).await?;
        self.size.counted_to = stored.last().map_or(count_to, |last| last.position);
        self.size.bytes += stored.iter().map(EntrySize::weight).sum::<i64>();
        Ok(!stored.is_empty())
    }

    /// Removes the oldest output and files while they exceed the size and there is room. Returns their number.
    async fn remove_oldest(&mut self, bytes_max: i64) -> Result<u64> {
        let (from, mut done) = (self.size.removed_to, 0);
        if self.size.bytes <= bytes_max {
            return Ok(done);
        }
        for entry in entries_between(self.tx, from, self.size.counted_to, ROWS_MAX).await? {
            if self.size.bytes <= bytes_max || !self.room.take(entry.output()) {
                break;
            }
            if entry.file_bytes > 0 {
                let end = End { position: entry.position, file_bytes: entry.file_bytes };
                if !self.remove_files(&entry.job_id, &end).await? {
                    break;
                }
                done += 1;
            }
            self.size.removed_to = entry.position;
            self.size.bytes -= entry.output();
            if entry.kind == KIND_OUTPUT {
                self.removed.push(entry);
            }
        }
        done += execute!(&mut *self.tx, REMOVE_OUTPUT, from, self.size.removed_to)?;
        Ok(done)
    }
}

async fn entries_between(tx: &mut Tx, after: i64, to: i64, limit: usize) -> Result<Vec<EntrySize>> {
    run!(tx, fetch_all, query_as<EntrySize>, ENTRIES_BETWEEN, after, to, limit as i64)
}
