//! As much of HTTP/1.1 as a client that keeps its connection needs.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A kept connection.
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// Where the body of an answer ends.
enum Length {
    Known(usize),
    Chunked,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// The request of every scenario: a conversation of about one kilobyte.
pub(crate) fn request(address: &str, stream: bool, tokens: u64) -> Vec<u8> {
    let text = "All happy families are alike; each unhappy family is unhappy in its own way. ".repeat(11);
    let body = serde_json::json!({
        "model": crate::MODEL,
        "messages": [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": text}],
        "max_tokens": tokens, "temperature": 1.0, "stream": stream,
    })
    .to_string();
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\n\
         authorization: Bearer sk-none\r\nuser-agent: gateway_load\r\naccept: */*\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

impl Connection {
    pub(crate) async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(8192) })
    }

    /// Sends a request and reads its whole answer.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        let (head, length) = self.head().await?;
        self.buffer.drain(..head);
        match length {
            Length::Known(length) => {
                while self.buffer.len() < length {
                    self.more().await?;
                }
                self.buffer.drain(..length);
            }
            Length::Chunked => loop {
                if let Some(at) = find(&self.buffer, b"0\r\n\r\n") {
                    self.buffer.drain(..at + 5);
                    break;
                }
                self.more().await?;
            },
        }
        Ok(())
    }

    /// Sends a request and gives every piece of the answer's body as it comes, framing included, until `[DONE]`.
    pub(crate) async fn pieces(&mut self, request: &[u8], mut take: impl FnMut(&[u8])) -> io::Result<()> {
        self.stream.write_all(request).await?;
        let (head, _) = self.head().await?;
        self.buffer.drain(..head);
        let mut whole = 0;
        loop {
            // Whole lines only.
            while let Some(end) = self.buffer[whole..].iter().position(|&b| b == b'\n') {
                take(&self.buffer[whole..whole + end]);
                whole += end + 1;
            }
            if find(&self.buffer[..whole], b"[DONE]").is_some() {
                return Ok(());
            }
            self.buffer.drain(..whole);
            whole = 0;
            self.more().await?;
        }
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn head(&mut self) -> io::Result<(usize, Length)> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = std::str::from_utf8(&self.buffer[..end]).map_err(|_| broken("a head"))?;
        if !head.starts_with("HTTP/1.1 200") {
            return Err(broken(head));
        }
        let mut length = None;
        for line in head.lines().skip(1) {
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().ok().map(Length::Known);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                length = Some(Length::Chunked);
            }
        }
        Ok((end, length.ok_or_else(|| broken("no length"))?))
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
