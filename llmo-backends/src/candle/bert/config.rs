//! What the files beside the weights say: the network's shape, the longest text, how vectors are made of tokens.

use std::fs;
use std::path::Path;

use llmo_core::ModelError;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::candle::file;

/// How the vectors of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pooling {
    /// Their mean.
    Mean,
    /// The vector of the first token, `[CLS]`.
    First,
}

/// A sentence embedding model as its folder describes it.
#[derive(Debug, Clone)]
pub(super) struct Config {
    pub(super) network: NetworkConfig,
    /// Longest text in tokens, with `[CLS]` and `[SEP]`.
    pub(super) max_tokens: usize,
    pub(super) pooling: Pooling,
}

/// `config.json`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct NetworkConfig {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) type_vocab_size: usize,
    pub(super) layer_norm_eps: f64,
    pub(super) hidden_act: Activation,
}

/// The function between the two matrices of a feed-forward network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Activation {
    /// Exact, by the error function.
    Gelu,
    /// Approximated by tanh.
    #[serde(alias = "gelu_pytorch_tanh")]
    GeluNew,
    Relu,
}

#[derive(Debug, Deserialize)]
struct SentenceConfig {
    max_seq_length: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct PoolingConfig {
    pooling_mode_cls_token: bool,
    pooling_mode_mean_tokens: bool,
}

impl Default for PoolingConfig {
    fn default() -> Self {
        Self { pooling_mode_cls_token: false, pooling_mode_mean_tokens: true }
    }
}

impl Config {
    /// # Errors
    /// [`ModelError::Corrupt`] for a missing or broken `config.json` and numbers that contradict each other,
    /// [`ModelError::Unsupported`] for networks and poolings that would be computed wrongly.
    pub(super) fn read(folder: &Path, model: &str) -> Result<Self, ModelError> {
        let corrupt = |reason: String| ModelError::Corrupt { model: model.to_owned(), reason };
        let unsupported = |what: String| ModelError::Unsupported { model: model.to_owned(), what };
        let json: serde_json::Value =
            optional(&folder.join("config.json"), model)?.ok_or_else(|| corrupt("there is no config.json".into()))?;
        let kind = json_text(&json, "model_type").unwrap_or("bert");
        if kind != "bert" {
            return Err(unsupported(format!("the network {kind:?} on candle (bert works)")));
        }
        let network: NetworkConfig =
            NetworkConfig::deserialize(&json).map_err(|error| corrupt(format!("config.json: {error}")))?;
        let positions = json_text(&json, "position_embedding_type").unwrap_or("absolute");
        if positions != "absolute" {
            return Err(unsupported(format!("{positions:?} position embeddings on candle")));
        }
        let sizes = [network.hidden_size, network.num_attention_heads, network.max_position_embeddings];
        if sizes.contains(&0) || !network.hidden_size.is_multiple_of(network.num_attention_heads) {
            return Err(corrupt("config.json: sizes that are zero or don't divide".into()));
        }

        let sentence: Option<SentenceConfig> = optional(&folder.join("sentence_bert_config.json"), model)?;
        let longest = sentence.and_then(|sentence| sentence.max_seq_length).unwrap_or(usize::MAX);
        let max_tokens = longest.min(network.max_position_embeddings);
        if max_tokens < 3 {
            return Err(corrupt(format!("texts of at most {max_tokens} tokens leave no room for text")));
        }
        let pooling: PoolingConfig = optional(&folder.join("1_Pooling/config.json"), model)?.unwrap_or_default();
        let pooling = match (pooling.pooling_mode_mean_tokens, pooling.pooling_mode_cls_token) {
            (true, false) => Pooling::Mean,
            (false, true) => Pooling::First,
            _ => return Err(unsupported("pooling other than mean or first token on candle".into())),
        };
        Ok(Self { network, max_tokens, pooling })
    }
}

fn json_text<'a>(json: &'a serde_json::Value, key: &str) -> Option<&'a str> {
    json.get(key)?.as_str()
}

/// A JSON file's content; `None` if there is no such file.
fn optional<T: DeserializeOwned>(path: &Path, model: &str) -> Result<Option<T>, ModelError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file::unreadable(path, &error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| ModelError::Corrupt {
        model: model.to_owned(),
        reason: format!("{}: {error}", file::name(path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    }

    const NETWORK: &str = r#"{"vocab_size": 100, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
        "intermediate_size": 16, "hidden_act": "gelu", "hidden_dropout_prob": 0.1, "max_position_embeddings": 512,
        "type_vocab_size": 2, "initializer_range": 0.02, "layer_norm_eps": 1e-12, "pad_token_id": 0}"#;

    #[test]
    fn the_sentence_config_limits_what_the_network_could_read() {
        let folder = folder(&[("config.json", NETWORK), ("sentence_bert_config.json", r#"{"max_seq_length": 256}"#)]);
        let config = Config::read(folder.path(), "m").unwrap();
        assert_eq!((config.max_tokens, config.pooling), (256, Pooling::Mean));
    }

    #[test]
    fn what_would_be_computed_wrongly_is_refused() {
        let max =
            (("1_Pooling/config.json"), r#"{"pooling_mode_max_tokens": true, "pooling_mode_mean_tokens": false}"#);
        assert_eq!(
            Config::read(folder(&[("config.json", NETWORK), max]).path(), "m").unwrap_err().code(),
            "unsupported"
        );
        let other = ("config.json", r#"{"model_type": "t5"}"#);
        assert_eq!(Config::read(folder(&[other]).path(), "m").unwrap_err().code(), "unsupported");
        assert_eq!(Config::read(folder(&[]).path(), "m").unwrap_err().code(), "model_corrupt");
        let zero = ("config.json", &*NETWORK.replace("\"num_attention_heads\": 2", "\"num_attention_heads\": 0"));
        assert_eq!(Config::read(folder(&[zero]).path(), "m").unwrap_err().code(), "model_corrupt");
    }
}
