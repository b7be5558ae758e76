//! [`RedisCache`] against a real Redis.

use std::time::Duration;

use crate::redis_server::RedisServer;
use llmo_cache::redis::{RedisCache, RedisOptions};
use llmo_core::{Cache, CacheError, CacheKey, PutOptions};

/// Patient enough for a busy test machine.
fn options(url: String) -> RedisOptions {
    let mut options = RedisOptions::new(url);
    options.timeout = Duration::from_secs(2);
    options
}

async fn connect(server: &RedisServer) -> RedisCache {
    let cache = RedisCache::connect(options(server.url())).await.unwrap();
    assert!(cache.is_up());
    cache
}

/// A connection past our cache, as somebody else would use Redis.
async fn raw(server: &RedisServer) -> redis::aio::MultiplexedConnection {
    let client = redis::Client::open(server.url()).unwrap();
    client.get_multiplexed_async_connection().await.unwrap()
}

fn key(name: impl std::fmt::Display) -> CacheKey {
    CacheKey::new(name.to_string()).unwrap()
}

#[tokio::test]
async fn entries_come_back_with_ttl_and_tags() {
    let server = RedisServer::start();
    let cache = connect(&server).await;
    let put = PutOptions::ttl(Duration::from_secs(60)).tag("model:a").tag("tenant:ü x");
    cache.put(&key("k"), "value".into(), put).await.unwrap();
    let entry = cache.get(&key("k")).await.unwrap().unwrap();
    assert_eq!(entry.value, "value");
    assert_eq!(entry.tags, ["model:a", "tenant:ü x"]);
    let ttl = entry.ttl.unwrap();
    assert!(ttl <= Duration::from_secs(60) && ttl > Duration::from_secs(50), "{ttl:?}");
}

#[tokio::test]
async fn every_key_of_ours_expires() {
    let server = RedisServer::start();
    let cache = connect(&server).await;
    cache.put(&key("k"), "value".into(), PutOptions::default().tag("t")).await.unwrap();
    let mut redis = raw(&server).await;
    let names: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
    for name in names {
        let ttl: i64 = redis::cmd("TTL").arg(&name).query_async(&mut redis).await.unwrap();
        assert!(ttl > 0, "{name} has no expiry");
    }
}

#[tokio::test]
async fn tampered_values_are_corrupt_and_removed() {
    let server = RedisServer::start();
    let cache = connect(&server).await;
    let mut redis = raw(&server).await;
    let good = {
        cache.put(&key("k"), "value".into(), PutOptions::default()).await.unwrap();
        redis::cmd("GET").arg("llmo:e:k").query_async::<Vec<u8>>(&mut redis).await.unwrap()
    };
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    for (name, bad) in [("k", flipped), ("k", b"garbage".to_vec()), ("k", Vec::new()), ("copy", good)] {
        redis::cmd("SET").arg(format!("llmo:e:{name}")).arg(&bad).exec_async(&mut redis).await.unwrap();
        let error = cache.get(&key(name)).await.unwrap_err();
        assert!(matches!(error, CacheError::Corrupt(_)), "{error}");
        assert_eq!(cache.get(&key(name)).await.unwrap(), None);
    }
}

#[tokio::test]
async fn clearing_leaves_the_keys_of_others_alone() {
    let server = RedisServer::start();
    let mut other_options = options(server.url());
    // As a glob this would match ours.
    other_options.prefix = "l*:".into();
    let (ours, other) = (connect(&server).await, RedisCache::connect(other_options).await.unwrap());
    let mut redis = raw(&server).await;
    redis::cmd("SET").arg("foreign").arg("x").exec_async(&mut redis).await.unwrap();
    for n in 0..1500 {
        ours.put(&key(n), "x".into(), PutOptions::default().tag("t")).await.unwrap();
    }
    other.put(&key("a"), "x".into(), PutOptions::default()).await.unwrap();
    other.clear().await.unwrap();
    assert!(ours.get(&key(7)).await.unwrap().is_some());
    ours.clear().await.unwrap();
    let left: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut redis).await.unwrap();
    assert_eq!(left, ["foreign"]);
}

#[tokio::test]
async fn a_tag_of_many_entries_is_removed_whole() {
    let server = RedisServer::start();
    let cache = connect(&server).await;
    for n in 0..1200 {
        cache.put(&key(n), "x".into(), PutOptions::default().tag("many").tag("other")).await.unwrap();
    }
    cache.put(&key("untagged"), "x".into(), PutOptions::default()).await.unwrap();
    assert_eq!(cache.remove_tag("many").await.unwrap(), 1200);
    assert_eq!(cache.remove_tag("other").await.unwrap(), 0);
    assert!(cache.get(&key(0)).await.unwrap().is_none());
    assert!(cache.get(&key("untagged")).await.unwrap().is_some());
}

#[tokio::test]
async fn entries_put_again_without_the_tag_stay_among_many_that_go() {
    let server = RedisServer::start();
    let cache = connect(&server).await;
    for n in 0..600 {
        cache.put(&key(n), "x".into(), PutOptions::default().tag("t")).await.unwrap();
    }
    for n in (0..600).step_by(2) {
        cache.put(&key(n), "y".into(), PutOptions::default().tag("other")).await.unwrap();
    }
    assert_eq!(cache.remove_tag("t").await.unwrap(), 300);
    for n in 0..600 {
        assert_eq!(cache.get(&key(n)).await.unwrap().is_some(), n % 2 == 0, "{n}");
    }
}

#[tokio::test]
async fn password_and_database_come_from_the_url() {
    let server = RedisServer::start_with_password("s3cret");
    let three = RedisCache::connect(options(server.url_of_database(3))).await.unwrap();
    let zero = RedisCache::connect(options(server.url())).await.unwrap();
    three.put(&key("k"), "in three".into(), PutOptions::default()).await.unwrap();
    assert!(three.get(&key("k")).await.unwrap().is_some());
    assert!(zero.get(&key("k")).await.unwrap().is_none());

    let without = server.url().replace(":s3cret@", "");
    let refused = RedisCache::connect(options(without)).await.unwrap();
    assert!(matches!(refused.get(&key("k")).await, Err(CacheError::Unavailable(_))));
}

#[tokio::test]
async fn resp3_is_spoken_if_the_url_asks_for_it() {
    let server = RedisServer::start();
    let cache = RedisCache::connect(options(format!("{}?protocol=resp3", server.url()))).await.unwrap();
    cache.put(&key("k"), "value".into(), PutOptions::default().tag("t")).await.unwrap();
    assert_eq!(cache.get(&key("k")).await.unwrap().unwrap().value, "value");
    assert_eq!(cache.remove_tag("t").await.unwrap(), 1);
    assert_eq!(cache.stats().await.unwrap().entries, 0);
}

#[tokio::test]
async fn neither_options_nor_cache_show_the_password() {
    let options = options("redis://:s3cret@127.0.0.1:1/0".into());
    assert!(!format!("{options:?}").contains("s3cret"));
    let cache = RedisCache::connect(options).await.unwrap();
    assert!(!format!("{cache:?}").contains("s3cret"));
    assert!(!cache.get(&key("k")).await.unwrap_err().to_string().contains("s3cret"));
}
