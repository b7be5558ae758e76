//! What an answer says about its way: only to who asks.

use llmo_backends::sim::SimOptions;

use crate::site::Site;

const ROUTE: &str = "x-llmo-route";

#[tokio::test(flavor = "multi_thread")]
async fn the_route_is_explained_to_who_asks_and_to_nobody_else() {
    let site = Site::new(2, SimOptions::default()).await;
    let plain = site.completion("a", 2).send().await.expect("an answer");
    assert!(!plain.headers().contains_key(ROUTE));
    for request in [site.completion("b", 2), site.streamed("c", 2)] {
        let answer = request.header("x-llmo-explain", "route").send().await.expect("an answer");
        let replica = answer.headers()["x-llmo-replica"].to_str().expect("text").to_owned();
        let route = answer.headers()[ROUTE].to_str().expect("text");
        assert!(route.contains(&format!("replica={replica}; usable=2/2")), "{route}");
        assert!(
            route.starts_with("policy=power-of-two; because=better-of-two; ") && route.ends_with("attempts=1"),
            "{route}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_aliases_and_fallbacks_are_named() {
    let rules =
        ["name = \"open ai\"\nmodel = \"gpt-*\"\nto = \"away\"\nfallback = \"sim\"", "model = \"small\"\nto = \"sim\""];
    let site = Site::with(1, SimOptions::default(), None, |config| {
        config.gateway.explain_route = true;
        config.routes = rules.iter().map(|rule| toml::from_str(rule).expect("a good rule")).collect();
    })
    .await;
    let route = async |model: &str| {
        let body = serde_json::json!({"model": model, "prompt": "count", "max_tokens": 2});
        let answer = site.client.post(format!("{}/v1/completions", site.url)).json(&body).send().await;
        let answer = answer.expect("an answer");
        answer.headers()[ROUTE].to_str().expect("text").to_owned()
    };
    let fallback = route("gpt-4o").await;
    let wanted = "rule=open_ai; asked=gpt-4o; model=away; fallback=sim; after=model_unavailable; policy=";
    assert!(fallback.starts_with(wanted), "{fallback}");
    let alias = route("small").await;
    assert!(alias.contains("asked=small; model=sim; policy="), "{alias}");
    let own = route("sim").await;
    assert!(own.starts_with("policy="), "{own}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_with_several_reasons_tells_which_it_had() {
    let choose = |config: &mut llmo_config::Config| {
        config.gateway.explain_route = true;
        config.gateway.policy = llmo_config::Policy::PrefixAware;
    };
    let site = Site::with(2, SimOptions::default(), None, choose).await;
    let prompt = "a long story ".repeat(100);
    for because in ["emptiest-since-its-beginning-is-new", "knows-its-beginning"] {
        let answer = site.completion(&prompt, 2).send().await.expect("an answer");
        let route = answer.headers()[ROUTE].to_str().expect("text");
        assert!(route.contains(&format!("because={because};")), "{route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_explained_to_everybody() {
    let site = Site::with(1, SimOptions::default(), None, |config| config.gateway.explain_route = true).await;
    let answer = site.completion("a", 2).send().await.expect("an answer");
    assert!(answer.headers()[ROUTE].to_str().expect("text").contains("usable=1/1"));
}
