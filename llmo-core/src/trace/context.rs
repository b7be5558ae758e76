//! W3C trace context: <https://www.w3.org/TR/trace-context/>.

use std::fmt;
use std::sync::Arc;

/// Longest `tracestate` that is passed on, in bytes: what the specification asks for at least.
const MAX_STATE: usize = 512;
/// Most members of a `tracestate`.
const MAX_MEMBERS: usize = 32;
const SAMPLED: u8 = 1;

/// A trace: everything that was done because of one request of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(pub u128);

/// One piece of work in a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(pub u64);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// A place in a trace, and what its makers want passed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    trace: TraceId,
    span: SpanId,
    flags: u8,
    state: Option<Arc<str>>,
}

impl TraceContext {
    /// The beginning of a trace. Ids must not be zero; a zero becomes one.
    #[must_use]
    pub fn root(trace: TraceId, span: SpanId, sampled: bool) -> Self {
        let (trace, span) = (TraceId(trace.0.max(1)), SpanId(span.0.max(1)));
        Self { trace, span, flags: u8::from(sampled), state: None }
    }

    /// Reads the two headers. `None` for a `traceparent` that is not well-formed: the specification wants a new trace
    /// then. A `tracestate` that is not well-formed is left out.
    #[must_use]
    pub fn parse(traceparent: &str, tracestate: Option<&str>) -> Option<Self> {
        let (version, rest) = traceparent.trim().split_once('-')?;
        let version = hex(version, 2)?;
        let (trace, rest) = rest.split_once('-')?;
        let (span, rest) = rest.split_once('-')?;
        // A later version may have more fields; this one has not.
        let flags = match rest.split_once('-') {
            Some((flags, _)) if version > 0 => flags,
            Some(_) => return None,
            None => rest,
        };
        let (trace, span, flags) = (hex(trace, 32)?, hex(span, 16)?, hex(flags, 2)?);
        if version == 0xff || trace == 0 || span == 0 {
            return None;
        }
        let (span, flags) = (u64::try_from(span).ok()?, u8::try_from(flags).ok()?);
        let state = tracestate.map(str::trim).filter(|state| well_formed(state)).map(Into::into);
        // Flags of later versions mean nothing to us, and must not be passed on.
        Some(Self { trace: TraceId(trace), span: SpanId(span), flags: flags & SAMPLED, state })
    }

    /// A piece of work that this one causes.
    #[must_use]
    pub fn child(&self, span: SpanId) -> Self {
        Self { span: SpanId(span.0.max(1)), ..self.clone() }
    }

    /// The trace.
    #[must_use]
    pub fn trace(&self) -> TraceId {
        self.trace
    }

    /// The piece of work.
    #[must_use]
    pub fn span(&self) -> SpanId {
        self.span
    }

    /// Does the caller record this trace?
    #[must_use]
    pub fn sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// The header `traceparent` for what this work causes elsewhere.
    #[must_use]
    pub fn traceparent(&self) -> String {
        // Written for every request; `format!` takes several times as long.
        let mut header = String::with_capacity(55);
        header.push_str("00-");
        push_hex(&mut header, self.trace.0, 32);
        header.push('-');
        push_hex(&mut header, self.span.0.into(), 16);
        header.push('-');
        push_hex(&mut header, self.flags.into(), 2);
        header
    }

    /// The header `tracestate`, as it came.
    #[must_use]
    pub fn tracestate(&self) -> Option<&Arc<str>> {
        self.state.as_ref()
    }
}

/// So many lower-case hexadecimal digits.
fn push_hex(text: &mut String, value: u128, digits: u32) {
    for place in (0..digits).rev() {
        let digit = (value >> (4 * place)) & 0xf;
        text.push(char::from_digit(digit as u32, 16).unwrap_or('0'));
    }
}

/// Exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let lower = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(lower)).then(|| u128::from_str_radix(text, 16).ok())?
}

/// Vendors' members are theirs; what matters is that they do no harm in a header or a log line.
fn well_formed(state: &str) -> bool {
    let member = |member: &str| member.trim().is_empty() || member.contains('=');
    !state.is_empty()
        && state.len() <= MAX_STATE
        && state.bytes().all(|b| (b' '..=b'~').contains(&b))
        && state.split(',').count() <= MAX_MEMBERS
        && state.split(',').all(member)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_good_header_is_read_and_written_back() {
        let context = TraceContext::parse(GOOD, Some("congo=t61rcWkgMzE,rojo=00f067")).unwrap();
        assert_eq!(context.traceparent(), GOOD);
        assert_eq!(context.tracestate().unwrap().as_ref(), "congo=t61rcWkgMzE,rojo=00f067");
        assert!(context.sampled());
        let child = context.child(SpanId(7));
        assert_eq!(child.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01");
        assert_eq!(child.tracestate(), context.tracestate());
    }

    #[test]
    fn what_is_not_well_formed_begins_a_new_trace() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert_eq!(TraceContext::parse(bad, None), None, "{bad}");
        }
    }

    #[test]
    fn a_later_version_is_read_as_far_as_it_is_known() {
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-09-what-the-future-will-be-like";
        assert_eq!(TraceContext::parse(later, None).unwrap().traceparent(), GOOD);
    }

    #[test]
    fn a_state_that_could_break_a_header_is_left_out() {
        let long = format!("a={}", "x".repeat(600));
        for bad in ["a=b\r\nx: y", "no member", "", long.as_str(), "ä=b"] {
            assert_eq!(TraceContext::parse(GOOD, Some(bad)).unwrap().tracestate(), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_header_makes_the_reader_panic(parent in ".{0,80}", state in ".{0,80}") {
            let _ = TraceContext::parse(&parent, Some(&state));
        }

        #[test]
        fn every_context_survives_its_header(trace in 1_u128.., span in 1_u64.., sampled: bool) {
            let context = TraceContext::root(TraceId(trace), SpanId(span), sampled);
            prop_assert_eq!(TraceContext::parse(&context.traceparent(), None), Some(context));
        }
    }
}
