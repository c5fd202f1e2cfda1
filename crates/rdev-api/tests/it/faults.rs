//! A database that is cut off, falls silent, or lets nobody in while a command runs: callers are told to come again,
//! soon, and the work goes on as if nothing had been.

use std::time::Duration;

use rdev_client::types::{Accepted, Data, Status};
use rdev_sql::testing::{PostgresDatabase, Proxy};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::many_lines::Numbered;
use crate::support::{Answer, Client, Fixture, Runtime, Server, eventually};

/// Longest that a caller is left waiting, whatever the database does.
const SOON: Duration = Duration::from_secs(15);
/// More callers at once than a server has connections to its database.
const CALLERS: usize = 40;
const LINES: u64 = 400;

/// A server whose database is behind a proxy, and a command that writes numbered lines for some seconds.
async fn behind_a_proxy() -> (Server, Proxy, Accepted) {
    let database = PostgresDatabase::create().await;
    let proxy = Proxy::before(database.address()).await;
    let url = database.url_at(proxy.address());
    let fixture = Fixture::new().with_database(database).with("RDEV_DATABASE_URL", url);
    let server = fixture.with("RDEV_LEASE_SECONDS", "3600").start().await;
    let accepted = counting(&server).await;
    (server, proxy, accepted)
}

async fn counting(server: &Server) -> Accepted {
    let line = format!("echo ran >> ran; for i in $(seq {LINES}); do echo $i; sleep 0.01; done");
    server.client().shell(&line).await
}

async fn post(client: &Client, number: usize) -> Answer {
    let body = serde_json::json!({"command": format!("echo {number} >> late")});
    let call = client.post("/projects/demo/shell", &body);
    call.header("idempotency-key", &format!("late-{number}")).send().await
}

/// Everybody who asks for something is refused, in time, and is told when to come again.
async fn all_are_refused_soon(client: &Client, id: &str) {
    let mut asking = JoinSet::new();
    for number in 0..CALLERS {
        let (client, path) = (client.clone(), format!("/projects/demo/commands/{id}"));
        asking.spawn(timeout(SOON, async move {
            match number % 2 {
                0 => client.get(&path).send().await,
                _ => post(&client, number).await,
            }
        }));
    }
    for answer in asking.join_all().await {
        let answer = answer.expect("nobody is left waiting");
        answer.failure(503, "UNAVAILABLE");
        assert!(answer.header("retry-after").parse::<u64>().is_ok());
    }
    assert_eq!(client.get("/health").send().await.status, 200);
}

/// Callers that were refused come again, and everything that was asked for happens once.
async fn all_goes_on(server: &Server, accepted: &Accepted, mut reader: Numbered) {
    let client = server.client();
    let late: Vec<usize> = (0..CALLERS).filter(|number| number % 2 == 1).collect();
    for number in &late {
        let stored = async || Some(post(&client, *number).await).filter(|answer| answer.status != 503);
        let stored = eventually("its turn", stored).await.json::<Data<Accepted>>(202).data;
        assert_eq!(client.ended(&stored.id).await.accepted.status, Status::Completed);
    }
    reader.read_until(&client, &accepted.stream_id, u64::MAX).await;
    assert_eq!(reader.last, LINES);
    let mut again = Numbered::default();
    again.read_until(&client, &accepted.stream_id, u64::MAX).await;
    assert_eq!(again.last, LINES);
    assert_eq!(server.file("ran").await.as_deref(), Some("ran\n"));
    let ran = server.file("late").await.unwrap();
    let mut ran: Vec<usize> = ran.lines().map(|number| number.parse().unwrap()).collect();
    ran.sort_unstable();
    assert_eq!(ran, late);
}

#[tokio::test]
async fn a_database_that_falls_silent_is_told_of_soon_and_costs_nothing() {
    let (server, proxy, accepted) = behind_a_proxy().await;
    let (mut reader, client) = (Numbered::default(), server.client());
    reader.read_until(&client, &accepted.stream_id, LINES / 10).await;
    proxy.fall_silent();
    all_are_refused_soon(&client, &accepted.id).await;
    proxy.speak();
    all_goes_on(&server, &accepted, reader).await;
}

#[tokio::test]
async fn connections_that_are_cut_in_the_middle_of_work_cost_nothing() {
    let (server, proxy, accepted) = behind_a_proxy().await;
    let (mut reader, client) = (Numbered::default(), server.client());
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    while reader.last < LINES - LINES / 10 {
        let line = reader.last + random.u64(1..10);
        reader.read_until(&client, &accepted.stream_id, line).await;
        // A line is told after its commit; somewhere before the next one's end is the worst moment.
        sleep(Duration::from_micros(random.u64(..20_000))).await;
        proxy.cut();
    }
    all_goes_on(&server, &accepted, reader).await;
}

#[tokio::test]
async fn a_database_whose_connections_are_all_busy_is_told_of_soon_and_costs_nothing() {
    let server = Runtime::LocalOnPostgres.server().await;
    let accepted = counting(&server).await;
    let (mut reader, client) = (Numbered::default(), server.client());
    reader.read_until(&client, &accepted.stream_id, LINES / 10).await;
    let locked = server.database().lock_queue().await;
    all_are_refused_soon(&client, &accepted.id).await;
    drop(locked);
    all_goes_on(&server, &accepted, reader).await;
}
