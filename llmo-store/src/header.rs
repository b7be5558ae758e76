//! Reading the header of a weight file, wherever it lies: what no engine may see is refused here.
//!
//! The checks themselves are pure and live in [`llmo_core::weights`]. Headers differ in length from a kilobyte to some
//! megabytes (a vocabulary), so a growing piece of the file is read until it holds all of the header.

use bytes::Bytes;
use futures::TryStreamExt;
use llmo_core::store::{GetOptions, Store, StorePath};
use llmo_core::weights::{GgufHeader, SafetensorsHeader, WeightsError};
use serde::{Deserialize, Serialize};

use crate::catalogue::WeightsFormat;
use crate::error::ModelsError;
use crate::local::off_thread;

const FIRST_READ: u64 = 4 << 20;
/// No header is longer: a vocabulary of a million words has some 30 MB.
const MAX_HEADER: u64 = 256 << 20;

/// What the header of a weight file says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WeightsFacts {
    /// What its makers call it.
    pub name: Option<String>,
    /// Its architecture, as in `llama`.
    pub architecture: Option<String>,
    /// Longest context that it was trained for, in tokens.
    pub context_length: Option<u64>,
    /// Number of its parameters.
    pub parameters: Option<u64>,
    /// How they are stored, as in `Q4_1` or `F32`.
    pub quantisation: Option<String>,
    /// Number of its tensors.
    pub tensors: u64,
    /// Does it bring a template for chats?
    pub chat_template: bool,
}

impl WeightsFacts {
    /// Does it make vectors rather than text?
    #[must_use]
    pub fn embeds(&self) -> bool {
        self.architecture.as_deref().is_none_or(|name| name.contains("bert") || name.contains("embed"))
    }
}

/// Checks the header of a file; `None` if the name is not that of a weight file.
///
/// # Errors
/// [`ModelsError::Damaged`].
#[cfg(feature = "pull")]
pub(crate) async fn of_file(file: &std::path::Path, name: &str) -> Result<Option<WeightsFacts>, ModelsError> {
    use tokio::io::AsyncReadExt;

    let Some(format) = format_of(name) else { return Ok(None) };
    let unreadable =
        |e| ModelsError::from(crate::local::io_fault(&format!("reading the header of {}", file.display()), e));
    let size = tokio::fs::metadata(file).await.map_err(unreadable)?.len();
    let mut length = FIRST_READ;
    loop {
        let mut bytes = Vec::new();
        let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
        opened.take(length).read_to_end(&mut bytes).await.map_err(unreadable)?;
        match parsed(format, bytes, size, &file.display().to_string()).await? {
            Some(facts) => return Ok(Some(facts)),
            None => length *= 4,
        }
    }
}

/// Checks the header of an object of `size` bytes; `None` if its name is not that of a weight file.
///
/// # Errors
/// [`ModelsError::Damaged`], or those of the store.
pub(crate) async fn of_object(
    store: &dyn Store,
    path: &StorePath,
    size: u64,
) -> Result<Option<WeightsFacts>, ModelsError> {
    let Some(format) = format_of(path.as_str()) else { return Ok(None) };
    let mut length = FIRST_READ;
    loop {
        let pieces: Vec<Bytes> = store.get(path, GetOptions::range(0, length)).await?.data.try_collect().await?;
        match parsed(format, pieces.concat(), size, path.as_str()).await? {
            Some(facts) => return Ok(Some(facts)),
            None => length *= 4,
        }
    }
}

fn format_of(name: &str) -> Option<WeightsFormat> {
    match name.rsplit_once('.')?.1 {
        "gguf" => Some(WeightsFormat::Gguf),
        "safetensors" => Some(WeightsFormat::Safetensors),
        _ => None,
    }
}

/// `None`: the header is longer than `bytes`, and more of the file can be had.
async fn parsed(
    format: WeightsFormat,
    bytes: Vec<u8>,
    size: u64,
    name: &str,
) -> Result<Option<WeightsFacts>, ModelsError> {
    let whole = bytes.len() as u64 >= size.min(MAX_HEADER);
    let outcome = off_thread(move || {
        Ok(match format {
            WeightsFormat::Gguf => GgufHeader::parse(&bytes, size).map(|header| of_gguf(&header)),
            WeightsFormat::Safetensors => SafetensorsHeader::parse(&bytes, size).map(|header| of_safetensors(&header)),
        })
    })
    .await?;
    match outcome {
        Ok(facts) => Ok(Some(facts)),
        Err(WeightsError::Truncated { .. }) if !whole => Ok(None),
        Err(error) => Err(ModelsError::Damaged { file: name.to_owned(), reason: error.to_string() }),
    }
}

fn of_gguf(header: &GgufHeader) -> WeightsFacts {
    WeightsFacts {
        name: header.name().map(str::to_owned),
        architecture: header.architecture().map(str::to_owned),
        context_length: header.context_length(),
        parameters: Some(header.parameters()),
        quantisation: Some(header.quantisation().to_string()),
        tensors: header.tensors().len() as u64,
        chat_template: header.chat_template().is_some(),
    }
}

/// A safetensors file says nothing of itself but its tensors; its configuration lies beside it.
fn of_safetensors(header: &SafetensorsHeader) -> WeightsFacts {
    let largest = header.tensors().max_by_key(|(_, tensor)| tensor.elements());
    WeightsFacts {
        parameters: Some(header.parameters()),
        quantisation: largest.map(|(_, tensor)| tensor.dtype.clone()),
        tensors: header.tensors().count() as u64,
        ..WeightsFacts::default()
    }
}
