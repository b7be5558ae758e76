//! Sentence embeddings: BERT from safetensors, as sentence-transformers uses it.
//!
//! * `config`: the files beside the weights. `text`: the tokenizer. `batch`: which texts are computed together.
//! * `encoder`: BERT. `network`: pooling and unit length. `worker`: the thread that runs them. `model`: the handle.

mod batch;
mod config;
mod encoder;
mod model;
mod network;
mod text;
mod worker;

pub use model::BertEmbedder;
