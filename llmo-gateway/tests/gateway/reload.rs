//! The configuration changes while requests run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use llmo_backends::sim::SimOptions;
use llmo_core::Model;
use serde_json::Value;

use crate::service::Service;
use crate::site::{Site, text, words};

fn sim() -> SimOptions {
    let mut sim = SimOptions::default();
    sim.decode_tokens_per_second = 400.0;
    sim
}

/// Puts a new file in the place of the old one, as careful programs do.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    std::fs::write(&new, text).expect("a file");
    std::fs::rename(&new, path).expect("the same directory");
}

fn upstreams(services: &[&Service]) -> String {
    services.iter().map(|service| format!("[[upstreams]]\nurl = \"{}\"\n", service.url())).collect()
}

struct Watched {
    site: Site,
    file: PathBuf,
    _dir: tempfile::TempDir,
}

impl Watched {
    /// A gateway that knows what a file says, which names the first service.
    async fn new(n: usize) -> Self {
        Self::with(n, sim()).await
    }

    async fn with(n: usize, sim: SimOptions) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("routes.toml");
        let path = file.clone();
        let site = Site::with_services(n, sim, |services, config| {
            replace(&path, &upstreams(&[&services[0]]));
            config.gateway.upstreams = Vec::new();
            config.discovery.file.clone_from(&path);
            config.discovery.file_interval_ms = 20;
        })
        .await;
        Self { site, file, _dir: dir }
    }

    async fn json(&self, path: &str) -> Value {
        let answer = self.site.client.get(format!("{}{path}", self.site.dashboard)).send().await.expect("an answer");
        answer.json().await.expect("JSON")
    }

    async fn until(&self, path: &str, what: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let now = self.json(path).await;
            if what(&now) {
                return now;
            }
            assert!(begun.elapsed() < Duration::from_secs(20), "{path} after twenty seconds: {now:#}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_replicas_are(&self, services: &[&Service]) {
        let mut wanted: Vec<String> = services.iter().map(|service| service.id()).collect();
        wanted.sort_unstable();
        let ids = |now: &Value| {
            let mut ids: Vec<_> = now
                .as_array()
                .into_iter()
                .flatten()
                .filter(|r| r["retiring"] == false)
                .filter_map(|r| r["id"].as_str())
                .collect();
            ids.sort_unstable();
            ids == wanted
        };
        self.until("/api/replicas", ids).await;
    }

    async fn problem(&self) -> Option<String> {
        let lines = self.json("/api/providers").await;
        let file = lines.as_array().expect("a list").iter().find(|line| line["name"] == "file").expect("it is watched");
        file["problem"].as_str().map(str::to_owned)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_the_configuration_changes_fifty_times() {
    let watched = Watched::new(4).await;
    let over = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let load: Vec<_> = (0..6)
        .map(|client| {
            let streamed = client % 2 == 0;
            let site = (watched.site.streamed("count", 40), watched.site.completion("count", 40));
            let (over, done) = (Arc::clone(&over), Arc::clone(&done));
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    let request = if streamed { &site.0 } else { &site.1 };
                    let answer = request.try_clone().expect("plain").send().await.expect("an answer");
                    let (status, body) = (answer.status(), answer.text().await.expect("a whole body"));
                    assert_eq!(status, 200, "{body}");
                    match streamed {
                        true => assert!(body.trim_end().ends_with("data: [DONE]"), "a broken stream: {body}"),
                        false => {
                            assert_eq!(text(&serde_json::from_str(&body).expect("JSON")), words(40));
                        }
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();

    let all = &watched.site.services;
    let mut rng = fastrand::Rng::with_seed(4);
    for change in 0..50 {
        if change % 10 == 9 {
            replace(&watched.file, &format!("[[upstreams]]\nurl = \"nonsense {change}\"\n"));
            watched.until("/api/providers", |lines| lines.to_string().contains(&format!("nonsense {change}"))).await;
            continue;
        }
        // Often nobody of the old ones stays.
        let mut chosen: Vec<&Service> = all.iter().collect();
        rng.shuffle(&mut chosen);
        chosen.truncate(rng.usize(1..=2));
        let route = format!("[[routes]]\nname = \"r{change}\"\nmodel = \"alias-*\"\nto = \"sim\"\n");
        replace(&watched.file, &(upstreams(&chosen) + &route));
        watched.until_replicas_are(&chosen).await;
        assert_eq!(watched.problem().await, None);
    }
    over.store(true, Ordering::Relaxed);
    for client in load {
        client.await.expect("no request failed");
    }
    assert!(done.load(Ordering::Relaxed) > 50, "there was load: {done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_file_is_refused_with_its_reason_and_counted_and_a_good_one_heals_it() {
    let watched = Watched::new(2).await;
    let (first, second) = (&watched.site.services[0], &watched.site.services[1]);
    for (bad, words) in [
        ("[[upstreams]\n", &["routes.toml", "line 1"][..]),
        ("[[upstreams]]\nurl = \"ftp://a\"\n", &["ftp://a", "http://"]),
        ("[[routes]]\nmodel = \"a\"\nto = \"*\"\n", &["number 1", "*"]),
        ("[[routes]]\nmodle = \"a\"\n", &["modle", "line 2"]),
    ] {
        replace(&watched.file, bad);
        let lines =
            watched.until("/api/providers", |lines| words.iter().all(|word| lines.to_string().contains(word))).await;
        assert!(lines.to_string().contains("problem"), "{lines}");
        watched.until_replicas_are(&[first]).await;
        assert_eq!(watched.site.completion("count", 3).send().await.expect("an answer").status(), 200);
    }
    let metrics = watched.site.client.get(format!("{}/metrics", watched.site.dashboard)).send().await.expect("metrics");
    let metrics = metrics.text().await.expect("text");
    for line in [
        "llmo_config_reloads_total{provider=\"file\",outcome=\"refused\"} 4",
        "llmo_config_last_reload_successful{provider=\"file\"} 0",
        "llmo_config_last_reload_successful{provider=\"config\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
    std::fs::remove_file(&watched.file).expect("it is there");
    watched.until("/api/providers", |lines| lines.to_string().contains("can't be read")).await;
    watched.until_replicas_are(&[first]).await;
    replace(&watched.file, &upstreams(&[second]));
    watched.until_replicas_are(&[second]).await;
    assert_eq!(watched.problem().await, None);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_links_of_a_config_map_are_followed() {
    let watched = Watched::new(2).await;
    let dir = watched.file.parent().expect("a directory");
    // As the kubelet does it: routes.toml -> ..data/routes.toml, ..data -> a directory of this version.
    let version = |name: &str, service: &Service| {
        let version = dir.join(name);
        std::fs::create_dir(&version).expect("a new directory");
        std::fs::write(version.join("routes.toml"), upstreams(&[service])).expect("a file");
        let link = dir.join("..data_tmp");
        std::os::unix::fs::symlink(name, &link).expect("a link");
        std::fs::rename(link, dir.join("..data")).expect("the same directory");
    };
    version("..v1", &watched.site.services[0]);
    std::fs::remove_file(&watched.file).expect("it is there");
    std::os::unix::fs::symlink("..data/routes.toml", &watched.file).expect("a link");
    watched.until_replicas_are(&[&watched.site.services[0]]).await;
    version("..v2", &watched.site.services[1]);
    watched.until_replicas_are(&[&watched.site.services[1]]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_on_a_replica_that_was_removed_is_finished_there() {
    let mut slow = sim();
    slow.decode_tokens_per_second = 60.0;
    let watched = Watched::with(2, slow).await;
    let (first, second) = (&watched.site.services[0], &watched.site.services[1]);
    let mut answer = watched.site.streamed("count", 60).send().await.expect("an answer");
    let mut body = answer.chunk().await.expect("a piece").expect("a piece").to_vec();
    replace(&watched.file, &upstreams(&[second]));
    watched.until_replicas_are(&[second]).await;
    let elsewhere = watched.site.completion("count", 3).send().await.expect("an answer");
    assert_eq!(elsewhere.headers()["x-llmo-replica"], second.id());
    while let Some(piece) = answer.chunk().await.expect("no break") {
        body.extend_from_slice(&piece);
    }
    let body = String::from_utf8(body).expect("text");
    assert!(body.trim_end().ends_with("data: [DONE]") && body.contains("t59 "), "{body}");
    assert!(second.sim.load().decode_tokens < 10, "the stream stayed on {}", first.id());
}
