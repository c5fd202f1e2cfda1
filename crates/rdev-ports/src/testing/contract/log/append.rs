//! Output is appended by the worker that has the job.

use rdev_domain::{EntryBody, Result, Seq};

use super::Store;
use crate::testing::chunk;
use crate::testing::contract::steps::*;

/// The entries that come back are those that are read later, in the order of the chunks.
pub async fn appended_output_is_read_back(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let chunks = vec![chunk(1, 3), chunk(4, 4)];
    let entries = store.append(&fence, chunks.clone(), at(2)).await?;
    assert_eq!(entries.len(), 2);
    for (entry, chunk) in entries.iter().zip(chunks) {
        assert_eq!((entry.first_seq, entry.last_seq), (chunk.first_seq, chunk.last_seq));
        assert_eq!((&entry.job, entry.at), (&fence.id, at(2)));
        assert_eq!(entry.body, EntryBody::Output(chunk.frames));
    }
    assert!(entries[0].position < entries[1].position);
    assert_eq!(log(store).await?[2..], entries);
    Ok(())
}

/// Output with a gap, or of which a part is stored already, proves that another worker has written.
pub async fn appending_goes_on_right_after_the_last_event(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    assert_lease_lost(store.append(&fence, vec![chunk(2, 3)], at(1)).await);
    store.append(&fence, vec![chunk(1, 3)], at(1)).await?;
    for refused in [chunk(1, 2), chunk(2, 3), chunk(3, 4), chunk(5, 6)] {
        assert_lease_lost(store.append(&fence, vec![refused], at(1)).await);
    }
    store.append(&fence, vec![chunk(4, 6)], at(1)).await?;
    assert!(store.append(&fence, Vec::new(), at(1)).await?.is_empty());
    assert_eq!(log(store).await?.len(), 4);
    Ok(())
}

/// Refused output leaves nothing behind, and the right output still fits.
pub async fn appending_is_all_or_nothing(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    let before = log(store).await?;
    assert_lease_lost(store.append(&fence, vec![chunk(2, 2), chunk(3, 3)], at(1)).await);
    assert_eq!(log(store).await?, before);
    let entries = store.append(&fence, vec![chunk(1, 1), chunk(2, 2)], at(1)).await?;
    assert_eq!(entries.len(), 2);
    Ok(())
}

/// Output needs the latest claim.
pub async fn a_stale_claim_cannot_append(store: &impl Store) -> Result<()> {
    let stale = run(store, 1).await?;
    let latest = claim(store, LEASE + 1).await?;
    assert_lease_lost(store.append(&stale, vec![chunk(1, 1)], at(LEASE + 1)).await);
    store.append(&latest, vec![chunk(1, 1)], at(LEASE + 1)).await?;
    Ok(())
}

/// The complete entry is the last of its stream.
pub async fn nothing_follows_the_end(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.finish(&fence, Seq(1), completed(), at(1)).await?;
    assert_lease_lost(store.append(&fence, vec![chunk(2, 2)], at(2)).await);
    assert!(log(store).await?.last().is_some_and(rdev_domain::Entry::is_last));
    Ok(())
}

/// Output that comes again returns the stored entries, whatever chunks it had.
pub async fn output_that_comes_again_is_stored_once(store: &impl Store) -> Result<()> {
    let fence = run(store, 1).await?;
    store.append(&fence, vec![chunk(1, 1)], at(1)).await?;
    let chunks = vec![chunk(2, 3), chunk(4, 4)];
    let first = store.append(&fence, chunks.clone(), at(2)).await?;
    for _ in 0..2 {
        assert_eq!(store.append(&fence, chunks.clone(), at(2)).await?, first);
    }
    let entries = log(store).await?;
    assert_eq!(entries.len(), 5);
    store.append(&fence, vec![chunk(5, 5)], at(3)).await?;
    assert_lease_lost(store.append(&fence, chunks, at(2)).await);
    Ok(())
}
