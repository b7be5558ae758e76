//! Calls of functions, as models write them.
//!
//! Families of models were taught different forms; which one a model knows is read off its chat template.
//!
//! ```text
//!  tools ─► ToolFormat::of_template ─┬─► the template's own words, or generic::explain for models that know none
//!                                    ├─► grammar: what the output is held to
//!                                    └─► ToolCallParser ◄── text as it is generated
//!                                              └─► text and pieces of calls
//! ```
//!
//! * [`mod@format`]: the forms. [`generic`]: a form for models that were taught none. [`grammar`]: calls that must be made.
//! * [`parser`]: incremental; how the text is cut into pieces does not change what comes out.

mod body;
pub mod format;
pub mod generic;
pub mod grammar;
mod ids;
mod json;
pub mod parser;
mod response;

pub use format::ToolFormat;
pub use parser::{Parsed, ToolCallParser};

#[cfg(test)]
mod tests;
