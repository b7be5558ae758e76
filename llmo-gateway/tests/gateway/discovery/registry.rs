//! Services that announce themselves, at one gateway or at several that share a Redis.

use std::time::{Duration, Instant};

use llmo_backends::sim::SimOptions;
use llmo_config::Config;
use llmo_server::services::model::Announcer;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::redis_server::RedisServer;
use crate::service::Service;
use crate::site::Site;

/// A gateway with a registry, which knows nobody.
async fn gateway(change: impl FnOnce(&mut Config)) -> Site {
    Site::unready(|config| {
        config.gateway.upstreams = Vec::new();
        config.discovery.registry = true;
        change(config);
    })
    .await
}

async fn announce(site: &Site, body: &Value, token: Option<&str>) -> (StatusCode, Value) {
    let mut request = site.client.post(format!("{}/registry/replicas", site.dashboard)).json(body);
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status(), answer.json().await.expect("JSON"))
}

async fn ids(site: &Site) -> Vec<String> {
    let answer = site.client.get(format!("{}/api/replicas", site.dashboard)).send().await.expect("an answer");
    let replicas: Value = answer.json().await.expect("JSON");
    replicas
        .as_array()
        .expect("a list")
        .iter()
        .filter(|r| r["retiring"] == false)
        .filter_map(|r| r["id"].as_str().map(str::to_owned))
        .collect()
}

async fn until_ids(site: &Site, wanted: &[String]) -> Duration {
    let begun = Instant::now();
    loop {
        let now = ids(site).await;
        if now == wanted {
            return begun.elapsed();
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "{wanted:?}: after twenty seconds {now:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_announces_itself_keeps_its_lease_and_says_good_bye() {
    let site = gateway(|config| config.discovery.lease_seconds = 1).await;
    let service = Service::start(SimOptions::default()).await;
    let mut config = Config::default();
    config.gateway.register = vec![site.dashboard.clone()];
    config.discovery.lease_seconds = 1;
    let shutdown = CancellationToken::new();
    // As a service that listens everywhere: it finds out by itself where the gateway reaches it.
    let port = service.id().rsplit(':').next().expect("a port").parse().expect("a number");
    let announcer = Announcer::start(&config, ([0, 0, 0, 0], port).into(), shutdown.clone());
    until_ids(&site, &[service.id()]).await;
    site.until_ready().await;
    assert_eq!(site.completion("count", 3).send().await.expect("an answer").status(), 200);
    // Longer than the lease: it was renewed.
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert_eq!(ids(&site).await, [service.id()]);
    shutdown.cancel();
    announcer.finish().await;
    assert!(until_ids(&site, &[]).await < Duration::from_millis(900), "it said so, and was not just forgotten");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_falls_silent_is_forgotten() {
    let site = gateway(|_| {}).await;
    let service = Service::start(SimOptions::default()).await;
    let (status, body) = announce(&site, &json!({"url": service.url(), "lease_seconds": 1}), None).await;
    assert_eq!((status, &body["lease_seconds"]), (StatusCode::OK, &json!(1)));
    until_ids(&site, &[service.id()]).await;
    until_ids(&site, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_who_may_gets_in() {
    let site = gateway(|config| config.discovery.token = "secret".into()).await;
    let good = json!({"url": "http://127.0.0.1:9"});
    assert_eq!(announce(&site, &good, None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(announce(&site, &good, Some("secreT")).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(announce(&site, &good, Some("secret")).await.0, StatusCode::OK);
    for bad in [
        json!({"url": "ftp://a"}),
        json!({"url": "http://a:1", "models": ["="]}),
        json!({"url": 7}),
        json!({"uri": "x"}),
    ] {
        assert_eq!(announce(&site, &bad, Some("secret")).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
    let from_page = site.client.post(format!("{}/registry/replicas", site.dashboard)).json(&good);
    let from_page = from_page.bearer_auth("secret").header("origin", "http://evil.example").send().await;
    assert_eq!(from_page.expect("an answer").status(), StatusCode::FORBIDDEN);
    // Nothing of it is on the port that clients see, and nothing anywhere unless it is turned on.
    let public =
        site.client.post(format!("{}/registry/replicas", site.url)).json(&good).send().await.expect("an answer");
    assert_eq!(public.status(), StatusCode::NOT_FOUND);
    let closed = Site::unready(|_| {}).await;
    assert_eq!(announce(&closed, &good, None).await.0, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_what_they_know_through_redis_and_go_on_without_it() {
    let mut redis = RedisServer::start();
    let share = |name: &str| {
        let (url, own) = (redis.url(), format!("http://{name}"));
        move |config: &mut Config| {
            config.discovery.registry_redis = url;
            config.gateway.advertise = own;
        }
    };
    let (a, b) = (gateway(share("gw-a")).await, gateway(share("gw-b")).await);
    let service = Service::start(SimOptions::default()).await;
    assert_eq!(announce(&a, &json!({"url": service.url(), "lease_seconds": 60}), None).await.0, StatusCode::OK);
    until_ids(&a, &[service.id()]).await;
    until_ids(&b, &[service.id()]).await;
    b.until_ready().await;

    let traefik = b.client.get(format!("{}/api/traefik", b.dashboard)).send().await.expect("an answer");
    let traefik: Value = traefik.json().await.expect("JSON");
    let servers = &traefik["http"]["services"]["llmo"]["loadBalancer"]["servers"];
    assert_eq!(servers, &json!([{"url": "http://gw-a"}, {"url": "http://gw-b"}]));

    redis.kill();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(b.completion("count", 3).send().await.expect("an answer").status(), 200);
    let metrics = b.client.get(format!("{}/metrics", b.dashboard)).send().await.expect("metrics");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("llmo_config_last_reload_successful{provider=\"registry\"} 0"), "{metrics}");
    // Announced while Redis is away: known where it was announced.
    let other = Service::start(SimOptions::default()).await;
    let mut both = [service.id(), other.id()];
    both.sort_unstable();
    announce(&a, &json!({"url": other.url(), "lease_seconds": 60}), None).await;
    until_ids(&a, &both).await;

    redis.restart();
    announce(&a, &json!({"url": other.url(), "lease_seconds": 60}), None).await;
    announce(&a, &json!({"url": service.url(), "lease_seconds": 60}), None).await;
    until_ids(&b, &both).await;
    let withdrawn = a.client.delete(format!("{}/registry/replicas", a.dashboard)).json(&json!({"url": service.url()}));
    assert_eq!(withdrawn.send().await.expect("an answer").status(), StatusCode::OK);
    until_ids(&a, &[other.id()]).await;
    until_ids(&b, &[other.id()]).await;
}
