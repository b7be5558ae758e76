//! Where a value came from.

use std::path::PathBuf;

/// Where a value came from. Later variants override earlier ones.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Origin {
    /// Built in.
    Default,
    /// What this way of running the stack usually wants.
    Preset(String),
    /// A configuration file.
    File(PathBuf),
    /// A variable in a `.env` file.
    DotEnv {
        /// The file.
        file: PathBuf,
        /// The variable.
        variable: String,
    },
    /// An environment variable.
    Environment(String),
    /// A flag of the command line.
    Flag(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Preset(text) => write!(f, "preset {text}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::DotEnv { file, variable } => write!(f, "{} ({variable})", file.display()),
            Self::Environment(variable) => write!(f, "environment ({variable})"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}
