//! API keys at the gateway: who may ask, for which models, and as which tenant. Off unless `gateway.keys_file` is set.
//!
//! ```text
//!  file ─► KeyRing (hashes) ◄─ Guard: hash, look up ─► tenant's header ─► front end ─► PermittedModels ─► models
//!                                 └─ no such key: 401, the same for every reason
//! ```
//!
//! * [`mod@file`]: what the file says, checked. [`KeyRing`]: the keys that hold now; watched like the files of routes.
//! * [`guard`]: the layer in front of everything. Keys end there: neither logs nor replicas ever see one.
//! * [`PermittedModels`]: to whoever may not use a model, it does not exist.
//! * [`fresh`]: making a key (`llmo key new`).

pub mod file;
pub mod fresh;
pub mod guard;
mod permitted;
mod ring;

use llmo_config::{GatewayConfig, TenantFrom};

pub use permitted::PermittedModels;
pub use ring::{Holder, KeyRing};

/// What tells tenants apart: with keys the guard says it, in the header, whatever was configured.
#[must_use]
pub fn tenant_from(config: &GatewayConfig) -> TenantFrom {
    if config.keys_file.as_os_str().is_empty() { config.tenant_from } else { TenantFrom::Header }
}
