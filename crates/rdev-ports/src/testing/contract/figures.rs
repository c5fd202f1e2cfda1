//! Promises of [`StoreFigures`].
//! [`figures_contract!`](crate::figures_contract) makes a test of each.

use rdev_domain::{Result, Target};

use crate::testing::chunk;
use crate::testing::contract::steps::*;
use crate::{EventLog, StoreFigures, TaskLeases, TaskQueue};

/// Store under test; clones share their data.
pub trait Store: StoreFigures + TaskQueue + TaskLeases + EventLog + Clone + 'static {}

impl<S: StoreFigures + TaskQueue + TaskLeases + EventLog + Clone + 'static> Store for S {}

/// Makes one test of each promise of [`StoreFigures`](crate::StoreFigures).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! figures_contract {
    ($fresh:path) => {
        $crate::contract_tests! { figures, $fresh;
            the_first_end_is_that_of_a_job_that_has_not_begun_again
            a_database_takes_as_much_more_as_is_stored
        }
    };
}

/// The first of the ended jobs counts, until it is removed or begins again.
pub async fn the_first_end_is_that_of_a_job_that_has_not_begun_again(store: &impl Store) -> Result<()> {
    assert_eq!(store.first_end().await?, None);
    let running = run(store, 1).await?;
    assert_eq!(store.first_end().await?, None);
    let task = run_task(store, 2, "slot-1").await?;
    fail_task(store, &task, 1).await?;
    finish_at(store, &running, 12).await?;
    assert_eq!(store.first_end().await?, Some(at(9)));
    store.reopen(&Target::Pool, &task.fence.id, None, at(20)).await?.expect("it has ended");
    let again = claim_all(store, 21).await?.remove(0);
    assert_eq!(store.first_end().await?, Some(at(12)));
    start(store, &again.fence, "pod-1", Some(&slot("slot-1")), at(22)).await?;
    store.finish(&again.fence, rdev_domain::Seq(2), completed(), at(23)).await?;
    assert_eq!(store.first_end().await?, Some(at(12)));
    Ok(())
}

/// Stored output takes space at once, wherever the database has written it.
pub async fn a_database_takes_as_much_more_as_is_stored(store: &impl Store) -> Result<()> {
    const MIB: u64 = 1024 * 1024;
    let fence = run(store, 1).await?;
    let before = store.database_bytes().await?;
    assert!(before > 0);
    // Nothing in it repeats, so nothing of it can be compressed away.
    let mut state = 1_u32;
    let noise = (0..8 * MIB).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let chunk = rdev_domain::Chunk { frames: noise.collect::<Vec<_>>().into(), ..chunk(1, 1) };
    store.append(&fence, vec![chunk], at(1)).await?;
    let after = store.database_bytes().await?;
    assert!(after >= before + 7 * MIB, "{before} bytes, then {after}");
    Ok(())
}
