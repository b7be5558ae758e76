//! One command a file.

pub(crate) mod chat;
pub(crate) mod config;
pub(crate) mod healthcheck;
pub(crate) mod key;
pub(crate) mod library;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod shell;
pub(crate) mod show;
#[cfg(feature = "llama-cpp")]
pub(crate) mod tune;
pub(crate) mod up;
pub(crate) mod usage;
