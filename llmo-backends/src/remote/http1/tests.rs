//! The client against a server that plays a script for each connection.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

use super::*;

/// Every wait of these tests ends after this time.
const BOUND: Duration = Duration::from_secs(10);
const GOOD: &str = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngood";
const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;x=y\r\ngo\r\n2\r\nod\r\n0\r\na: b\r\n\r\n";

/// What the server does on a connection. When it has done all of it, it closes the connection.
#[derive(Debug, Clone)]
enum Step {
    /// Reads a request.
    Read,
    /// Reads the head of a request, and not its body.
    ReadHead,
    Send(String),
    /// Sends each byte alone.
    Drip(String),
    /// Waits until the test lets it go on.
    Go,
    /// Waits until the client closes the connection.
    Left,
}

use Step::{Drip, Left, Read, ReadHead};

fn send(text: &str) -> Step {
    Step::Send(text.to_owned())
}

/// What the server saw: on which connection.
#[derive(Debug, PartialEq)]
enum Seen {
    Request(usize, String),
    Left(usize),
}

struct Server {
    url: String,
    peer: Arc<Peer>,
    seen: mpsc::UnboundedReceiver<Seen>,
    go: watch::Sender<bool>,
}

impl Server {
    /// Plays the first script on the first connection, and so on; takes no more than that.
    async fn start<const N: usize>(scripts: [Vec<Step>; N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, seen) = mpsc::unbounded_channel();
        let (go, may_go) = watch::channel(false);
        tokio::spawn(async move {
            for (number, script) in scripts.into_iter().enumerate() {
                let (socket, _) = listener.accept().await.unwrap();
                tokio::spawn(play(socket, number, script, sender.clone(), may_go.clone()));
            }
        });
        Self { peer: peer(&url), url, seen, go }
    }

    async fn response(&self, body: impl Into<bytes::Bytes>) -> Result<Response, Error> {
        let body = body.into();
        let head = self.peer.head("/v1/x", body.len()).unwrap();
        tokio::time::timeout(BOUND, self.peer.post(head, body)).await.unwrap()
    }

    async fn ask(&self) -> Result<String, Error> {
        read(&mut self.response("hello").await?.body).await
    }

    fn go(&self) {
        self.go.send_replace(true);
    }

    async fn seen(&mut self) -> Seen {
        tokio::time::timeout(BOUND, self.seen.recv()).await.unwrap().unwrap()
    }

    /// The connections on which requests came.
    fn connections(&mut self) -> Vec<usize> {
        let number = |seen| match seen {
            Seen::Request(number, _) => Some(number),
            Seen::Left(_) => None,
        };
        std::iter::from_fn(|| self.seen.try_recv().ok()).filter_map(number).collect()
    }
}

fn peer(url: &str) -> Arc<Peer> {
    Arc::new(Peer::new(&url.parse().unwrap(), &http::HeaderMap::new(), BOUND, 4))
}

async fn piece(body: &mut Body) -> Result<Option<String>, Error> {
    let data = poll_fn(|cx| body.poll_data(cx, |data| String::from_utf8(data.to_vec()).unwrap()));
    tokio::time::timeout(BOUND, data).await.unwrap()
}

async fn read(body: &mut Body) -> Result<String, Error> {
    let mut text = String::new();
    while let Some(data) = piece(body).await? {
        text.push_str(&data);
    }
    Ok(text)
}

async fn play(
    socket: TcpStream,
    number: usize,
    script: Vec<Step>,
    seen: mpsc::UnboundedSender<Seen>,
    mut may_go: watch::Receiver<bool>,
) {
    socket.set_nodelay(true).unwrap();
    let mut socket = BufReader::new(socket);
    for step in script {
        match step {
            Read | ReadHead => {
                let Some(request) = read_request(&mut socket, matches!(step, Read)).await else { return };
                seen.send(Seen::Request(number, request)).unwrap();
            }
            Step::Send(text) => socket.write_all(text.as_bytes()).await.unwrap(),
            Drip(text) => {
                for byte in text.bytes() {
                    socket.write_all(&[byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
            Step::Go => drop(may_go.wait_for(|go| *go).await.unwrap()),
            Left => {
                let mut scrap = vec![0; 1 << 16];
                while socket.read(&mut scrap).await.is_ok_and(|n| n > 0) {}
                let _ = seen.send(Seen::Left(number));
            }
        }
    }
}

async fn read_request(socket: &mut BufReader<TcpStream>, with_body: bool) -> Option<String> {
    let mut text = String::new();
    while !text.ends_with("\r\n\r\n") {
        if socket.read_line(&mut text).await.ok()? == 0 {
            return None;
        }
    }
    if with_body {
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
        let mut body = vec![0; length.parse().unwrap()];
        socket.read_exact(&mut body).await.ok()?;
        text.push_str(&String::from_utf8(body).unwrap());
    }
    Some(text)
}

#[tokio::test]
async fn a_connection_serves_one_request_after_another() {
    let script = [GOOD, CHUNKED, GOOD, "HTTP/1.1 204 No Content\r\n\r\n", GOOD];
    let script = script.iter().flat_map(|answer| [Read, send(answer)]).collect();
    let mut server = Server::start([script]).await;
    for expected in ["good", "good", "good", "", "good"] {
        assert_eq!(server.ask().await.unwrap(), expected);
    }
    let host = server.seen().await;
    assert!(matches!(&host, Seen::Request(0, text) if text.starts_with("POST /v1/x HTTP/1.1\r\nhost: 127.0.0.1:")));
    assert!(matches!(&host, Seen::Request(0, text) if text.ends_with("content-length: 5\r\n\r\nhello")));
    assert_eq!(server.connections(), [0, 0, 0, 0]);
}

#[tokio::test]
async fn requests_at_the_same_time_have_a_connection_each() {
    let (begin, rest) = GOOD.split_at(GOOD.len() - 2);
    let script = || vec![Read, send(begin), Step::Go, send(rest)];
    let mut server = Server::start([script(), script()]).await;
    let (mut a, mut b) = (server.response("x").await.unwrap(), server.response("x").await.unwrap());
    server.go();
    for body in [&mut a.body, &mut b.body] {
        assert_eq!(read(body).await.unwrap(), "good");
    }
    assert_eq!(server.connections(), [0, 1]);
}

#[tokio::test]
async fn an_end_that_came_with_the_data_frees_the_connection_with_them() {
    let (head, rest) = CHUNKED.split_at(CHUNKED.find("2;").unwrap());
    let mut server = Server::start([vec![Read, send(head), Step::Go, send(rest), Read, send(GOOD)]]).await;
    let mut first = server.response("x").await.unwrap();
    server.go();
    let mut text = String::new();
    while text != "good" {
        text.push_str(&piece(&mut first.body).await.unwrap().unwrap());
    }
    // Nobody has seen the end yet.
    assert_eq!(server.ask().await.unwrap(), "good");
    assert_eq!(piece(&mut first.body).await.unwrap(), None);
    assert_eq!(server.connections(), [0, 0]);
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_is_replaced() {
    let mut server = Server::start([vec![Read, send(GOOD)], vec![Read, send(GOOD)]]).await;
    assert_eq!(server.ask().await.unwrap(), "good");
    assert_eq!(server.ask().await.unwrap(), "good");
    assert_eq!(server.connections(), [0, 1]);
}

#[tokio::test]
async fn a_connection_that_is_closed_in_answer_to_a_request_is_replaced_once() {
    let mut server = Server::start([vec![Read, send(GOOD), Read], vec![Read, send(GOOD)]]).await;
    assert_eq!(server.ask().await.unwrap(), "good");
    assert_eq!(server.ask().await.unwrap(), "good");
    assert_eq!(server.connections(), [0, 0, 1]);
    let mut server = Server::start([vec![Read, send(GOOD), Read], vec![Read], vec![Read, send(GOOD)]]).await;
    assert_eq!(server.ask().await.unwrap(), "good");
    let error = server.ask().await.unwrap_err();
    assert!(matches!(error, Error::Unanswered(_)) && !error.is_connect(), "{error}");
    assert_eq!(server.connections(), [0, 0, 1]);
}

#[tokio::test]
async fn a_request_is_not_repeated_once_something_of_an_answer_came() {
    for begin in ["H", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 200 OK\r\nx: "] {
        let mut server = Server::start([vec![Read, send(GOOD), Read, send(begin)], vec![Read, send(GOOD)]]).await;
        assert_eq!(server.ask().await.unwrap(), "good");
        let error = server.ask().await.unwrap_err();
        assert!(matches!(error, Error::Broken(_)), "{begin:?}: {error}");
        assert_eq!(server.connections(), [0, 0]);
    }
}

#[tokio::test]
async fn an_answer_in_pieces_of_one_byte_is_the_same_answer() {
    let answers = [GOOD, CHUNKED].map(|answer| format!("HTTP/1.1 100 Continue\r\n\r\n{answer}"));
    let script = answers.into_iter().flat_map(|answer| [Read, Drip(answer)]).collect();
    let mut server = Server::start([script]).await;
    for _ in 0..2 {
        assert_eq!(server.ask().await.unwrap(), "good");
    }
    assert_eq!(server.connections(), [0, 0]);
}

#[tokio::test]
async fn a_connection_lasts_no_longer_than_both_sides_want() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\ngood",
        "HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\ngood",
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\ngood",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n4\r\ngood\r\n0\r\n\r\n",
        // Nobody asked for what follows.
        "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ngoodHTTP/1.1 200 OK\r\n\r\n",
    ] {
        let mut server = Server::start([vec![Read, send(answer)], vec![Read, send(GOOD)]]).await;
        for _ in 0..2 {
            assert_eq!(server.ask().await.unwrap(), "good", "{answer:?}");
        }
        assert_eq!(server.connections(), [0, 1]);
    }
    let old = "HTTP/1.0 200 OK\r\ncontent-length: 4\r\nconnection: keep-alive\r\n\r\ngood";
    let mut server = Server::start([vec![Read, send(old), Read, send(old)]]).await;
    assert_eq!((server.ask().await.unwrap(), server.ask().await.unwrap()), ("good".into(), "good".into()));
    assert_eq!(server.connections(), [0, 0]);
}

#[tokio::test]
async fn doubtful_and_endless_heads_are_refused() {
    let doubtful = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".to_owned();
    let endless = format!("HTTP/1.1 200 OK\r\n{}", format!("x: {}\r\n", "y".repeat(1000)).repeat(70));
    for answer in [doubtful, endless, "SSH-2.0-nonsense\r\n".to_owned()] {
        let server = Server::start([vec![Read, Step::Send(answer), Left]]).await;
        let error = server.ask().await.unwrap_err();
        assert!(matches!(error, Error::Malformed(_)) && !error.is_connect(), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_after_what_came_of_it() {
    for (answer, came) in [
        ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\ngood", "good"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\ngo", "go"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\ngo\r\nzz", "go"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\ngo\r\n0\r\n", "go"),
    ] {
        let server = Server::start([vec![Read, send(answer)]]).await;
        let mut response = server.response("x").await.unwrap();
        let mut text = String::new();
        let error = loop {
            match piece(&mut response.body).await {
                Ok(Some(data)) => text.push_str(&data),
                Ok(None) => panic!("{answer:?} has no end"),
                Err(error) => break error,
            }
        };
        assert_eq!(text, came);
        assert!(matches!(error, Error::Broken(_) | Error::Malformed(_)), "{error}");
        assert_eq!(piece(&mut response.body).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_dropped_before_its_end_closes_its_connection() {
    let mut server = Server::start([vec![Read, send(&GOOD[..GOOD.len() - 1]), Left], vec![Read, Left]]).await;
    let mut response = server.response("x").await.unwrap();
    assert!(piece(&mut response.body).await.unwrap().is_some());
    drop(response);
    assert!(matches!(server.seen().await, Seen::Request(0, _)));
    assert_eq!(server.seen().await, Seen::Left(0));
    let head = server.peer.head("/", 0).unwrap();
    let peer = Arc::clone(&server.peer);
    let request = tokio::spawn(async move { peer.post(head, bytes::Bytes::new()).await });
    assert!(matches!(server.seen().await, Seen::Request(1, _)));
    request.abort();
    assert_eq!(server.seen().await, Seen::Left(1));
}

#[tokio::test]
async fn a_large_request_is_sent_whole() {
    let mut server = Server::start([vec![Read, send(GOOD), Read, send(GOOD)]]).await;
    let body = "x".repeat(8 << 20);
    assert_eq!(read(&mut server.response(body.clone()).await.unwrap().body).await.unwrap(), "good");
    assert_eq!(server.ask().await.unwrap(), "good");
    assert!(matches!(server.seen().await, Seen::Request(0, text) if text.ends_with(&body)));
    assert_eq!(server.connections(), [0]);
}

#[tokio::test]
async fn a_refusal_is_read_although_the_request_was_not_sent_whole() {
    let refusal = "HTTP/1.1 413 Content Too Large\r\ncontent-length: 0\r\n\r\n";
    let mut server = Server::start([vec![ReadHead, send(refusal), Left], vec![Read, send(GOOD)]]).await;
    let response = server.response("x".repeat(32 << 20)).await.unwrap();
    assert_eq!(response.status, StatusCode::PAYLOAD_TOO_LARGE);
    // Its connection waits for the rest of that request.
    assert_eq!(server.ask().await.unwrap(), "good");
    assert!(matches!(server.seen().await, Seen::Request(0, _)));
}

#[tokio::test]
async fn nobody_there_is_known_as_that() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for host in ["127.0.0.1", "localhost", "nobody.invalid"] {
        let peer = peer(&format!("http://{host}:{port}"));
        let head = peer.head("/", 0).unwrap();
        let error = tokio::time::timeout(BOUND, peer.post(head, bytes::Bytes::new())).await.unwrap().unwrap_err();
        assert!(error.is_connect(), "{host}: {error:?}");
    }
}

#[tokio::test]
async fn names_are_resolved_and_all_their_addresses_tried() {
    // `localhost` may be ::1 first, where nobody listens.
    let mut server = Server::start([vec![Read, send(GOOD)]]).await;
    server.peer = peer(&server.url.replace("127.0.0.1", "localhost"));
    assert_eq!(server.ask().await.unwrap(), "good");
}
