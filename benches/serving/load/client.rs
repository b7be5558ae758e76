//! One streamed completion and the times of its pieces.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Answer};

pub(crate) const PATH: &str = "/v1/completions";

/// A completion as it comes.
pub(crate) struct Completion {
    answer: Answer,
    unread: Vec<u8>,
    pub(crate) sent: Instant,
    /// When each piece of text came.
    pub(crate) pieces: Vec<Instant>,
    /// Tokens generated, as the server says at the end.
    pub(crate) tokens: u64,
    pub(crate) prompt_tokens: u64,
    pub(crate) ended: bool,
}

/// What is asked: greedy, streamed, with token counts at the end.
pub(crate) fn body(model: &str, prompt: &str, tokens: u64, temperature: f64) -> String {
    json!({
        "model": model, "prompt": prompt, "max_tokens": tokens, "temperature": temperature, "seed": 1,
        "stream": true, "stream_options": {"include_usage": true},
    })
    .to_string()
}

impl Completion {
    pub(crate) async fn start(address: &str, body: &str) -> io::Result<Self> {
        let sent = Instant::now();
        let answer = http::post(address, PATH, body).await?;
        let unread = Vec::with_capacity(8192);
        Ok(Self { answer, unread, sent, pieces: Vec::new(), tokens: 0, prompt_tokens: 0, ended: false })
    }

    /// Reads what comes next. False at the end.
    pub(crate) async fn read(&mut self) -> io::Result<bool> {
        if self.ended || !self.answer.read(&mut self.unread).await? {
            return if self.ended { Ok(false) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        let now = Instant::now();
        let mut done = 0;
        while let Some(length) = self.unread[done..].iter().position(|&byte| byte == b'\n') {
            let line = done..done + length;
            done += length + 1;
            self.line(line, now)?;
        }
        self.unread.drain(..done);
        Ok(!self.ended)
    }

    fn line(&mut self, line: std::ops::Range<usize>, now: Instant) -> io::Result<()> {
        let Some(data) = self.unread[line].strip_prefix(b"data: ") else { return Ok(()) };
        if data.trim_ascii() == b"[DONE]" {
            self.ended = true;
            return Ok(());
        }
        let event: Value = serde_json::from_slice(data)?;
        if let Some(error) = event.get("error") {
            return Err(io::Error::other(error.to_string()));
        }
        if event["choices"][0]["text"].as_str().is_some_and(|text| !text.is_empty()) {
            self.pieces.push(now);
        }
        if let Some(tokens) = event["usage"]["completion_tokens"].as_u64() {
            self.tokens = tokens;
            self.prompt_tokens = event["usage"]["prompt_tokens"].as_u64().unwrap_or(0);
        }
        Ok(())
    }

    /// Reads to the end.
    pub(crate) async fn finish(mut self) -> io::Result<Self> {
        while self.read().await? {}
        Ok(self)
    }

    pub(crate) fn first_piece_after(&self) -> Option<Duration> {
        Some(self.pieces.first()?.duration_since(self.sent))
    }

    /// Times between pieces, each with the moment it ended.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = (Instant, Duration)> {
        self.pieces.windows(2).map(|pair| (pair[1], pair[1].duration_since(pair[0])))
    }
}
