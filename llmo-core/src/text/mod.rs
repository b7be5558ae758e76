//! Pure text logic that every backend shares. Synchronous, no I/O, tested by properties.
//!
//! ```text
//!  messages ─► special::guard ─► template ─► special::pieces ─► (backend: tokens in, token bytes out)
//!                                                                              │
//!           deltas ◄── output = utf8 (whole characters) + stop_strings ◄───────┘
//! ```
//!
//! * [`template`]: a model's own chat template, run with bounded time and memory.
//! * [`special`]: keeps markers such as `<|im_start|>` in a user's text from becoming control tokens.
//! * [`tool_calls`]: calls of functions in the output, and what a model is told of functions.
//! * [`utf8`]: characters from token bytes. [`stop_strings`]: the end of the output. [`output`]: both together.

pub mod output;
pub mod special;
pub mod stop_strings;
pub mod template;
pub mod tool_calls;
pub mod utf8;

pub use output::OutputAssembler;
pub use special::SpecialTokens;
pub use stop_strings::{StopMatcher, StopStep};
pub use template::{ChatTemplate, Conversation, TemplateError};
pub use utf8::Utf8Assembler;
