//! From a model's name to an answer of one of its replicas.
//!
//! ```text
//!  RoutedModels ── resolve(name) ─► RoutedModel ── Dispatcher: pick ─► attempt ─► judge ─┐
//!                                       │              ▲                                 │ retryable, in budget
//!                                       │              └────────── back-off ◄────────────┘
//!                                       ▼
//!                                   RoutedStream (lease, idle and deadline guard)
//! ```
//!
//! A request that waits long for its first token can be sent to a second replica (`hedge.rs`); whoever begins first serves it.
//!
//! Until the first delta nobody saw anything, so the same request can go to another replica. A stream that breaks later
//! is continued elsewhere (`continuation.rs`): prompt and the tokens that went by (`journal.rs`) are its complete state.
//! Where that is not possible (an upstream that tells no token ids, no replica in time) it ends with a typed error.
//!
//! A request that engines die of is stopped after two (`poison.rs`).

mod backoff;
mod budget;
mod continuation;
mod dispatch;
mod errand;
mod explain;
mod fate;
mod hedge;
mod journal;
mod model;
mod models;
mod options;
mod poison;
mod stream;
mod suggest;

pub use budget::RetryBudget;
pub use dispatch::Dispatcher;
pub use errand::Work;
pub use fate::Fate;
pub use model::RoutedModel;
pub use models::RoutedModels;
pub use options::RouterOptions;
