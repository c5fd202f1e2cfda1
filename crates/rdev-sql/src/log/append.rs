//! Output is appended.

use rdev_domain::{Chunk, Entry, EntryBody, Error, Position, Result, Seq, StreamId, Timestamp};
use rdev_ports::Fence;

use super::entries::store_entry;
use super::rows::{EventRow, entries_where};
use crate::batch::{Append, InsertedEntry};
use crate::db::{Commit, Tx, run, write};
use crate::queue::rows::job_row;
use crate::store::SqlStore;
use crate::values::{job_kind, parse, project_of};

pub(super) async fn append(
    store: &SqlStore,
    fence: &Fence,
    chunks: Vec<Chunk>,
    now: Timestamp,
) -> Result<Vec<Entry>> {
    let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
        return Ok(Vec::new());
    };
    let (before, last) = (Seq(first.first_seq.0.saturating_sub(1)), last.last_seq);
    let Some(batchers) = &store.batchers else {
        return append_alone(store, fence, before, last, chunks, now).await;
    };
    let step = Append { fence: fence.clone(), before, last, chunks: chunks.clone(), now };
    let rows = batchers.append.write(step).await?;
    if rows.is_empty() {
        // Alone, the write returns the reason.
        return append_alone(store, fence, before, last, chunks, now).await;
    }
    let entry = |(row, chunk): (&InsertedEntry, Chunk)| {
        let entry = row.entry(now, EntryBody::Output(chunk.frames))?;
        Ok(Entry { first_seq: chunk.first_seq, last_seq: chunk.last_seq, ..entry })
    };
    rows.iter().zip(chunks).map(entry).collect()
}

async fn append_alone(
    store: &SqlStore,
    fence: &Fence,
    before: Seq,
    last: Seq,
    chunks: Vec<Chunk>,
    now: Timestamp,
) -> Result<Vec<Entry>> {
    write!(&store.db, Commit::Visible, |tx| {
        let owner = run!(
            &mut tx,
            fetch_optional,
            query_as<(String, String, String, String)>,
            GROW,
            last.0 as i64,
            fence.id.as_str(),
            fence.token,
            before.0 as i64,
        )?;
        let Some((target, kind, project, stream)) = owner else {
            return appended(&mut tx, fence, &chunks).await;
        };
        let (kind, project) = (job_kind(&target, &kind)?, project_of(&project)?);
        let stream: StreamId = parse(&stream)?;
        let mut entries = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            let entry = Entry {
                position: Position::ZERO,
                job: fence.id.clone(),
                kind,
                project: project.clone(),
                stream: stream.clone(),
                first_seq: chunk.first_seq,
                last_seq: chunk.last_seq,
                at: now,
                body: EntryBody::Output(chunk.frames),
            };
            entries.push(store_entry(&mut tx, entry).await?);
        }
        Ok(entries)
    })
}

/// Takes the numbers of output, and tells whose the output is, in one statement: on SQLite each costs two changes of thread.
const GROW: &str = "UPDATE queue SET last_seq = $1
     WHERE id = $2 AND token = $3 AND last_seq = $4 AND started_us IS NOT NULL
     RETURNING (SELECT target FROM jobs j WHERE j.id = queue.id), kind, project,
               (SELECT stream FROM jobs j WHERE j.id = queue.id)";

/// Returns the entries of output that this claim has stored last, when they are of these chunks.
async fn appended(tx: &mut Tx, fence: &Fence, chunks: &[Chunk]) -> Result<Vec<Entry>> {
    let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else {
        return Ok(Vec::new());
    };
    let row = job_row(tx, fence.id.as_str()).await?.ok_or(Error::LeaseLost)?;
    if row.token != fence.token || row.last_seq != last.last_seq.0.cast_signed() {
        return Err(Error::LeaseLost);
    }
    let rows = run!(
        tx,
        fetch_all,
        query_as<EventRow>,
        entries_where!("e.last_seq >= $2 AND e.kind = 'output' ORDER BY e.position"),
        fence.id.as_str(),
        first.last_seq.0.cast_signed(),
    )?;
    let entries = rows.into_iter().map(EventRow::entry).collect::<Result<Vec<_>>>()?;
    let numbers = entries.iter().map(|entry| (entry.first_seq, entry.last_seq));
    match numbers.eq(chunks.iter().map(|chunk| (chunk.first_seq, chunk.last_seq))) {
        true => Ok(entries),
        false => Err(Error::LeaseLost),
    }
}
