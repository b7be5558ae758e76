//! Output held to a JSON schema, a regular expression, a choice or a grammar: masks over the vocabulary, made by
//! [llguidance](https://github.com/guidance-ai/llguidance).
//!
//! ```text
//!  Constraint ─► source (checks; GBNF translated) ─► compiler (a thread of its own, bounded; cached) ─► Matcher
//!                                                         ▲                                                │
//!  vocabulary ─► environment (once a model) ──────────────┘                  mask(logits), accept(token) ◄─┘
//! ```
//!
//! * `limits`: bounds of everything below, with their reasons.
//! * `environment`: the vocabulary as a trie. `source`: what llguidance is given. `schema`, `pattern`: what is refused.
//! * `gbnf`: llama.cpp's grammars, translated without changing what they match.
//! * `compiler`, `cache`: from a constraint to a [`Matcher`]. `matcher`: the state of one output.
//!
//! A constraint that can't be enforced is an error, never unconstrained output.

mod cache;
mod compiler;
mod environment;
mod gbnf;
mod limits;
mod matcher;
mod pattern;
mod schema;
mod source;

pub(crate) use compiler::Grammars;
pub(crate) use environment::VocabularyToken;
pub(crate) use matcher::Matcher;
pub(crate) use schema::check as check_schema;

/// The parameter that errors name. A dialect says its own field instead.
pub(crate) const PARAM: &str = "constraint";

#[cfg(test)]
mod tests;
