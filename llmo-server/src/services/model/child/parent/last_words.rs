//! What a process printed last, for the report of its death.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Lines that are kept.
const LINES: usize = 20;
/// A longer line is cut into several, in bytes.
const LONGEST_LINE: usize = 8 * 1024;

/// The last lines of what a process printed. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct LastWords(Arc<Mutex<VecDeque<String>>>);

impl LastWords {
    /// Adds a line.
    pub(super) fn add(&self, line: &str) {
        let mut lines = self.0.lock();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(line.to_owned());
    }

    /// The lines, in order.
    pub(super) fn text(&self) -> String {
        self.0.lock().make_contiguous().join("\n")
    }
}

/// Calls `each` with every line of `source`, until it ends.
pub(super) async fn lines(mut source: impl AsyncRead + Unpin, mut each: impl FnMut(&str)) {
    let mut bytes = BytesMut::new();
    loop {
        let end = bytes.iter().take(LONGEST_LINE).position(|&byte| byte == b'\n');
        match end.or((bytes.len() >= LONGEST_LINE).then_some(LONGEST_LINE - 1)) {
            Some(end) => {
                let line = bytes.split_to(end + 1);
                each(String::from_utf8_lossy(&line).trim_end());
            }
            None => match source.read_buf(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            },
        }
    }
    if !bytes.is_empty() {
        each(String::from_utf8_lossy(&bytes).trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_whole_whatever_pieces_they_come_in() {
        let mut seen = Vec::new();
        let long = "x".repeat(LONGEST_LINE + 5);
        let text = format!("one\ntwo \u{17c}\n\n{long}\nlast");
        lines(text.as_bytes(), |line| seen.push(line.to_owned())).await;
        assert_eq!(seen[..3], ["one", "two \u{17c}", ""]);
        assert_eq!((seen[3].len(), seen[4].as_str(), seen[5].as_str()), (LONGEST_LINE, "xxxxx", "last"));
    }

    #[test]
    fn only_the_last_lines_are_kept() {
        let words = LastWords::default();
        (0..100).for_each(|n| words.add(&n.to_string()));
        assert_eq!(words.text(), (80..100).map(|n| n.to_string()).collect::<Vec<_>>().join("\n"));
    }
}
