//! What a request and a streamed token cost here and with hyper-util's pool, in processor time of the client's threads.
//! `cargo test --release … -- --ignored --nocapture cost_of_a_client`

use std::future::poll_fn;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, USER_AGENT};

use super::peer::Peer;

/// Answers so many requests at once, over and over: with the first of these writes on each connection, then with the second
/// on each, and so on. It goes on when all tokens before have been counted as received, and the client has gone to sleep.
fn serve(connections: usize, writes: Vec<String>, received: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let accepted = listener.incoming().take(connections).map(Result::unwrap);
        let mut sockets: Vec<_> =
            accepted.map(|socket| (BufReader::new(socket.try_clone().unwrap()), socket)).collect();
        while sockets.iter_mut().all(|(reader, _)| read_request(reader)) {
            let before = received.load(Ordering::Relaxed);
            for (number, write) in writes.iter().enumerate() {
                for (_, socket) in &mut sockets {
                    socket.set_nodelay(true).unwrap();
                    socket.write_all(write.as_bytes()).unwrap();
                }
                // The last write is no token.
                let tokens = if number + 1 < writes.len() { number } else { 0 };
                while received.load(Ordering::Relaxed) < before + tokens * connections {
                    std::thread::sleep(Duration::from_micros(50));
                }
                if writes.len() > 1 {
                    std::thread::sleep(Duration::from_micros(100));
                }
            }
        }
    });
    url
}

/// False if there is none.
fn read_request(reader: &mut BufReader<TcpStream>) -> bool {
    let (mut line, mut length) = (String::new(), 0);
    while line != "\r\n" {
        line.clear();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    reader.read_exact(&mut vec![0; length]).is_ok()
}

/// A stream of so many tokens: the head, each event and the end are writes of their own.
fn stream(tokens: usize) -> Vec<String> {
    let chunk = |text: String| format!("{:x}\r\n{text}\r\n", text.len());
    let event = |n| {
        chunk(format!(
            "data: {{\"id\":\"chatcmpl-0123456789\",\"object\":\"chat.completion.chunk\",\"created\":1754000000,\
             \"model\":\"smollm2-135m\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{n}\"}},\
             \"token_ids\":[{n}],\"finish_reason\":null}}]}}\n\n"
        ))
    };
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\nx-request-id: 0123456789\r\n\
                x-llmo-replica: r1\r\ndate: Mon, 30 Nov 2026 22:00:00 GMT\r\ntransfer-encoding: chunked\r\n\r\n";
    let stop = chunk("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n".into());
    let end = chunk("data: [DONE]\n\n".into()) + "0\r\n\r\n";
    [head.to_owned()].into_iter().chain((0..tokens).map(event)).chain([stop + &end]).collect()
}

/// Processor time of the threads of this name so far.
fn processor_time() -> Duration {
    let of = |task: std::io::Result<std::fs::DirEntry>| {
        let path = task.ok()?.path();
        let name = std::fs::read_to_string(path.join("comm")).ok()?;
        let used = std::fs::read_to_string(path.join("schedstat")).ok()?;
        if name.trim() != "client" {
            return None;
        }
        used.split(' ').next()?.parse::<u64>().ok()
    };
    Duration::from_nanos(std::fs::read_dir("/proc/self/task").unwrap().filter_map(of).sum())
}

/// Runs `work` once to warm up, and then for its cost, divided by `count`.
fn measure<F: Future<Output = ()> + Send + 'static>(what: &str, count: usize, work: impl Fn() -> F) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).thread_name("client").enable_all().build().unwrap();
    let mut costs = Vec::new();
    for _ in 0..6 {
        let before = processor_time();
        runtime.block_on(runtime.spawn(work())).unwrap();
        costs.push((processor_time() - before).as_secs_f64() * 1e6 / count as f64);
    }
    costs.remove(0);
    costs.sort_by(f64::total_cmp);
    println!("{what}: {:.2} µs (least), {:.2} µs (median)", costs[0], costs[2]);
}

mod before {
    //! The client that this one has replaced.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper_util::client::legacy::{Client, connect::HttpConnector};
    use hyper_util::rt::{TokioExecutor, TokioTimer};

    pub(super) type Pool = Client<HttpConnector, Full<Bytes>>;

    pub(super) fn pool() -> Pool {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)
    }

    pub(super) async fn ask(pool: Pool, url: String, times: usize, received: Arc<AtomicUsize>) {
        for _ in 0..times {
            let request = http::Request::post(format!("{url}/v1/chat/completions"))
                .header("user-agent", "llmo")
                .header("content-type", "application/json")
                .header("x-request-id", "0123456789")
                .body(Full::new(Bytes::from_static(super::BODY)))
                .unwrap();
            let mut body = pool.request(request).await.unwrap().into_body();
            while let Some(frame) = body.frame().await {
                std::hint::black_box(frame.unwrap().into_data().is_ok());
                received.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

const BODY: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"hello"}],"stream":true}"#;

async fn ask(peer: Arc<Peer>, times: usize, received: Arc<AtomicUsize>) {
    for _ in 0..times {
        let mut head = peer.head("/v1/chat/completions", BODY.len()).unwrap();
        head.add("x-request-id", "0123456789");
        let mut body = peer.post(head, Bytes::from_static(BODY)).await.unwrap().body;
        while poll_fn(|cx| body.poll_data(cx, |data| std::hint::black_box(data.len()))).await.unwrap().is_some() {
            received.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[test]
#[ignore = "prints figures"]
fn cost_of_a_client() {
    let always = HeaderMap::from_iter([
        (USER_AGENT, HeaderValue::from_static("llmo")),
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
    ]);
    let peer = |url: &str| Arc::new(Peer::new(&url.parse().unwrap(), &always, Duration::from_secs(1), 64));
    let small = vec!["HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}".to_owned()];
    for (what, streams, writes, times, parts) in [
        ("a small answer", 1, small, 3000, 1),
        ("a token of one stream", 1, stream(1000), 1, 1000),
        ("a token of fifty streams", 50, stream(200), 1, 200),
    ] {
        let count = streams * times * parts;
        let received = Arc::new(AtomicUsize::new(0));
        let (url, pool) = (serve(streams, writes.clone(), Arc::clone(&received)), before::pool());
        measure(&format!("hyper-util: {what}"), count, || {
            let (url, pool, received) = (url.clone(), pool.clone(), Arc::clone(&received));
            at_once(streams, move || before::ask(pool.clone(), url.clone(), times, Arc::clone(&received)))
        });
        let peer = peer(&serve(streams, writes, Arc::clone(&received)));
        measure(&format!("here: {what}"), count, || {
            let (peer, received) = (Arc::clone(&peer), Arc::clone(&received));
            at_once(streams, move || ask(Arc::clone(&peer), times, Arc::clone(&received)))
        });
    }
}

async fn at_once<F: Future<Output = ()> + Send + 'static>(streams: usize, work: impl Fn() -> F) {
    let running: Vec<_> = (0..streams).map(|_| tokio::spawn(work())).collect();
    for running in running {
        running.await.unwrap();
    }
}
