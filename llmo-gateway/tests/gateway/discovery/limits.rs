//! Limits that several gateways share in Redis.

use std::time::{Duration, Instant};

use llmo_gateway::admission::Shared;
use tokio::net::TcpListener;

use super::redis_server::RedisServer;

async fn take(shared: &Shared, amount: u64) -> Result<(), Duration> {
    // The first request may have to wait for a connection longer than it may.
    for _ in 0..5 {
        if let Some(verdict) = shared.take("team", amount, 6_000).await {
            return verdict;
        }
        tokio::time::sleep(Duration::from_millis(1_050)).await;
    }
    panic!("Redis does not answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_back_refuses_nobody_for_long() {
    let server = RedisServer::start();
    let shared = Shared::new(&server.url()).expect("a good URL");
    assert_eq!(take(&shared, 6_000).await, Ok(()), "a minute's worth");
    let mut redis = redis::Client::open(server.url()).expect("a good URL").get_connection().expect("it answers");
    let at: u64 = redis::cmd("HGET").arg("llmo:allowance:team").arg("at").query(&mut redis).expect("there");
    let hour = 3_600_000;
    let set = redis::cmd("HSET").arg("llmo:allowance:team").arg("at").arg(at + hour).query::<u64>(&mut redis);
    assert_eq!(set.expect("set"), 0);
    // A hundred come anew each second.
    assert!(take(&shared, 20).await.is_err_and(|wait| wait <= Duration::from_secs(1)));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(take(&shared, 20).await, Ok(()));
}

#[tokio::test]
async fn nobody_waits_long_for_a_redis_that_says_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("redis://{}/0", silent.local_addr().expect("bound"));
    let mut waits = Vec::new();
    for _ in 0..5 {
        // One that has not given up on it yet.
        let shared = Shared::new(&url).expect("a good URL");
        let begun = Instant::now();
        assert_eq!(shared.take("team", 1, 60).await, None);
        waits.push(begun.elapsed());
        let begun = Instant::now();
        assert_eq!(shared.take("team", 1, 60).await, None);
        assert!(begun.elapsed() < Duration::from_millis(10), "it is left alone for now");
    }
    // A busy machine may hold up some of them.
    assert!(waits.iter().min().is_some_and(|wait| *wait <= Duration::from_millis(20)), "{waits:?}");
}
