//! Who may begin now, who waits, and who had better come back later.
//!
//! ```text
//!  request ─► Gate ── room? ──► runs (Permit) ──► its end, or its caller's, lets the next one in
//!               │ no
//!               ├─ too late anyway, or the queue full of others' ──► refused at once, with Retry-After
//!               └─► FairQueue: tenants in turn by tokens, priorities within a tenant
//! ```
//!
//! * [`Admit`]: the layer around a model. [`Gate`]: what it asks.
//! * [`FairQueue`]: weighted fair queueing, pure. [`Gradient`]: how much may run at once, pure.
//! * [`Places`]: for whom some of them are kept, pure.
//! * [`Allowance`]: how much each tenant may use in a minute.
//! * [`DrainRate`]: how quickly the queue moves, and so how long a wait will be, pure.

mod allowance;
mod drain_rate;
mod fair_queue;
mod gate;
mod gradient;
mod layer;
mod options;
mod places;

pub use allowance::{Allowance, Buckets, Shared};
pub use drain_rate::DrainRate;
pub use fair_queue::{FairQueue, Place, Pushed};
pub use gate::{Gate, GateState, Permit, Request};
pub use gradient::Gradient;
pub use layer::{Admit, Gates};
pub use options::AdmissionOptions;
pub use places::Places;
