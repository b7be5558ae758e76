//! How an engine process is started, watched and given up.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::telemetry::{self, LogStyle};

/// How an engine process is started, watched and given up.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ChildOptions {
    /// The program. It must be of the same build; the default is this very program.
    pub program: PathBuf,
    /// Its arguments: they must lead to [`run`](super::engine::run).
    pub arguments: Vec<OsString>,
    /// How it writes its log.
    pub log: LogStyle,
    /// A process that says nothing for so long is stopped or starved, and ended. It speaks twice a second.
    pub silence: Duration,
    /// An engine that has work and gets nothing done for so long hangs, and is ended. A chunk of a prompt must fit into
    /// it, however slow the machine.
    pub stall: Duration,
    /// How long it may take to end when told to.
    pub grace: Duration,
    /// So many deaths…
    pub deaths: u32,
    /// …within this time put the engine into quarantine…
    pub window: Duration,
    /// …for this long, twice as long each further time, at most ten minutes.
    pub quarantine: Duration,
}

impl Default for ChildOptions {
    fn default() -> Self {
        Self {
            program: this_program(),
            arguments: vec!["engine".into()],
            log: telemetry::style(),
            silence: Duration::from_secs(5),
            stall: Duration::from_secs(120),
            grace: Duration::from_secs(5),
            deaths: 5,
            window: Duration::from_secs(60),
            quarantine: Duration::from_secs(60),
        }
    }
}

/// This very program. On Linux by the kernel's own link, which leads to the running build also after an update has
/// replaced the file.
fn this_program() -> PathBuf {
    let link = PathBuf::from("/proc/self/exe");
    if link.exists() {
        return link;
    }
    std::env::current_exe().unwrap_or_else(|_| PathBuf::from("llmo-server"))
}
