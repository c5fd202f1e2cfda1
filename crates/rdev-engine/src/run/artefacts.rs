//! Artefacts of a task: its files go from the pod into the store before the end of the task is stored.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use rdev_domain::{Artefact, Content, Result, SkipReason};
use rdev_ports::{
    ArtefactWrite, Artefacts, Claim, Disruption, EXEC_START_TIMEOUT, Exec, ExecError, PART_BYTES_MAX, Pod,
    Pods, Started,
};
use rdev_runner::files::{BYTES_MAX, Decoder, FILES_MAX, Item, Why};
use rdev_runner::frame::FrameError;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::control::{EXEC_ANSWER_MAX, SILENCE_MAX, in_pod};
use super::disruption::{StartedIn, UNREACHED_MAX, disruption};
use super::invocation::checkout;
use super::retry::{Backoff, until_available};

/// Most failures of the collector: what it cannot do now it will not be able to do later. A connection that is cut is no
/// such failure.
const FAILURES_MAX: u32 = 3;
/// Longest collection after the cancellation of a task.
const CANCELLED_PATIENCE: Duration = Duration::from_secs(10);

/// End of one try to collect.
enum Collected {
    /// Everything is stored.
    All,
    /// The pod was not reached, or the connection to it was cut.
    Unreached(anyhow::Error),
    /// The collector failed.
    Failed(anyhow::Error),
}

/// Error of bytes that are no collection.
#[derive(Debug, thiserror::Error)]
enum CollectionError {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a file of {0} bytes exceeds what one task may leave")]
    TooMuch(u64),
    #[error("more than {FILES_MAX} files")]
    TooMany,
    #[error("bytes that belong to no file")]
    Stray,
}

/// Collects the files of tasks.
pub(crate) struct Collector<'a> {
    pub(crate) pods: &'a dyn Pods,
    pub(crate) artefacts: &'a dyn Artefacts,
}

impl Collector<'_> {
    /// Stores the files of an attempt. A collection that was interrupted begins anew, also in another worker; the
    /// checkout exists until the end of the attempt is stored. A cancellation ends the collection within 10 s.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has taken over.
    pub(crate) async fn collect(
        &self,
        claim: &Claim,
        pod: &Pod,
        started: &Started,
        cancelled: &CancellationToken,
    ) -> Result<()> {
        let patterns = claim.job.spec.artefacts();
        if patterns.is_empty() {
            return Ok(());
        }
        let folder = checkout(&claim.job, pod, started.slot.as_ref(), started.attempt);
        let patterns: Vec<String> = ["--".to_owned()].into_iter().chain(patterns.iter().cloned()).collect();
        let call = in_pod(pod, &["collect", "--cwd", &folder], &patterns);
        let (mut backoff, since, mut failures) = (Backoff::default(), Instant::now(), 0);
        let patience_is_over = async {
            cancelled.cancelled().await;
            sleep(CANCELLED_PATIENCE).await;
        };
        tokio::pin!(patience_is_over);
        // Files of an earlier attempt are not of this one.
        self.store(claim, &[ArtefactWrite::Anew]).await?;
        loop {
            let collected = tokio::select! {
                collected = self.collect_once(claim, pod, call.clone()) => collected?,
                () = &mut patience_is_over => return self.give_up(claim).await,
            };
            let job = &claim.fence.id;
            let error = match collected {
                Collected::All => return Ok(()),
                Collected::Unreached(error) => error,
                Collected::Failed(error) => {
                    failures += 1;
                    error
                }
            };
            let error = format!("{error:#}");
            let start = StartedIn { pod_ref: &pod.pod_ref, uid: &pod.uid, at: started.started_at };
            let is_lost = matches!(disruption(self.pods, job, start).await?, Disruption::Lost(_));
            if is_lost || failures == FAILURES_MAX || since.elapsed() > UNREACHED_MAX {
                tracing::warn!(%job, error, "artefacts lost");
                return self.give_up(claim).await;
            }
            tracing::warn!(%job, error, "collecting artefacts failed, retrying");
            tokio::select! {
                () = backoff.wait() => {}
                () = &mut patience_is_over => return self.give_up(claim).await,
            }
        }
    }

    /// Stores that every file which an attempt was to leave is lost.
    pub(crate) async fn mark_artefacts_lost(&self, claim: &Claim) -> Result<()> {
        let patterns = claim.job.spec.artefacts();
        if patterns.is_empty() {
            return Ok(());
        }
        self.store(claim, &lost(ArtefactWrite::Anew, 0, patterns.iter())).await
    }

    /// Stores for each pattern that files of it are lost, unless the pattern names a file that is stored by now: stored
    /// files stay.
    async fn give_up(&self, claim: &Claim) -> Result<()> {
        let job = &claim.fence.id;
        let listed = until_available(job, || self.artefacts.artefacts(job)).await?;
        let next = listed.last().map_or(0, |(file, _)| file + 1);
        let is_listed = |pattern: &&String| listed.iter().any(|(_, file)| file.path == **pattern);
        let patterns = claim.job.spec.artefacts().iter().filter(|pattern| !is_listed(pattern));
        self.store(claim, &lost(ArtefactWrite::OnlyListed, next, patterns)).await
    }

    /// Collects once. Errors of the store are returned as such, errors of the pod and the collector in the answer.
    async fn collect_once(&self, claim: &Claim, pod: &Pod, call: Exec) -> Result<Collected> {
        let starting = timeout(EXEC_ANSWER_MAX, self.pods.exec(pod, call));
        let mut output = match starting.await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Ok(Collected::Unreached(error.into())),
            Err(_) => {
                let error = anyhow::anyhow!("exec did not start in {EXEC_START_TIMEOUT:?}");
                return Ok(Collected::Unreached(error));
            }
        };
        // Files of the try before stay until there is a file in their place.
        let (mut collection, mut anew) = (Collection::default(), Some(ArtefactWrite::Anew));
        loop {
            let error = match timeout(SILENCE_MAX, output.next()).await {
                Ok(Some(Ok(bytes))) => match collection.push(&bytes) {
                    Ok(writes) => {
                        if !writes.is_empty() || collection.done {
                            let writes: Vec<ArtefactWrite> = anew.take().into_iter().chain(writes).collect();
                            self.store(claim, &writes).await?;
                        }
                        if collection.done {
                            return Ok(Collected::All);
                        }
                        continue;
                    }
                    Err(error) => error.into(),
                },
                Ok(Some(Err(error @ (ExecError::Unreached(_) | ExecError::Cut(_))))) => {
                    return Ok(Collected::Unreached(error.into()));
                }
                Ok(Some(Err(error))) => error.into(),
                Ok(None) => anyhow::anyhow!("exec channel closed before every file was sent"),
                Err(_) => anyhow::anyhow!("no bytes came for {SILENCE_MAX:?}"),
            };
            return Ok(Collected::Failed(error));
        }
    }

    async fn store(&self, claim: &Claim, writes: &[ArtefactWrite]) -> Result<()> {
        until_available(&claim.fence.id, || self.artefacts.keep(&claim.fence, writes)).await
    }
}

/// Returns a first write, and those that list these patterns as lost, numbered from `from` on.
fn lost<'a>(
    first: ArtefactWrite,
    from: u32,
    patterns: impl Iterator<Item = &'a String>,
) -> Vec<ArtefactWrite> {
    let lost = |(file, pattern): (u32, &String)| ArtefactWrite::Listed {
        file,
        artefact: Artefact { path: pattern.clone(), size: 0, kept: Content::Skipped(SkipReason::Lost) },
    };
    [first].into_iter().chain((from..).zip(patterns).map(lost)).collect()
}

/// Turns the bytes of a collection into writes, and holds one part of one file at most.
#[derive(Default)]
struct Collection {
    decoder: Decoder,
    /// Number of the next file.
    file: u32,
    bytes: u64,
    open: Option<Open>,
    done: bool,
}

/// File of which more bytes will come.
struct Open {
    path: String,
    size: u64,
    left: u64,
    sum: Sha256,
    part: u32,
    buffer: BytesMut,
}

impl Collection {
    fn push(&mut self, bytes: &[u8]) -> std::result::Result<Vec<ArtefactWrite>, CollectionError> {
        self.decoder.push(bytes);
        let mut writes = Vec::new();
        while let Some(item) = self.decoder.next_item()? {
            match item {
                Item::Piece(piece) => self.piece(piece, &mut writes)?,
                Item::File { .. } | Item::Not { .. } | Item::Done if self.open.is_some() => {
                    return Err(CollectionError::Stray);
                }
                Item::File { path, size } => {
                    self.bytes = self.bytes.saturating_add(size);
                    if self.bytes > BYTES_MAX {
                        return Err(CollectionError::TooMuch(size));
                    }
                    let (sum, buffer) = (Sha256::new(), BytesMut::new());
                    self.open = Some(Open { path, size, left: size, sum, part: 0, buffer });
                    self.close_when_whole(&mut writes)?;
                }
                Item::Not { path, size, why } => {
                    let kept = Content::Skipped(match why {
                        Why::Missing => SkipReason::Missing,
                        Why::TooLarge => SkipReason::TooLarge,
                        Why::TooMany => SkipReason::TooMany,
                        Why::Unreadable => SkipReason::Unreadable,
                        Why::Unsearched => SkipReason::Unsearched,
                    });
                    self.list(Artefact { path, size, kept }, &mut writes)?;
                }
                Item::Done => self.done = true,
            }
        }
        Ok(writes)
    }

    fn piece(
        &mut self,
        piece: Bytes,
        writes: &mut Vec<ArtefactWrite>,
    ) -> std::result::Result<(), CollectionError> {
        let open = self.open.as_mut().ok_or(CollectionError::Stray)?;
        open.left = open.left.checked_sub(piece.len() as u64).ok_or(CollectionError::Stray)?;
        open.sum.update(&piece);
        open.buffer.extend_from_slice(&piece);
        while open.buffer.len() >= PART_BYTES_MAX || open.left == 0 && !open.buffer.is_empty() {
            let length = open.buffer.len().min(PART_BYTES_MAX);
            let bytes = open.buffer.split_to(length).freeze();
            writes.push(ArtefactWrite::Part { file: self.file, part: open.part, bytes });
            open.part += 1;
        }
        self.close_when_whole(writes)
    }

    fn close_when_whole(
        &mut self,
        writes: &mut Vec<ArtefactWrite>,
    ) -> std::result::Result<(), CollectionError> {
        let Some(open) = self.open.take_if(|open| open.left == 0) else { return Ok(()) };
        let kept = Content::Stored(open.sum.finalize().into());
        self.list(Artefact { path: open.path, size: open.size, kept }, writes)
    }

    fn list(
        &mut self,
        artefact: Artefact,
        writes: &mut Vec<ArtefactWrite>,
    ) -> std::result::Result<(), CollectionError> {
        // An entry for each pattern may follow the files.
        if self.file as usize >= 2 * FILES_MAX {
            return Err(CollectionError::TooMany);
        }
        writes.push(ArtefactWrite::Listed { file: self.file, artefact });
        self.file += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(items: &[Item]) -> std::result::Result<(Vec<ArtefactWrite>, bool), CollectionError> {
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.encode(&mut bytes));
        let (mut collection, mut writes) = (Collection::default(), Vec::new());
        for piece in bytes.chunks(1000) {
            writes.extend(collection.push(piece)?);
        }
        Ok((writes, collection.done))
    }

    fn file(path: &str, size: u64) -> Item {
        Item::File { path: path.to_owned(), size }
    }

    fn pieces(size: usize) -> Vec<Item> {
        vec![9; size].chunks(64 * 1024).map(|piece| Item::Piece(Bytes::copy_from_slice(piece))).collect()
    }

    #[test]
    fn a_file_comes_in_parts_and_is_listed_when_it_is_whole() {
        let size = PART_BYTES_MAX + 5;
        let items =
            [vec![file("empty", 0), file("large", size as u64)], pieces(size), vec![Item::Done]].concat();
        let (writes, done) = collect(&items).unwrap();
        let ArtefactWrite::Listed { file: 0, artefact } = &writes[0] else { panic!("{:?}", writes[0]) };
        assert_eq!(artefact.kept, Content::Stored(Sha256::digest(b"").into()));
        let part = |write: &ArtefactWrite| match write {
            ArtefactWrite::Part { file: 1, part, bytes } => (*part, bytes.len()),
            other => panic!("{other:?}"),
        };
        let lengths = [part(&writes[1]), part(&writes[2])];
        assert_eq!(lengths, [(0, PART_BYTES_MAX), (1, 5)]);
        let ArtefactWrite::Listed { file: 1, artefact } = &writes[3] else { panic!("{:?}", writes[3]) };
        assert_eq!(artefact.kept, Content::Stored(Sha256::digest(vec![9; size]).into()));
        assert!(done && writes.len() == 4);
    }

    #[test]
    fn what_a_place_may_not_send_is_refused() {
        let one = || Item::Piece(Bytes::from_static(b"x"));
        for items in [
            vec![one()],
            vec![file("a", 1), one(), one()],
            vec![file("a", 2), one(), Item::Done],
            vec![file("a", BYTES_MAX + 1)],
            vec![file("a", 0); 2 * FILES_MAX + 1],
        ] {
            assert!(collect(&items).is_err(), "{:?}", items.first());
        }
    }
}
