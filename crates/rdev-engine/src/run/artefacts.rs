//! The files that a task leaves: out of its place, into the store, before its end is told.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use rdev_domain::{Artefact, Content, Result, SkipReason};
use rdev_ports::{
    ArtefactWrite, Claim, Disruption, EXEC_START_TIMEOUT, Exec, ExecError, PART_BYTES_MAX, Pod, Started,
};
use rdev_runner::files::{BYTES_MAX, Decoder, FILES_MAX, Item, Why};
use rdev_runner::frame::FrameError;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::run::attach::{EXEC_ANSWER_MAX, UNREACHED_MAX};
use crate::run::control::{SILENCE_MAX, in_place};
use crate::run::executor::Executor;
use crate::run::invocation::checkout;
use crate::run::retry::{Backoff, until_available};

/// The collector may fail so often: what it cannot do it will not be able to later. A connection that is cut is another
/// matter.
const FAILURES_MAX: u32 = 3;
/// A task that was cancelled may take so long to leave its files.
const CANCELLED_PATIENCE: Duration = Duration::from_secs(10);

/// How one try went.
enum Collected {
    /// Everything is stored.
    All,
    /// The place was not reached, or the connection to it cut.
    Unreached(anyhow::Error),
    /// The collector did not do what it is for.
    Failed(anyhow::Error),
}

/// What a place sent that is no collection.
#[derive(Debug, thiserror::Error)]
enum Bad {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error("a file of {0} bytes beyond what one task may leave")]
    TooMuch(u64),
    #[error("more than {FILES_MAX} files")]
    TooMany,
    #[error("bytes that belong to no file")]
    Loose,
}

impl Executor {
    /// Stores the files that an attempt was to leave. It is done from the beginning after any cut, also by another
    /// worker, and its checkout is there until the attempt's end is stored. A cancel has it end soon.
    ///
    /// # Errors
    /// `LeaseLost` when another worker has taken over.
    pub(crate) async fn collect(
        &self,
        claim: &Claim,
        pod: &Pod,
        started: &Started,
        stop: &CancellationToken,
    ) -> Result<()> {
        let patterns = claim.job.spec.artefacts();
        if patterns.is_empty() {
            return Ok(());
        }
        let folder = checkout(&claim.job, pod, started.slot.as_ref(), started.attempt);
        let patterns: Vec<String> = ["--".to_owned()].into_iter().chain(patterns.iter().cloned()).collect();
        let call = in_place(pod, &["collect", "--cwd", &folder], &patterns);
        let (mut backoff, since, mut failed) = (Backoff::default(), Instant::now(), 0);
        let cancelled = async {
            stop.cancelled().await;
            sleep(CANCELLED_PATIENCE).await;
        };
        tokio::pin!(cancelled);
        // What another attempt has left is not of this one.
        self.keep(claim, &[ArtefactWrite::Anew]).await?;
        loop {
            let collected = tokio::select! {
                collected = self.collect_once(claim, pod, call.clone()) => collected?,
                () = &mut cancelled => return self.give_up(claim).await,
            };
            let job = &claim.fence.id;
            let error = match collected {
                Collected::All => return Ok(()),
                Collected::Unreached(error) => error,
                Collected::Failed(error) => {
                    failed += 1;
                    error
                }
            };
            let error = format!("{error:#}");
            let gone = matches!(
                self.disruption(claim, (&pod.pod_ref, &pod.uid, started.started_at)).await?,
                Disruption::Lost(_)
            );
            if gone || failed == FAILURES_MAX || since.elapsed() > UNREACHED_MAX {
                tracing::warn!(%job, error, "files of a task are lost");
                return self.give_up(claim).await;
            }
            tracing::warn!(%job, error, "the files of a task were not collected, trying again");
            tokio::select! {
                () = backoff.wait() => {}
                () = &mut cancelled => return self.give_up(claim).await,
            }
        }
    }

    /// Says of everything that an attempt was to leave that it is lost.
    pub(crate) async fn lose(&self, claim: &Claim) -> Result<()> {
        let patterns = claim.job.spec.artefacts();
        if patterns.is_empty() {
            return Ok(());
        }
        self.keep(claim, &lost(ArtefactWrite::Anew, 0, patterns.iter())).await
    }

    /// Says of each pattern that something of it is lost, unless it names a file that was stored by now: those stay.
    async fn give_up(&self, claim: &Claim) -> Result<()> {
        let job = &claim.fence.id;
        let listed = until_available(job, || self.artefacts.artefacts(job)).await?;
        let next = listed.last().map_or(0, |(file, _)| file + 1);
        let is_listed = |pattern: &&String| listed.iter().any(|(_, file)| file.path == **pattern);
        let patterns = claim.job.spec.artefacts().iter().filter(|pattern| !is_listed(pattern));
        self.keep(claim, &lost(ArtefactWrite::OnlyListed, next, patterns)).await
    }

    /// An error ends it; all else is told.
    async fn collect_once(&self, claim: &Claim, pod: &Pod, call: Exec) -> Result<Collected> {
        let starting = timeout(EXEC_ANSWER_MAX, self.pods.exec(pod, call));
        let mut output = match starting.await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => return Ok(Collected::Unreached(error.into())),
            Err(_) => {
                let error = anyhow::anyhow!("it did not start in {EXEC_START_TIMEOUT:?}");
                return Ok(Collected::Unreached(error));
            }
        };
        // What the try before has stored stays until there is something in its place.
        let (mut taking, mut anew) = (Taking::default(), Some(ArtefactWrite::Anew));
        loop {
            let error = match timeout(SILENCE_MAX, output.next()).await {
                Ok(Some(Ok(bytes))) => match taking.push(&bytes) {
                    Ok(steps) => {
                        if !steps.is_empty() || taking.done {
                            let steps: Vec<ArtefactWrite> = anew.take().into_iter().chain(steps).collect();
                            self.keep(claim, &steps).await?;
                        }
                        if taking.done {
                            return Ok(Collected::All);
                        }
                        continue;
                    }
                    Err(error) => error.into(),
                },
                Ok(Some(Err(error @ ExecError::Cut(_)))) => return Ok(Collected::Unreached(error.into())),
                Ok(Some(Err(error))) => error.into(),
                Ok(None) => anyhow::anyhow!("it ended before everything was sent"),
                Err(_) => anyhow::anyhow!("nothing came for {SILENCE_MAX:?}"),
            };
            return Ok(Collected::Failed(error));
        }
    }

    async fn keep(&self, claim: &Claim, steps: &[ArtefactWrite]) -> Result<()> {
        until_available(&claim.fence.id, || self.artefacts.keep(&claim.fence, steps)).await
    }
}

/// After the first step, those that list these patterns as lost, from a number on.
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

/// Makes steps out of what comes, and holds no more than one part of one file.
#[derive(Default)]
struct Taking {
    decoder: Decoder,
    /// Number of the next file.
    file: u32,
    bytes: u64,
    open: Option<Open>,
    done: bool,
}

/// A file of which there is more to come.
struct Open {
    path: String,
    size: u64,
    left: u64,
    sum: Sha256,
    part: u32,
    buffer: BytesMut,
}

impl Taking {
    fn push(&mut self, bytes: &[u8]) -> std::result::Result<Vec<ArtefactWrite>, Bad> {
        self.decoder.push(bytes);
        let mut steps = Vec::new();
        while let Some(item) = self.decoder.next_item()? {
            match item {
                Item::Piece(piece) => self.piece(piece, &mut steps)?,
                Item::File { .. } | Item::Not { .. } | Item::Done if self.open.is_some() => {
                    return Err(Bad::Loose);
                }
                Item::File { path, size } => {
                    self.bytes = self.bytes.saturating_add(size);
                    if self.bytes > BYTES_MAX {
                        return Err(Bad::TooMuch(size));
                    }
                    let (sum, buffer) = (Sha256::new(), BytesMut::new());
                    self.open = Some(Open { path, size, left: size, sum, part: 0, buffer });
                    self.close_when_whole(&mut steps)?;
                }
                Item::Not { path, size, why } => {
                    let kept = Content::Skipped(match why {
                        Why::Missing => SkipReason::Missing,
                        Why::TooLarge => SkipReason::TooLarge,
                        Why::TooMany => SkipReason::TooMany,
                        Why::Unreadable => SkipReason::Unreadable,
                        Why::Unsearched => SkipReason::Unsearched,
                    });
                    self.list(Artefact { path, size, kept }, &mut steps)?;
                }
                Item::Done => self.done = true,
            }
        }
        Ok(steps)
    }

    fn piece(&mut self, piece: Bytes, steps: &mut Vec<ArtefactWrite>) -> std::result::Result<(), Bad> {
        let open = self.open.as_mut().ok_or(Bad::Loose)?;
        open.left = open.left.checked_sub(piece.len() as u64).ok_or(Bad::Loose)?;
        open.sum.update(&piece);
        open.buffer.extend_from_slice(&piece);
        while open.buffer.len() >= PART_BYTES_MAX || open.left == 0 && !open.buffer.is_empty() {
            let length = open.buffer.len().min(PART_BYTES_MAX);
            let bytes = open.buffer.split_to(length).freeze();
            steps.push(ArtefactWrite::Part { file: self.file, part: open.part, bytes });
            open.part += 1;
        }
        self.close_when_whole(steps)
    }

    fn close_when_whole(&mut self, steps: &mut Vec<ArtefactWrite>) -> std::result::Result<(), Bad> {
        let Some(open) = self.open.take_if(|open| open.left == 0) else { return Ok(()) };
        let kept = Content::Stored(open.sum.finalize().into());
        self.list(Artefact { path: open.path, size: open.size, kept }, steps)
    }

    fn list(&mut self, artefact: Artefact, steps: &mut Vec<ArtefactWrite>) -> std::result::Result<(), Bad> {
        // A word on each pattern may follow the files.
        if self.file as usize >= 2 * FILES_MAX {
            return Err(Bad::TooMany);
        }
        steps.push(ArtefactWrite::Listed { file: self.file, artefact });
        self.file += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(items: &[Item]) -> std::result::Result<(Vec<ArtefactWrite>, bool), Bad> {
        let mut bytes = Vec::new();
        items.iter().for_each(|item| item.encode(&mut bytes));
        let (mut taking, mut steps) = (Taking::default(), Vec::new());
        for piece in bytes.chunks(1000) {
            steps.extend(taking.push(piece)?);
        }
        Ok((steps, taking.done))
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
        let (steps, done) = take(&items).unwrap();
        let ArtefactWrite::Listed { file: 0, artefact } = &steps[0] else { panic!("{:?}", steps[0]) };
        assert_eq!(artefact.kept, Content::Stored(Sha256::digest(b"").into()));
        let part = |step: &ArtefactWrite| match step {
            ArtefactWrite::Part { file: 1, part, bytes } => (*part, bytes.len()),
            other => panic!("{other:?}"),
        };
        let lengths = [part(&steps[1]), part(&steps[2])];
        assert_eq!(lengths, [(0, PART_BYTES_MAX), (1, 5)]);
        let ArtefactWrite::Listed { file: 1, artefact } = &steps[3] else { panic!("{:?}", steps[3]) };
        assert_eq!(artefact.kept, Content::Stored(Sha256::digest(vec![9; size]).into()));
        assert!(done && steps.len() == 4);
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
            assert!(take(&items).is_err(), "{:?}", items.first());
        }
    }
}
