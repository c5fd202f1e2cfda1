//! A database that is cut off, stalls, or holds a lock for long: callers are told to come again, soon.

use std::time::Duration;

use rdev_domain::{Error, Position, Result, Seq};
use rdev_ports::testing::{START, chunk, id, job, slots};
use rdev_ports::{EventLog, Fence, TaskLeases, TaskQueue};
use rdev_sql::SqlStore;
use rdev_sql::testing::{PostgresDatabase, Proxy};
use tokio::task::JoinSet;

/// Longest that anybody is left waiting, whatever the database does.
const SOON: Duration = Duration::from_secs(15);

fn assert_unavailable<T: std::fmt::Debug>(result: Result<T>) {
    assert!(matches!(result, Err(Error::Unavailable { system: "database", .. })), "{result:?}");
}

async fn running(store: &SqlStore) -> Fence {
    store.enqueue(&job("demo", 1), None).await.unwrap();
    let fence = store.claim(&id("worker-1"), slots(1), START, START).await.unwrap().remove(0).fence;
    store.start(&fence, "pod-1", None, START).await.unwrap();
    fence
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_falls_silent_holds_up_nobody_for_long_and_no_connection_for_ever() {
    let database = PostgresDatabase::create().await;
    let proxy = Proxy::before(database.address()).await;
    let store = SqlStore::postgres(&database.url_at(proxy.address())).await.unwrap();
    let fence = running(&store).await;
    proxy.fall_silent();
    // More than there are connections: each of these is lost with what was asked on it.
    let mut asking = JoinSet::new();
    for n in 0..20 {
        let (store, fence) = (store.clone(), fence.clone());
        asking.spawn(tokio::time::timeout(SOON, async move {
            match n % 3 {
                0 => store.check().await,
                1 => store.append(&fence, vec![chunk(1, 1)], START).await.map(|_| ()),
                _ => {
                    store.read_view(&rdev_ports::testing::log_of("demo"), Position::ZERO, 9).await.map(|_| ())
                }
            }
        }));
    }
    while let Some(answer) = asking.join_next().await {
        assert_unavailable(answer.unwrap().expect("nobody waits for long"));
    }
    proxy.speak();
    store.append(&fence, vec![chunk(1, 1)], START).await.expect("every connection can be had again");
    let mut asking = JoinSet::new();
    for _ in 0..32 {
        let store = store.clone();
        asking.spawn(async move { store.check().await });
    }
    while let Some(answer) = asking.join_next().await {
        answer.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_goes_away_in_the_middle_takes_no_connection_along() {
    let database = PostgresDatabase::create().await;
    let proxy = Proxy::before(database.address()).await;
    let store = SqlStore::postgres(&database.url_at(proxy.address())).await.unwrap();
    let demo = rdev_ports::testing::log_of("demo");
    store.last(&demo, Position::MAX).await.unwrap();
    proxy.fall_silent();
    for _ in 0..40 {
        let reading = store.last(&demo, Position::MAX);
        assert!(tokio::time::timeout(Duration::from_millis(5), reading).await.is_err());
    }
    proxy.speak();
    tokio::time::timeout(SOON, store.last(&demo, Position::MAX)).await.expect("nobody holds them").unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_connection_is_unavailable_and_the_next_one_works() {
    let database = PostgresDatabase::create().await;
    let store = SqlStore::postgres(&database.url()).await.unwrap();
    let fence = running(&store).await;
    for n in 1..=20 {
        database.cut_connections().await;
        // Connections that were used a moment ago are not tried first, so some calls may find a dead one.
        loop {
            match store.append(&fence, vec![chunk(n, n)], START).await {
                Ok(_) => break,
                refused => assert_unavailable(refused),
            }
        }
    }
    assert_eq!(store.read_job(&fence.id, Position::ZERO, 100).await.unwrap().len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_another_holds_is_not_waited_for_for_long() {
    let database = PostgresDatabase::create().await;
    let store = SqlStore::postgres(&database.url()).await.unwrap();
    let fence = running(&store).await;
    let locked = database.lock_queue().await;
    let append = tokio::time::timeout(SOON, store.append(&fence, vec![chunk(1, 1)], START)).await;
    assert_unavailable(append.expect("it is given up"));
    drop(locked);
    let entries = store.append(&fence, vec![chunk(1, 1)], START).await.unwrap();
    assert_eq!(entries[0].last_seq, Seq(1));
}

/// As one is that has become a standby: all can be read there.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_be_written_is_not_sound_until_it_can() {
    let database = PostgresDatabase::create().await;
    let store = SqlStore::postgres(&database.url()).await.unwrap();
    let (name, demo) = (database.name(), rdev_ports::testing::log_of("demo"));
    for (read_only, sound) in [("on", false), ("off", true)] {
        let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {read_only}");
        database.run(&format!("BEGIN READ WRITE; {set}; COMMIT")).await;
        database.cut_connections().await;
        // Connections that were used a moment ago are not tried first, so some calls may find a dead one.
        while store.last(&demo, Position::MAX).await.is_err() {}
        let told = tokio::time::timeout(SOON, async {
            loop {
                match store.check().await {
                    Ok(()) if sound => break,
                    Ok(()) => {}
                    Err(Error::Unavailable { .. }) if sound => {}
                    refused => break assert_unavailable(refused),
                }
                tokio::task::yield_now().await;
            }
        });
        told.await.expect("it is told soon");
    }
}

#[tokio::test]
async fn no_error_shows_the_password() {
    const PASSWORD: &str = "s3cr3t-word";
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = unused.local_addr().unwrap();
    drop(unused);
    for url in [
        format!("postgres://rdev:{PASSWORD}@{closed}/rdev"),
        format!("postgres://rdev:{PASSWORD}@host.invalid/rdev"),
        format!("postgres://rdev:{PASSWORD}@[::/rdev"),
        format!("postgres://rdev:{PASSWORD}@host:port/rdev"),
        format!("postgres://{closed}/rdev?password={PASSWORD}&sslmode=never"),
    ] {
        let error = SqlStore::postgres(&url).await.unwrap_err();
        let (Error::Internal(source) | Error::Unavailable { source, .. }) = &error else {
            panic!("{error:?}")
        };
        for text in [format!("{error:?}"), format!("{source:#}")] {
            assert!(!text.contains(PASSWORD), "{text}");
        }
        let findings = SqlStore::examine_postgres(&url, START).await;
        assert!(!format!("{findings:?}").contains(PASSWORD), "{findings:?}");
    }
    let database = PostgresDatabase::create().await;
    let url = database.url().replace("rdev@", &format!("rdev:{PASSWORD}@"));
    let store = SqlStore::postgres(&url).await.unwrap();
    assert!(!format!("{store:?}").contains(PASSWORD), "{store:?}");
}
