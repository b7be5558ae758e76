//! TLS over real sockets: both versions of HTTP, certificates that change, and the port beside it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)] // Clippy knows tests, but not what they call.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::routing::get;
use llmo_server::http::tls::redirect::{self, HttpChallenges};
use llmo_server::http::tls::watch::WatchedFiles;
use llmo_server::http::tls::{CertificatePair, Certificates, PairError, Tls, TlsMetrics};
use llmo_server::http::{ServeOptions, layers};
use llmo_server::metrics::{Metrics, Role};
use rcgen::{CertificateParams, KeyPair};
use support::{PATIENCE, Raw, Server};

/// A self-signed certificate and its key.
fn made(expired: bool) -> (String, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
    if expired {
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    }
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn put(dir: &Path, (cert, key): (&str, &str)) {
    std::fs::write(dir.join("key.pem"), key).unwrap();
    std::fs::write(dir.join("cert.pem"), cert).unwrap();
}

fn app() -> Router {
    layers::standard(Router::new().route("/ok", get(async || "ok")))
}

async fn serve(certificates: &Arc<Certificates>) -> Server {
    let mut options = ServeOptions::default();
    options.header_timeout = Duration::from_millis(500);
    options.tls = Some(Tls::new(Arc::clone(certificates)).unwrap());
    Server::start(app(), options).await
}

/// A client that trusts this certificate only, and opens a connection for each request.
fn trusting(cert: &str) -> reqwest::Client {
    let root = reqwest::Certificate::from_pem(cert.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([root]).pool_max_idle_per_host(0).timeout(PATIENCE).build().unwrap()
}

fn url(server: &Server) -> String {
    format!("https://localhost:{}/ok", server.addr.port())
}

#[tokio::test]
async fn http2_is_chosen_by_alpn_and_http1_works() {
    let certificates = Arc::new(Certificates::default());
    let (cert, key) = made(false);
    certificates.install(CertificatePair::from_pem(cert.as_bytes(), key.as_bytes(), SystemTime::now()).unwrap());
    let server = serve(&certificates).await;
    let answer = trusting(&cert).get(url(&server)).send().await.unwrap();
    assert_eq!((answer.version(), answer.status().as_u16()), (reqwest::Version::HTTP_2, 200));
    let root = reqwest::Certificate::from_pem(cert.as_bytes()).unwrap();
    let old = reqwest::Client::builder().tls_certs_only([root]).http1_only().build().unwrap();
    let answer = old.get(url(&server)).send().await.unwrap();
    assert_eq!((answer.version(), answer.text().await.unwrap().as_str()), (reqwest::Version::HTTP_11, "ok"));
}

#[tokio::test]
async fn who_speaks_no_tls_or_shakes_hands_for_ever_is_cut_and_others_are_served() {
    let certificates = Arc::new(Certificates::default());
    let (cert, key) = made(false);
    certificates.install(CertificatePair::from_pem(cert.as_bytes(), key.as_bytes(), SystemTime::now()).unwrap());
    let server = serve(&certificates).await;
    let mut slow = Raw::connect(server.addr).await;
    slow.send(b"\x16\x03\x01\x02\x00\x01").await;
    let mut plain = Raw::connect(server.addr).await;
    plain.send("GET /ok HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(!plain.rest().await.contains("200"));
    assert_eq!(trusting(&cert).get(url(&server)).send().await.unwrap().status(), 200);
    assert_eq!(slow.rest().await, "", "cut within the time for headers");
}

#[tokio::test]
async fn a_new_pair_is_used_at_once_and_one_that_is_no_good_never() {
    let dir = tempfile::tempdir().unwrap();
    let (cert_path, key_path) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let (first, second, third) = (made(false), made(false), made(true));
    put(dir.path(), (&first.0, &first.1));
    let certificates = Arc::new(Certificates::default());
    let mut files = WatchedFiles::open(&cert_path, &key_path, &certificates).unwrap();
    let server = serve(&certificates).await;
    let works = async |cert: &str| trusting(cert).get(url(&server)).send().await.is_ok();
    assert!(works(&first.0).await);

    // An open connection outlives what comes now.
    let kept = reqwest::Client::builder()
        .tls_certs_only([reqwest::Certificate::from_pem(first.0.as_bytes()).unwrap()])
        .build()
        .unwrap();
    assert_eq!(kept.get(url(&server)).send().await.unwrap().status(), 200);

    for (what, pair) in [
        ("another's key", (first.0.as_str(), second.1.as_str())),
        ("no certificate", ("-----BEGIN", first.1.as_str())),
        ("half of it", (&first.0[..first.0.len() / 2], first.1.as_str())),
        ("no key", (second.0.as_str(), "")),
        ("expired", (third.0.as_str(), third.1.as_str())),
    ] {
        let before = certificates.counts();
        put(dir.path(), pair);
        // Twice: whoever asks again is told again, and nothing is logged or counted twice.
        let told = files.look(&certificates).unwrap_err();
        assert_eq!(files.look(&certificates), Err(told), "{what}");
        assert_eq!(certificates.counts(), (before.0, before.1 + 1, true), "{what}");
        assert!(works(&first.0).await, "{what}");
    }

    put(dir.path(), (&second.0, &second.1));
    assert_eq!(files.look(&certificates), Ok(true));
    assert_eq!(files.look(&certificates), Ok(false));
    assert!(!certificates.counts().2);
    assert!(works(&second.0).await);
    assert!(!works(&first.0).await);
    assert_eq!(kept.get(url(&server)).send().await.unwrap().status(), 200);

    std::fs::remove_file(&cert_path).unwrap();
    assert!(files.look(&certificates).is_err());
    assert!(certificates.counts().2 && works(&second.0).await);

    let metrics = Metrics::new(Role::Gateway);
    metrics.register(|registry| registry.register_collector(Box::new(TlsMetrics(Arc::clone(&certificates)))));
    let text = metrics.encode().await;
    for line in ["llmo_tls_last_reload_successful 0", "llmo_tls_reloads_total 2", "llmo_tls_reload_failures_total 6"] {
        assert!(text.contains(line), "{line} is not in {text}");
    }
    let expiry = text.lines().find(|line| line.starts_with("llmo_tls_cert_not_after_timestamp_seconds ")).unwrap();
    let seconds: f64 = expiry.rsplit(' ').next().unwrap().parse().unwrap();
    let not_after = certificates.not_after().unwrap().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(seconds, not_after.as_secs_f64());
}

#[test]
fn a_server_does_not_start_with_what_is_no_good() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    let certificates = Certificates::default();
    let error = WatchedFiles::open(&cert, &key, &certificates).unwrap_err();
    assert!(matches!(error, PairError::Unreadable { .. }) && error.to_string().contains("cert.pem"), "{error}");
    put(dir.path(), (&made(false).0, &made(false).1));
    assert!(matches!(WatchedFiles::open(&cert, &key, &certificates), Err(PairError::Mismatch)));
}

#[tokio::test]
async fn the_plain_port_sends_people_to_tls_and_answers_challenges() {
    let challenges = HttpChallenges::default();
    let server = Server::start(redirect::router(8443, challenges.clone()), ServeOptions::default()).await;
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    for method in [reqwest::Method::GET, reqwest::Method::POST] {
        let answer = client.request(method, server.url("/v1/models?x=1")).send().await.unwrap();
        assert_eq!(answer.status(), 308);
        assert_eq!(answer.headers()["location"], "https://127.0.0.1:8443/v1/models?x=1");
    }
    challenges.put("token", "token.thumb");
    let path = server.url("/.well-known/acme-challenge/token");
    assert_eq!(client.get(&path).send().await.unwrap().text().await.unwrap(), "token.thumb");
    challenges.remove("token");
    assert_eq!(client.get(&path).send().await.unwrap().status(), 404);
    let mut raw = Raw::connect(server.addr).await;
    raw.send("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n").await;
    assert_eq!(support::status(&raw.rest().await), 400);
}
