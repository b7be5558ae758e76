//! A body of JSON lines, with a bound.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

/// Longest line, in bytes. A slice has at most a thousand endpoints.
const LONGEST: usize = 8 << 20;

/// Lines as they come.
pub(super) struct Lines {
    chunks: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
    waiting: BytesMut,
}

impl Lines {
    pub(super) fn of(answer: reqwest::Response) -> Self {
        Self { chunks: Box::pin(answer.bytes_stream()), waiting: BytesMut::new() }
    }

    /// The next line that isn't empty; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, String> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = self.waiting[looked_at..].iter().position(|byte| *byte == b'\n') {
                let line = self.waiting.split_to(looked_at + end + 1).freeze();
                looked_at = 0;
                if line.len() > 1 {
                    return Ok(Some(line));
                }
                continue;
            }
            looked_at = self.waiting.len();
            if looked_at > LONGEST {
                return Err(format!("a line of more than {LONGEST} bytes"));
            }
            match self.chunks.next().await {
                Some(Ok(chunk)) => self.waiting.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(error.to_string()),
                None => return Ok(None),
            }
        }
    }
}
