//! The files that a task has left: they are told as removed first, and then go part by part.

use rdev_domain::{Result, SkipReason};
use sqlx::FromRow;

use super::{ROWS_MAX, Step};
use crate::db::{execute, run};

/// The length of a part is known without reading it.
pub(crate) const PARTS: &str =
    "SELECT number, part, CAST(length(body) AS BIGINT) AS bytes FROM artefact_parts
     WHERE task_id = $1 ORDER BY number, part LIMIT 64";

const REMOVE_PARTS: &str = "DELETE FROM artefact_parts WHERE task_id = $1 AND (number, part) <= ($2, $3)";

/// A program of the version before reads the problem, and knows no better one.
const TELL_REMOVED: &str = "UPDATE artefacts SET sha256 = NULL, problem = $1, removed = TRUE
     WHERE task_id = $2 AND sha256 IS NOT NULL";

#[derive(Debug, FromRow)]
struct Part {
    number: i32,
    part: i32,
    bytes: i64,
}

/// The entry with which the files of a task weigh.
#[derive(Debug, FromRow)]
pub(super) struct End {
    pub(super) position: i64,
    pub(super) file_bytes: i64,
}

impl Step<'_> {
    /// Removes the files of a task, or as many of their parts as there is room for; whether nothing is left of them.
    pub(super) async fn remove_files(&mut self, task: &str, end: &End) -> Result<bool> {
        let parts = run!(&mut *self.tx, fetch_all, query_as<Part>, PARTS, task)?;
        let fitting = parts.iter().take_while(|part| self.room.take(part.bytes)).count();
        let is_all = fitting == parts.len() && parts.len() < ROWS_MAX;
        if let Some(last) = parts[..fitting].last() {
            execute!(&mut *self.tx, TELL_REMOVED, SkipReason::Lost.as_str(), task)?;
            execute!(&mut *self.tx, REMOVE_PARTS, task, last.number, last.part)?;
        }
        let bytes: i64 = parts[..fitting].iter().map(|part| part.bytes).sum();
        // Those of earlier versions weigh nothing.
        let less = if is_all { end.file_bytes } else { bytes.min(end.file_bytes) };
        if less > 0 {
            let lighten = "UPDATE events SET file_bytes = file_bytes - $1 WHERE position = $2";
            execute!(&mut *self.tx, lighten, less, end.position)?;
            self.size.less(end.position, less);
        }
        Ok(is_all)
    }
}
