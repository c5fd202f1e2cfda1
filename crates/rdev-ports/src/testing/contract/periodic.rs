//! Promises of [`PeriodicLeases`].
//! [`periodic_contract!`](crate::periodic_contract) makes a test of each.

use std::time::Duration;

use rdev_domain::Result;

use super::steps::at;
use crate::PeriodicLeases;

/// Store under test; clones share their data.
pub trait Store: PeriodicLeases + Clone + 'static {}

impl<S: PeriodicLeases + Clone + 'static> Store for S {}

/// Makes one test of each promise of [`PeriodicLeases`](crate::PeriodicLeases).
///
/// Takes the path of an async function that makes a fresh store, and what must live as long:
/// `async fn fresh() -> (MyStore, TempDir)`.
#[macro_export]
macro_rules! periodic_contract {
    ($fresh:path) => {
        $crate::contract_tests! { periodic, $fresh;
            one_of_many_gets_the_lease
            a_lease_comes_once_a_period
            an_extended_lease_keeps_others_out
            a_lease_that_another_acquired_cannot_be_extended
            periodic_jobs_have_leases_of_their_own
            a_clock_that_was_wrong_holds_nobody_up
        }
    };
}

const PERIOD: Duration = Duration::from_secs(60);

/// One of many processes that ask at the same moment gets the lease.
pub async fn one_of_many_gets_the_lease(store: &impl Store) -> Result<()> {
    for moment in [0, 60] {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.try_acquire("sweep", PERIOD, at(moment)).await })
            })
            .collect();
        let mut leases = 0;
        for asked in asking {
            leases += usize::from(asked.await.expect("nobody panics")?.is_some());
        }
        assert_eq!(leases, 1);
    }
    Ok(())
}

/// A lease expires exactly one period after it was acquired.
pub async fn a_lease_comes_once_a_period(store: &impl Store) -> Result<()> {
    let lease = store.try_acquire("sweep", PERIOD, at(0)).await?.expect("it is free");
    assert_eq!((lease.job_name, lease.at), ("sweep", at(0)));
    assert_eq!(store.try_acquire("sweep", PERIOD, at(59)).await?, None);
    assert!(store.try_acquire("sweep", PERIOD, at(60)).await?.is_some());
    Ok(())
}

/// A job that takes longer than a period is done by one process too.
pub async fn an_extended_lease_keeps_others_out(store: &impl Store) -> Result<()> {
    let lease = store.try_acquire("sweep", PERIOD, at(0)).await?.expect("it is free");
    let lease = store.extend(lease, at(50)).await?.expect("it is still its own");
    assert_eq!(store.try_acquire("sweep", PERIOD, at(70)).await?, None);
    assert!(store.extend(lease, at(100)).await?.is_some());
    Ok(())
}

/// A holder that was silent for too long learns that another process has the lease.
pub async fn a_lease_that_another_acquired_cannot_be_extended(store: &impl Store) -> Result<()> {
    let first = store.try_acquire("sweep", PERIOD, at(0)).await?.expect("it is free");
    let second = store.try_acquire("sweep", PERIOD, at(60)).await?.expect("it is free again");
    assert_eq!(store.extend(first, at(61)).await?, None);
    assert!(store.extend(second, at(61)).await?.is_some());
    Ok(())
}

/// Leases on different jobs are independent.
pub async fn periodic_jobs_have_leases_of_their_own(store: &impl Store) -> Result<()> {
    for job_name in ["sweep", "dust"] {
        assert!(store.try_acquire(job_name, PERIOD, at(0)).await?.is_some());
    }
    Ok(())
}

/// A lease that was acquired in what is now the far future does not count.
pub async fn a_clock_that_was_wrong_holds_nobody_up(store: &impl Store) -> Result<()> {
    store.try_acquire("sweep", PERIOD, at(1_000_000)).await?;
    assert!(store.try_acquire("sweep", PERIOD, at(0)).await?.is_some());
    Ok(())
}
