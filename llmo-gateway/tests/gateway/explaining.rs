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
        assert!(route.starts_with("policy=power") && route.ends_with("attempts=1"), "{route}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_can_be_explained_to_everybody() {
    let site = Site::with(1, SimOptions::default(), None, |config| config.gateway.explain_route = true).await;
    let answer = site.completion("a", 2).send().await.expect("an answer");
    assert!(answer.headers()[ROUTE].to_str().expect("text").contains("usable=1/1"));
}
