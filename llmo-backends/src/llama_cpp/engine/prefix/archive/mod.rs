//! Beginnings that came again are kept in a store, and come back after a restart or on another replica.
//!
//! ```text
//!   engine ──Command (bounded, never waits)──► task on a thread of its own ──► Store
//!      ▲                                          │
//!      └──────── Shelf: what there is, what came ◄┘ then the engine is woken
//! ```
//!
//! * [`format`]: an entry as bytes, checked when it comes back.
//! * [`shelf`]: what both sides look at, under a lock that is held for moments.
//! * [`task`]: reads, writes, and keeps the store within its bounds.
//! * [`popular`]: which beginnings are worth it.

pub(in super::super) mod format;
pub(in super::super) mod popular;
mod shelf;
mod task;

use std::sync::Arc;

use llmo_core::model::TokenId;
use tokio::sync::mpsc;

pub(in super::super) use format::Entry;
pub(in super::super) use shelf::{Arrival, Found};

use self::shelf::Shelf;
use self::task::{Command, Task};
use super::Salt;
use crate::llama_cpp::prefix_store::PrefixStore;

/// Commands that may wait. More are dropped: nothing is lost but time.
const COMMANDS: usize = 8;

/// The engine's end.
pub(in super::super::super) struct Archive {
    shelf: Arc<Shelf>,
    commands: mpsc::Sender<Command>,
    popular: popular::Popular,
}

impl Archive {
    /// Starts the task. `identity` is what must be the same for an entry to be taken; `model` names the entries' directory;
    /// `wake` is called when something came.
    ///
    /// # Errors
    /// No thread could be started, or `model` makes no path.
    pub(in super::super::super) fn open(
        options: PrefixStore,
        model: &str,
        identity: String,
        wake: impl Fn() + Send + Sync + 'static,
    ) -> Result<Self, String> {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let shelf = Arc::new(Shelf::new(wake));
        let task = Task::new(options, model, identity, Arc::clone(&shelf))?;
        std::thread::Builder::new()
            .name("llmo-prefix-store".into())
            .spawn(move || task.run(receiver))
            .map_err(|e| format!("no thread for the prefix store: {e}"))?;
        Ok(Self { shelf, commands, popular: popular::Popular::default() })
    }

    /// The entry with most of this prompt's beginning.
    pub(in super::super) fn find(&self, salt: &Salt, prompt: &[TokenId]) -> Option<Found> {
        self.shelf.find(&salt_hash(salt), prompt)
    }

    /// Asks for an entry. False if the task has too much to do.
    pub(in super::super) fn fetch(&self, number: u64) -> bool {
        let Some(path) = self.shelf.expect(number) else { return true };
        let asked = self.commands.try_send(Command::Fetch { number, path }).is_ok();
        if !asked {
            self.shelf.forget(number);
        }
        asked
    }

    /// Has it come?
    pub(in super::super) fn arrival(&self, number: u64) -> Arrival {
        self.shelf.arrival(number)
    }

    /// Nobody waits for it any more.
    pub(in super::super) fn forget(&self, number: u64) {
        self.shelf.forget(number);
    }

    /// A request reused this beginning. True if it should be saved.
    pub(in super::super) fn is_wanted(&mut self, salt: &Salt, tokens: &[TokenId]) -> bool {
        let salt = salt_hash(salt);
        self.popular.used(&salt, tokens) && self.commands.capacity() > 0 && !self.shelf.has(&salt, tokens)
    }

    /// Saves what a slot holds.
    pub(in super::super) fn save(&self, salt: &Salt, tokens: Vec<TokenId>, long: bool, state: Vec<u8>) {
        let entry = Entry { salt: salt_hash(salt), tokens, long, state };
        if self.commands.try_send(Command::Save(entry)).is_err() {
            tracing::debug!("the prefix store is busy: a beginning was not saved");
        }
    }
}

fn salt_hash(salt: &Salt) -> [u8; 32] {
    *blake3::hash(&salt.bytes()).as_bytes()
}
