//! Bounds. What exceeds one before the output begins is the caller's to change; after that the stream ends with an error.

use std::time::Duration;

use llguidance::api::ParserLimits;

/// Longest source of a grammar, schema or expression, in bytes. The largest schemas in use (FHIR) have 3 MB; nobody
/// sends one with each request.
pub(super) const SOURCE_BYTES: usize = 512 << 10;
/// Deepest nesting of a schema.
pub(super) const SCHEMA_DEPTH: usize = 64;
/// Most alternatives of a choice.
pub(super) const CHOICES: usize = 4096;
/// Largest bound of a repetition in an expression or grammar; bounds inside each other are multiplied. llama.cpp's is
/// 2000.
pub(super) const REPETITION: u64 = 2000;
/// Most rules of a grammar.
pub(super) const RULES: usize = 2000;
/// Deepest nesting of groups in a GBNF grammar.
pub(super) const GBNF_DEPTH: usize = 64;
/// Most nodes (characters, references, groups) of a GBNF grammar.
pub(super) const GBNF_NODES: usize = 100_000;

/// Longest time to compile, waiting for a turn included.
pub(super) const COMPILE_TIME: Duration = Duration::from_secs(2);
/// How many are compiled at once, over all callers of a model.
pub(super) const COMPILING: usize = 2;
/// Stack of the thread that compiles. Address space only: pages that are not touched cost nothing.
pub(super) const STACK_BYTES: usize = 256 << 20;

/// Most compiled grammars that are kept, and bytes of their sources.
pub(super) const CACHED: usize = 64;
pub(super) const CACHED_BYTES: usize = 4 << 20;

/// What llguidance may spend. A step's two bounds are some 10 ms together, and only a hostile grammar comes near them.
pub(super) fn parser() -> ParserLimits {
    ParserLimits {
        step_lexer_fuel: 100_000,
        step_max_items: 100_000,
        // 1 to 2 KB each, shared by all requests with the same grammar.
        max_lexer_states: 20_000,
        max_grammar_size: 200_000,
        // Their texts hold the whole grammar and what was generated so far.
        verbose_errors: false,
        ..ParserLimits::default()
    }
}
