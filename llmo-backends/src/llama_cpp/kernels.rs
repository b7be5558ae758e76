//! Which of llama.cpp's CPU kernels run: compiled in, or loaded for this processor when the program starts.
//!
//! A build for this machine has one set of kernels. A portable one (feature `dynamic-backends`) brings a library for each
//! kind of processor, `libggml-cpu-*.so`, beside the program, in `lib/` beside it, or in `../lib/llmo`; llama.cpp takes the
//! best one that the processor can run. `LLMO_BACKENDS_DIR` names another directory.

use std::ffi::CStr;

use super::runtime;

/// What llama.cpp computes with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Kernels {
    /// llama.cpp's names of what its kernels use, such as `AVX512_VNNI` or `AMX_INT8`. Only what the processor has too.
    /// `LLMO_TILES` stands for llmo's own kernels for Q4_1 and Q8_0.
    pub features: Vec<String>,
    /// The library that was taken, such as `sapphirerapids`; `None` if the kernels are compiled in.
    pub variant: Option<String>,
    /// Version of ggml, llama.cpp's tensor library.
    pub ggml: String,
}

impl Kernels {
    /// The kernels of this process. Starts llama.cpp if it does not run yet.
    ///
    /// # Errors
    /// If llama.cpp does not start: a portable build without its libraries.
    pub fn active() -> Result<Self, String> {
        runtime::backend()?;
        // SAFETY: both give a string that lives as long as the process; the first writes it anew at each call, and is
        // called under a lock.
        #[allow(unsafe_code)]
        let (info, ggml) = runtime::exclusively(|| unsafe {
            let text = |pointer| CStr::from_ptr(pointer).to_string_lossy().into_owned();
            (text(llama_cpp_sys_2::llama_print_system_info()), text(llama_cpp_sys_2::ggml_version()))
        });
        let mut features = features(&info);
        #[cfg(target_arch = "x86_64")]
        if super::tiles::install() {
            features.push("LLMO_TILES".into());
        }
        Ok(Self { features, variant: loaded_variant(), ggml })
    }

    /// Is this one of the features?
    #[must_use]
    pub fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
    }
}

/// Does attention round alike for all runs of tokens, however a prompt is cut? It does where llmo computes it: with heads of
/// this many values, in models that add nothing to its scores.
pub(super) fn rounds_alike(architecture: &str, head: u32) -> bool {
    /// Without biases by position, caps on scores, or sinks.
    const PLAIN: [&str; 6] = ["llama", "mistral3", "phi3", "qwen2", "qwen3", "smollm3"];
    #[cfg(target_arch = "x86_64")]
    return PLAIN.contains(&architecture) && super::tiles::computes_attention(head);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (PLAIN, architecture, head);
        false
    }
}

/// The features in llama.cpp's `CPU : AVX2 = 1 | AMX_INT8 = 1 | `.
fn features(info: &str) -> Vec<String> {
    let cpu = info.split("CPU : ").nth(1).unwrap_or_default();
    let pairs = cpu.split('|').filter_map(|pair| pair.split_once(" = "));
    pairs.filter(|(_, value)| value.trim() == "1").map(|(name, _)| name.trim().to_owned()).collect()
}

/// Loads the kernels for this processor. To be called before llama.cpp is started.
#[cfg(feature = "dynamic-backends")]
pub(super) fn load() -> Result<(), String> {
    let directory = portable::directory()?;
    llama_cpp_2::llama_backend::load_backends_from_path(&directory);
    Ok(())
}

#[cfg(not(feature = "dynamic-backends"))]
#[allow(clippy::unnecessary_wraps)]
pub(super) fn load() -> Result<(), String> {
    Ok(())
}

#[cfg(not(feature = "dynamic-backends"))]
fn loaded_variant() -> Option<String> {
    None
}

#[cfg(feature = "dynamic-backends")]
pub(super) use portable::loaded_library;
#[cfg(feature = "dynamic-backends")]
use portable::loaded_variant;

#[cfg(feature = "dynamic-backends")]
mod portable {
    use std::fs;
    use std::path::{Path, PathBuf};

    const PREFIX: &str = "libggml-cpu-";

    /// The directory that has the libraries.
    pub(super) fn directory() -> Result<PathBuf, String> {
        let program = std::env::current_exe().ok().and_then(|program| program.canonicalize().ok());
        let beside = program.as_deref().and_then(Path::parent);
        let given = std::env::var_os("LLMO_BACKENDS_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut places: Vec<PathBuf> = given.into_iter().collect();
        if places.is_empty() {
            places
                .extend(beside.into_iter().flat_map(|dir| [dir.to_owned(), dir.join("lib"), dir.join("../lib/llmo")]));
            // Where cargo put them: for programs that are run from its target directory.
            places.extend(llama_cpp_sys_2::BACKENDS_DIR.map(PathBuf::from));
        }
        if let Some(found) = places.iter().find(|place| has_kernels(place)) {
            return Ok(found.clone());
        }
        let places: Vec<_> = places.iter().map(|place| place.display().to_string()).collect();
        Err(format!(
            "no {PREFIX}*.so in {}: keep the libraries of the package beside the program, or say where they are with \
             LLMO_BACKENDS_DIR",
            places.join(", ")
        ))
    }

    fn has_kernels(directory: &Path) -> bool {
        let names = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
        names.into_iter().any(|name| name.to_string_lossy().starts_with(PREFIX))
    }

    /// The library that llama.cpp took, from the list of what this process has mapped.
    pub(in super::super) fn loaded_library() -> Option<PathBuf> {
        let maps = fs::read_to_string("/proc/self/maps").ok()?;
        let line = maps.lines().find(|line| line.contains(PREFIX))?;
        Some(PathBuf::from(&line[line.find('/')?..]))
    }

    /// What is between `libggml-cpu-` and `.so` of its name.
    pub(super) fn loaded_variant() -> Option<String> {
        let library = loaded_library()?;
        let name = library.file_name()?.to_str()?;
        Some(name.strip_prefix(PREFIX)?.split(".so").next()?.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_what_llama_cpp_says_of_its_processor_backend() {
        let info = "CUDA : ARCHS = 750 | CPU : SSE3 = 1 | AVX512 = 1 | AMX_INT8 = 1 | LLAMAFILE = 0 | REPACK = 1 | ";
        assert_eq!(features(info), ["SSE3", "AVX512", "AMX_INT8", "REPACK"]);
        assert!(features("").is_empty());
    }

    #[test]
    fn the_running_kernels_are_known() {
        let kernels = Kernels::active().unwrap();
        assert!(kernels.features.len() > 2 && !kernels.ggml.is_empty(), "{kernels:?}");
    }
}
