//! What a command can fail with: a message for a person, and an exit status.

/// Why a command failed. Its text is printed behind `error: `.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] llmo_config::ConfigError),
    /// A model refused or failed.
    #[error(transparent)]
    Model(#[from] llmo_core::ModelError),
    /// Input or output failed.
    #[error("{context}: {source}")]
    Io {
        /// What was being done.
        context: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// Anything else, said in full.
    #[error("{0}")]
    Message(String),
    /// Everything has been said; only the exit status is left.
    #[error("")]
    Reported,
}

impl CliError {
    /// Names what was being done when the system refused.
    pub(crate) fn io(context: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let context = context.into();
        move |source| Self::Io { context, source }
    }
}

/// Result of a command.
pub(crate) type Result<T = (), E = CliError> = std::result::Result<T, E>;
