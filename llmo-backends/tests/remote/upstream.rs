//! An HTTP server that plays a script, byte by byte: what a real one would never send can be sent too.

use std::sync::Arc;
use std::time::Duration;

use llmo_backends::remote::{RemoteModel, RemoteOptions};
use llmo_core::ModelInfo;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

/// Every wait of these tests ends after this time.
pub(crate) const BOUND: Duration = Duration::from_secs(10);

/// What the upstream does after it has read a request.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends these bytes.
    Send(String),
    /// Sends nothing more, until the client leaves.
    Hang,
    /// Closes the connection.
    Close,
}

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) path: String,
    /// Names in lower case, a line each.
    pub(crate) head: String,
    pub(crate) body: Value,
}

pub(crate) struct Upstream {
    pub(crate) url: String,
    pub(crate) requests: mpsc::UnboundedReceiver<Seen>,
    /// Connections accepted, and connections that the client closed while the upstream was hanging.
    counts: watch::Receiver<(usize, usize)>,
}

impl Upstream {
    /// Plays the same script for every request.
    pub(crate) async fn start(script: impl IntoIterator<Item = Step>) -> Self {
        let script: Arc<[Step]> = script.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (seen, requests) = mpsc::unbounded_channel();
        let (count, counts) = watch::channel((0, 0));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.send_modify(|(accepted, _)| *accepted += 1);
                tokio::spawn(serve(socket, Arc::clone(&script), seen.clone(), count.clone()));
            }
        });
        Self { url, requests, counts }
    }

    /// A model that asks this upstream and believes it capable of everything.
    pub(crate) fn model(&self, set: impl FnOnce(&mut RemoteOptions)) -> RemoteModel {
        model_at(&self.url, set)
    }

    pub(crate) fn connections(&self) -> usize {
        self.counts.borrow().0
    }

    /// Waits until the client has closed a connection on which the upstream hung.
    pub(crate) async fn abandoned(&mut self) {
        tokio::time::timeout(BOUND, self.counts.wait_for(|(_, abandoned)| *abandoned > 0)).await.unwrap().unwrap();
    }

    pub(crate) async fn request(&mut self) -> Seen {
        tokio::time::timeout(BOUND, self.requests.recv()).await.unwrap().unwrap()
    }
}

pub(crate) fn model_at(url: &str, set: impl FnOnce(&mut RemoteOptions)) -> RemoteModel {
    let mut info = ModelInfo::new("test-model", "remote");
    info.capabilities.generate = true;
    info.capabilities.chat = true;
    info.capabilities.embed = true;
    info.capabilities.tokenize = true;
    info.capabilities.logprobs = true;
    info.capabilities.token_ids = true;
    let mut options = RemoteOptions::default();
    set(&mut options);
    RemoteModel::new(info, url, options).unwrap()
}

async fn serve(
    socket: TcpStream,
    script: Arc<[Step]>,
    seen: mpsc::UnboundedSender<Seen>,
    count: watch::Sender<(usize, usize)>,
) {
    let mut socket = BufReader::new(socket);
    while let Some(request) = read_request(&mut socket).await {
        let _ = seen.send(request);
        for step in script.iter() {
            match step {
                Step::Send(text) => {
                    if socket.write_all(text.as_bytes()).await.is_err() {
                        return;
                    }
                }
                Step::Hang => {
                    let mut byte = [0];
                    let _ = socket.read(&mut byte).await;
                    count.send_modify(|(_, abandoned)| *abandoned += 1);
                    return;
                }
                Step::Close => return,
            }
        }
    }
}

async fn read_request(socket: &mut BufReader<TcpStream>) -> Option<Seen> {
    let mut head = String::new();
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        if socket.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        head.push_str(&line);
    }
    let path = head.split(' ').nth(1)?.to_owned();
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    Some(Seen { path, head, body: serde_json::from_slice(&body).unwrap_or_default() })
}

/// The head of a stream.
pub(crate) fn stream_head() -> Step {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n";
    Step::Send(format!("{head}x-cache: miss\r\nx-llmo-replica: r1\r\n\r\n"))
}

/// A piece of a body in chunked encoding.
pub(crate) fn piece(text: &str) -> Step {
    Step::Send(format!("{:x}\r\n{text}\r\n", text.len()))
}

/// The end of a body in chunked encoding.
pub(crate) fn end() -> Step {
    Step::Send("0\r\n\r\n".into())
}

/// A chunk of a chat.
pub(crate) fn content(text: &str) -> Step {
    piece(&format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"))
}

pub(crate) fn stop() -> Step {
    piece("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n")
}

pub(crate) fn done() -> Step {
    piece("data: [DONE]\n\n")
}

/// A whole response.
pub(crate) fn whole(status: &str, headers: &str, body: &str) -> Step {
    Step::Send(format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
}
