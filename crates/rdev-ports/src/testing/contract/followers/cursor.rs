//! Cursors of followers.

use rdev_domain::{Position, Result};

use super::{FIRST, SECOND, Store, read_all};
use crate::Unread;
use crate::testing::contract::steps::{at, enqueue, finish_at, run};

/// A new follower reads what is stored after its first opening, and nothing of before; later openings change nothing.
pub async fn a_new_follower_begins_at_the_end(store: &impl Store) -> Result<()> {
    finish_at(store, &run(store, 1).await?, 1).await?;
    let cursor = store.open(FIRST, at(2)).await?;
    assert!(read_all(store, cursor).await?.is_empty());
    let later = enqueue(store, 2).await?;
    assert_eq!(store.open(FIRST, at(3)).await?, cursor);
    let told = read_all(store, cursor).await?;
    assert_eq!(told.iter().map(|told| &told.job).collect::<Vec<_>>(), [&later.id]);
    Ok(())
}

/// Only the process that knows where the cursor is moves it. One that repeats its call is answered the same.
pub async fn a_cursor_moves_from_where_it_is(store: &impl Store) -> Result<()> {
    let begin = store.open(FIRST, at(0)).await?;
    enqueue(store, 1).await?;
    enqueue(store, 2).await?;
    let told = read_all(store, begin).await?;
    let [one, two] = [0, 1].map(|n| told[n].position);
    for _ in 0..2 {
        assert!(store.advance(FIRST, begin, one, at(1)).await?);
    }
    assert!(!store.advance(FIRST, begin, two, at(1)).await?);
    assert_eq!(store.open(FIRST, at(2)).await?, one);
    assert!(store.advance(FIRST, one, two, at(2)).await?);
    assert_eq!(store.open(FIRST, at(3)).await?, two);
    Ok(())
}

/// A follower that nobody has opened has no cursor to move.
pub async fn followers_have_cursors_of_their_own(store: &impl Store) -> Result<()> {
    assert!(!store.advance(FIRST, Position::ZERO, Position(7), at(0)).await?);
    let begin = store.open(FIRST, at(0)).await?;
    assert_eq!(store.open(SECOND, at(0)).await?, begin);
    enqueue(store, 1).await?;
    let next = read_all(store, begin).await?[0].position;
    assert!(store.advance(FIRST, begin, next, at(1)).await?);
    assert_eq!((store.open(FIRST, at(2)).await?, store.open(SECOND, at(2)).await?), (next, begin));
    Ok(())
}

/// The time is that of the first entry after the cursor which is no output.
pub async fn the_oldest_unread_entry_has_a_time(store: &impl Store) -> Result<()> {
    assert_eq!(store.unread(FIRST).await?, Unread::NoCursor);
    let begin = store.open(FIRST, at(0)).await?;
    assert_eq!(store.unread(FIRST).await?, Unread::Nothing);
    let fence = run(store, 1).await?;
    let started = read_all(store, begin).await?.pop().expect("it has started");
    assert!(store.advance(FIRST, begin, started.position, at(1)).await?);
    store.append(&fence, vec![crate::testing::chunk(1, 1)], at(2)).await?;
    assert_eq!(store.unread(FIRST).await?, Unread::Nothing);
    finish_at(store, &fence, 3).await?;
    enqueue(store, 2).await?;
    assert_eq!(store.unread(FIRST).await?, Unread::Since(at(3)));
    Ok(())
}

/// A follower that was closed has no cursor to move, and begins anew when it is opened. The others stay where they are.
pub async fn a_closed_follower_has_no_cursor(store: &impl Store) -> Result<()> {
    store.close(FIRST).await?;
    let begin = store.open(FIRST, at(0)).await?;
    store.open(SECOND, at(0)).await?;
    enqueue(store, 1).await?;
    let next = read_all(store, begin).await?[0].position;
    for _ in 0..2 {
        store.close(FIRST).await?;
    }
    assert!(!store.advance(FIRST, begin, next, at(1)).await?);
    assert_eq!(store.unread(FIRST).await?, Unread::NoCursor);
    assert!(store.open(FIRST, at(2)).await? >= next);
    assert_eq!(store.open(SECOND, at(2)).await?, begin);
    Ok(())
}
