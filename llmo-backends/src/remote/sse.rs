//! Server-sent events from bytes that arrive in any pieces.
//!
//! As the WHATWG standard says: lines end in LF, CR or CRLF; lines that begin with a colon are comments; several
//! `data` lines are joined by LF; an event ends at an empty line, and one without data is none; what follows the last
//! empty line is dropped. Ids and retry times are ignored. One addition: older llama-servers write errors as a field
//! named `error`, which is read as an event of that name.

use std::borrow::Cow;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// The event's name; empty if it has none.
    pub event: String,
    /// Its data lines, joined by LF.
    pub data: String,
}

/// One event, in the bytes in which it came if they hold all of it: no copy is made of it then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRef<'a> {
    /// The event's name; empty if it has none.
    pub event: Cow<'a, str>,
    /// Its data lines, joined by LF.
    pub data: Cow<'a, str>,
}

impl EventRef<'_> {
    /// A copy that needs no bytes.
    #[must_use]
    pub fn into_owned(self) -> SseEvent {
        SseEvent { event: self.event.into_owned(), data: self.data.into_owned() }
    }
}

impl SseEvent {
    /// The same without a copy.
    #[must_use]
    pub fn by_ref(&self) -> EventRef<'_> {
        EventRef { event: Cow::Borrowed(&self.event), data: Cow::Borrowed(&self.data) }
    }
}

/// Why a stream can't be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SseError {
    /// One event is larger than allowed.
    #[error("an event of the stream is larger than {0} bytes")]
    TooLarge(usize),
    /// The standard allows UTF-8 only.
    #[error("the stream is not UTF-8")]
    NotUtf8,
}

/// Cuts bytes into events. After an error it must not be used any more.
#[derive(Debug)]
pub struct SseParser {
    limit: usize,
    /// The begin of a line whose end has not come yet.
    line: Vec<u8>,
    event: String,
    data: Option<String>,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    /// Nothing was read yet: a byte order mark may come.
    at_start: bool,
}

impl SseParser {
    /// A parser that holds at most about `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, line: Vec::new(), event: String::new(), data: None, after_cr: false, at_start: true }
    }

    /// Takes the next bytes and gives the events that they complete, all at once.
    ///
    /// # Errors
    /// See [`SseError`].
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<SseEvent>, SseError> {
        self.events(bytes).map(|event| event.map(EventRef::into_owned)).collect()
    }

    /// Takes the next bytes and gives the events that they complete, one by one. What was not read of them when the
    /// iterator is dropped is lost.
    pub fn events<'p, 'b>(&'p mut self, bytes: &'b [u8]) -> Events<'p, 'b> {
        let event = Cow::Owned(std::mem::take(&mut self.event));
        let data = self.data.take().map(Cow::Owned);
        Events { parser: self, bytes, event, data }
    }
}

/// The events that some bytes complete. See [`SseParser::events`].
#[derive(Debug)]
pub struct Events<'p, 'b> {
    parser: &'p mut SseParser,
    bytes: &'b [u8],
    event: Cow<'b, str>,
    data: Option<Cow<'b, str>>,
}

impl<'b> Iterator for Events<'_, 'b> {
    type Item = Result<EventRef<'b>, SseError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_event().transpose()
    }
}

impl<'b> Events<'_, 'b> {
    fn next_event(&mut self) -> Result<Option<EventRef<'b>>, SseError> {
        while let Some(&first) = self.bytes.first() {
            if std::mem::take(&mut self.parser.after_cr) && first == b'\n' {
                self.bytes = &self.bytes[1..];
                continue;
            }
            let Some(end) = memchr::memchr2(b'\n', b'\r', self.bytes) else {
                self.check(self.bytes.len())?;
                self.parser.line.extend_from_slice(self.bytes);
                self.bytes = &[];
                break;
            };
            self.check(end)?;
            self.parser.after_cr = self.bytes[end] == b'\r';
            let line = &self.bytes[..end];
            self.bytes = &self.bytes[end + 1..];
            let event = if self.parser.line.is_empty() {
                self.take_line(line, Cow::Borrowed)?
            } else {
                let mut whole = std::mem::take(&mut self.parser.line);
                whole.extend_from_slice(line);
                let event = self.take_line(&whole, |value| Cow::Owned(value.to_owned()))?;
                // Keep the allocation for the next line that is cut.
                whole.clear();
                self.parser.line = whole;
                event
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        // The rest of the event comes with other bytes.
        self.parser.event = std::mem::take(&mut self.event).into_owned();
        self.parser.data = self.data.take().map(Cow::into_owned);
        Ok(None)
    }

    fn check(&self, more: usize) -> Result<(), SseError> {
        let held = self.parser.line.len() + self.event.len() + self.data.as_ref().map_or(0, |data| data.len());
        if held + more > self.parser.limit { Err(SseError::TooLarge(self.parser.limit)) } else { Ok(()) }
    }

    fn take_line<'l>(
        &mut self,
        line: &'l [u8],
        keep: impl Fn(&'l str) -> Cow<'b, str>,
    ) -> Result<Option<EventRef<'b>>, SseError> {
        let mut line = std::str::from_utf8(line).map_err(|_| SseError::NotUtf8)?;
        if std::mem::take(&mut self.parser.at_start) {
            line = line.strip_prefix('\u{feff}').unwrap_or(line);
        }
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            return Ok(self.data.take().map(|data| EventRef { event, data }));
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => self.add_data(value, keep),
            "event" => self.event = keep(value),
            "error" => {
                self.event = Cow::Borrowed("error");
                self.add_data(value, keep);
            }
            // A comment has an empty field name.
            _ => {}
        }
        Ok(None)
    }

    fn add_data<'l>(&mut self, value: &'l str, keep: impl Fn(&'l str) -> Cow<'b, str>) {
        match &mut self.data {
            Some(data) => {
                let data = data.to_mut();
                data.push('\n');
                data.push_str(value);
            }
            None => self.data = Some(keep(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: &[&[u8]]) -> Result<Vec<SseEvent>, SseError> {
        let mut parser = SseParser::new(4096);
        let mut events = Vec::new();
        for piece in pieces {
            events.extend(parser.push(piece)?);
        }
        Ok(events)
    }

    fn data(text: &str) -> SseEvent {
        SseEvent { event: String::new(), data: text.into() }
    }

    #[test]
    fn comments_unknown_fields_and_events_without_data_are_nothing() {
        let stream = b": heartbeat\n\nid: 7\nretry: 10\nwhat\n\nevent: ping\n\ndata: a\n\n";
        assert_eq!(parse(&[stream]).unwrap(), [data("a")]);
    }

    #[test]
    fn data_lines_are_joined_and_lose_one_space() {
        assert_eq!(parse(&[b"data:  a\ndata:b\ndata\ndata: \n\n"]).unwrap(), [data(" a\nb\n\n")]);
    }

    #[test]
    fn an_event_that_is_not_ended_is_dropped() {
        assert_eq!(parse(&[b"data: a\n\ndata: {\"half"]).unwrap(), [data("a")]);
        assert_eq!(parse(&[b"data: a\n"]).unwrap(), []);
    }

    #[test]
    fn a_line_end_cut_in_two_is_one_line_end() {
        assert_eq!(parse(&[b"data: a\r", b"\n\r", b"\ndata: b\r\r"]).unwrap(), [data("a"), data("b")]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_only() {
        assert_eq!(parse(&["\u{feff}data: a\n\n\u{feff}data: b\n\n".as_bytes()]).unwrap(), [data("a")]);
    }

    #[test]
    fn old_llama_servers_errors_are_error_events() {
        let events = parse(&[b"error: {\"code\":500}\n\n"]).unwrap();
        assert_eq!(events, [SseEvent { event: "error".into(), data: "{\"code\":500}".into() }]);
    }

    #[test]
    fn an_event_without_end_does_not_eat_the_memory() {
        let mut parser = SseParser::new(100);
        let error = (0..100).find_map(|_| parser.push(b"data: 0123456789\n").err());
        assert_eq!(error, Some(SseError::TooLarge(100)));
        let mut parser = SseParser::new(100);
        let error = (0..100).find_map(|_| parser.push(b": endless comment").err());
        assert_eq!(error, Some(SseError::TooLarge(100)));
    }

    #[test]
    fn what_is_not_utf8_is_refused() {
        assert_eq!(parse(&[b"data: \xff\n\n"]), Err(SseError::NotUtf8));
    }

    /// An event as text, with these line ends.
    fn encode(event: &SseEvent, end: &str) -> String {
        let mut text = format!(": comment{end}");
        if !event.event.is_empty() {
            text.push_str(&format!("event: {}{end}", event.event));
        }
        for line in event.data.split('\n') {
            text.push_str(&format!("data: {line}{end}"));
        }
        text + end
    }

    /// The bytes in pieces of these sizes, over and over.
    fn cut<'a>(mut bytes: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
        let mut pieces = Vec::new();
        for size in sizes.iter().cycle() {
            if bytes.is_empty() {
                break;
            }
            let (piece, rest) = bytes.split_at((*size).min(bytes.len()));
            pieces.push(piece);
            bytes = rest;
        }
        pieces
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_however_it_is_cut(
            events in prop::collection::vec(("[a-z]{0,5}", "[^\r]{0,20}"), 0..8),
            end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
            sizes in prop::collection::vec(1usize..7, 1..5),
        ) {
            let events: Vec<_> = events.into_iter().map(|(event, data)| SseEvent { event, data }).collect();
            let text: String = events.iter().map(|event| encode(event, end)).collect();
            prop_assert_eq!(parse(&cut(text.as_bytes(), &sizes)).unwrap(), events);
        }

        #[test]
        fn any_bytes_mean_the_same_however_they_are_cut(
            bytes in prop::collection::vec(prop::sample::select(b"data:event \r\n\xc5\xbc{}".to_vec()), 0..200),
            sizes in prop::collection::vec(1usize..7, 1..5),
        ) {
            prop_assert_eq!(parse(&cut(&bytes, &sizes)), parse(&[&bytes]));
        }
    }
}
