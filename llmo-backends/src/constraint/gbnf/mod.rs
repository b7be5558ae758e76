//! llama.cpp's grammars (GBNF), translated into llguidance's dialect of Lark.
//!
//! GBNF has no lexer: every character may be matched in every way that the rules allow. llguidance is fast because it
//! has one, which takes the longest match of each terminal. The translation joins characters into terminals where that
//! can't change what the grammar matches, and leaves them apart where it could:
//!
//! ```text
//!  text ─► parse ─► rules ─► terminals: non-recursive parts become expressions
//!                                │   ▲
//!                      conflicts ▼   │ split one level
//!                            greedy match safe? ─► print (Lark)
//! ```
//!
//! A grammar in which nothing can be joined is one of single characters, which is exact and slower.

mod characters;
mod conflict;
mod follow;
mod item;
mod parse;
mod positions;
mod print;

use llmo_core::ModelError;

use super::PARAM;

/// Steps that looking for conflicts may take, some 100 ms. After that all terminals are split into characters.
const BUDGET: u64 = 4_000_000;

/// Translates a grammar; its rule `root` becomes `start`.
///
/// # Errors
/// [`ModelError::InvalidRequest`] with the line and what is wrong there.
pub(super) fn to_lark(text: &str) -> Result<String, ModelError> {
    let rules = parse::parse(text).map_err(|message| ModelError::invalid(PARAM, message))?;
    let mut grammar = item::lift(&rules);
    let mut budget = BUDGET;
    loop {
        match conflict::find(&grammar, &mut budget) {
            Some(conflicts) if conflicts.is_empty() => return Ok(print::lark(&grammar)),
            Some(conflicts) => grammar.split(&conflicts),
            None => {
                grammar.split_all();
                return Ok(print::lark(&grammar));
            }
        }
    }
}

#[cfg(test)]
mod tests;
