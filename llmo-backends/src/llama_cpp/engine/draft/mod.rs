//! Guessing tokens ahead: from what a stream holds already, or by a second, smaller model.
//!
//! ```text
//!  prompt + output ─► lookup: what came last time after these tokens? ─► guess ─┐
//!                  or drafter: what would the draft model say?        ─► guess ─┤
//!                                                                               ▼
//!  hit_rate (of this stream), cost (of this machine) ─► how many of them ─► one run ─► draw at each place
//! ```
//!
//! A run with some guessed tokens behind the next one costs less than as many runs. The sampler draws at each place as it
//! would have done anyway, from its own position's randomness and after all tokens before it; while the draw is what was
//! guessed, the next place is valid too. The first that differs is the output, and what was run behind it is forgotten.
//! So the output is that of plain decoding, up to the last bits of the logits, which depend on how many tokens run at once.
//!
//! Text that repeats itself (code, tables, answers that quote the question) is guessed well, other text is not. So
//! [`HitRate`] watches what guesses would have been worth, also while none are run, and [`StepCost`] what they cost here.

mod cost;
mod drafter;
mod hit_rate;
mod lookup;

pub(super) use cost::StepCost;
pub(in super::super) use drafter::{Drafter, LANES};
pub(super) use hit_rate::HitRate;
pub(super) use lookup::guess;
