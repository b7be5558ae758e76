//! Hedging, queues, fairness and replicas that come and go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use llmo_backends::sim::{Fault, SimOptions};
use llmo_core::Model;
use llmo_gateway::policy::RoundRobin;
use llmo_gateway::replica::Replica;
use llmo_gateway::router::RouterOptions;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::fleet::{Fleet, words};
use crate::site::Site;

const SLOW: Duration = Duration::from_secs(20);

fn one_slot(tokens_per_second: f64) -> SimOptions {
    let mut sim = SimOptions::default();
    sim.slots = 1;
    sim.decode_tokens_per_second = tokens_per_second;
    sim
}

#[tokio::test]
async fn a_hedged_request_is_served_by_the_quicker_replica_and_the_other_is_free_at_once() {
    let mut options = RouterOptions::default();
    options.hedge_percentile = 95;
    // One that avoids slow replicas would need no hedge.
    let fleet = Fleet::choosing(Arc::new(RoundRobin::default()), 2, SimOptions::default(), options);
    let model = fleet.model().await;
    for _ in 0..60 {
        model.generate(words(1)).await.expect("an answer").collect_all().await.expect("whole");
    }
    fleet.sims[0].faults().always(Fault::Delay(SLOW));
    let begun = Instant::now();
    while fleet.models.dispatcher().hedges().1 < 3 {
        let stream = model.generate(words(5)).await.expect("an answer");
        assert_eq!(fleet.sims[0].load().in_flight(), 0, "the loser's slot is free before the first token is out");
        let (output, _) = stream.collect_all().await.expect("whole");
        assert_eq!(output.text, "t0 t1 t2 t3 t4 ");
        assert!(begun.elapsed() < SLOW, "nobody waits for the slow one");
    }
    assert_eq!(fleet.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loser_of_a_hedge_is_cancelled_over_the_wire_too() {
    let site = Site::with(2, SimOptions::default(), None, |config| config.gateway.hedge_percentile = 90).await;
    for i in 0..60 {
        site.completion(&format!("warm {i}"), 1).send().await.expect("an answer");
    }
    site.services[0].sim.faults().always(Fault::Delay(SLOW));
    let begun = Instant::now();
    for i in 0..10 {
        let answer = site.completion(&format!("question {i}"), 2).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
    }
    assert!(begun.elapsed() < SLOW, "nobody waits for the slow one");
    let gone = Instant::now();
    while site.services[0].sim.load().in_flight() != 0 {
        assert!(gone.elapsed() < Duration::from_secs(2), "its slot is taken still");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn without_hedging_nobody_is_asked_twice() {
    let fleet = Fleet::new(2);
    let model = fleet.model().await;
    for _ in 0..100 {
        model.generate(words(1)).await.expect("an answer").collect_all().await.expect("whole");
    }
    assert_eq!((fleet.attempts(), fleet.models.dispatcher().hedges()), (100, (0, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_finds_no_place_is_refused_at_once_and_says_when_to_come_back() {
    let site = Site::with(1, one_slot(20.0), None, |config| config.gateway.max_queued = 3).await;
    let answers = join_all((0..20).map(|i| site.completion(&format!("question {i}"), 5).send())).await;
    let (mut served, mut refused) = (0, 0);
    for answer in answers {
        let answer = answer.expect("the gateway lives");
        match answer.status().as_u16() {
            200 => served += 1,
            429 => {
                assert!(answer.headers().contains_key("retry-after"));
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    // One slot and an eighth more, rounded up, and three that wait.
    assert_eq!((served, refused), (5, 15));
    assert_eq!(site.attempts().await, 5, "the others never reached a replica");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_with_one_request_does_not_wait_for_one_with_many() {
    let site = Arc::new(Site::new(1, one_slot(200.0)).await);
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut callers = JoinSet::new();
    for (tenant, i) in (0..40).map(|i| ("many", i)).chain([("few", 0)]) {
        let (site, order) = (Arc::clone(&site), Arc::clone(&order));
        if tenant == "few" {
            // All of the others wait.
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        callers.spawn(async move {
            let request = site.completion(&format!("{tenant} {i}"), 10).header("x-llmo-tenant", tenant);
            assert_eq!(request.send().await.expect("an answer").status(), 200);
            order.lock().await.push(tenant);
        });
    }
    while callers.join_next().await.is_some() {}
    let order = order.lock().await;
    let place = order.iter().position(|tenant| *tenant == "few").expect("served");
    assert!(place <= 20, "it came {place} of {}", order.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_leaves_the_queue_never_reaches_a_replica() {
    let site = Site::new(1, one_slot(20.0)).await;
    let running: Vec<_> = (0..2).map(|i| tokio::spawn(site.completion(&format!("long {i}"), 20).send())).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    for i in 0..10 {
        let impatient = site.completion(&format!("impatient {i}"), 20).timeout(Duration::from_millis(50));
        assert!(impatient.send().await.is_err());
    }
    for answer in running {
        assert_eq!(answer.await.expect("no panic").expect("an answer").status(), 200);
    }
    assert_eq!(site.attempts().await, 2);
}

#[tokio::test]
async fn a_replica_that_retires_finishes_what_it_has() {
    let mut sim = SimOptions::default();
    sim.slots = 16;
    let fleet = Fleet::with(2, sim, RouterOptions::default());
    let model = fleet.model().await;
    let streams = join_all((0..8).map(|_| model.generate(words(20)))).await;
    fleet.pool.retire("r0", Instant::now());
    for _ in 0..20 {
        let answer = model.generate(words(1)).await.expect("an answer");
        assert_eq!(answer.origin.replica.as_deref(), Some("r1"));
    }
    for stream in streams {
        stream.expect("an answer").collect_all().await.expect("whole");
    }
    assert_eq!(fleet.replicas[0].in_flight(), 0);
}

#[tokio::test]
async fn a_replica_of_weight_zero_gets_nothing() {
    let fleet = Fleet::new(2);
    let model = fleet.model().await;
    assert!(fleet.pool.set_weight("r0", 0.0, Instant::now()));
    for _ in 0..20 {
        let answer = model.generate(words(1)).await.expect("an answer");
        assert_eq!(answer.origin.replica.as_deref(), Some("r1"));
    }
    let unknown = Replica::new("http://nobody", Instant::now());
    assert!(!fleet.pool.set_weight(unknown.id(), 1.0, Instant::now()));
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_at_any_moment_leave_no_slot_taken() {
    let mut sim = one_slot(50.0);
    sim.slots = 8;
    let site = Arc::new(Site::with(3, sim, None, |config| config.gateway.hedge_percentile = 90).await);
    let mut clients = JoinSet::new();
    for i in 0..200_u64 {
        let site = Arc::clone(&site);
        clients.spawn(async move {
            let patience = Duration::from_millis(i * 7 % 300);
            let prompt = format!("client {i}");
            let request = if i % 3 == 0 { site.completion(&prompt, 60) } else { site.streamed(&prompt, 60) };
            // Gone in the queue, before the first token, or in the middle of the text.
            let _ = tokio::time::timeout(patience, async { request.send().await?.text().await }).await;
        });
    }
    while clients.join_next().await.is_some() {}
    let begun = Instant::now();
    while site.services.iter().any(|service| service.sim.load().in_flight() != 0) {
        assert!(begun.elapsed() < Duration::from_secs(2), "a slot is taken still");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(site.completion("still there?", 2).send().await.expect("an answer").status(), 200);
}

/// Which replicas answer, one request after the other.
async fn replicas_of(site: &Site, prompts: impl Iterator<Item = String>) -> Vec<String> {
    let mut replicas = Vec::new();
    for prompt in prompts {
        let answer = site.completion(&prompt, 2).send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        replicas.push(answer.headers()["x-llmo-replica"].to_str().expect("text").to_owned());
    }
    replicas
}

#[tokio::test(flavor = "multi_thread")]
async fn prompts_that_begin_alike_go_to_one_replica_and_strangers_elsewhere() {
    let choose = |config: &mut llmo_config::Config| config.gateway.policy = llmo_config::Policy::PrefixAware;
    let site = Site::with(4, SimOptions::default(), None, choose).await;
    let shared = "a long story ".repeat(100);
    let alike = replicas_of(&site, (0..12).map(|i| format!("{shared}{i}"))).await;
    assert!(alike.iter().all(|replica| *replica == alike[0]), "{alike:?}");
    let strangers = replicas_of(&site, (0..40).map(|i| format!("{i} {shared}"))).await;
    assert!(strangers.iter().any(|replica| *replica != alike[0]), "{strangers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_s_requests_go_to_one_replica_where_it_is_the_key() {
    let choose = |config: &mut llmo_config::Config| {
        config.gateway.policy = llmo_config::Policy::ConsistentHash;
        config.gateway.hash_on = llmo_config::HashOn::Tenant;
    };
    let mut site = Site::with(4, SimOptions::default(), None, choose).await;
    let of = async |site: &Site, tenant: &str, i: u32| {
        let request = site.completion(&format!("question {i}"), 2).header("x-llmo-tenant", tenant);
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.headers()["x-llmo-replica"].to_str().expect("text").to_owned()
    };
    let home = of(&site, "team-a", 0).await;
    for i in 1..10 {
        assert_eq!(of(&site, "team-a", i).await, home);
    }
    let index = site.services.iter().position(|service| service.id() == home).expect("one of them");
    site.services[index].kill();
    let other = of(&site, "team-a", 20).await;
    assert_ne!(other, home);
    assert_eq!(of(&site, "team-a", 21).await, other, "the next on the ring, and that one only");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_used_up_its_minute_is_refused_and_others_are_not() {
    let limit = |config: &mut llmo_config::Config| {
        config.gateway.tenant_tokens_per_minute = 100;
        // Nobody listens there: each gateway counts for itself.
        config.gateway.limits_backend = llmo_config::LimitsBackend::Redis;
        config.cache.redis_url = "redis://127.0.0.1:1/0".into();
    };
    let site = Site::with(1, SimOptions::default(), None, limit).await;
    let status = async |tenant: &str, i: u32| {
        let request = site.completion(&format!("{tenant} {i}"), 30).header("x-llmo-tenant", tenant);
        request.send().await.expect("an answer")
    };
    for i in 0..3 {
        assert_eq!(status("a", i).await.status(), 200);
    }
    let refused = status("a", 3).await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(status("b", 0).await.status(), 200);
    let metrics = site.get("/metrics").await.expect("an answer").text().await.expect("text");
    let counted = metrics.lines().any(|line| line.starts_with("llmo_limits_local_total") && !line.ends_with(" 0"));
    assert!(counted, "{metrics}");
}
