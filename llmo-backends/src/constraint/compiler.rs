//! From constraints to matchers: off the caller's thread, bounded in time and memory, each source once.

use std::sync::{Arc, OnceLock};

use llguidance::ParserFactory;
use llmo_core::ModelError;
use llmo_core::model::Constraint;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, timeout_at};

use super::cache::{Cache, Compiled};
use super::environment::{self, VocabularyToken};
use super::matcher::Matcher;
use super::{PARAM, limits, source};

/// Compiles the constraints of one model.
#[derive(Clone)]
pub(crate) struct Grammars {
    shared: Arc<Shared>,
}

struct Shared {
    vocabulary: Box<dyn Fn() -> Vec<VocabularyToken> + Send + Sync>,
    /// Made with the first constraint: it takes a tenth of a second and some megabytes.
    factory: OnceLock<Option<Result<ParserFactory, String>>>,
    cache: Mutex<Cache>,
    turns: Arc<Semaphore>,
}

impl Grammars {
    /// For a model with this vocabulary, which is asked for with the first constraint.
    pub(crate) fn new(vocabulary: impl Fn() -> Vec<VocabularyToken> + Send + Sync + 'static) -> Self {
        let shared = Shared {
            vocabulary: Box::new(vocabulary),
            factory: OnceLock::new(),
            cache: Mutex::new(Cache::new(limits::CACHED, limits::CACHED_BYTES)),
            turns: Arc::new(Semaphore::new(limits::COMPILING)),
        };
        Self { shared: Arc::new(shared) }
    }

    /// A matcher at the beginning of an output.
    ///
    /// # Errors
    /// [`ModelError::InvalidRequest`] for a constraint that is malformed, too large or takes too long;
    /// [`ModelError::Overloaded`] if too many others are being compiled.
    pub(crate) async fn compile(&self, constraint: &Constraint) -> Compiled {
        let key = source::key(constraint)?;
        if let Some(compiled) = self.shared.cache.lock().get(&key) {
            return compiled;
        }
        self.warm_up().await?;
        let until = Instant::now() + limits::COMPILE_TIME;
        let turn = Arc::clone(&self.shared.turns).acquire_owned();
        let Ok(Ok(turn)) = timeout_at(until, turn).await else {
            let reason = "too many grammars are being compiled".into();
            return Err(ModelError::Overloaded { reason, retry_after: limits::COMPILE_TIME });
        };
        if let Some(compiled) = self.shared.cache.lock().get(&key) {
            return compiled;
        }
        let compiling = self.start(constraint.clone(), turn)?;
        let compiled = match timeout_at(until, compiling).await {
            Ok(Ok(compiled)) => compiled,
            Ok(Err(_)) => Err(ModelError::invalid(PARAM, "it can't be compiled: the compiler panicked")),
            Err(_) => {
                let seconds = limits::COMPILE_TIME.as_secs();
                return Err(ModelError::invalid(
                    PARAM,
                    format!("takes longer than {seconds} s to compile; simplify it"),
                ));
            }
        };
        self.shared.cache.lock().put(key, compiled.clone());
        compiled
    }

    /// Builds what all grammars share, once. Not in the time that one grammar may take: a large vocabulary on a slow machine
    /// would make the first caller's fail.
    async fn warm_up(&self) -> Result<(), ModelError> {
        if self.shared.factory.get().is_some() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let built = tokio::task::spawn_blocking(move || {
            shared.factory();
        });
        built.await.map_err(|error| ModelError::Internal(format!("no grammars for this vocabulary: {error}")))
    }

    /// Compiles on a thread with a deep stack. It keeps its turn to its end, also if nobody waits any more.
    fn start(
        &self,
        constraint: Constraint,
        turn: OwnedSemaphorePermit,
    ) -> Result<oneshot::Receiver<Compiled>, ModelError> {
        let (report, reported) = oneshot::channel();
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let compiled = shared.compile(&constraint);
            drop(turn);
            // Nobody waits any more if it took too long.
            let _ = report.send(compiled);
        };
        let thread = std::thread::Builder::new().name("llmo-grammar".into()).stack_size(limits::STACK_BYTES);
        thread.spawn(work).map_err(|error| ModelError::Internal(format!("no thread for a grammar: {error}")))?;
        Ok(reported)
    }
}

impl Shared {
    fn factory(&self) -> &Option<Result<ParserFactory, String>> {
        self.factory.get_or_init(|| environment::factory((self.vocabulary)()))
    }

    fn compile(&self, constraint: &Constraint) -> Compiled {
        let factory = match self.factory() {
            Some(Ok(factory)) => factory,
            Some(Err(error)) => return Err(ModelError::Internal(format!("no grammars for this vocabulary: {error}"))),
            None => return Err(ModelError::invalid(PARAM, "this model has no token that ends an output")),
        };
        let grammar = source::grammar(constraint)?;
        let mut inner = llguidance::panic_utils::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Ok(llguidance::Matcher::new(factory.create_parser(grammar)))
        }))
        .map_err(|error| refused(&error.to_string()))?;
        if let Some(error) = inner.get_error() {
            return Err(refused(&error));
        }
        // A grammar whose first mask can't be computed would fail with the first token.
        inner.compute_mask_or_eos().map_err(|error| refused(&error.to_string()))?;
        Ok(Matcher::new(inner))
    }
}

/// Of llguidance's texts, which may hold a backtrace or the whole grammar, what tells the caller something.
fn refused(error: &str) -> ModelError {
    let text: String = error
        .split("<backtrace>")
        .next()
        .unwrap_or_default()
        .split("<non-verbose/>")
        .next()
        .unwrap_or_default()
        .chars()
        .take(400)
        .collect();
    ModelError::invalid(PARAM, format!("can't be enforced: {}", text.trim()))
}

impl std::fmt::Debug for Grammars {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grammars").field("cache", &self.shared.cache).finish_non_exhaustive()
    }
}
