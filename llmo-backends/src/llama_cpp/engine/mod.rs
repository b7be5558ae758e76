//! The scheduler: continuous batching over the sequences of one context.
//!
//! ```text
//!  generate() ──Job──► Mailbox (bounded queue) ──► slots ──► step ──► step ──► …          one thread
//!       ▲                                            │
//!       └────────── Events (bounded channel) ◄───────┘
//! ```
//!
//! One thread owns the context. Everything else talks to it through the [`Mailbox`], a queue under a lock that is held
//! for a few instructions, and through one bounded channel for each request. A step
//!
//! 1. frees the slots of callers that left, whose deadline passed or who read nothing for too long,
//! 2. moves waiting requests into free slots, with the beginning of their prompts from wherever it is ([`prefix`]),
//! 3. runs one token of every stream that generates, and some that are guessed to follow it where that pays ([`draft`]), in
//!    one batch, and sends the results,
//! 4. reads a chunk of the prompts that are not read yet, as large as the running streams can stand ([`pace`]).
//!
//! Prompts are run apart from streams: the shapes that llama.cpp computes with, and so the last bits of the logits, then
//! don't depend on what else is running. The KV cache has one stream a sequence, in which mixed batches would be split
//! the same way anyway, so it costs nothing.
//!
//! A stream whose channel is full is left out of the batch until its reader catches up; the others don't wait for it.

mod admission;
mod draft;
mod events;
mod generation;
mod job;
mod mailbox;
mod pace;
mod phases;
mod placing;
mod prefix;
mod prompt_report;
mod restoring;
mod scheduler;
mod service_rate;
mod slot;
mod thread;

pub(super) use draft::{Drafter, LANES};
pub(super) use job::{Held, job};
pub(super) use mailbox::{Limits, Mailbox};
pub(super) use prefix::{Archive, Rounding};
pub(super) use scheduler::{Engine, Settings};
pub(super) use thread::{EngineThread, serve};

#[cfg(test)]
mod tests;

#[cfg(test)]
mod sharing_tests;
