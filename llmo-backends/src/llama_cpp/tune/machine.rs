//! Which machine this is: results of another one are worth nothing here.

use std::fs;
use std::thread;

use serde::{Deserialize, Serialize};

use crate::llama_cpp::{cores, kernels::Kernels};

/// What decides speed, apart from the model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Machine {
    /// The processor's name.
    pub processor: String,
    /// Physical cores that this process may use.
    pub physical: u32,
    /// Threads that this process may use.
    pub logical: u32,
    /// What the processor can do that matters to kernels, as the system calls it.
    pub flags: Vec<String>,
    /// This build of llmo and of llama.cpp, with the kernels that run.
    pub build: String,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// If llama.cpp does not start.
    pub fn this() -> Result<Self, String> {
        let kernels = Kernels::active()?;
        let information = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let logical = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Ok(Self {
            processor: field(&information, "model name").unwrap_or(std::env::consts::ARCH).to_owned(),
            physical: cores::usable(),
            logical: u32::try_from(logical).unwrap_or(1),
            flags: flags(&information),
            build: format!("llmo {} ggml {} {}", env!("CARGO_PKG_VERSION"), kernels.ggml, kernels.features.join(" ")),
        })
    }
}

fn field<'a>(information: &'a str, name: &str) -> Option<&'a str> {
    let line = information.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim())
}

fn flags(information: &str) -> Vec<String> {
    const MATTER: [&str; 8] = ["avx", "amx", "fma", "f16c", "bmi", "sve", "asimd", "i8mm"];
    let all = field(information, "flags").or_else(|| field(information, "Features")).unwrap_or_default();
    let wanted = |flag: &&str| MATTER.iter().any(|beginning| flag.starts_with(beginning));
    let mut found: Vec<String> = all.split_whitespace().filter(wanted).map(str::to_owned).collect();
    found.sort_unstable();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_matters_to_kernels_counts() {
        let information = "processor : 0\nmodel name\t: Some CPU\nflags\t\t: fpu vme avx512f amx_int8 avx2\n";
        assert_eq!(field(information, "model name"), Some("Some CPU"));
        assert_eq!(flags(information), ["amx_int8", "avx2", "avx512f"]);
        assert!(flags("").is_empty());
    }
}
