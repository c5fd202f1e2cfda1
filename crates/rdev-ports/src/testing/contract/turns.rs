use std::time::Duration;

use rdev_domain::Result;

use super::Store;
use super::steps::at;

const PERIOD: Duration = Duration::from_secs(60);

/// However many ask at the same moment.
pub async fn one_of_many_has_the_turn(store: &impl Store) -> Result<()> {
    for moment in [0, 60] {
        let asking: Vec<_> = (0..8)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move { store.try_acquire("sweep", PERIOD, at(moment)).await })
            })
            .collect();
        let mut turns = 0;
        for asked in asking {
            turns += usize::from(asked.await.expect("nobody panics")?.is_some());
        }
        assert_eq!(turns, 1);
    }
    Ok(())
}

/// The moment at which the period is over is that of the next one.
pub async fn a_turn_comes_once_a_period(store: &impl Store) -> Result<()> {
    let turn = store.try_acquire("sweep", PERIOD, at(0)).await?.expect("it is free");
    assert_eq!((turn.job_name, turn.at), ("sweep", at(0)));
    assert_eq!(store.try_acquire("sweep", PERIOD, at(59)).await?, None);
    assert!(store.try_acquire("sweep", PERIOD, at(60)).await?.is_some());
    Ok(())
}

/// A chore that takes long is done by one as well.
pub async fn whoever_keeps_a_turn_keeps_others_out(store: &impl Store) -> Result<()> {
    let turn = store.try_acquire("sweep", PERIOD, at(0)).await?.expect("it is free");
    let turn = store.extend(turn, at(50)).await?.expect("it is still its own");
    assert_eq!(store.try_acquire("sweep", PERIOD, at(70)).await?, None);
    assert!(store.extend(turn, at(100)).await?.is_some());
    Ok(())
}

/// Whoever was silent for too long learns that it was followed.
pub async fn a_turn_that_another_took_cannot_be_kept(store: &impl Store) -> Result<()> {
    let first = store.try_acquire("sweep", PERIOD, at(0)).await?.expect("it is free");
    let second = store.try_acquire("sweep", PERIOD, at(60)).await?.expect("it is free again");
    assert_eq!(store.extend(first, at(61)).await?, None);
    assert!(store.extend(second, at(61)).await?.is_some());
    Ok(())
}

/// What one process does keeps no other from something else.
pub async fn chores_have_turns_of_their_own(store: &impl Store) -> Result<()> {
    for chore in ["sweep", "dust"] {
        assert!(store.try_acquire(chore, PERIOD, at(0)).await?.is_some());
    }
    Ok(())
}

/// A turn that was taken in what is still the far future counts as none.
pub async fn a_clock_that_was_wrong_holds_nobody_up(store: &impl Store) -> Result<()> {
    store.try_acquire("sweep", PERIOD, at(1_000_000)).await?;
    assert!(store.try_acquire("sweep", PERIOD, at(0)).await?.is_some());
    Ok(())
}
