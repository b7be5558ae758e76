//! As much of HTTP/1.1 as a streamed answer needs: one request a connection, a chunked or unbounded body.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer whose body is still coming.
pub(crate) struct Answer {
    stream: TcpStream,
    /// Bytes that were read and are not yet decoded.
    raw: Vec<u8>,
    chunked: bool,
    /// Bytes of the current chunk that are still to come.
    left: usize,
    ended: bool,
}

fn broken(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

/// Sends a JSON body and reads the head of the answer.
pub(crate) async fn post(address: &str, path: &str, body: &str) -> io::Result<Answer> {
    let mut stream = send(address, path, body).await?;
    let mut raw = Vec::with_capacity(4096);
    let head_ends = loop {
        if let Some(at) = find(&raw, b"\r\n\r\n") {
            break at;
        }
        if stream.read_buf(&mut raw).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let head = String::from_utf8_lossy(&raw[..head_ends]).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200") {
        return Err(io::Error::other(String::from_utf8_lossy(&raw).into_owned()));
    }
    raw.drain(..head_ends + 4);
    Ok(Answer { stream, raw, chunked: head.contains("transfer-encoding: chunked"), left: 0, ended: false })
}

/// Sends a request and reads nothing. Dropping the stream disconnects.
pub(crate) async fn send(address: &str, path: &str, body: &str) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {address}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + body).as_bytes()).await?;
    Ok(stream)
}

impl Answer {
    /// Appends what came of the body. False at its end.
    pub(crate) async fn read(&mut self, body: &mut Vec<u8>) -> io::Result<bool> {
        let before = body.len();
        loop {
            self.decode(body)?;
            if body.len() > before {
                return Ok(true);
            }
            if self.ended {
                return Ok(false);
            }
            if self.stream.read_buf(&mut self.raw).await? == 0 {
                self.ended = true;
                if self.chunked {
                    return Err(broken("the stream was broken off"));
                }
            }
        }
    }

    fn decode(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        if !self.chunked {
            body.append(&mut self.raw);
            return Ok(());
        }
        loop {
            let now = self.left.min(self.raw.len());
            body.extend(self.raw.drain(..now));
            self.left -= now;
            if self.left > 0 || self.ended {
                return Ok(());
            }
            // The line end behind the last chunk comes before the next size.
            let from = if self.raw.starts_with(b"\r\n") { 2 } else { 0 };
            let Some(length) = find(&self.raw[from..], b"\r\n") else { return Ok(()) };
            let size = std::str::from_utf8(&self.raw[from..from + length]).map_err(|_| broken("a chunk's size"))?;
            self.left = usize::from_str_radix(size.trim(), 16).map_err(|_| broken("a chunk's size"))?;
            self.ended = self.left == 0;
            self.raw.drain(..from + length + 2);
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
