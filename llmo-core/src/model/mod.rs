//! The [`Model`] trait and everything that passes through it.
//!
//! * [`constraint`]: what the output must look like. [`tool`]: functions that the model may call.
//! * [`request`]: what a caller asks for, independent of any HTTP dialect.
//! * [`message`]: chat messages, the dialect-neutral form.
//! * [`sampling`]: sampling parameters and their validation.
//! * [`event`]: what comes back, and the stream that carries it.
//! * [`info`]: what a model is and can do. [`load`]: how busy it is.
//! * [`process`]: how a model is that runs in a process of its own.
//! * [`error`]: what can go wrong, named for the caller.
//! * [`registry`]: finding a model by name. [`residence`]: models that come and go. [`pull`]: fetching one that isn't
//!   here.

pub mod constraint;
pub mod error;
pub mod event;
pub mod info;
pub mod load;
pub mod message;
pub mod process;
pub mod pull;
pub mod registry;
pub mod request;
pub mod residence;
pub mod sampling;
pub mod tool;
mod traits;

pub use constraint::Constraint;
pub use error::{ModelError, Result};
pub use event::{
    CacheStatus, Delta, Event, EventStream, Finish, FinishReason, Origin, PromptToken, Timings, TokenLogprob,
    TopLogprob, Usage,
};
pub use info::{Capabilities, ModelInfo, Quantisation};
pub use load::Load;
pub use message::{Message, Role};
pub use process::Process;
pub use pull::{PullProgress, PullStream};
pub use registry::{Models, SingleModel};
pub use request::{
    Adapter, CacheUse, EmbedRequest, Embeddings, GenerateRequest, Prompt, Ranking, RerankRequest, TokenizeOptions,
};
pub use residence::{KeepAlive, LoadProgress, LoadStep, Residence, ResidenceState, RunningModel};
pub use sampling::{DryParams, MirostatParams, SamplingParams, TokenId};
pub use tool::{Tool, ToolCall, ToolCallDelta, ToolChoice};
pub use traits::Model;
