//! From the configuration to the parts it names: which cache, which store, where models come from.
//!
//! Everything here is a choice between implementations; none of it does work of its own.

mod cache;
mod store;

pub use cache::{answer_cache, service_cache};
pub use store::{local_store, model_source, service_store};

/// A part can't be made as the configuration says.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WiringError {
    /// A cache.
    #[error("cache.{setting}: {source}")]
    Cache {
        /// The setting.
        setting: &'static str,
        /// What is wrong.
        #[source]
        source: llmo_core::CacheError,
    },
    /// A store.
    #[error("store.{setting}: {source}")]
    Store {
        /// The setting.
        setting: &'static str,
        /// What is wrong.
        #[source]
        source: llmo_core::StoreError,
    },
    /// The catalogue, or a source of models.
    #[error(transparent)]
    Models(#[from] llmo_store::ModelsError),
    /// A value that fits nothing.
    #[error("{key} = {value}: {message}")]
    Value {
        /// The setting, dotted.
        key: &'static str,
        /// What stands there.
        value: String,
        /// What would be right.
        message: String,
    },
}
