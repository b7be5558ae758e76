//! Routes, as clients see them.

use llmo_backends::sim::{Fault, SimOptions};
use llmo_config::{Config, RouteConfig, UpstreamConfig};
use serde_json::{Value, json};

use crate::site::Site;

fn route(text: &str) -> RouteConfig {
    toml::from_str(text).expect("a good route")
}

/// Services of the models `a`, `b`, … behind these routes.
async fn site(models: &[&str], routes: &[&str], change: impl FnOnce(&mut Config)) -> Site {
    let sims: Vec<_> = models.iter().map(|name| SimOptions::named(*name)).collect();
    Site::of(sims, |_, config| {
        config.routes = routes.iter().map(|text| route(text)).collect();
        change(config);
    })
    .await
}

async fn ask(site: &Site, model: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let body = json!({"model": model, "prompt": "count", "max_tokens": 3, "temperature": 0});
    let mut request = site.client.post(format!("{}/v1/completions", site.url)).json(&body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

async fn answering(site: &Site, model: &str, headers: &[(&str, &str)]) -> String {
    let (status, body) = ask(site, model, headers).await;
    body["model"].as_str().filter(|_| status == 200).map_or_else(|| body.to_string(), str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_wildcards_headers_tenants_and_paths_lead_to_models() {
    let routes = [
        "headers = { x-canary = \"*\" }\nto = \"b\"",
        "tenant = \"team-b\"\nto = \"b\"",
        "path = \"/api/*\"\nto = \"b\"",
        "model = \"gpt-4o\"\nto = \"a\"",
        "model = \"org/*\"\nto = \"*\"",
    ];
    let site = site(&["a", "b"], &routes, |_| {}).await;
    assert_eq!(answering(&site, "gpt-4o", &[]).await, "a");
    assert_eq!(answering(&site, "org/b", &[]).await, "b");
    assert_eq!(answering(&site, "b", &[]).await, "b");
    assert_eq!(answering(&site, "gpt-4o", &[("x-canary", "1")]).await, "b");
    assert_eq!(answering(&site, "gpt-4o", &[("x-llmo-tenant", "team-b")]).await, "b");
    assert_eq!(answering(&site, "gpt-4o", &[("x-llmo-tenant", "team-a")]).await, "a");
    let body = json!({"model": "a", "prompt": "count", "stream": false, "options": {"num_predict": 2}});
    let answer = site.client.post(format!("{}/api/generate", site.url)).json(&body).send().await.expect("an answer");
    assert_eq!(answer.json::<Value>().await.expect("JSON")["model"], "b");
    assert_eq!(ask(&site, "unheard-of", &[]).await.0, 404);

    let list: Value = site.get("/v1/models").await.expect("an answer").json().await.expect("JSON");
    let mut ids: Vec<_> = list["data"].as_array().expect("a list").iter().filter_map(|m| m["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["a", "b", "gpt-4o"]);
    assert_eq!(site.get("/v1/models/gpt-4o").await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_model_of_a_chain_answers_when_one_fails_is_busy_or_is_not_there() {
    let routes = ["name = \"safe\"\nmodel = [\"a\", \"best\"]\nto = \"a\"\nfallback = [\"nowhere\", \"b\"]"];
    let site = site(&["a", "b"], &routes, |_| {}).await;
    assert_eq!(answering(&site, "best", &[]).await, "a");
    site.services[0].sim.faults().always(Fault::unavailable());
    assert_eq!(answering(&site, "best", &[]).await, "b");
    site.services[0].sim.faults().clear();
    let mut site = site;
    site.services[0].kill();
    assert_eq!(answering(&site, "a", &[]).await, "b");
    let metrics = site.client.get(format!("{}/metrics", site.dashboard)).send().await.expect("metrics");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("llmo_route_requests_total{route=\"safe\"} 3"), "{metrics}");
    assert!(metrics.contains("llmo_route_fallbacks_total{route=\"safe\""), "{metrics}");
    // Callers asked three times, however many models that took.
    let overview = site.client.get(format!("{}/api/overview", site.dashboard)).send().await.expect("an answer");
    let overview: Value = overview.json().await.expect("JSON");
    assert_eq!(overview["requests"]["total"], 3, "{overview}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_to_a_model_that_nobody_serves_is_an_outage_and_no_404() {
    let site = site(&["a"], &["model = \"gpt\"\nto = \"gone\""], |_| {}).await;
    let (status, body) = ask(&site, "gpt", &[]).await;
    assert_eq!(status, 503, "{body}");
    assert!(body.to_string().contains("gone"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_s_models_are_used_under_other_names() {
    let site = site(&["vendor/model-7b"], &[], |config| {
        let mut upstream = UpstreamConfig::new(config.gateway.upstreams.remove(0));
        upstream.models = vec!["small=vendor/model-7b".into()];
        config.upstreams = vec![upstream];
    })
    .await;
    assert_eq!(ask(&site, "small", &[]).await.0, 200);
    assert_eq!(ask(&site, "vendor/model-7b", &[]).await.0, 404);
}
