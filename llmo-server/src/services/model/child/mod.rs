//! Engines in processes of their own, so that an abort in native code ends that process and nothing else.
//!
//! ```text
//!  model service                                    engine process (`llmo-server engine`, the same program)
//!  ChildModel ─► Link ══ commands ═(socket pair)══► serve ─► answer ─► Model (llama.cpp, sim)
//!     │            ╚═══◄ reports ◄══════════════════ events, load, heartbeat
//!     │            stdout: log lines · stderr: what native code prints
//!     └ supervisor: starts, watches, buries, starts again
//!           Recovery   when to start again, when to give it a rest     (pure)
//!           Suspects   which requests were there when it died          (pure)
//! ```
//!
//! * [`spec`]: what to load; [`options`]: patience and bounds; `protocol`: what the two say; `wire`: how it gets across.
//! * `parent`: the service's side. [`engine`]: the engine's side.
//!
//! Both ends are one build: nothing here is a stable format. The child never outlives the parent (`prctl` on Linux, the
//! end of the socket elsewhere), and the kernel is asked to take it first when memory runs out.

pub mod engine;
pub mod options;
mod parent;
mod protocol;
pub mod spec;
mod wire;

pub use options::ChildOptions;
pub use parent::ChildModel;
pub use spec::Spec;
