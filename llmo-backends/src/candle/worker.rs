//! The thread that owns a decoder and serves one request after the other.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use llmo_core::ModelError;
use llmo_core::model::TokenId;

use super::decoder::Decoder;
use super::generation::{Engine, Generation};
use super::queue::Queue;
use super::tokenizer::Tokenizer;
use crate::sampler::TokenTexts;

/// What the worker shares with the model's handle.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) queue: Queue<Generation>,
    pub(super) tokenizer: Tokenizer,
    /// Tokens in the KV cache.
    pub(super) occupied: AtomicU32,
}

impl TokenTexts for Shared {
    fn text(&self, token: TokenId) -> &[u8] {
        self.tokenizer.text(token)
    }
}

/// Starts the thread; it ends once the queue is closed and empty.
///
/// # Errors
/// [`ModelError::Internal`] if the system refuses a thread.
pub(super) fn start(shared: Arc<Shared>, mut decoder: Decoder, chunk: usize) -> Result<(), ModelError> {
    let work = move || {
        while let Some(generation) = shared.queue.take() {
            serve(&shared, &mut decoder, chunk, generation);
            shared.occupied.store(0, Ordering::Relaxed);
        }
    };
    thread::Builder::new()
        .name("llmo-candle".into())
        .spawn(work)
        .map(|_| ())
        .map_err(|error| ModelError::Internal(format!("no thread for the model: {error}")))
}

fn serve(shared: &Shared, decoder: &mut Decoder, chunk: usize, generation: Generation) {
    let occupied = |tokens: usize| shared.occupied.store(u32::try_from(tokens).unwrap_or(u32::MAX), Ordering::Relaxed);
    let mut engine = Engine { decoder, tokenizer: &shared.tokenizer, chunk, occupied: &occupied };
    // A panic in a tensor operation must not take the other requests with it. The decoder is safe to use again: every
    // generation begins by clearing it. The caller sees the stream break off, which the stream reports as an error.
    let run = AssertUnwindSafe(|| generation.run(&mut engine));
    match catch_unwind(run) {
        Ok((_, Ok(()))) => {}
        Ok((events, Err(error))) => events.send(Err(error)),
        Err(panic) => tracing::error!(reason = message(&*panic), "a generation panicked"),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("unknown")
}
