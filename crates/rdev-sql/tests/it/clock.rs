//! The time that processes on one database have in common.

use std::sync::Arc;
use std::time::Duration;

use rdev_domain::Timestamp;
use rdev_ports::Clock;
use rdev_ports::testing::{FakeClock, START};
use rdev_sql::SqlStore;
use rdev_sql::testing::{PostgresDatabase, Proxy};

use crate::On;

/// Longest that anybody looks at a clock, which waits for nothing.
const AT_ONCE: Duration = Duration::from_secs(1);

#[tokio::test]
async fn on_postgres_it_is_the_servers_whatever_the_machine_says() {
    let database = PostgresDatabase::create().await;
    let proxy = Proxy::before(database.address()).await;
    let store = SqlStore::postgres(&database.url_at(proxy.address())).await.unwrap();
    let mut other = database.connect().await;
    let mut server = async || {
        let now = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::BIGINT";
        Timestamp::from_micros(sqlx::query_scalar(now).fetch_one(&mut other).await.unwrap())
    };
    let before = server().await;
    let machine = Arc::new(FakeClock::default());
    let clock = store.clock(machine.clone()).await.unwrap();
    // Years lie between the two.
    for micros in [0, START.as_micros()] {
        machine.set(Timestamp::from_micros(micros));
        let (now, after) = (clock.now(), server().await);
        assert!(before <= now && now.since(after) < AT_ONCE, "{before} {now} {after}");
    }
    // Time passes where nobody can be asked for it.
    proxy.fall_silent();
    let (earlier, now) = (clock.now(), server().await);
    while clock.now() <= earlier {}
    assert!(clock.now().since(now) < AT_ONCE);
}

#[tokio::test]
async fn on_sqlite_it_is_the_machines() {
    let (store, _place) = On::Sqlite.fresh().await;
    let machine = Arc::new(FakeClock::default());
    let clock = store.clock(machine.clone()).await.unwrap();
    machine.advance(Duration::from_secs(3_600));
    assert_eq!(clock.now(), machine.now());
}
