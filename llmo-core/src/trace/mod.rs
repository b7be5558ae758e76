//! What a piece of work is done for: the request's id, and its place in a distributed trace.
//!
//! * [`context`]: W3C trace context (`traceparent`, `tracestate`). Pure.
//! * [`scope`]: the work that a task is busy with, so that log lines and calls to other services can name it without
//!   passing it through every function.

pub mod context;
pub mod scope;

pub use context::{SpanId, TraceContext, TraceId};
pub use scope::{Scoped, Work, current, enter, scoped};
