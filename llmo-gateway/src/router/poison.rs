//! Requests that engines die of.
//!
//! A model service refuses a request that was there at two deaths of its engine, but each service counts for itself, and a
//! gateway that tries again elsewhere would let one request take down every engine it knows. So deaths are counted here
//! too: a request that was there at two is refused, everywhere and for a while.
//!
//! One death says little: many requests were there. Whoever was there and comes back is a suspect until its first output,
//! and suspects take turns. So a second death leaves one suspect, and the others, which have shown that an engine can bear
//! them, or wait for their turn, go on elsewhere.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use llmo_core::model::{CacheUse, GenerateRequest, ModelError, Result};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, SemaphorePermit};

/// Deaths of which the second is no accident any more, if nobody else was under suspicion.
const DEATHS: u32 = 2;
/// Longest wait of a suspect for its turn. Who goes without one is not blamed.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How long a request is refused.
const REFUSAL: Duration = Duration::from_secs(600);
/// Most requests that are remembered.
const MOST: usize = 1024;

/// The requests that are refused, and the turns of those that are suspected.
#[derive(Debug)]
pub(super) struct Poison {
    turn: Semaphore,
    /// Longest wait for it.
    patience: Duration,
    /// Anything in `refused`? Nearly never: then nothing is hashed.
    any: AtomicBool,
    refused: Mutex<HashMap<u64, Instant>>,
    seed: RandomState,
}

impl Default for Poison {
    fn default() -> Self {
        Self {
            turn: Semaphore::new(1),
            patience: LONGEST_WAIT,
            any: AtomicBool::new(false),
            refused: Mutex::default(),
            seed: RandomState::new(),
        }
    }
}

/// How many deaths of engines one request has seen.
#[derive(Debug, Default)]
pub(super) struct Suspicion(AtomicU32);

impl Suspicion {
    /// Of a request that just failed with this error.
    pub(super) fn after(error: &ModelError) -> Self {
        Self(AtomicU32::new(u32::from(is_death(error))))
    }
}

/// Did an engine die with the request in it?
pub(super) fn is_death(error: &ModelError) -> bool {
    matches!(error, ModelError::EngineDied { .. })
}

/// What the caller of a request hears that engines die of.
pub(super) fn crashed() -> ModelError {
    ModelError::Crashed {
        message: format!(
            "the engines of two replicas died while they worked on this request: it is refused for {} minutes; change the \
             request",
            REFUSAL.as_secs() / 60
        ),
    }
}

impl Poison {
    /// May this request be tried?
    ///
    /// # Errors
    /// [`ModelError::Crashed`] if engines died of an equal one.
    pub(super) fn check(&self, model: &str, request: &GenerateRequest, now: Instant) -> Result<()> {
        if !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let fingerprint = self.fingerprint(model, request);
        let mut refused = self.refused.lock();
        match refused.get(&fingerprint) {
            Some(until) if *until > now => Err(crashed()),
            Some(_) => {
                refused.remove(&fingerprint);
                self.any.store(!refused.is_empty(), Ordering::Relaxed);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Takes in how a request ended: what an engine died of is refused from now on, here and wherever this gateway would
    /// have sent it.
    pub(super) fn learn(&self, model: &str, request: &GenerateRequest, error: &ModelError, now: Instant) {
        if !matches!(error, ModelError::Crashed { .. }) {
            return;
        }
        tracing::error!(model, request_id = request.request_id, %error, "a request is refused");
        let fingerprint = self.fingerprint(model, request);
        let mut refused = self.refused.lock();
        refused.retain(|_, until| *until > now);
        if refused.len() >= MOST
            && let Some(oldest) = refused.iter().min_by_key(|(_, until)| **until).map(|(fingerprint, _)| *fingerprint)
        {
            refused.remove(&oldest);
        }
        refused.insert(fingerprint, now + REFUSAL);
        self.any.store(true, Ordering::Relaxed);
    }

    /// Makes one attempt, alone among suspects if the request is one.
    ///
    /// # Errors
    /// Those of the attempt; [`ModelError::Crashed`] instead of the second [`ModelError::EngineDied`].
    pub(super) async fn attempt<T>(
        &self,
        suspicion: &Suspicion,
        attempt: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let suspected = suspicion.0.load(Ordering::Relaxed) > 0;
        let turn = if suspected { self.turn().await } else { None };
        let answer = attempt.await;
        match answer {
            Err(error) if is_death(&error) && (!suspected || turn.is_some()) => {
                let deaths = suspicion.0.fetch_add(1, Ordering::Relaxed) + 1;
                Err(if deaths >= DEATHS { crashed() } else { error })
            }
            answer => answer,
        }
    }

    async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed; a suspect that had to wait too long goes without.
        tokio::time::timeout(self.patience, self.turn.acquire()).await.ok()?.ok()
    }

    /// Equal for requests that ask for the same, whoever asks, and says nothing about them.
    fn fingerprint(&self, model: &str, request: &GenerateRequest) -> u64 {
        let mut request = request.clone();
        (request.request_id, request.tenant) = (None, None);
        (request.traceparent, request.tracestate, request.keep_alive) = (None, None, None);
        (request.output_prefix, request.priority, request.cache) = (Vec::new(), 0, CacheUse::Default);
        (request.sampling.seed, request.token_ids) = (None, false);
        self.seed.hash_one((model, serde_json::to_vec(&request).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn died() -> ModelError {
        ModelError::EngineDied { message: "abort".into(), started: false }
    }

    async fn fail(poison: &Poison, suspicion: &Suspicion) -> ModelError {
        poison.attempt(suspicion, async { Err::<(), _>(died()) }).await.unwrap_err()
    }

    #[tokio::test]
    async fn the_second_death_is_no_accident() {
        let (poison, suspicion) = (Poison::default(), Suspicion::default());
        assert!(is_death(&fail(&poison, &suspicion).await));
        assert!(matches!(fail(&poison, &suspicion).await, ModelError::Crashed { .. }));
        let moved = Suspicion::after(&died());
        assert!(matches!(fail(&poison, &moved).await, ModelError::Crashed { .. }), "it saw the first one elsewhere");
        let other = Suspicion::after(&ModelError::Shutdown);
        assert!(is_death(&fail(&poison, &other).await));
    }

    #[tokio::test]
    async fn suspects_take_turns_and_who_got_none_is_not_blamed() {
        let poison = Poison { patience: Duration::from_millis(1), ..Poison::default() };
        let suspicion = Suspicion::after(&died());
        let turn = poison.turn().await;
        assert!(is_death(&fail(&poison, &suspicion).await), "another suspect was there");
        drop(turn);
        assert!(matches!(fail(&poison, &suspicion).await, ModelError::Crashed { .. }));
    }

    #[test]
    fn what_engines_died_of_is_refused_for_a_while_whoever_asks() {
        let (poison, now) = (Poison::default(), Instant::now());
        let bad = GenerateRequest::ask("bad");
        poison.learn("m", &bad, &died(), now);
        assert!(poison.check("m", &bad, now).is_ok(), "one death says little");
        let mut continued = bad.clone();
        (continued.output_prefix, continued.request_id) = (vec![1, 2], Some("r".into()));
        poison.learn("m", &continued, &crashed(), now);
        assert!(matches!(poison.check("m", &bad, now), Err(ModelError::Crashed { .. })));
        assert!(poison.check("m", &GenerateRequest::ask("good"), now).is_ok());
        assert!(poison.check("other", &bad, now).is_ok());
        assert!(poison.check("m", &bad, now + REFUSAL).is_ok());
        assert!(!poison.any.load(Ordering::Relaxed));
    }

    #[test]
    fn memory_is_bounded() {
        let (poison, now) = (Poison::default(), Instant::now());
        for i in 0..MOST + 10 {
            poison.learn("m", &GenerateRequest::ask(i.to_string()), &crashed(), now);
        }
        assert_eq!(poison.refused.lock().len(), MOST);
    }
}
