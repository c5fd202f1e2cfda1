//! The files of a task: first they are listed as removed, then their parts are removed.

use rdev_domain::{Result, SkipReason};

use super::step::{ROWS_MAX, Step};
use super::weight::End;
use crate::db::{execute, run};
use crate::row::row;

/// The length of a body is known without reading the body.
pub(crate) const PARTS: &str =
    "SELECT number, part, CAST(length(body) AS BIGINT) AS bytes FROM artefact_parts
     WHERE job_id = $1 ORDER BY number, part LIMIT 64";

const REMOVE_PARTS: &str = "DELETE FROM artefact_parts WHERE job_id = $1 AND (number, part) <= ($2, $3)";

/// Programs of the version before read the column `problem`, and know no better value.
const LIST_AS_REMOVED: &str = "UPDATE artefacts SET sha256 = NULL, problem = $1, removed = TRUE
     WHERE job_id = $2 AND sha256 IS NOT NULL";

row! {
    #[derive(Debug)]
    struct Part {
        number: i32,
        part: i32,
        bytes: i64,
    }
}

impl Step<'_> {
    /// Removes the files of a task, or as many of their parts as there is room for. True when none is left.
    pub(super) async fn remove_files(&mut self, task: &str, end: &End) -> Result<bool> {
        let parts = run!(&mut *self.tx, fetch_all, query_as<Part>, PARTS, task)?;
        let fitting = parts.iter().take_while(|part| self.room.take(part.bytes)).count();
        let is_all = fitting == parts.len() && parts.len() < ROWS_MAX;
        if let Some(last) = parts[..fitting].last() {
            execute!(&mut *self.tx, LIST_AS_REMOVED, SkipReason::Lost.as_str(), task)?;
            execute!(&mut *self.tx, REMOVE_PARTS, task, last.number, last.part)?;
        }
        let bytes: i64 = parts[..fitting].iter().map(|part| part.bytes).sum();
        // Files of earlier versions were not counted.
        let removed = if is_all { end.file_bytes } else { bytes.min(end.file_bytes) };
        if removed > 0 {
            let lighten = "UPDATE entries SET file_bytes = file_bytes - $1 WHERE position = $2";
            execute!(&mut *self.tx, lighten, removed, end.position)?;
            self.size.subtract(end.position, removed);
        }
        Ok(is_all)
    }
}
