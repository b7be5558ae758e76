//! The handle of an embedding model: checks requests, queues them, shortens vectors.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use llmo_core::model::{Load, Quantisation, Ranking, RerankRequest, Result, TokenId, TokenizeOptions, Usage};
use llmo_core::{EmbedRequest, Embeddings, EventStream, GenerateRequest, Model, ModelError, ModelInfo};
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::config::Config;
use super::network::Network;
use super::text::TextTokenizer;
use super::worker::{self, Embedding};
use crate::candle::file;
use crate::candle::model::off_runtime;
use crate::candle::queue::Queue;

/// Most texts of a request.
const MAX_TEXTS: usize = 2048;
/// Requests that wait for their turn; more are refused as overloaded.
const MAX_QUEUE: usize = 64;

/// A BERT that makes sentence embeddings, such as all-MiniLM-L6-v2.
///
/// Vectors have unit length. Weights are kept in memory as 32-bit floats. Requests are computed one after the other on a
/// thread of the model's own, their texts in batches of similar length.
///
/// ```no_run
/// use std::path::Path;
///
/// use llmo_backends::candle::bert::BertEmbedder;
/// use llmo_core::{EmbedRequest, Model};
///
/// # async fn embed() -> Result<(), llmo_core::ModelError> {
/// let model = BertEmbedder::load(Path::new("all-MiniLM-L6-v2"), "minilm-l6")?;
/// let embeddings = model.embed(EmbedRequest::new(["a cat", "a kitten"])).await?;
/// assert_eq!(embeddings.vectors[0].len(), 384);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BertEmbedder {
    info: ModelInfo,
    width: u32,
    /// It has a classifier of one label: a cross-encoder.
    judges: bool,
    tokenizer: Arc<TextTokenizer>,
    queue: Arc<Queue<Embedding>>,
}

impl BertEmbedder {
    /// Loads `model.safetensors`, `tokenizer.json` and `config.json` from a folder, and what sentence-transformers adds
    /// (`sentence_bert_config.json`, `1_Pooling/config.json`) if it is there. Blocks for as long as reading takes.
    ///
    /// # Errors
    /// [`ModelError::Corrupt`] if a file is missing or damaged, [`ModelError::Unsupported`] for other networks than BERT.
    pub fn load(folder: &Path, id: impl Into<String>) -> Result<Self> {
        let mut info = ModelInfo::new(id, "candle");
        let config = Config::read(folder, &info.id)?;
        let tokenizer = TextTokenizer::load(folder, &info.id)?;
        let (vocabulary, rows) = (tokenizer.vocab_size(), config.network.vocab_size);
        if vocabulary > rows {
            let reason = format!("the tokenizer has {vocabulary} tokens, the network {rows}");
            return Err(ModelError::Corrupt { model: info.id, reason });
        }
        let (network, size) = Network::load(folder, &config, &info.id)?;
        info.family = "bert".into();
        info.context_length = config.max_tokens as u32;
        info.vocab_size = vocabulary as u32;
        info.quantisation = Quantisation::Named("F32".into());
        info.parameters = size.parameters;
        info.size_bytes = size.bytes;
        info.created = file::now();
        let judges = network.judges();
        // The vectors of a cross-encoder mean nothing.
        info.capabilities.embed = !judges;
        info.capabilities.rerank = true;
        info.capabilities.tokenize = true;
        let queue = Arc::new(Queue::new(MAX_QUEUE));
        worker::start(Arc::clone(&queue), network)?;
        let width = config.network.hidden_size as u32;
        Ok(Self { info, width, judges, tokenizer: Arc::new(tokenizer), queue })
    }

    /// Sets the sha256 of the weights that [`info`](Model::info) reports.
    #[must_use]
    pub fn with_digest(mut self, digest: impl Into<String>) -> Self {
        self.info.digest = Some(digest.into());
        self
    }

    /// What the worker makes of texts, or of pairs of texts.
    async fn compute(
        &self,
        texts: Vec<Vec<TokenId>>,
        seconds: Option<Vec<usize>>,
        deadline: Option<Instant>,
    ) -> Result<Vec<Vec<f32>>> {
        let (reply, result) = oneshot::channel();
        self.queue.push(Embedding { texts, seconds, reply })?;
        let result = match deadline {
            None => result.await,
            Some(deadline) => timeout_at(deadline.into(), result)
                .await
                .map_err(|_| ModelError::DeadlineExceeded { stage: "before the texts were computed".into() })?,
        };
        result.unwrap_or_else(|_| Err(ModelError::Internal("the worker dropped the request".into())))
    }

    fn check(&self, request: &EmbedRequest) -> Result<()> {
        if self.judges {
            return Err(ModelError::unsupported(&self.info, "embeddings: it judges pairs of texts (/v1/rerank)"));
        }
        match (request.input.len(), request.dimensions) {
            (0, _) => Err(ModelError::invalid("input", "must hold at least one text")),
            (texts, _) if texts > MAX_TEXTS => {
                Err(ModelError::invalid("input", format!("at most {MAX_TEXTS} texts, got {texts}")))
            }
            (_, Some(kept)) if !(1..=self.width).contains(&kept) => {
                Err(ModelError::invalid("dimensions", format!("must be between 1 and {}, got {kept}", self.width)))
            }
            _ => Ok(()),
        }
    }
}

/// The tokens of each text, none of more than `max`.
fn tokens(tokenizer: &TextTokenizer, texts: &[String], max: usize, cut: bool) -> Result<Vec<Vec<TokenId>>> {
    let tokens_of = |text: &String| {
        let tokens = tokenizer.encode(text, TokenizeOptions::with_special())?;
        if tokens.len() > max && !cut {
            let (prompt_tokens, context_length) = (tokens.len() as u64, max as u64);
            return Err(ModelError::ContextOverflow { prompt_tokens, max_tokens: 0, context_length });
        }
        Ok(TextTokenizer::cut(tokens, max))
    };
    texts.iter().map(tokens_of).collect()
}

/// `[CLS] query [SEP] document [SEP]` for each document, and where its second part begins. A query may take half of the
/// room; the document has what is left.
fn pairs(
    tokenizer: &TextTokenizer,
    query: &str,
    documents: &[String],
    max: usize,
    cut: bool,
) -> Result<Vec<(Vec<TokenId>, usize)>> {
    let frame = tokenizer.encode("", TokenizeOptions::with_special())?;
    let [first, separator] = frame[..] else {
        return Err(ModelError::Internal("the tokenizer does not frame texts with [CLS] and [SEP]".into()));
    };
    let room = max.saturating_sub(3);
    let mut query = tokenizer.encode(query, TokenizeOptions::default())?;
    if cut {
        query.truncate(room / 2);
    }
    let pair = |document: &String| {
        let mut document = tokenizer.encode(document, TokenizeOptions::default())?;
        if query.len() + document.len() > room {
            if !cut {
                let prompt_tokens = (query.len() + document.len() + 3) as u64;
                return Err(ModelError::ContextOverflow { prompt_tokens, max_tokens: 0, context_length: max as u64 });
            }
            document.truncate(room - query.len());
        }
        let mut tokens = Vec::with_capacity(query.len() + document.len() + 3);
        tokens.push(first);
        tokens.extend(&query);
        tokens.push(separator);
        let second = tokens.len();
        tokens.extend(document);
        tokens.push(separator);
        Ok((tokens, second))
    };
    documents.iter().map(pair).collect()
}

/// Keeps the leading dimensions, at unit length.
fn shorten(mut vector: Vec<f32>, kept: usize) -> Vec<f32> {
    vector.truncate(kept);
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|x| *x /= length);
    }
    vector
}

#[async_trait]
impl Model for BertEmbedder {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    async fn generate(&self, _: GenerateRequest) -> Result<EventStream> {
        Err(ModelError::unsupported(&self.info, "text generation"))
    }

    async fn embed(&self, request: EmbedRequest) -> Result<Embeddings> {
        self.check(&request)?;
        let EmbedRequest { input, dimensions, truncate, deadline, .. } = request;
        let (tokenizer, max) = (Arc::clone(&self.tokenizer), self.info.context_length as usize);
        let texts = off_runtime(move || tokens(&tokenizer, &input, max, truncate)).await?;
        let usage = Usage::new(texts.iter().map(|text| text.len() as u64).sum(), 0);
        let vectors = self.compute(texts, None, deadline).await?;
        let vectors = match dimensions {
            Some(kept) => vectors.into_iter().map(|vector| shorten(vector, kept as usize)).collect(),
            None => vectors,
        };
        Ok(Embeddings::new(vectors, usage))
    }

    /// By the classifier, if there is one: its logit through the logistic function, 0 to 1. Otherwise by the cosine of
    /// the angle between the vectors of query and document, -1 to 1.
    async fn rerank(&self, request: RerankRequest) -> Result<Ranking> {
        let RerankRequest { query, documents, truncate, deadline, .. } = request;
        if documents.is_empty() || documents.len() >= MAX_TEXTS {
            let message = format!("must hold 1 to {} texts, got {}", MAX_TEXTS - 1, documents.len());
            return Err(ModelError::invalid("documents", message));
        }
        if !self.judges {
            let mut request = EmbedRequest::new(std::iter::once(query).chain(documents));
            (request.truncate, request.deadline) = (truncate, deadline);
            let Embeddings { vectors, usage, .. } = self.embed(request).await?;
            let Some((query, documents)) = vectors.split_first() else { return Ok(Ranking::default()) };
            // Both have unit length.
            let cosine = |document: &Vec<f32>| query.iter().zip(document).map(|(a, b)| a * b).sum::<f32>();
            return Ok(Ranking::new(documents.iter().map(cosine).collect(), usage));
        }
        let (tokenizer, max) = (Arc::clone(&self.tokenizer), self.info.context_length as usize);
        let pairs = off_runtime(move || pairs(&tokenizer, &query, &documents, max, truncate)).await?;
        let (texts, seconds): (Vec<Vec<TokenId>>, Vec<usize>) = pairs.into_iter().unzip();
        let usage = Usage::new(texts.iter().map(|text| text.len() as u64).sum(), 0);
        let scores = self.compute(texts, Some(seconds), deadline).await?;
        let logistic = |score: Vec<f32>| 1.0 / (1.0 + (-score.first().copied().unwrap_or(f32::NEG_INFINITY)).exp());
        Ok(Ranking::new(scores.into_iter().map(logistic).collect(), usage))
    }

    async fn tokenize(&self, text: &str, options: TokenizeOptions) -> Result<Vec<TokenId>> {
        let (tokenizer, text) = (Arc::clone(&self.tokenizer), text.to_owned());
        off_runtime(move || tokenizer.encode(&text, options)).await
    }

    async fn detokenize(&self, tokens: &[TokenId]) -> Result<String> {
        self.tokenizer.decode(tokens)
    }

    fn load(&self) -> Load {
        let waiting = self.queue.waiting();
        let mut load = Load::idle(1);
        load.slots_free = u32::from(!waiting.running);
        load.queued_requests = waiting.requests;
        load.queued_tokens = waiting.tokens;
        load
    }
}

impl Drop for BertEmbedder {
    /// Requests that wait are still answered; the memory is free after the last of them.
    fn drop(&mut self) {
        self.queue.close();
    }
}
