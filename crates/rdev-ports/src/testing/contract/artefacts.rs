//! Promises of [`Artefacts`].
//! [`artefacts_contract!`](crate::artefacts_contract) makes a test of each.

use bytes::Bytes;
use rdev_domain::{Artefact, Content, Result, Seq, SkipReason};

use crate::testing::contract::steps::*;
use crate::{ArtefactWrite, Artefacts, TaskLeases, TaskQueue};

/// Store under test; clones share their data. Files belong to tasks that run.
pub trait Store: Artefacts + TaskQueue + TaskLeases + Clone + 'static {}

impl<S: Artefacts + TaskQueue + TaskLeases + Clone + 'static> Store for S {}

/// Makes one test of each promise of [`Artefacts`](crate::Artefacts).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! artefacts_contract {
    ($fresh:path) => {
        $crate::contract_tests! { artefacts, $fresh;
            artefacts_are_kept_in_parts
            artefacts_are_kept_anew
            a_stale_claim_keeps_no_artefacts
            files_that_are_not_listed_are_forgotten
        }
    };
}

fn file(path: &str, size: u64, kept: Content) -> Artefact {
    Artefact { path: path.to_owned(), size, kept }
}

fn part(file: u32, part: u32, bytes: &'static [u8]) -> ArtefactWrite {
    ArtefactWrite::Part { file, part, bytes: Bytes::from_static(bytes) }
}

/// Files come back as they were stored, and stay when the task has ended.
pub async fn artefacts_are_kept_in_parts(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let whole = file("dist/ä b", 5, Content::Stored([7; 32]));
    let missing = file("*.xml", 0, Content::Skipped(SkipReason::Missing));
    store.keep(&fence, &[ArtefactWrite::Anew, part(0, 0, b"\0\xff\n"), part(0, 1, b"ab")]).await?;
    assert!(store.artefacts(&fence.id).await?.is_empty());
    let listed =
        [(0, &whole), (1, &missing)].map(|(file, of)| ArtefactWrite::Listed { file, artefact: of.clone() });
    store.keep(&fence, &listed).await?;
    store.finish(&fence, Seq(1), completed(), at(3)).await?;
    assert_eq!(store.artefacts(&fence.id).await?, [(0, whole), (1, missing)]);
    let parts = [store.part(&fence.id, 0, 0).await?, store.part(&fence.id, 0, 1).await?];
    assert_eq!(parts.map(Option::unwrap), [&b"\0\xff\n"[..], b"ab"]);
    assert_eq!(store.part(&fence.id, 0, 2).await?, None);
    assert_eq!(store.part(&fence.id, 1, 0).await?, None);
    Ok(())
}

/// Storing begins anew after an interruption, and nothing of the first time is left.
pub async fn artefacts_are_kept_anew(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let before = ArtefactWrite::Listed { file: 0, artefact: file("before", 1, Content::Stored([0; 32])) };
    store.keep(&fence, &[ArtefactWrite::Anew, part(0, 0, b"x"), before, part(1, 0, b"half")]).await?;
    let after = file("after", 1, Content::Stored([1; 32]));
    let listed = ArtefactWrite::Listed { file: 0, artefact: after.clone() };
    store.keep(&fence, &[ArtefactWrite::Anew, part(0, 0, b"y"), listed]).await?;
    assert_eq!(store.artefacts(&fence.id).await?, [(0, after)]);
    assert_eq!(store.part(&fence.id, 0, 0).await?.as_deref(), Some(&b"y"[..]));
    assert_eq!(store.part(&fence.id, 1, 0).await?, None);
    Ok(())
}

/// A claim that is not the latest stores nothing, and neither does one whose job has ended.
pub async fn a_stale_claim_keeps_no_artefacts(store: &impl Store) -> Result<()> {
    let stale = run(store, 1).await?;
    let fence = claim_all(store, LEASE + 1).await?.remove(0).fence;
    assert_lease_lost(store.keep(&stale, &[ArtefactWrite::Anew]).await);
    store.keep(&fence, &[ArtefactWrite::Anew]).await?;
    store.finish(&fence, Seq(1), completed(), at(LEASE + 2)).await?;
    assert_lease_lost(store.keep(&fence, &[ArtefactWrite::Anew]).await);
    Ok(())
}

/// When storing is given up, whole files stay, and nothing is left of the others.
pub async fn files_that_are_not_listed_are_forgotten(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let whole = file("whole", 2, Content::Stored([0; 32]));
    let lost = file("*.log", 0, Content::Skipped(SkipReason::Lost));
    let listed = |file, artefact: &Artefact| ArtefactWrite::Listed { file, artefact: artefact.clone() };
    let parts = [part(0, 0, b"a"), part(0, 1, b"b"), part(1, 0, b"half")];
    store.keep(&fence, &parts).await?;
    store.keep(&fence, &[listed(0, &whole)]).await?;
    for _ in 0..2 {
        store.keep(&fence, &[ArtefactWrite::OnlyListed, listed(1, &lost)]).await?;
    }
    assert_eq!(store.artefacts(&fence.id).await?, [(0, whole), (1, lost)]);
    assert_eq!(store.part(&fence.id, 0, 1).await?.as_deref(), Some(&b"b"[..]));
    assert_eq!(store.part(&fence.id, 1, 0).await?, None);
    Ok(())
}
