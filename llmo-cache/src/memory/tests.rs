use proptest::prelude::*;

use super::*;

fn key(name: impl std::fmt::Display) -> CacheKey {
    CacheKey::new(name.to_string()).unwrap()
}

fn small(max_bytes: u64) -> MemoryCache {
    MemoryCache::new(MemoryOptions { max_bytes, max_entry_bytes: 1024, default_ttl: None })
}

#[tokio::test]
async fn the_weight_of_all_entries_stays_below_the_limit() {
    let cache = small(20_000);
    for n in 0..500 {
        cache.put(&key(n), vec![0; 400].into(), PutOptions::default().tag("t")).await.unwrap();
    }
    let stats = cache.stats().await.unwrap();
    assert!(stats.bytes <= 20_000, "{stats:?}");
    assert!(stats.entries > 0 && stats.entries <= 20_000 / 592, "{stats:?}");
    assert!(stats.evictions >= 500 - stats.entries, "{stats:?}");
}

#[tokio::test]
async fn the_tag_index_forgets_what_was_evicted() {
    let cache = small(20_000);
    for n in 0..500 {
        cache.put(&key(n), vec![0; 400].into(), PutOptions::default().tag("t").tag(format!("own-{n}"))).await.unwrap();
    }
    let entries = cache.stats().await.unwrap().entries;
    assert_eq!(cache.tags.len() as u64, 2 * entries);
    assert_eq!(cache.remove_tag("t").await.unwrap(), entries);
    assert_eq!(cache.tags.len(), 0);
}

#[tokio::test]
async fn a_tag_of_a_replaced_entry_does_not_remove_its_successor() {
    let cache = small(20_000);
    cache.put(&key("a"), "old".into(), PutOptions::default().tag("old")).await.unwrap();
    cache.put(&key("a"), "new".into(), PutOptions::default().tag("new")).await.unwrap();
    assert_eq!(cache.remove_tag("old").await.unwrap(), 0);
    assert_eq!(cache.get(&key("a")).await.unwrap().unwrap().value, "new");
    assert_eq!(cache.remove_tag("new").await.unwrap(), 1);
}

#[tokio::test]
async fn a_replaced_entry_takes_the_new_time_to_live() {
    let cache = small(20_000);
    cache.put(&key("a"), "short".into(), PutOptions::ttl(Duration::from_millis(30))).await.unwrap();
    cache.put(&key("a"), "long".into(), PutOptions::ttl(Duration::from_secs(60))).await.unwrap();
    cache.put(&key("b"), "for ever".into(), PutOptions::default()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(60)).await;
    let entry = cache.get(&key("a")).await.unwrap().unwrap();
    assert_eq!(entry.value, "long");
    assert!(entry.ttl.unwrap() > Duration::from_secs(50));
    assert_eq!(cache.get(&key("b")).await.unwrap().unwrap().ttl, None);
}

#[tokio::test]
async fn no_time_to_live_left_means_gone() {
    let cache = small(20_000);
    cache.put(&key("a"), "old".into(), PutOptions::default()).await.unwrap();
    cache.put(&key("a"), "new".into(), PutOptions::ttl(Duration::ZERO)).await.unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap(), None);
}

#[tokio::test]
async fn an_absurd_time_to_live_is_cut_not_a_panic() {
    let cache = small(20_000);
    cache.put(&key("a"), "x".into(), PutOptions::ttl(Duration::MAX)).await.unwrap();
    assert!(cache.get(&key("a")).await.unwrap().is_some());
}

#[tokio::test]
async fn an_entry_tells_its_tags() {
    let cache = small(20_000);
    cache.put(&key("a"), "x".into(), PutOptions::default().tag("one").tag("two")).await.unwrap();
    assert_eq!(cache.get(&key("a")).await.unwrap().unwrap().tags, ["one", "two"]);
}

#[tokio::test]
async fn clearing_empties_the_index_too() {
    let cache = small(20_000);
    for n in 0..10 {
        cache.put(&key(n), "x".into(), PutOptions::default().tag("t")).await.unwrap();
    }
    cache.clear().await.unwrap();
    assert_eq!(cache.stats().await.unwrap().entries, 0);
    assert_eq!(cache.tags.len(), 0);
}

/// What a property test does to the cache.
#[derive(Debug, Clone)]
enum Step {
    Put(u8, Vec<u8>),
    Remove(u8),
    RemoveTag(u8),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..8, proptest::collection::vec(0_u8..4, 0..3)).prop_map(|(key, tags)| Step::Put(key, tags)),
        2 => (0_u8..8).prop_map(Step::Remove),
        2 => (0_u8..4).prop_map(Step::RemoveTag),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// With room for everything the cache behaves like a map from keys to (value, tags).
    #[test]
    fn with_room_enough_it_is_a_map(steps in proptest::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let cache = small(10 << 20);
            let mut map = std::collections::HashMap::<u8, (usize, Vec<u8>)>::new();
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Put(k, tags) => {
                        let options = tags.iter().fold(PutOptions::default(), |o, t| o.tag(t.to_string()));
                        cache.put(&key(k), n.to_string().into(), options).await.unwrap();
                        map.insert(k, (n, tags));
                    }
                    Step::Remove(k) => {
                        prop_assert_eq!(cache.remove(&key(k)).await.unwrap(), map.remove(&k).is_some());
                    }
                    Step::RemoveTag(tag) => {
                        let before = map.len();
                        map.retain(|_, (_, tags)| !tags.contains(&tag));
                        prop_assert_eq!(cache.remove_tag(&tag.to_string()).await.unwrap(), (before - map.len()) as u64);
                    }
                    Step::Clear => {
                        cache.clear().await.unwrap();
                        map.clear();
                    }
                }
                for k in 0..8 {
                    let value = cache.get(&key(k)).await.unwrap().map(|entry| entry.value);
                    prop_assert_eq!(value, map.get(&k).map(|(n, _)| Bytes::from(n.to_string())));
                }
            }
            Ok(())
        })?;
    }
}
