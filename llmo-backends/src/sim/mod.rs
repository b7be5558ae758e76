//! A model without weights: numbered tokens, chosen speed, chosen faults. The instrument of routing and fault tests.
//!
//! ```text
//!  request ─► plan (validate, tokenise, choose the stream) ─► slots (queue, bound) ─► generation (tokens on time)
//!                                                                                        ▲
//!                                                              SimFaults, at run time ───┘
//! ```
//!
//! * [`options`]: speed, slots, queue bound, text. [`faults`]: what goes wrong, and when.
//! * [`vocabulary`]: the tokenizer, and the words that generations are made of.
//! * [`plan`], [`slots`], [`generation`], [`embedding`]: the steps of a request, one file each.
//!
//! Token k of a generation is a pure function of the prompt's tokens, the seed and k: see [`vocabulary`]. Time is
//! tokio's, so tests with a paused clock run at once. Nothing is spawned: a generation advances while its stream is
//! read, and dropping the stream frees the slot before `drop` returns.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! use llmo_backends::sim::{SimModel, SimOptions};
//! use llmo_core::{GenerateRequest, Model};
//!
//! let model = SimModel::new(SimOptions::default());
//! let (output, _) = model.generate(GenerateRequest::ask("hello").max_tokens(3)).await?.collect_all().await?;
//! assert_eq!(output.text, "t0 t1 t2 ");
//! # Ok::<(), llmo_core::ModelError>(()) }).unwrap();
//! ```

pub mod embedding;
pub mod faults;
pub mod generation;
mod model;
pub mod options;
pub mod plan;
pub mod slots;
pub mod vocabulary;

pub use faults::{Fault, SimFaults};
pub use model::SimModel;
pub use options::{SimOptions, SimText};
