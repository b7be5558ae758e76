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
//! Only what has not started is retried: until the first delta nobody saw anything, so the same request can go to
//! another replica. A stream that breaks later ends with a typed error; `stream.rs` is the place where continuing it
//! elsewhere belongs, since it sees every token that went by.

mod backoff;
mod budget;
mod dispatch;
mod fate;
mod model;
mod models;
mod stream;
mod suggest;

pub use budget::RetryBudget;
pub use dispatch::{Dispatcher, RouterOptions};
pub use fate::Fate;
pub use model::RoutedModel;
pub use models::RoutedModels;
