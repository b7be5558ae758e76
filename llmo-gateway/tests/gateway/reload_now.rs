//! `POST /admin/reload`: what changed holds at once, and what is wrong is said to who asked.

use std::path::{Path, PathBuf};

use llmo_backends::sim::SimOptions;
use llmo_config::Loader;
use llmo_gateway::keys::fresh;
use llmo_gateway::{Gateway, Listeners};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::service::Service;

/// So rarely that no test sees the gateway look by itself.
const HOUR: u64 = 3_600_000;

struct Admin {
    url: String,
    dashboard: String,
    file: PathBuf,
    keys: PathBuf,
    client: Client,
    _dir: tempfile::TempDir,
    _gateway: DropGuard,
}

impl Admin {
    /// A gateway that has a file of its own, and one of keys.
    async fn over(service: &Service) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let (file, keys) = (dir.path().join("llmo.toml"), dir.path().join("keys.toml"));
        std::fs::write(&file, configuration(service, &keys, "first")).expect("a file");
        fresh::add(&keys, &fresh::entry("a", "sk-a")).expect("good");
        let loaded = Loader::new().file(&file).load().expect("a good file");
        let gateway = Gateway::with_cache(&loaded.config, None).expect("good URLs").reloading(&loaded);
        let (api, dashboard) = (listener().await, listener().await);
        let (url, at) = (address(&api), address(&dashboard));
        let shutdown = CancellationToken::new();
        tokio::spawn(gateway.serve(Listeners { api, dashboard: Some(dashboard), plain: None }, shutdown.clone()));
        let client = Client::builder().no_proxy().build().expect("a client");
        let admin = Self { url, dashboard: at, file, keys, client, _dir: dir, _gateway: shutdown.drop_guard() };
        // The dashboard answers when the sources are known.
        admin.reload().await;
        admin
    }

    async fn reload(&self) -> (u16, Value) {
        let answer = self.client.post(format!("{}/admin/reload", self.dashboard)).send().await.expect("an answer");
        (answer.status().as_u16(), answer.json().await.expect("JSON"))
    }

    async fn routes(&self) -> String {
        let answer = self.client.get(format!("{}/api/routes", self.dashboard)).send().await.expect("an answer");
        answer.text().await.expect("text")
    }

    async fn asked_with(&self, key: &str) -> u16 {
        let answer = self.client.get(format!("{}/v1/models", self.url)).bearer_auth(key).send().await;
        answer.expect("an answer").status().as_u16()
    }
}

fn configuration(service: &Service, keys: &Path, alias: &str) -> String {
    format!(
        "[gateway]\nkeys_file = {keys:?}\n[discovery]\nfile_interval_ms = {HOUR}\n[[upstreams]]\nurl = \"{}\"\n\
         [[routes]]\nname = \"{alias}\"\nmodel = \"{alias}\"\nto = \"sim\"\n",
        service.url()
    )
}

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.expect("a free port")
}

fn address(listener: &TcpListener) -> String {
    format!("http://{}", listener.local_addr().expect("bound"))
}

fn of<'a>(answer: &'a Value, provider: &str) -> &'a Value {
    let sources = answer["sources"].as_array().expect("a list");
    sources.iter().find(|source| source["provider"] == provider).expect("it is read")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_holds_at_once_and_is_told() {
    let service = Service::start(SimOptions::named("sim")).await;
    let admin = Admin::over(&service).await;
    let (status, answer) = admin.reload().await;
    assert_eq!(
        (status, &of(&answer, "config")["changed"], &of(&answer, "keys")["changed"]),
        (200, &json!(false), &json!(false))
    );

    let new = configuration(&service, &admin.keys, "second").replace("[gateway]", "[gateway]\nmax_queued = 7");
    std::fs::write(&admin.file, new).expect("a file");
    fresh::add(&admin.keys, &fresh::entry("b", "sk-b")).expect("good");
    assert_eq!(admin.asked_with("sk-b").await, 401);
    let (status, answer) = admin.reload().await;
    assert_eq!(status, 200, "{answer}");
    let expected = json!({
        "provider": "config", "changed": true, "replicas": 1, "routes": 1, "at_restart": ["gateway.max_queued"],
    });
    assert_eq!(of(&answer, "config"), &expected);
    assert_eq!(of(&answer, "keys")["changed"], json!(true));
    assert_eq!(admin.asked_with("sk-b").await, 200);
    let begun = std::time::Instant::now();
    while !admin.routes().await.contains("second") {
        assert!(begun.elapsed().as_secs() < 10, "the route holds");
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_a_400_that_says_where_and_the_old_state_stays() {
    let service = Service::start(SimOptions::named("sim")).await;
    let admin = Admin::over(&service).await;
    for (bad, words) in [
        ("[[upstreams]\n", &["llmo.toml", "line 1"][..]),
        ("[gateway]\nprot = 1\n", &["gateway.prot", "did you mean", "llmo.toml"]),
        ("[[upstreams]]\nurl = \"ftp://a\"\n", &["ftp://a", "http://"]),
    ] {
        std::fs::write(&admin.file, bad).expect("a file");
        // Twice: that it is known makes it no better.
        for _ in 0..2 {
            let (status, answer) = admin.reload().await;
            let message = answer["error"]["message"].as_str().expect("a message");
            assert!(status == 400 && words.iter().all(|word| message.contains(word)), "{status} {answer}");
            assert_eq!(of(&answer, "keys")["changed"], json!(false), "the others are read");
            assert!(of(&answer, "config")["problem"].is_string(), "{answer}");
        }
    }
    assert_eq!(admin.asked_with("sk-a").await, 200);
    assert!(admin.routes().await.contains("first"));
    let metrics = admin.client.get(format!("{}/metrics", admin.dashboard)).send().await.expect("metrics");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("llmo_config_last_reload_successful{provider=\"config\"} 0"), "{metrics}");

    std::fs::write(&admin.file, configuration(&service, &admin.keys, "first")).expect("a file");
    let (status, answer) = admin.reload().await;
    assert_eq!(status, 200, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_web_page_can_reload() {
    let service = Service::start(SimOptions::named("sim")).await;
    let admin = Admin::over(&service).await;
    let url = format!("{}/admin/reload", admin.dashboard);
    let page = admin.client.post(&url).header("origin", "http://evil.example").send().await.expect("an answer");
    assert_eq!(page.status(), 400);
    assert_eq!(admin.client.get(&url).send().await.expect("an answer").status(), 405);
}
