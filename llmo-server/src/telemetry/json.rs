//! One JSON object a line: time, level, service, what happened, and which request it happened to.

use std::fmt::{self, Debug};

use humantime::format_rfc3339_micros;
use llmo_core::trace;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// The format.
pub(super) struct Lines {
    service: Value,
}

impl Lines {
    pub(super) fn new(service: &str) -> Self {
        Self { service: service.into() }
    }

    fn object(&self, event: &Event<'_>) -> Map<String, Value> {
        let mut line = Map::new();
        let now = format_rfc3339_micros(std::time::SystemTime::now()).to_string();
        line.insert("timestamp".into(), now.into());
        line.insert("level".into(), event.metadata().level().as_str().into());
        line.insert("service".into(), self.service.clone());
        // Its place, before the other fields; an event without a message has an empty one.
        line.insert("message".into(), "".into());
        event.record(&mut Fields(&mut line));
        if let Some(work) = trace::current() {
            line.entry("request_id").or_insert_with(|| (*work.request_id).into());
            line.insert("trace_id".into(), work.trace.trace().to_string().into());
            line.insert("span_id".into(), work.trace.span().to_string().into());
        }
        line.insert("target".into(), event.metadata().target().into());
        line
    }
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let line = serde_json::to_string(&self.object(event)).map_err(|_| fmt::Error)?;
        writeln!(writer, "{line}")
    }
}

struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().trim_start_matches("r#").to_owned(), value);
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, harmless(value).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, harmless(&format!("{value:?}")).into());
    }
}

/// JSON escapes line breaks and escape characters itself; what turns text around on a terminal it leaves as it is.
fn harmless(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_graphic() || b == b' ' || b == b'\n') {
        return text.to_owned();
    }
    let escaped = |c: char| c != '\n' && c.escape_debug().len() > 1 && !matches!(c, '"' | '\'' | '\\');
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if escaped(c) { out.extend(c.escape_debug()) } else { out.push(c) }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use llmo_core::trace::{SpanId, TraceContext, TraceId, Work};
    use parking_lot::Mutex;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn lines(say: impl FnOnce()) -> Vec<Value> {
        let page = Page::default();
        let writer = page.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_writer(move || writer.clone())
            .event_format(Lines::new("gateway"))
            .with_ansi(false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        let text = String::from_utf8(page.0.lock().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_names_the_request_that_it_is_about() {
        let trace = TraceContext::root(TraceId(0xabc), SpanId(0xdef), true);
        let work = Work { request_id: "r-1".into(), trace };
        let said = lines(|| {
            trace::enter(Some(Arc::new(work)), || tracing::info!(tokens = 7, model = "sim", "done"));
            tracing::warn!("about nothing");
        });
        assert_eq!(said[0]["message"], "done");
        assert_eq!((said[0]["tokens"].as_u64(), said[0]["model"].as_str()), (Some(7), Some("sim")));
        assert_eq!((&said[0]["request_id"], &said[0]["service"]), (&"r-1".into(), &"gateway".into()));
        assert_eq!(said[0]["trace_id"], "00000000000000000000000000000abc");
        assert_eq!(said[1]["level"], "WARN");
        assert!(said[1].get("request_id").is_none());
    }

    #[test]
    fn what_users_send_can_not_turn_a_line_around_or_break_it() {
        let said = lines(|| tracing::info!(path = "/a\u{202e}b\r\n\u{1b}[31mä\"", "request"));
        assert_eq!(said.len(), 1);
        assert_eq!(said[0]["path"], "/a\\u{202e}b\\r\n\\u{1b}[31mä\"");
    }
}
