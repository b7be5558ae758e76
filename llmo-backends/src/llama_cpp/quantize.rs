//! Storing a model's weights in another way, by llama.cpp's own quantiser.
//!
//! Native code that may abort, and takes as long as it takes: in a service it belongs into a process of its own.

use std::ffi::CString;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use llama_cpp_sys_2 as sys;
use llmo_core::ModelError;

use super::weights::Weights;
use super::{cores, runtime};

/// How weights are to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum WeightType {
    /// 8-bit integers with a scale for each 32: 8.5 bits a weight.
    Q8_0,
    /// 16-bit floats.
    F16,
    /// 32-bit floats.
    F32,
}

/// Why a file could not be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantizeError {
    /// The source is missing, damaged or no model.
    #[error(transparent)]
    Source(#[from] ModelError),
    /// No space left.
    #[error("no space left on the device for {0}")]
    NoSpace(String),
    /// llama.cpp refused.
    #[error("llama.cpp could not convert {file}: {reason}; its log says why")]
    Refused {
        /// The source.
        file: String,
        /// What is known.
        reason: String,
    },
}

/// Writes the model in `source` to `target`, its weights stored as `wanted`. What is quantised already is made into floats
/// first: that adds the error of the second rounding to that of the first, and brings nothing back.
///
/// Blocking, for a second each 100 MB or so. A failure leaves no target.
///
/// # Errors
/// [`QuantizeError`].
pub fn quantize(source: &Path, target: &Path, wanted: WeightType) -> Result<(), QuantizeError> {
    Weights::open("the source", source)?;
    runtime::backend().map_err(ModelError::Internal)?;
    let outcome = run(source, target, wanted);
    if outcome.is_err() {
        let outcome = if is_full(target) { Err(QuantizeError::NoSpace(target.display().to_string())) } else { outcome };
        let _ = std::fs::remove_file(target);
        return outcome;
    }
    outcome
}

fn run(source: &Path, target: &Path, wanted: WeightType) -> Result<(), QuantizeError> {
    let refused = |reason: String| QuantizeError::Refused { file: source.display().to_string(), reason };
    let c_string = |path: &Path| {
        let text = path.to_str().ok_or_else(|| refused(format!("{} is not UTF-8", path.display())))?;
        CString::new(text).map_err(|_| refused(format!("{} has a NUL in it", path.display())))
    };
    let (from, to) = (c_string(source)?, c_string(target)?);
    // SAFETY: the function has no precondition; the struct it gives is plain data.
    #[allow(unsafe_code)]
    let mut params = unsafe { sys::llama_model_quantize_default_params() };
    params.nthread = i32::try_from(cores::usable()).unwrap_or(1);
    params.ftype = match wanted {
        WeightType::Q8_0 => sys::LLAMA_FTYPE_MOSTLY_Q8_0,
        WeightType::F16 => sys::LLAMA_FTYPE_MOSTLY_F16,
        WeightType::F32 => sys::LLAMA_FTYPE_ALL_F32,
    };
    params.allow_requantize = true;
    // SAFETY: both strings and the parameters live until the call returns; the pointers in the parameters are null.
    // Its C++ exceptions are caught inside.
    #[allow(unsafe_code)]
    let code = unsafe { sys::llama_model_quantize(from.as_ptr(), to.as_ptr(), &raw const params) };
    if code == 0 { Ok(()) } else { Err(refused(format!("code {code}"))) }
}

/// Is the file system of this file full? llama.cpp doesn't say why it could not write, so a little more is written.
fn is_full(file: &Path) -> bool {
    let more = || -> io::Result<()> {
        let mut file = OpenOptions::new().append(true).create(true).open(file)?;
        file.write_all(&vec![0; 1 << 20])?;
        file.sync_all()
    };
    matches!(
        more().map_err(|e| e.kind()),
        Err(ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge)
    )
}
