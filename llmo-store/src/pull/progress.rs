//! What a pull tells whoever is waiting for it.

/// Told how a pull goes on. Called from any thread, often: it must be quick and must not block.
pub trait Progress: Send + Sync {
    /// Something else is being done now.
    fn phase(&self, phase: &Phase);

    /// `done` of `total` bytes of the whole model are here; `total` is `None` if it isn't known. Goes back when a
    /// source turned out to be bad.
    fn bytes(&self, done: u64, total: Option<u64>);
}

/// What a pull is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Another process pulls the same model; this one waits for it.
    Waiting {
        /// The model.
        model: String,
    },
    /// A source is asked.
    Asking {
        /// The source.
        source: String,
    },
    /// A source could not serve; the next one is tried.
    Failed {
        /// The source.
        source: String,
        /// Why.
        reason: String,
    },
    /// A file is being received.
    Receiving {
        /// The file.
        file: String,
        /// Bytes that an earlier pull had left.
        resumed: u64,
    },
    /// Files are checked and become visible.
    Installing {
        /// The model.
        model: String,
    },
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _: &Phase) {}

    fn bytes(&self, _: u64, _: Option<u64>) {}
}
