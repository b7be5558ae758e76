//! llama.cpp's process-wide state.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::LlamaContextParams;
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::{LlamaCppError, LogOptions, send_logs_to_tracing};
use parking_lot::{Mutex, MutexGuard};

/// llama.cpp, started at the first call and never stopped: models may live as long as the process. Its log goes to
/// `tracing`, under the target `llama-cpp-2`.
pub(super) fn backend() -> Result<&'static LlamaBackend, String> {
    static BACKEND: OnceLock<Result<LlamaBackend, String>> = OnceLock::new();
    BACKEND
        .get_or_init(|| {
            send_logs_to_tracing(LogOptions::default());
            super::kernels::load()?;
            let backend = LlamaBackend::init().map_err(|e: LlamaCppError| e.to_string())?;
            #[cfg(target_arch = "x86_64")]
            super::tiles::install();
            Ok(backend)
        })
        .as_ref()
        .map_err(|e| format!("llama.cpp does not start: {e}"))
}

/// Calls what llama.cpp does not allow on two threads at once.
pub(super) fn exclusively<T>(work: impl FnOnce() -> T) -> T {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    work()
}

/// Engines that are loaded in this process.
static ENGINES: AtomicUsize = AtomicUsize::new(0);
/// Held by whoever measures.
static MEASURING: Mutex<()> = Mutex::new(());

/// Says that an engine is loaded, for as long as it lives.
pub(super) struct Presence(());

impl Presence {
    pub(super) fn new() -> Self {
        ENGINES.fetch_add(1, Ordering::Relaxed);
        Self(())
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        ENGINES.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The right to measure: no engine is loaded, and nobody else measures. An engine that is loaded meanwhile makes the
/// measurement noisy, which is noticed.
pub(super) fn alone() -> Option<MutexGuard<'static, ()>> {
    MEASURING.try_lock().filter(|_| ENGINES.load(Ordering::Relaxed) == 0)
}

/// Creates a context. One at a time: llama.cpp changes the model while it does so.
pub(super) fn new_context(model: &LlamaModel, params: LlamaContextParams) -> Result<LlamaContext<'_>, String> {
    let backend = backend()?;
    exclusively(|| model.new_context(backend, params)).map_err(|_| {
        "llama.cpp could not create a context; is there enough memory for the KV cache? Fewer slots or a smaller \
         context need less"
            .to_owned()
    })
}
