//! Rules that say which model a request goes to: `[[routes]]`.
//!
//! ```text
//!  request ─► Facts (path, tenant, headers) ─┐
//!  model's name ─────────────────────────────┴─► RouteTable::decide ─► Decision: model, then its fallbacks ─► Chain
//!                                                     ▲ usable models                 (one model after the other)
//! ```
//!
//! * [`Pattern`], [`RouteTable`], [`Decision`]: pure; the table is compiled, and refused if anything about it is wrong.
//! * [`Facts`]: what rules may look at besides the model's name.
//! * [`RuledModels`]: the models that rules lead to, and their aliases in lists. [`Chain`]: a model with its fallbacks.
//! * [`Routes`]: the table that holds now; a new one is swapped in without stopping anything.

mod chain;
mod compile;
mod explained;
mod facts;
mod metrics;
mod models;
mod pattern;
mod table;

pub use chain::Chain;
pub use compile::RouteError;
pub use facts::{Facts, remember};
pub use metrics::RouteMetrics;
pub use models::{Routes, RuledModels};
pub use pattern::Pattern;
pub use table::{Asked, Decision, Route, RouteTable};
